"""Events tables: every format read, every writer read back, and everything wrong named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g5.common.errors import UserError
from preprocessing.annotations import (
    OF_ONE,
    SUFFIXES,
    UnknownFormat,
    format_of,
    read_events,
    write_events,
)
from preprocessing.annotations.spelling import DITTO
from preprocessing.events import EVENT_COLUMNS, Problem

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def read(path: Path, **options) -> tuple[list[tuple], list[Problem]]:
    events, problems = read_events(path, **options)
    assert list(events.columns[:5]) == EVENT_COLUMNS
    assert events.columns[-1] == "row"
    return list(events[["file", "start_s", "end_s", "label"]].itertuples(False, None)), problems


# --- every format in ----------------------------------------------------------------------------


def test_raven_keeps_the_band_and_the_other_columns(tmp_path: Path):
    path = write(
        tmp_path / "night.Table.1.selections.txt",
        f"{RAVEN}\tSPECIES\tTyp\tfile\n2\tSpectrogram 1\t1\t3\t4\t0\t0\ttit\tsong\tx\n"
        "1\tSpectrogram 1\t1\t1.5\t2\t500\t2500.5\twren\tcall\ty\n",
    )
    events, problems = read_events(path)
    assert problems == []
    assert format_of(path) == "raven"
    assert read(path)[0] == [("night", 1.5, 2.0, "wren"), ("night", 3.0, 4.0, "tit")]
    assert events["low_hz"].tolist()[0] == 500
    assert np.isnan(events["low_hz"][1])  # a waveform's selection
    assert events["high_hz"].tolist()[0] == 2500.5
    assert events["Typ"].tolist() == ["call", "song"]
    assert events["file (table)"].tolist() == ["y", "x"]
    assert events["row"].tolist() == [3, 2]


def test_raven_offsets_labels_and_emptiness(tmp_path: Path):
    head = "Begin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tlabel\n"
    path = write(tmp_path / "a.txt", head + "61\t62.5\tC:\\x\\b.wav\t1\twren\n")
    assert read(path)[0] == [("C:\\x\\b.wav", 1.0, 2.5, "wren")]
    assert read(write(tmp_path / "a.txt", head)) == ([], [])
    rows, (problem,) = read(write(tmp_path / "a.txt", "Begin Time (s)\tEnd Time (s)\n1\t2\n"))
    assert rows == [("a", 1.0, 2.0, "call")]
    assert "no column Annotation or Species or Label" in problem.message
    path = write(tmp_path / "b.txt", "Begin Time (s)\tEnd Time (s)\tCommon Name\n1\t2\twren\n")
    assert read(path) == ([("b", 1.0, 2.0, "wren")], [])


def test_one_comma_among_points_of_three_digits_is_told(tmp_path: Path):
    rows = "Begin Time (s)\tEnd Time (s)\tAnnotation\n1.500\t1.698\ta\n5,301\t5.520\ta\n"
    _, (*_, problem) = read(write(tmp_path / "five.txt", rows))
    assert problem.fatal
    assert "nothing tells which of 5,301 and 1.500 is in thousands" in problem.message


def test_numbers_behind_the_end_of_a_track_are_told(tmp_path: Path):
    """Avisoft's export of labels may hold frequencies there."""
    path = write(tmp_path / "a.txt", "1.0\t1.5\t4000\t8000\tsong\n2.0\t2.5\t4000\t8000\tsong\n")
    assert "--columns says which is which" in str(read(path)[1][0])
    named = write(tmp_path / "b.txt", f"Start\tEnd\tLow\tHigh\tText\n{path.read_text('utf-8')}")
    columns = {
        "start_s": "Start",
        "end_s": "End",
        "low_hz": "Low",
        "high_hz": "High",
        "label": "Text",
    }
    events, _ = read_events(named, columns=columns)
    assert [*events["label"]] == ["song", "song"]
    assert [*events["high_hz"]] == [8000.0, 8000.0]


def test_audacity_with_bands_points_and_tabs(tmp_path: Path):
    path = write(
        tmp_path / "night.txt",
        "3,5\t4\ttit\ta\r\n1\t2\twren\n\\\t500.5\t2500\n5\t6\n\\\t-1\t-1\n7\t7\tpoint\n",
    )
    rows, (signs, nameless, problem) = read(path)
    assert "decimal comma and others with a point" in signs.message
    assert nameless.message == "names no class; it is called 'call'"
    assert format_of(path) == "audacity"
    assert rows == [
        ("night", 1.0, 2.0, "wren"), ("night", 3.5, 4.0, "tit a"), ("night", 5.0, 6.0, "call"),
    ]  # fmt: skip
    assert (problem.where, problem.message) == (
        f"{path}, row 6", "has no length; it is left out",
    )  # fmt: skip
    events, _ = read_events(path)
    assert events["low_hz"].tolist()[0] == 500.5
    assert np.isnan(events["high_hz"][1:]).all()
    assert read(write(tmp_path / "empty.txt", "")) == ([], [])


