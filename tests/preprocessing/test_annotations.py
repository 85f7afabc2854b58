"""Readers of annotation tables: every format, and the rows they refuse."""

import time
from pathlib import Path

import numpy as np
import pytest

from g5.common.errors import UserError
from preprocessing.annotations import Reading, Rows, UnknownFormat, read_table
from preprocessing.events import Problem


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def read_dcase(path: Path, *, q_class: str) -> tuple[Rows, list[Problem]]:
    return read_table(path, Reading(q_class=q_class), among=("dcase",))


def read_clips(path: Path) -> tuple[Rows, list[Problem]]:
    return read_table(path, Reading(), among=("clips",))


def dcase(path: Path, q_class: str = "recording") -> tuple[list[tuple], list[Problem]]:
    rows, problems = read_dcase(path, q_class=q_class)
    columns = (rows[name].tolist() for name in ("start_s", "end_s", "label", "status", "row"))
    return list(zip(*columns, strict=True)), problems


def raven(path: Path, label_column: str = "auto") -> tuple[list[tuple], list[Problem]]:
    rows, problems = read_table(path, Reading(label_column=label_column), among=("raven",))
    columns = (rows[name].tolist() for name in ("audio", "start_s", "end_s", "label", "row"))
    return list(zip(*columns, strict=True)), problems


HEAD = "Audiofilename,Starttime,Endtime,"


def test_dcase_classes_with_several_pos_in_a_row(tmp_path: Path):
    path = write(
        tmp_path / "BV" / "a.csv", HEAD + "OWL,WREN\na.wav,1,2.5,POS,POS\na.wav,3,4,NEG,unk\n"
    )
    rows, problems = dcase(path)
    assert rows == [
        (1.0, 2.5, "OWL", "POS", 2), (1.0, 2.5, "WREN", "POS", 2),
        (3.0, 4.0, "OWL", "NEG", 3), (3.0, 4.0, "WREN", "UNK", 3),
    ]  # fmt: skip
    assert problems == []


def test_dcase_call_column_is_named_after_the_folder(tmp_path: Path):
    path = write(tmp_path / "JD" / "a.csv", HEAD + "CALL\na.wav,1,2,POS\na.wav,3,4,UNK\n")
    assert dcase(path)[0] == [(1.0, 2.0, "JD", "POS", 2), (3.0, 4.0, "JD", "UNK", 3)]


def test_dcase_q_column_is_a_class_per_recording_or_folder(tmp_path: Path):
    path = write(tmp_path / "HB" / "a.csv", HEAD + "Q\na1.wav,1,2,POS\na2.wav,3,4,POS\n")
    assert [row[2] for row in dcase(path)[0]] == ["HB/a1", "HB/a2"]
    assert [row[2] for row in dcase(path, "subset")[0]] == ["HB", "HB"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str):
    path = write(tmp_path / "a.csv", HEAD + "Grünspecht\nä.wav,1,2,POS\n", encoding)
    rows, problems = read_dcase(path, q_class="recording")
    assert rows["label"].tolist() == ["Grünspecht"]
    assert rows["audio"].tolist() == ["ä.wav"]
    assert problems == []


@pytest.mark.parametrize(("separator", "newline"), [(";", "\n"), ("\t", "\r\n"), (",", "\r")])
def test_separators_line_ends_and_case(tmp_path: Path, separator: str, newline: str):
    lines = ["audiofilename,STARTTIME,Endtime,CALL", " a.wav , 1.5 ,2, pos ", "", "a.wav,3,4,NEG"]
    text = newline.join(lines).replace(",", separator)
    rows, problems = dcase(write(tmp_path / "X" / "a.csv", text))
    assert rows == [(1.5, 2.0, "X", "POS", 2), (3.0, 4.0, "X", "NEG", 4)]
    assert problems == []


def test_decimal_comma_where_the_comma_parts_no_columns(tmp_path: Path):
    text = "Audiofilename;Starttime;Endtime;CALL\na.wav;1,25;2,5;POS\n"
    assert dcase(write(tmp_path / "X" / "a.csv", text))[0] == [(1.25, 2.5, "X", "POS", 2)]


