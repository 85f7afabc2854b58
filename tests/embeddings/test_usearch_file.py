"""Index files of usearch: a stranger's is read without it, ours is sealed."""

import numpy as np
import pytest

from g5.common.errors import UserError
from g5.embeddings.search import ApproximateIndex
from g5.embeddings.usearch_file import read_vectors

uindex = pytest.importorskip("usearch.index")
KEYS = np.arange(300) * 3 + 7
X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)


def saved(path, dtype="f16"):
    index = uindex.Index(ndim=5, metric="ip", dtype=dtype)
    index.add(KEYS, X)
    index.remove(10)
    index.save(str(path))
    return index


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64", "bf16"])
def test_vectors_are_those_that_usearch_gives(dtype, tmp_path):
    index = saved(tmp_path / "i", dtype)
    wanted = [int(key) for key in KEYS[::-2] if key != 10]
    expected = np.asarray(index.get(np.array(wanted, np.uint64)), np.float32)
    assert np.array_equal(read_vectors(tmp_path / "i", wanted), expected)
    assert read_vectors(tmp_path / "i", []).shape == (0, 5)
    with pytest.raises(UserError, match="lacks 2 of the 3 vectors"):
        read_vectors(tmp_path / "i", [7, 10, 11])


def test_what_is_no_whole_index_is_refused(tmp_path):
    saved(tmp_path / "i")
    whole = (tmp_path / "i").read_bytes()
    cut = [*range(0, 200), *range(3000, len(whole), 97)]
    for content in (*(whole[:size] for size in cut), whole + b"x", whole.replace(b"usea", b"xxxx")):
        (tmp_path / "i").write_bytes(content)
        with pytest.raises(UserError, match="index of usearch"):
            read_vectors(tmp_path / "i", [7])


def test_a_damaged_index_of_ours_is_not_read(tmp_path):
    made, path = ApproximateIndex(width=5, metric="cosine"), tmp_path / "hnsw.cosine.usearch"
    made.add(X)
    made.save(path)
    whole = path.read_bytes()
    again = ApproximateIndex(width=5, metric="cosine")
    assert again.load(path)
    assert len(again) == len(X)
    assert np.array_equal(again.search(X[:3], k=2)[1], made.search(X[:3], k=2)[1])
    for at in (0, 9, 1000, len(whole) - 60, len(whole) - 1):
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert not ApproximateIndex(width=5, metric="cosine").load(path)
    for size in (0, 10, len(whole) - 41):
        path.write_bytes(whole[:size])
        assert not ApproximateIndex(width=5, metric="cosine").load(path)