def test_birdnet_dcase_and_plain(tmp_path: Path):
    path = write(
        tmp_path / "a.BirdNET.results.csv",
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "0.0,3.0,Troglodytes troglodytes,Wren,0.75,/x/a.wav\n",
    )
    events, problems = read_events(path)
    assert (format_of(path), problems) == ("birdnet", [])
    assert read(path)[0] == [("/x/a.wav", 0.0, 3.0, "Wren")]
    assert events["score"].tolist() == [0.75]
    assert events["Scientific name"].tolist() == ["Troglodytes troglodytes"]

    head = "Audiofilename,Starttime,Endtime"
    path = write(tmp_path / "b.csv", f"{head}\nb.wav,1,2\na.wav,3,4\n")
    assert format_of(path) == "dcase"
    assert read(path) == ([("a.wav", 3.0, 4.0, "a"), ("b.wav", 1.0, 2.0, "b")], [])
    path = write(tmp_path / "b.csv", f"{head},Q\nb.wav,1,2,UNK\n")
    assert read_events(path)[0]["status"].tolist() == ["UNK"]
    path = write(tmp_path / "b.csv", f"{head},WREN,TIT\nb.wav,1,2,POS,NEG\n")
    assert read_events(path)[0]["label"].tolist() == ["WREN", "TIT"]

    path = write(tmp_path / "c.csv", "Onset;Offset;Species;Low_Hz;high_hz\n1,5;2;wren;100;5\n")
    events, (problem, nameless) = read_events(path)
    assert read(path)[0] == [("c", 1.5, 2.0, "wren")]
    assert nameless.message == "names no recording; it is taken as of 'c'"
    assert problem.message == "100 to 5 Hz is no band; the limits are left out"
    assert np.isnan(events["low_hz"]).all()


# --- every format out ---------------------------------------------------------------------------

READ_AS = {"labelstudio": "json"}
# No control characters, and nothing that is not one text in UTF-8.
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(
    lambda word: word not in DITTO  # a mark that stands for the row above
)
SECONDS = st.floats(0, 1e6, allow_nan=False).map(abs)
NUMBERS = st.one_of(st.floats(allow_infinity=False, allow_nan=False), st.just(np.nan))


@st.composite
def tables(draw, files: int) -> pd.DataFrame:
    names = [f"{name}.wav" for name in ("night", "b c", "ä")[:files]]
    rows = draw(st.lists(st.tuples(
        st.sampled_from(names), SECONDS, SECONDS, WORDS, st.sampled_from(["POS", "UNK", "NEG"]),
        NUMBERS, NUMBERS, st.one_of(WORDS, st.just("")), WORDS,
    ), max_size=6))  # fmt: skip
    columns = [*EVENT_COLUMNS, "score", "distance", "nearest", "Notes"]
    table = pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys(("start_s", "end_s", "score", "distance"), float)
        | dict.fromkeys(("file", "label", "status", "nearest", "Notes"), "str")
    )
    low = draw(st.lists(st.floats(1, 1e3), min_size=len(table), max_size=len(table)))
    banded = draw(st.booleans())
    table.insert(5, "low_hz", np.array(low, dtype=float) if banded else np.nan)
    table.insert(6, "high_hz", table["low_hz"] + 1.5)
    return table.sort_values(["file", "start_s", "end_s"], kind="stable", ignore_index=True)


