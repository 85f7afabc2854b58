"""The store of embeddings: what goes in comes out, whoever is killed, and nothing mixes."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.embeddings.vectors import (
    BLOCK_ROWS,
    INDEX_COLUMNS,
    EncoderFacts,
    VectorStore,
    complete_index,
    load,
)

FACTS = EncoderFacts("small", "0123", 8, 22050, 1.0, {"n_mels": 64})


def table(files: int, rows: int, first: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Vectors whose first value is the number of the file, and the second that of the row."""
    file_N, row_N = np.repeat(np.arange(first, first + files), rows), np.tile(range(rows), files)
    vectors = np.zeros((files * rows, FACTS.embedding_dim), np.float32)
    vectors[:, 0], vectors[:, 1] = file_N, row_N
    names = [f"day/{number}.wav" for number in file_N]
    index = pd.DataFrame({"file": names, "start_s": row_N * 1.0, "end_s": row_N + 1.0})
    return vectors, index.assign(label="owl", source="site A", date="2024-05-01")


def test_vectors_come_back_with_their_rows(tmp_path):
    path = tmp_path / "birds.store"
    store = VectorStore.create(path, FACTS, audio_root=tmp_path / "audio")
    vectors, index = table(5, 3)
    assert store.ingest(vectors, index) == 15
    assert store.ingest(vectors, index) == 0
    more, more_index = table(2, 3, first=4)
    assert store.ingest(more, more_index) == 3
    back, rows = load(path)
    assert list(rows.columns) == INDEX_COLUMNS
    assert back.shape == (18, 8)
    assert rows["file"].iloc[-1] == "day/5.wav"
    assert set(rows["label"]) == {"owl"}
    np.testing.assert_array_equal(np.asarray(back)[:15], vectors.astype(np.float16))
    np.testing.assert_array_equal(back[[16, 0, -1]], np.asarray(back)[[16, 0, -1]])
    np.testing.assert_array_equal(back[np.arange(18) % 2 == 0], np.asarray(back)[::2])
    np.testing.assert_array_equal(back[2:7], np.asarray(back)[2:7])
    assert sum(len(block) for _, block in back.blocks()) == 18
    assert VectorStore.open(path).audio_path("day/1.wav") == tmp_path / "audio" / "day" / "1.wav"
    inside = str(tmp_path / "audio" / "1.wav")
    assert str(VectorStore.open(path).audio_path(inside)) == inside
    for outside in ("../secret.wav", "/secret.wav", "day/../../secret.wav"):
        with pytest.raises(UserError, match="which lies outside"):
            VectorStore.open(path).audio_path(outside)


def test_a_store_and_its_audio_move_together(tmp_path):
    here = tmp_path / "here"
    VectorStore.create(here / "birds.store", FACTS, audio_root=here / "audio").ingest(*table(1, 1))
    here.rename(tmp_path / "there")
    moved = VectorStore.open(tmp_path / "there" / "birds.store")
    assert moved.audio_root == tmp_path / "there" / "audio"
    assert len(moved) == 1


def test_big_tables_are_cut_into_blocks_and_keep_their_order(tmp_path):
    vectors, index = table(1, BLOCK_ROWS + 10)
    store = VectorStore.create(tmp_path / "s", FACTS)
    store.ingest(vectors, index)
    assert len(store.keys) == 2
    assert np.array_equal(store.index["start_s"], index["start_s"])


def test_two_encoders_do_not_mix(tmp_path):
    VectorStore.create(tmp_path / "s", FACTS).ingest(*table(1, 1))
    other = EncoderFacts("other", "4567", 8, 22050, 1.0, {"n_mels": 64})
    with pytest.raises(UserError, match=r"of the encoder small .*not of other .*do not mix"):
        VectorStore.create(tmp_path / "s", other)
    retuned = EncoderFacts("small", "0123", 8, 22050, 1.0, {"n_mels": 32})
    with pytest.raises(UserError, match="do not mix"):
        VectorStore.create(tmp_path / "s", retuned)


