"""Recordings at an address or in a zip: listed, fetched into a bounded folder, read; or refused."""

import io
import struct
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from g5.common.elsewhere import archives, kept, remote
from g5.common.elsewhere.places import Address, in_archive, place_of
from g5.common.errors import UserError
from g5.common.files import sounds_at
from g5.config.settings import load_transfer
from g5.field.clips import ClipsRequest, cut_clips
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.datasets.clips import ClipsData
from preprocessing.datasets.folders import AnnotatedData
from preprocessing.recorders.starts import Clues
from preprocessing.recordings import scan
from tests.web_server import Server, served


def wav(seed: int = 0, seconds: float = 1.0, form: str = "WAV") -> bytes:
    held = io.BytesIO()
    x_T = np.random.default_rng(seed).normal(0, 0.1, round(8000 * seconds))
    soundfile.write(held, x_T, 8000, format=form)
    return held.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kept.Cache:
    monkeypatch.setattr(kept, "_cache", kept.Cache(tmp_path / "cache", 1e8))
    monkeypatch.setattr(kept, "_seen", {})
    monkeypatch.setattr(kept, "_typed", {"memory://bucket", "http://127.0.0.1:9"})
    monkeypatch.setattr(remote, "WAIT_S", 0.01)
    return kept.cache()


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as one:
        kept.allow(one.address)
        yield one


@pytest.fixture
def bucket() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.pipe("/bucket/site1/x_20240531_223911.wav", wav(1))
    fs.pipe("/bucket/site2/y.flac", wav(2, form="FLAC"))
    fs.pipe("/bucket/site2/.hidden.wav", wav(3))
    fs.pipe("/bucket/notes.csv", b"a")
    yield "memory://bucket"
    fs.rm("/bucket", recursive=True)


def kept_bytes(cache: kept.Cache) -> int:
    return sum(file.stat().st_size for file in cache.folder.iterdir())


def test_an_address_is_a_path_that_is_written_as_typed():
    text = "s3://bucket/site 1/x.wav"
    place = place_of(text)
    assert isinstance(place, Address)
    assert (str(place), place.name, place.suffix) == (text, "x.wav", ".wav")
    assert str(place.absolute().parent / "y.wav") == "s3://bucket/site 1/y.wav"
    assert str(place_of(Path(text))) == text  # a path has taken a slash away
    asked = place_of("https://h.org/x.wav?token=a.b")
    assert (asked.suffix, str(asked)) == (".wav", "https://h.org/x.wav?token=a.b")
    assert place_of("C:/x.wav") == Path("C:/x.wav")
    assert place_of("file:///home/x.wav") == Path("/home/x.wav")


def test_a_bucket_is_listed_and_read(bucket: str):
    files = sounds_at(place_of(bucket))
    assert [str(f) for f in files] == [
        "memory://bucket/site1/x_20240531_223911.wav", "memory://bucket/site2/y.flac",
    ]  # fmt: skip
    table, problems = scan(files, None, READ_ALL)
    assert not problems
    assert table["file"].tolist() == [str(f) for f in files]
    assert table["duration_s"].tolist() == [1.0, 1.0]
    fs = fsspec.filesystem("memory")
    for file in files:
        own, _ = soundfile.read(io.BytesIO(fs.cat(str(file))), dtype="float32")
        np.testing.assert_array_equal(audio.read(file, READ_ALL, rate_hz=8000), own)
    assert [str(f) for f in sounds_at(place_of(f"{bucket}/*/*.wav"))] == [str(files[0])]
    starts = Clues().reader().read(files)
    assert starts["start_local"].astype(str).tolist()[0] == "2024-05-31 22:39:11"


