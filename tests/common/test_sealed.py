"""Files with their own checksum: any bad byte is told, or changes nothing."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g5.common.sealed import Damaged, pack, read_table, unpack, write_table

TABLE = pa.table({"file": ["a", "b"] * 20, "start_s": [0.5, 1.5] * 20}).replace_schema_metadata(
    {"width": "80"}
)


def test_no_bad_byte_of_a_table_is_read_as_something_else(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(TABLE, path)
    assert read_table(path).equals(TABLE, check_metadata=True)
    assert pq.read_table(path).equals(TABLE), "any program reads it"
    content = path.read_bytes()
    accepted = []
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        try:
            accepted.append(read_table(path).equals(TABLE, check_metadata=True))
        except Damaged:
            continue
    assert all(accepted)
    for length in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(Damaged):
            read_table(path)


def test_a_table_of_an_earlier_g5_is_read(tmp_path):
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, write_page_checksum=True)
    (tmp_path / "t.parquet").write_bytes(sink.getvalue())
    assert read_table(tmp_path / "t.parquet", ["file"]).column_names == ["file"]
    with pytest.raises(Damaged):
        read_table(tmp_path / "t.parquet", ["other"])


def test_no_bad_byte_of_a_pack_is_read_as_something_else(tmp_path):
    path, parts = tmp_path / "x.part", {"entry.json": b'{"a": 1}', "empty": b""}
    pack(path, parts)
    assert unpack(path) == parts
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            there = unpack(path)
        except Damaged:
            continue
        # A name that is wrong is a content that lacks.
        assert all(parts.get(name, there[name]) == there[name] for name in there)
    path.write_bytes(content[:-3])
    with pytest.raises(Damaged):
        unpack(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        unpack(path)