@pytest.mark.parametrize("cell", ["abc", "", "nan", "NaN", "inf", "1.2.3", "0:61"])
def test_text_for_a_number_is_refused_with_file_and_row(tmp_path: Path, cell: str):
    lines = ["a.wav,1,2,POS", f"a.wav,{cell},4,POS", "a.wav,5,6,POS"]
    path = write(tmp_path / "X" / "a.csv", HEAD + "CALL\n" + "\n".join(lines))
    rows, (problem,) = dcase(path)
    assert [row[-1] for row in rows] == [2, 4]  # the others are kept
    assert problem.fatal
    assert problem.where == f"{path}, row 3"
    assert f"Starttime is {cell!r}, where a number of seconds should be" in problem.message


def test_every_bad_row_is_named(tmp_path: Path):
    lines = [",1,2,POS", "a.wav,1,2,MAYBE", "a.wav,1,2", "a.wav,1,2,POS,7", "a.wav,1,2,POS,,",
             "a.wav,x,2,POS", "a.wav,y,2,POS"]  # fmt: skip
    path = write(tmp_path / "X" / "a.csv", HEAD + "CALL\n" + "\n".join(lines))
    rows, problems = dcase(path)
    assert [row[-1] for row in rows] == [6]
    assert {(problem.where, problem.fatal) for problem in problems} == {
        (f"{path}, row 2", True), (f"{path}, row 3", True), (f"{path}, rows 4, 5", True),
        (f"{path}, rows 7, 8", True),
    }  # fmt: skip
    assert any("CALL is 'MAYBE', where POS, NEG or UNK should be" in p.message for p in problems)


def test_tables_of_no_use_are_refused_by_name(tmp_path: Path):
    with pytest.raises(UnknownFormat, match=r"a\.csv: its first row is 'one,two'"):
        dcase(write(tmp_path / "a.csv", "one,two\n1,2\n"))
    with pytest.raises(UnknownFormat, match="no class column"):
        dcase(write(tmp_path / "a.csv", HEAD.rstrip(",") + "\na.wav,1,2\n"))
    with pytest.raises(UserError, match="column CALL twice"):
        dcase(write(tmp_path / "a.csv", HEAD + "CALL,CALL\na.wav,1,2,POS,POS\n"))
    with pytest.raises(UserError, match=r"a\.csv, row 3: .* stray quotation mark"):
        dcase(write(tmp_path / "a.csv", HEAD + 'CALL\na.wav,1,2,POS\n"a.wav,1,2,POS\n'))
    with pytest.raises(UserError, match="binary"):
        dcase(write(tmp_path / "a.csv", HEAD + "\0"))
    with pytest.raises(UserError, match="cannot be opened"):
        dcase(tmp_path / "absent.csv")


@pytest.mark.parametrize("tail", ["", "\n", "\n\n,,,\n"])
def test_a_table_without_rows_has_no_events(tmp_path: Path, tail: str):
    assert dcase(write(tmp_path / "a.csv", HEAD + "CALL" + tail)) == ([], [])


def test_a_hundred_thousand_rows_in_a_few_seconds(tmp_path: Path):
    # 10 classes: a million events. Processor time, because the machine may be busy.
    n = 100_000
    body = "".join(f"a.wav,{k}.5,{k + 1},POS{',NEG' * 9}\n" for k in range(n))
    path = write(tmp_path / "a.csv", HEAD + ",".join(f"C{k}" for k in range(10)) + "\n" + body)
    start = time.process_time()
    rows, problems = read_dcase(path, q_class="recording")
    assert time.process_time() - start < 10
    assert len(rows["row"]) == 10 * n
    assert np.array_equal(rows["row"][::10], np.arange(2, n + 2))
    assert (rows["status"] == "POS").sum() == n
    assert problems == []