def test_bad_vectors_are_named_and_the_good_stay(tmp_path):
    store = VectorStore.create(tmp_path / "s", FACTS)
    store.ingest(*table(2, 2))
    vectors, index = table(2, 2, first=7)
    vectors[2, 3] = np.nan
    with pytest.raises(UserError, match=r"day/8.wav at 0 s \(row 3\): has a value of nan"):
        store.ingest(vectors, index)
    with pytest.raises(UserError, match=r"shape \(4, 5\).*\(rows, 8\)"):
        store.ingest(np.zeros((4, 5)), index)
    with pytest.raises(UserError, match="3 vectors, but 4 rows"):
        store.ingest(np.zeros((3, 8)), index)
    with pytest.raises(UserError, match="column `file`"):
        store.ingest(np.zeros((3, 8)), index.drop(columns="file"))
    assert len(VectorStore.open(tmp_path / "s")) == 4


@pytest.mark.parametrize(
    ("name", "values"), [("label", ["owl"]), ("label", "owl"), ("end_s", [1, 2, 3]), ("end_s", 1)]
)
def test_columns_of_another_length_are_named(name, values):
    with pytest.raises(UserError, match=f"2 rows of `file`, but `{name}` is of shape"):
        complete_index({"file": ["x.wav", "y.wav"], name: values})


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(["2024-01-02", None]),
        np.array(["2024-01-02T03:04", "NaT"], "datetime64[ns]"),
        pd.to_datetime(pd.Series(["2024-01-02", None]), utc=True),
        ["2024-01-02T03:04:05Z", None],
        ["2024-01-02", np.nan],
    ],
)
def test_of_dates_the_day_is_kept(dates):
    index = complete_index({"file": ["x.wav", "y.wav"], "date": dates})
    assert index["date"].tolist() == ["2024-01-02", ""]


def test_what_is_no_store_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no such store"):
        VectorStore.open(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "call.wav").touch()
    with pytest.raises(UserError, match="is no store"):
        VectorStore.open(tmp_path / "folder")
    with pytest.raises(UserError, match="folder of something else"):
        VectorStore.create(tmp_path / "folder", FACTS)
    with pytest.raises(UserError, match="is a file"):
        VectorStore.open(tmp_path / "folder" / "call.wav")


def test_a_truncated_store_is_said(tmp_path):
    VectorStore.create(tmp_path / "s", FACTS).ingest(*table(4, 4))
    (shard,) = (tmp_path / "s").glob("*.f16")
    os.truncate(shard, 20)
    with pytest.raises(UserError, match="truncated to 20 of 256 bytes"):
        VectorStore.open(tmp_path / "s").vectors  # noqa: B018
    shard.unlink()
    with pytest.raises(UserError, match="is missing"):
        VectorStore.open(tmp_path / "s").vectors  # noqa: B018


def test_an_empty_store_is_empty(tmp_path):
    store = VectorStore.create(tmp_path / "s", FACTS)
    assert len(store) == 0
    assert store.vectors.shape == (0, 8)
    assert np.asarray(store.vectors).shape == (0, 8)


def _write_until_killed(path: Path, first: int) -> None:
    store = VectorStore.create(path, FACTS)
    for number in range(first, first + 10_000):
        store.ingest(*table(1, 50, first=number), known=True)


def test_two_writers_and_a_kill(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_until_killed, args=(tmp_path / "s", first))
        for first in (0, 50_000)
    ]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "s").glob("*.parquet"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    for writer in writers:
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    vectors, index = load(tmp_path / "s")
    assert len(index) >= 20 * 50
    files = index["file"].astype(str).str.extract(r"(\d+)").to_numpy(np.float16)[:, 0]
    np.testing.assert_array_equal(np.asarray(vectors)[:, 0], files)
    np.testing.assert_array_equal(np.asarray(vectors)[:, 1], index["start_s"].to_numpy())
    assert not index.duplicated(["file", "start_s"]).any()
