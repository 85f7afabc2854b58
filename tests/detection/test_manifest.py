"""What is known of a file is one part, with its key: whole, or made again."""

from pathlib import Path

import pandas as pd
import pytest

from g5.detection.job.manifest import CANDIDATES, DONE, EARLIER, WRITTEN, Manifest

FILE = Path("night.wav")


def events(*labels: str) -> pd.DataFrame:
    starts = [float(number) for number in range(len(labels))]
    return pd.DataFrame(
        {"file": "night.wav", "start_s": starts, "label": list(labels), "support": False}
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / ".parts").mkdir()
    manifest = Manifest(tmp_path)
    for suffix in EARLIER:
        manifest._part(FILE).with_suffix(suffix).write_text("of an earlier g5")
    manifest.done(FILE, "A", events("owl"), events("owl", "owl"), duration_s=3.0)
    return manifest


def test_a_part_holds_its_key_and_replaces_what_an_earlier_g5_kept(manifest, tmp_path):
    assert [path.suffix for path in (tmp_path / ".parts").iterdir()] == [".part"]
    again = Manifest(tmp_path)
    assert again.earlier(FILE, "B") is None, "of another support"
    entry = again.earlier(FILE, "A")
    assert entry is not None
    assert (entry.status, entry.events) == (DONE, 1)
    pd.testing.assert_frame_equal(again.events_of("night.wav"), events("owl"))
    assert len(again.events_of("night.wav", CANDIDATES)) == 2


def test_a_damaged_part_is_made_again(manifest, tmp_path, capsys):
    part = manifest._part(FILE)
    content = part.read_bytes()
    at = content.index(b"PAR1") + 20
    for damaged in (content[:-20], content[:at] + b"?" + content[at + 1 :], b""):
        part.write_bytes(damaged)
        assert Manifest(tmp_path).earlier(FILE, "A") is None
        assert "night.wav: what was found is damaged" in capsys.readouterr().err


def test_a_damaged_list_of_results_is_told_and_nothing_is_taken_for_ours(tmp_path, capsys):
    Manifest(tmp_path).parts.mkdir()
    Manifest(tmp_path).will_write([tmp_path / "a.csv", tmp_path / "pictures" / "b.png"])
    assert Manifest(tmp_path).written() == {tmp_path / "a.csv", tmp_path / "pictures" / "b.png"}
    path = tmp_path / ".parts" / WRITTEN
    path.write_text(path.read_text().replace("b.png", "c.png"))
    damaged = Manifest(tmp_path)
    assert damaged.written() == damaged.written() == set()
    assert capsys.readouterr().err.count(f"{path}: is damaged") == 1
    path.write_text('["a.csv"]')  # as an earlier g5 wrote it
    assert Manifest(tmp_path).written() == {tmp_path / "a.csv"}