def test_clips_with_and_without_their_columns(tmp_path: Path):
    text = "file,label,fold,source,split\na/1.wav,dog,3,s1,Train\na/2.wav,cat,1,,validation\n"
    rows, problems = read_clips(write(tmp_path / "clips.csv", text))
    assert rows["audio"].tolist() == ["a/1.wav", "a/2.wav"]
    assert rows["label"].tolist() == ["dog", "cat"]
    assert rows["source"].tolist() == ["s1", ""]
    assert rows["split"].tolist() == ["train", "val"]
    assert np.isnan(rows["end_s"]).all()
    assert problems == []
    rows, problems = read_clips(write(tmp_path / "clips.csv", "Label;File\ndog;1.wav\n"))
    assert (rows["label"][0], rows["source"][0], rows["split"][0]) == ("dog", "", "")


def test_clips_refuse_rows_and_headers(tmp_path: Path):
    text = "file,label,split\n,dog,train\n1.wav,,train\n2.wav,dog,dev\n3.wav,dog,test\n"
    path = write(tmp_path / "clips.csv", text)
    rows, problems = read_clips(path)
    assert rows["audio"].tolist() == ["3.wav"]
    assert [problem.where for problem in problems] == [f"{path}, row {n}" for n in (2, 3, 4)]
    assert "split is 'dev', where train, val or test should be" in problems[2].message
    with pytest.raises(UnknownFormat, match="file, label"):
        read_clips(write(tmp_path / "clips.csv", "filename,target\n1.wav,0\n"))


RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\t"


def test_raven_views_count_once(tmp_path: Path):
    path = write(
        tmp_path / "a.Table.1.selections.txt",
        RAVEN + "Annotation\n"
        "1\tWaveform 1\t1\t0.5\t1.0\t0\twren\n1\tSpectrogram 1\t1\t0.5\t1.0\t0\twren\n"
        "2\tWaveform 1\t1\t2\t3\t0\ttit\n2\tSpectrogram 1\t1\t2\t3\t0\ttit\n",
    )
    assert raven(path) == ([("", 0.5, 1.0, "wren", 2), ("", 2.0, 3.0, "tit", 4)], [])


@pytest.mark.parametrize("column", ["ANNOTATION", "species", "Label"])
def test_raven_label_columns(tmp_path: Path, column: str):
    path = write(tmp_path / "a.txt", f"Begin Time (s)\tEnd Time (s)\t{column}\n1\t2\twren\n")
    assert raven(path)[0][0][3] == "wren"


def test_raven_label_column_of_ones_own_and_two_at_once(tmp_path: Path):
    path = write(
        tmp_path / "a.txt",
        "Begin Time (s)\tEnd Time (s)\tSpecies\tAnnotation\tTyp\n1\t2\ts\ta\tt\n",
    )
    assert raven(path, "Typ")[0][0][3] == "t"
    rows, (problem,) = raven(path)
    assert rows[0][3] == "a"
    assert not problem.fatal
    assert "Annotation and Species" in problem.message
    with pytest.raises(UserError, match=r"no column Ruf .*data\.label_column"):
        raven(path, "Ruf")


def test_raven_over_several_files_counts_from_the_head_of_each(tmp_path: Path):
    head = "Begin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\n"
    path = write(tmp_path / "all.txt", head + "1\t2\ta.wav\t1\twren\n61\t62.5\tb.wav\t1\twren\n")
    assert raven(path)[0] == [("a.wav", 1.0, 2.0, "wren", 2), ("b.wav", 1.0, 2.5, "wren", 3)]
    text = path.read_text().replace("\tFile Offset (s)", "").replace("wav\t1", "wav")
    with pytest.raises(UserError, match=r"spans 2 recordings .*File Offset"):
        raven(write(path, text))


def test_raven_selection_without_label_is_left_out(tmp_path: Path):
    path = write(tmp_path / "a.txt", "Begin Time (s)\tEnd Time (s)\tLabel\n1\t2\t\n3\t4\twren\n")
    rows, (problem,) = raven(path)
    assert [row[-1] for row in rows] == [3]
    assert (problem.kind, problem.fatal, problem.where) == ("no-label", False, f"{path}, row 2")
