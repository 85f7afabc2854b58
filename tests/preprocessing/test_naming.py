"""Recordings by names that were written on other machines."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from g5.common.errors import UserError
from g5.evaluation.events.ground_truth import read_predictions, read_truth
from preprocessing.audio_rules import READ_ALL
from preprocessing.naming import Listing, finder, same_recording
from preprocessing.recordings import scan

NIGHT = "20240331_023000.WAV"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"D:\\Field\\2024\\site1\\{NIGHT}", [f"rec/site1/{NIGHT}"]),
        (f"/home/x/SITE2/{NIGHT.lower()}", [f"rec/site2/{NIGHT}"]),
        ("site1/20240331_023000", [f"rec/site1/{NIGHT}"]),
        (NIGHT, [f"rec/site1/{NIGHT}", f"rec/site2/{NIGHT}"]),
        ("a.mp3", ["a.wav"]),
        ("A.wav", ["A.wav"]),
        ("other/A.WAV", ["a.wav", "A.wav"]),
        ("night.1", ["night.1.flac"]),
        ("nobody.wav", []),
        ("", []),
    ],
)
def test_the_longest_common_end_of_a_path_tells(name: str, found: list[str]):
    files = [f"rec/site1/{NIGHT}", f"rec/site2/{NIGHT}", "a.wav", "A.wav", "night.1.flac"]
    assert (Listing(files[:3] + files[4:]) if name == "a.mp3" else Listing(files)).find(
        name
    ) == found


def test_links_to_one_recording_are_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_bytes(b"1")
    (tmp_path / "x.wav").symlink_to(tmp_path / "a" / "x.wav")
    files = [tmp_path / "a" / "x.wav", tmp_path / "x.wav"]
    assert Listing(files).find("X.WAV") == files[:1]


def test_a_table_finds_recordings_where_it_says_or_below(tmp_path):
    for name in ("site1/Ä.wav", "site2/Ä.wav", "site2/b'\n🐸.WAV"):
        place = tmp_path / unicodedata.normalize("NFC", name)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(name.encode())
    find = finder(tmp_path)
    first = [tmp_path / "site1" / unicodedata.normalize("NFC", "Ä.wav")]
    assert find("site1/Ä.wav") == find("site1\\A\u0308") == find("D:\\x\\SITE1\\ä.FLAC") == first
    assert find("b' 🐸.wav") == find("b'\n🐸.wav") == [tmp_path / "site2" / "b'\n🐸.WAV"]
    assert len(find("ä")) == 2
    assert find("\0") == find("x" * 5000) == []


def test_names_of_any_depth_may_be_of_one_recording():
    assert same_recording("x/site1/a.wav", "site1/A")
    assert same_recording("a.wav", "D:\\site1\\a.WAV")
    assert not same_recording("site1/a.wav", "site2/a.wav")


def predictions(path: Path, rows: list[str]) -> Path:
    path.write_text("file,start_s,end_s,label\n" + "".join(f"{row},owl\n" for row in rows))
    return path


def test_two_sites_with_one_name_are_told_apart_or_refused(tmp_path: Path):
    (tmp_path / "truth").mkdir()
    predictions(tmp_path / "truth" / "all.csv", [f"site1/{NIGHT},1,2", f"site2/{NIGHT},3,4"])
    truth, _ = read_truth(tmp_path / "truth")
    assert sorted(truth.subset_of) == ["site1/20240331_023000", "site2/20240331_023000"]
    table = predictions(tmp_path / "p.csv", [f"D:\\x\\site2\\{NIGHT},1,2"])
    assert read_predictions(table, truth)[0]["name"].tolist() == ["site2/20240331_023000"]
    table = predictions(tmp_path / "p.csv", [f"{NIGHT},1,2"])
    with pytest.raises(UserError, match="may be site1/20240331_023000 or site2/20240331_023000"):
        read_predictions(table, truth)
    predictions(tmp_path / "truth" / "all.csv", [f"{NIGHT},1,2"])
    truth, _ = read_truth(tmp_path / "truth")
    table = predictions(tmp_path / "p.csv", [f"site1/{NIGHT},1,2", f"site2/{NIGHT},1,2"])
    with pytest.raises(UserError, match="are two recordings, and the ground truth tells of one"):
        read_predictions(table, truth)


def test_another_card_is_not_taken_for_the_first(tmp_path: Path):
    file, cards = tmp_path / NIGHT, []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).standard_normal(80_000).astype(np.float32) * 0.1
        soundfile.write(file, noise, 8000, subtype="PCM_16")
        os.utime(file, (1711852200, 1711852200))
        table, problems = scan([file], tmp_path / "store", READ_ALL)
        assert problems == []
        cards.append(table["sha256"][0])
    assert len(set(cards)) == 2
    assert scan([file], tmp_path / "store", READ_ALL)[0]["sha256"][0] == cards[1]
    # What is changed in its place, away from all that is looked at, is another recording, too.
    with open(file, "r+b") as handle:
        handle.seek(6200)
        handle.write(bytes(50))
    os.utime(file, (1711852200, 1711852200))
    assert scan([file], tmp_path / "store", READ_ALL)[0]["sha256"][0] not in cards