def test_a_list_names_addresses(bucket: str, tmp_path: Path):
    table = tmp_path / "list.txt"
    table.write_text(f"{bucket}/site2\n{bucket}/site1/x_20240531_223911.wav\n")
    assert len(sounds_at(table)) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_is_listed_and_read(server: Server, ranges: bool, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK", 5000)
    server.ranges = ranges
    server.files = {"/rec/a/x.wav": wav(1), "/rec/y.wav": wav(2), "/rec/n.html": b"<p>"}
    files = sounds_at(place_of(f"{server.address}/rec"))
    assert [str(f) for f in files] == [f"{server.address}/rec/{n}" for n in ("a/x.wav", "y.wav")]
    table, problems = scan(files, None, READ_ALL)
    assert not problems
    assert table["frames"].tolist() == [8000, 8000]
    assert len(audio.read(files[0], READ_ALL)) == 8000


@pytest.mark.parametrize("ranges", [True, False])
def test_a_header_alone_fetches_no_file(server: Server, cache: kept.Cache, capfd, ranges: bool):
    server.ranges = ranges  # without, there is no other way than to fetch it
    server.files = {"/x_20240531_223911.wav": wav(1, 100.0), "/y.flac": wav(1, 50.0, "FLAC")}
    places = [place_of(f"{server.address}{name}") for name in server.files]
    assert Clues().reader().read(places[:1])["duration_s"].tolist() == [100.0]
    assert cache.folder.exists() == (not ranges)
    assert Clues().reader().read(places)["duration_s"].tolist() == [100.0, 50.0]
    assert capfd.readouterr().err == ""


def test_what_fails_for_a_while_is_tried_again(server: Server, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK", 5000)
    server.files = {"/x.wav": wav()}
    server.failing["/x.wav"] = 3
    assert len(audio.read(place_of(f"{server.address}/x.wav"), READ_ALL)) == 8000
    server.files["/y.wav"] = wav()

    def fail_once(path: str) -> None:
        if path == "/y.wav" and server.asked[path] == 3:
            raise ConnectionResetError  # in the middle of the file

    server.sent = fail_once
    assert len(audio.read(place_of(f"{server.address}/y.wav"), READ_ALL)) == 8000


def test_what_stays_wrong_is_told_in_a_line(server: Server):
    server.files = {"/y.wav": wav(), "/z.wav": b"no sound"}
    server.failing["/y.wav"] = 1000
    with pytest.raises(UserError, match=r"x\.wav: there is no such file"):
        audio.info(place_of(f"{server.address}/x.wav"))
    with pytest.raises(UserError, match=r"y\.wav: cannot be fetched \(HTTP 500\), tried 5 times"):
        audio.info(place_of(f"{server.address}/y.wav"))
    with pytest.raises(UserError, match=rf"^{server.address}/z\.wav: cannot be read as sound"):
        audio.info(place_of(f"{server.address}/z.wav"))
    with pytest.raises(UserError, match="nope://x: there is no way to read nope://"):
        sounds_at(place_of("nope://x"))
    server.files["/w.wav"] = wav()
    files = [place_of(f"{server.address}/{name}.wav") for name in "wxyz"]
    table, problems = scan(files, None, READ_ALL)  # good work beside it is kept
    assert len(table) == 1
    assert len(problems) == 3


def test_what_a_file_names_and_nobody_has_typed_is_not_fetched(server: Server, monkeypatch):
    server.files = {"/x.wav": wav()}
    monkeypatch.setattr(kept, "_typed", {f"{server.address}/rec", f"{server.address}/x"})
    with pytest.raises(UserError, match="is not fetched, as a file names it and you have not"):
        audio.info(f"{server.address}/x.wav")
    assert not server.asked
    assert sounds_at(place_of(f"{server.address}/x.wav"))  # typed
    assert audio.info(f"{server.address}/x.wav").frames == 8000


def test_a_server_that_is_not_there_is_told(server: Server):
    with pytest.raises(UserError, match="cannot be fetched"):
        audio.info(place_of("http://127.0.0.1:9/x.wav"))


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(*args, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UserError, match=r's3:// needs s3fs; pip install "g5\[remote\]"'):
        sounds_at(place_of("s3://bucket/rec"))


def test_a_file_that_changes_while_it_is_read_is_told(server: Server, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK", 5000)
    server.files = {"/x.wav": wav(1), "/y.wav": wav(1)}
    server.sent = lambda path: server.files.update({path: wav(2)})
    with pytest.raises(UserError, match=r"x\.wav: has changed while it was read"):
        audio.info(place_of(f"{server.address}/x.wav"))
    server.sent = lambda path: None
    place = place_of(f"{server.address}/y.wav")
    table, _ = scan([place], None, READ_ALL)
    for file in kept.cache().folder.iterdir():  # as where there is room for little
        file.unlink()
    server.files["/y.wav"] = wav(3)
    with pytest.raises(UserError, match=r"y\.wav: has changed while it was read"):
        audio.read(place, READ_ALL)
    assert len(table) == 1


def test_a_slow_server_is_waited_for(server: Server):
    server.files, server.slow_s = {"/x.wav": wav()}, 0.3
    since = time.monotonic()
    assert len(audio.read(place_of(f"{server.address}/x.wav"), READ_ALL)) == 8000
    assert time.monotonic() - since >= 0.3


def test_the_cache_keeps_its_limit_and_what_was_read_last(bucket: str, monkeypatch, tmp_path):
    size = len(wav())
    monkeypatch.setattr(kept, "_cache", kept.Cache(tmp_path / "small", 2.5 * size))
    fs = fsspec.filesystem("memory")
    for n in range(5):
        fs.pipe(f"/bucket/many/{n}.wav", wav(n))
    files = sounds_at(place_of(f"{bucket}/many"))
    for file in files:
        audio.read(file, READ_ALL)
        assert kept_bytes(kept.cache()) <= 2.5 * size
    fs.pipe("/bucket/large.wav", wav(9, 4.0))
    with pytest.raises(UserError, match=r"large\.wav: has .* GB, more than audio.cache_gb="):
        audio.read(place_of(f"{bucket}/large.wav"), READ_ALL)
    with kept.local(files[0]) as one, kept.local(files[1]) as two, kept.local(files[2]) as three:
        assert one.exists()  # what is being read stays
        assert two.exists()
        assert three.exists()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


def test_a_zip_is_a_folder(tmp_path: Path, bucket: str):
    path = zipped(
        tmp_path / "Rec.ZIP", **{
            "site1/x.wav": wav(1), "site1/.x.wav": wav(2), "site2/y.wav": wav(3),
            "__MACOSX/site1/x.wav": b"", "notes.txt": b"",
        },
    )  # fmt: skip
    assert sounds_at(path) == [path / "site1/x.wav", path / "site2/y.wav"]
    assert sounds_at(path / "site2") == [path / "site2/y.wav"]
    assert sounds_at(path / "site2/y.wav") == [path / "site2/y.wav"]
    assert in_archive(path / "site2/y.wav") == (path, "site2/y.wav")
    table, problems = scan(sounds_at(path), None, READ_ALL)
    assert not problems
    assert len(table) == 2
    fsspec.filesystem("memory").pipe("/bucket/r.zip", path.read_bytes())
    there = sounds_at(place_of(f"{bucket}/r.zip"))
    assert [str(file) for file in there] == [
        f"{bucket}/r.zip/site1/x.wav", f"{bucket}/r.zip/site2/y.wav",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        audio.read(there[0], READ_ALL), audio.read(path / "site1/x.wav", READ_ALL)
    )
    with pytest.raises(UserError, match=r"site1/z\.wav: Rec\.ZIP holds no such file"):
        audio.read(path / "site1/z.wav", READ_ALL)


def test_archives_that_are_not_to_be_trusted_are_refused(tmp_path: Path, monkeypatch):
    for name in ("../x.wav", "/x.wav", "a\\x.wav"):
        bad = zipped(tmp_path / "bad.zip", **{"ok.wav": wav(), name: wav()})
        with pytest.raises(UserError, match=r"bad\.zip: holds .* which lies outside"):
            sounds_at(bad)
    monkeypatch.setattr(archives, "SMALL_BYTES", 1 << 20)
    with pytest.raises(UserError, match=r"bomb\.zip: says that it unpacks from .* as no sound"):
        sounds_at(zipped(tmp_path / "bomb.zip", **{"x.wav": bytes(10 << 20)}))
    monkeypatch.setattr(kept, "_cache", kept.Cache(tmp_path / "small", 1e4))
    large = zipped(tmp_path / "large.zip", **{"x.wav": wav()})
    with pytest.raises(UserError, match=r"large\.zip/x\.wav: has .* more than audio\.cache_gb"):
        audio.read(large / "x.wav", READ_ALL)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match=r"text\.zip: is damaged"):
        sounds_at(tmp_path / "text.zip")
    held = zipped(tmp_path / "held.zip", **{"x.wav": wav()}).read_bytes()
    at = held.index(b"PK\1\2") + 8
    flags = struct.unpack_from("<H", held, at)[0] | 1
    (tmp_path / "held.zip").write_bytes(held[:at] + struct.pack("<H", flags) + held[at + 2 :])
    with pytest.raises(UserError, match=r"'x\.wav' is encrypted"):
        sounds_at(tmp_path / "held.zip")


def test_a_damaged_member_is_left_out_and_the_others_are_kept(tmp_path: Path):
    path = zipped(tmp_path / "r.zip", **{"a.wav": wav(1), "b.wav": wav(2)})
    held = bytearray(path.read_bytes())
    held[200:260] = bytes(60)
    path.write_bytes(held)
    table, problems = scan(sounds_at(path), None, READ_ALL)
    assert table["file"].tolist() == [str(path / "b.wav")]
    assert len(problems) == 1
    assert "is damaged" in problems[0].message


def test_a_set_to_train_on_may_be_a_zip(tmp_path: Path):
    """Class folders, and recordings with tables beside them; an address is refused."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as bundle:
        for number, label in enumerate(("owl", "wren")):
            bundle.writestr(f"clips/{label}/{number}.wav", wav(number))
            bundle.writestr(f"night/{label}.wav", wav(number + 2))
            bundle.writestr(f"night/{label}.csv", f"start_s,end_s,label\n0.1,0.4,{label}\n")
    said = {"split": "auto", "val_classes": 0, "test_classes": 0, "fold": None, "folds": 3}
    clips = partial(
        ClipsData, **said, seed=0, anchor="onset", cache_dir=None, audio_dir=None, columns=None
    )
    corpus = clips(root=str(tmp_path / "set.zip/clips")).load(READ_ALL)
    assert sorted(corpus.events["label"]) == ["owl", "wren"]
    own = {
        "label_column": "auto",
        "q_class": "recording",
        "anchor": "onset",
        "cache_dir": None,
        "columns": None,
    }
    annotated = partial(AnnotatedData, **own, eval_dir=None, test_dir=None)
    corpus = annotated(train_dir=str(tmp_path / "set.zip/night")).load(READ_ALL)
    corpus.raise_if_fatal()
    first = corpus.events.sort_values("label").iloc[0]
    assert (first["label"], first["start_s"], first["end_s"]) == ("owl", 0.1, 0.4)
    assert len(audio.read(first["file"], READ_ALL, start_s=0.1, end_s=0.4)) == 2400
    with pytest.raises(UserError, match=r"path.train_dir=.*set.zip/none"):
        annotated(train_dir=str(tmp_path / "set.zip/none")).load(READ_ALL)
    with pytest.raises(UserError, match="what is trained on lies on the disk"):
        annotated(train_dir="https://some.where/set").load(READ_ALL)


def test_clips_are_cut_out_of_a_zip_and_from_an_address(server: Server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.files = {"/rec/x.wav": wav(1)}
    with zipfile.ZipFile("rec.zip", "w") as bundle:
        bundle.writestr("site/x.wav", wav(1))
    rows = f"x.wav,0.2,0.5,a\n{tmp_path}/rec.zip/site/x.wav,0.2,0.5,b\n"
    Path("t.csv").write_text(f"file,start_s,end_s,label\n{rows}")
    settings = load_transfer(reads=("clips",))
    for root in (Path("rec.zip"), place_of(f"{server.address}/rec")):
        out = tmp_path / f"clips{len(str(root))}"
        request = ClipsRequest(Path("t.csv"), out, root)
        assert cut_clips(request, settings.clips, settings.audio) == 0
        assert {"a.wav", "b.wav"} < {file.name for file in out.iterdir()}