@pytest.mark.parametrize("format", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_writer_is_read_back(tmp_path_factory, format: str, data):
    folder = tmp_path_factory.getbasetemp() / "round"
    folder.mkdir(exist_ok=True)
    table = data.draw(tables(files=1 if format in OF_ONE else 3))
    if format == "textgrid":  # has no events without length
        table["end_s"] = table[["start_s", "end_s"]].max(axis=1) + 1
    path = write_events(table, folder / f"night{SUFFIXES[format]}", format)
    got, problems = read_events(path, boxes=False)
    assert {problem.kind for problem in problems} <= {"label"}  # odd names stay as they are
    want = table
    if format == "audacity":
        banded = not table["low_hz"].isna().all()
        kept = ["start_s", "end_s", "label", *(["low_hz", "high_hz"] if banded else [])]
        want = table[kept].assign(file="night", status="POS")
    elif format == "textgrid":
        want = table[["start_s", "end_s", "label"]].assign(file="night", status="POS")
        # Tiers keep no order of what starts and ends together.
        want, got = (
            one.sort_values(["start_s", "end_s", "label"], ignore_index=True) for one in (want, got)
        )
    elif format == "raven":  # to the microsecond, within which order is lost
        want = table.round(dict.fromkeys(("start_s", "end_s", "low_hz", "high_hz"), 6))
        every = list(want.columns)
        want, got = (
            one.sort_values([name for name in every if name in one], ignore_index=True)
            for one in (want, got)
        )
    elif format in ("birdnet", "labelstudio"):
        want = table[["file", "start_s", "end_s", "label", "score"]].assign(status="POS")
    elif format == "dcase":
        want = table[["file", "start_s", "end_s", "status"]].assign(
            label=[Path(name).stem for name in table["file"]]
        )
    assert (format_of(path), len(got)) == (READ_AS.get(format, format), len(want))
    for name in want:
        if name in got:
            pd.testing.assert_frame_equal(
                got.loc[:, [name]], want.loc[:, [name]], check_exact=True, check_dtype=len(want) > 0
            )
        else:
            assert format in ("raven", "labelstudio")
            assert not len(want)


def test_writers_clean_names_and_refuse_what_does_not_fit(tmp_path: Path):
    events = pd.DataFrame(
        {
            "file": ["/x/a.wav", "b.wav"], "start_s": [1e-6, 2], "end_s": [1e9, 3],
            "label": ["wren\tor\ntit", '"q"'], "status": "POS", "Annotation": ["1", "2"],
        }
    )  # fmt: skip
    path = write_events(events, tmp_path / "a.selections.txt", "raven")
    got, problems = read_events(path)
    assert problems == []
    assert got["label"].tolist() == ["wren or tit", '"q"']
    assert got["start_s"].tolist() == [1e-6, 2]
    assert "e" not in path.read_text().splitlines()[1].split("\t")[3]
    assert got["Annotation (2)"].tolist() == ["1", "2"]
    path = write_events(events, tmp_path / "a.csv", "dcase")
    assert path.read_text().splitlines()[0] == "Audiofilename,Starttime,Endtime"
    assert path.read_text().splitlines()[2] == "b.wav,2,3"
    with pytest.raises(UserError, match=r"one recording, not 2 \(/x/a\.wav, b\.wav"):
        write_events(events, tmp_path / "a.txt", "audacity")
    with pytest.raises(UserError, match="'word' is no format of events; choose from raven"):
        write_events(events, tmp_path / "a.doc", "word")
    assert not (tmp_path / "a.txt").exists()


# --- what is wrong is named ---------------------------------------------------------------------


def test_boxes_that_are_none_are_named_by_row(tmp_path: Path):
    lines = ["a.wav,1,2,x", "a.wav,3,3,x", "a.wav,5,4,x", "a.wav,nan,4,x", "a.wav,-1,0.5,x",
             "a.wav,1.5,2.5,x", "a.wav,1,2,x", "a.wav,-3,-2,x"]  # fmt: skip
    path = write(tmp_path / "a.csv", "file,start_s,end_s,label\n" + "\n".join(lines) + "\n")
    rows, problems = read(path)
    assert [row[1:3] for row in rows] == [(0.0, 0.5), (1.0, 2.0), (1.5, 2.5)]
    told = {(problem.where.removeprefix(f"{path}, "), problem.message) for problem in problems}
    assert told == {
        ("row 5", "start_s is 'nan', where a number of seconds should be; put it right"),
        ("row 3", "has no length; it is left out"),
        ("row 4", "ends before it starts; put it right"),
        ("row 6", "starts before the recording; it is cut"),
        ("row 8", "repeats another row; it counts once"),
        ("row 9", "lies outside the recording; it is left out"),
        ("row 7", "overlaps an earlier call of its class; a clip of one then holds some of the "
                  "other"),
    }  # fmt: skip
    rows, _ = read(path, boxes=False)
    assert len(rows) == 7  # all but the NaN


def test_files_of_no_use_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="is a folder"):
        read_events(tmp_path)
    with pytest.raises(UserError, match="binary"):
        read_events(write(tmp_path / "a.wav", "RIFF\0\0"))
    with pytest.raises(UserError, match="cannot be opened"):
        read_events(tmp_path / "absent.csv")
    with pytest.raises(UnknownFormat, match="is empty"):
        read_events(write(tmp_path / "a.csv", "\n"))
    with pytest.raises(UnknownFormat, match=r"a\.csv: its first row is 'one,two'; that is no Rav"):
        read_events(write(tmp_path / "a.csv", "one,two\n1,2\n"))
    with pytest.raises(UserError, match="no readable Parquet"):
        read_events(write(tmp_path / "a.parquet", "PAR1"))
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UnknownFormat, match="no columns start_s and end_s"):
        read_events(tmp_path / "b.parquet")
