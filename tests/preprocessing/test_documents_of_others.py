"""Annotations that are no tables, tables with columns of one's own, and `g5 convert`."""

import json
from pathlib import Path
from typing import Any

import pytest

from g5.common.errors import UserError
from preprocessing.annotations import columns_of, format_of, read_events
from tests.conftest import run_g5

LONG_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "calls 7"
        xmin = 0
        xmax = 3.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = ""
        intervals [2]:
            xmin = 1.25
            xmax = 2.5
            text = "the ""great"" tit"
        intervals [3]:
            xmin = 2.5
            xmax = 3.5
            text = "12"
    item [2]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 3.5
        points: size = 1
        points [1]:
            number = 0.5
            mark = "click"
"""
SHORT_GRID = """"ooTextFile"
"TextGrid"
0
3.5
<exists>
1
"IntervalTier"
"a"
0
3.5
2
0
1.5
"owl"
1.5
3.5
""
"""
BATDETECT: dict[str, Any] = {
    "annotated": False, "id": "bat.wav", "duration": 1.0, "time_exp": 1, "class_name": "Pip",
    "annotation": [
        {"class": "Pipistrellus", "class_prob": 0.5, "det_prob": 0.75, "start_time": 0.125,
         "end_time": 0.25, "low_freq": 40000.0, "high_freq": 55000.0, "event": "Echolocation",
         "individual": "-1"},
    ],
}  # fmt: skip
AOEF: dict[str, Any] = {
    "version": "1.1.0",
    "data": {
        "collection_type": "annotation_project",
        "recordings": [{"uuid": "r", "path": "site/a.wav"}],
        "tags": [{"id": 0, "key": "behaviour", "value": "song"},
                 {"id": 1, "key": "species", "value": "Strix aluco"}],
        "sound_events": [
            {"uuid": "s", "recording": "r",
             "geometry": {"type": "BoundingBox", "coordinates": [1.0, 500.0, 2.0, 900.0]}},
            {"uuid": "t", "recording": "r",
             "geometry": {"type": "TimeInterval", "coordinates": [3.0, 4.0]}},
            {"uuid": "u", "recording": "r",
             "geometry": {"type": "Polygon", "coordinates": [[[5, 100], [6, 300], [5.5, 200]]]}},
        ],
        "sound_event_annotations": [
            {"uuid": "1", "sound_event": "s", "tags": [0, 1]},
            {"uuid": "2", "sound_event": "t", "tags": [0]},
            {"uuid": "3", "sound_event": "u", "tags": None},
        ],
    },
}  # fmt: skip
STUDIO: list[Any] = [
    {"data": {"audio": "/data/upload/a.wav"},
     "annotations": [
         {"was_cancelled": True, "result": []},
         {"result": [{"type": "labels", "value": {"start": 1, "end": 2, "labels": ["owl", "tit"]}},
                     {"type": "choices", "value": {"choices": ["x"]}}]}]},
]  # fmt: skip


def rows(path: Path) -> list[tuple]:
    events, _ = read_events(path, boxes=False)
    return list(events[["file", "start_s", "end_s", "label"]].itertuples(False, None))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_textgrids_long_and_short(tmp_path: Path, encoding: str):
    path = tmp_path / "night.TextGrid"
    path.write_text(LONG_GRID, encoding)
    assert format_of(path) == "textgrid"
    assert rows(path) == [
        ("night", 0.5, 0.5, "click"), ("night", 1.25, 2.5, 'the "great" tit'),
        ("night", 2.5, 3.5, "12"),
    ]  # fmt: skip
    path.write_text(SHORT_GRID, encoding)
    assert rows(path) == [("night", 0.0, 1.5, "owl")]


def test_json_of_batdetect2_whombat_and_label_studio(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(BATDETECT))
    assert rows(path) == [("bat.wav", 0.125, 0.25, "Pipistrellus")]
    events, _ = read_events(path)
    assert events[["low_hz", "high_hz", "score"]].iloc[0].tolist() == [40000, 55000, 0.5]
    path.write_text(json.dumps(AOEF))
    assert rows(path) == [
        ("site/a.wav", 1.0, 2.0, "Strix aluco"), ("site/a.wav", 3.0, 4.0, "song"),
        ("site/a.wav", 5.0, 6.0, "call"),
    ]  # fmt: skip
    assert read_events(path)[0]["high_hz"].tolist()[2] == 300
    path.write_text(json.dumps(STUDIO))
    assert rows(path) == [("/data/upload/a.wav", 1.0, 2.0, label) for label in ("owl", "tit")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}', "is JSON, but none of"),
        ("[1, 2]", "is JSON, but none of"),
        ('{"annotation": [{"class": "x"}]}', "no whole document"),
        ('{"annotation": [', "no whole document"),
        (LONG_GRID[:-40], "no whole document"),
        ("[" * 100_000, "no whole document"),
    ],
)
def test_documents_that_are_none_are_refused(tmp_path: Path, text: str, said: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_events(path)


def test_kaleidoscope_s_own_guess_where_nobody_gave_a_name(tmp_path: Path):
    path = tmp_path / "id.csv"
    path.write_text(
        "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,AUTO ID,PULSES,MANUAL ID\n"
        "/d,n1,a.wav,0,1.5,2,PIPPIP,9,\n/d,n1,a.wav,0,5,1,NOISE,3,NYCLEI\n"
    )
    assert rows(path) == [("n1/a.wav", 1.5, 3.5, "PIPPIP"), ("n1/a.wav", 5.0, 6.0, "NYCLEI")]


def test_arbimon_boxes(tmp_path: Path):
    path = tmp_path / "rois.csv"
    path.write_text("recording,species,songtype,x1,y1,x2,y2\na.flac,Eleuth,Song,1,800,2.5,1200\n")
    assert rows(path) == [("a.flac", 1.0, 2.5, "Eleuth")]
    assert read_events(path)[0]["low_hz"].tolist() == [800]


def test_columns_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("Rec;Begin;End;Sp;start_s\na.wav;1,5;2;owl;x\nb.wav;3;x;tit;x\n")
    keys = "start_s=Begin,end_s=End,label=Sp,file=Rec"
    assert run_g5(["convert", "mine.csv", "-o", "out.csv"]) == 1
    assert run_g5(["convert", "mine.csv", "-o", "out.csv", "--columns", keys]) == 1
    said = capsys.readouterr()
    assert "mine.csv, row 3: " in said.out
    assert rows(Path("out.csv")) == [("a.wav", 1.5, 2.0, "owl")]  # what is right is kept
    assert run_g5(["convert", "mine.csv", "-o", "o.csv", "--columns", "start_s=Nothing"]) == 1
    assert "has no column Nothing (it has Rec, Begin, End, Sp, start_s)" in capsys.readouterr().err
    with pytest.raises(UserError, match="should be OURS=THEIRS"):
        columns_of("begin=Begin")


def test_convert_writes_a_table_for_each_recording(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("e.csv").write_text("file,start_s,end_s,label\nx/a.wav,1,2,owl\nb.wav,3,4,tit\n")
    for format, names in (
        ("raven", ["b.selections.txt", "x_a.selections.txt"]),
        ("textgrid", ["b.TextGrid", "x_a.TextGrid"]),
    ):
        assert run_g5(["convert", "e.csv", "--format", format, "-o", format]) == 0
        assert sorted(path.name for path in Path(format).iterdir()) == names
    assert run_g5(["convert", "e.csv", "--format", "birdnet", "-o", "b.csv"]) == 0
    assert format_of("b.csv") == "birdnet"
    assert "2 events of 2 recordings: b.csv" in capsys.readouterr().out
