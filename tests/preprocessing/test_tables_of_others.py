"""Tables that the field's programs write, and what people's spreadsheets made of them."""

from pathlib import Path

import numpy as np
import pytest

from g5.common.errors import UserError
from g5.evaluation.events.ground_truth import read_truth
from preprocessing.annotations import UnknownFormat, format_of, odd_labels, ours, read_events
from preprocessing.annotations.numbers import settled


def events_of(path: Path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    events, problems = read_events(path)
    rows = events[["file", "start_s", "end_s", "label"]].itertuples(index=False, name=None)
    return list(rows), [problem.kind for problem in problems], events


def test_birdnet_keeps_species_apart_in_all_of_its_tables(tmp_path: Path):
    r = "filepath,start,end,scientific_name,common_name,confidence,lat,lon,week,model\n"
    rows, kinds, events = events_of(
        tmp_path / "a.BirdNET.results.csv",
        r + "/d/a.wav,0,3,Strix aluco,Tawny Owl,0.9,-1,-1,-1,m\n"
        "/d/a.wav,3,6,Turdus merula,Blackbird,0.8,-1,-1,-1,m\n"
        "/d/a.wav,6,9,nocall,nocall,1,-1,-1,-1,m\n",
    )
    assert [row[3] for row in rows] == ["Tawny Owl", "Blackbird"]
    assert kinds == ["no-call"]
    assert events["score"].tolist() == [0.9, 0.8]
    rows, kinds, events = events_of(
        tmp_path / "a.BirdNET.results.txt", "0.0\t3.0\tTawny Owl\t0.91\n3.0\t6.0\tTawny Owl\t0.5\n"
    )
    assert rows == [("a", 0.0, 3.0, "Tawny Owl"), ("a", 3.0, 6.0, "Tawny Owl")]
    assert events["score"].tolist() == [0.91, 0.5]
    rows, kinds, events = events_of(
        tmp_path / "b.csv", "input,start_time,end_time,species_name,confidence\na.wav,0,3,S_T,.5\n"
    )
    assert (rows, kinds) == ([("a.wav", 0.0, 3.0, "S_T")], [])


def test_times_of_hours_and_minutes_are_read_and_told(tmp_path: Path):
    head = "input,start_time,end_time,species_name,confidence\n"
    text = f"{head}a.wav,00:00:03.00,0:01:06.50,S_T,.5\na.wav,75:03,1:00:00,S_T,.5\n"
    rows, kinds, _ = events_of(tmp_path / "b.csv", text)
    assert rows == [("a.wav", 3.0, 66.5, "S_T")]
    assert kinds == ["clock", "clock", "negative"]
    rows, kinds, _ = events_of(tmp_path / "b.csv", f"{head}a.wav,0:01:60,2024-05-01 01:00:03,o,1\n")
    assert (rows, set(kinds)) == ([], {"bad-row"})


def test_kaleidoscopes_own_guess_has_a_star(tmp_path: Path):
    head = "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,AUTO ID*,MANUAL ID\n"
    text = f"{head}/d,s,a.wav,0,3.5,2,MYOLUC,\n/d,s,a.wav,0,8,2,NoID,EPTFUS\n"
    rows, kinds, _ = events_of(tmp_path / "id.csv", text)
    assert rows == [("s/a.wav", 3.5, 5.5, "MYOLUC"), ("s/a.wav", 8.0, 10.0, "EPTFUS")]
    assert kinds == []


def test_what_spreadsheets_and_scripts_put_into_a_table(tmp_path: Path):
    """Excel's line on the separator, a second header, signs that nobody sees, pipes, codes."""
    first = [("a.wav", 1.5, 2.25, "owl")]
    rows = "file;start_s;end_s;label\r\na.wav;1,5;2,25;owl\r\n"
    for line in ("sep=;\r\n", '"sep=;"\r\n', "SEP=;;;;\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            assert events_of(tmp_path / "a.csv", line + rows, encoding)[:2] == (first, [])
    head = "file,start_s,end_s,label\n"
    found = events_of(tmp_path / "a.csv", f"{head}a.wav,1.5,2.25,owl\n{head}b.wav,0,1,wren\n")
    assert found[:2] == ([*first, ("b.wav", 0.0, 1.0, "wren")], ["header"])
    text = f"\ufeff{head}\u200ba.wav,1.5,2.25,owl\u200e\n"
    assert events_of(tmp_path / "a.csv", text, "utf-8-sig")[:2] == (first, [])
    text = "file|start_s|end_s|label\na.wav|1.5|2.25|owl\n"
    assert events_of(tmp_path / "a.csv", text)[:2] == (first, [])
    text = "Filename,Start Time (s),End Time (s),Species eBird Code\na.wav,1.5,2.25,owl\n"
    assert events_of(tmp_path / "a.csv", text)[:2] == (first, [])


def test_warbler_has_kilohertz_and_batdetect_two_probabilities(tmp_path: Path):
    rows, kinds, events = events_of(
        tmp_path / "sels.csv",
        '"sound.files","selec","start","end","bottom.freq","top.freq","sound.type"\n'
        '"n.wav",1,1,2,2.2,4.5,"owl"\n"n.wav",2,3,4,5.5,8,"tit"\n',
    )
    assert (rows, kinds) == ([("n.wav", 1.0, 2.0, "owl"), ("n.wav", 3.0, 4.0, "tit")], [])
    assert events["low_hz"].tolist() == [2200, 5500]
    assert events["high_hz"].tolist() == [4500, 8000]
    rows, kinds, events = events_of(
        tmp_path / "bat.wav.csv",
        "id,det_prob,start_time,end_time,high_freq,low_freq,class,class_prob\n"
        "0,0.7,0.1,0.2,60000,30000,Myotis,0.5\n",
    )
    assert rows == [("bat.wav", 0.1, 0.2, "Myotis")]
    assert kinds == ["no-recording"]
    assert events["score"].tolist() == [0.5]
    rows, _, _ = events_of(
        tmp_path / "k.csv",
        "INDIR,FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID\nx,s1,n.wav,1.5,2,owl\n",
    )
    assert rows == [("s1/n.wav", 1.5, 3.5, "owl")]


def test_opensoundscape_scores_are_no_events_and_ones_are(tmp_path: Path):
    head = "file,start_time,end_time,owl,wren\n"
    rows, kinds, _ = events_of(tmp_path / "a.csv", head + "n.wav,0,3,1,0\nn.wav,3,6,1.0,True\n")
    assert [(row[1], row[3]) for row in rows] == [(0, "owl"), (3, "owl"), (3, "wren")]
    assert kinds == []
    with pytest.raises(UnknownFormat, match="numbers in owl, wren"):
        events_of(tmp_path / "a.csv", head + "n.wav,0,3,-9,-9\n")


def test_an_unknown_class_column_is_refused_with_the_columns(tmp_path: Path):
    with pytest.raises(UnknownFormat, match=r"it has file, start, end, Vogelart\)"):
        events_of(tmp_path / "a.csv", "file,start,end,Vogelart\na.wav,1,2,Eule\n")
    with pytest.raises(UnknownFormat, match=r"remove owl, wren; .*row 2: has 2 fields"):
        events_of(tmp_path / "a.csv", "file,start,end,owl,wren\na.wav,1\n")
    rows, kinds, _ = events_of(tmp_path / "a.csv", "start,end,comment\n1,2,Eule\n")
    assert rows == [("a", 1.0, 2.0, "call")]
    assert kinds == ["no-recording", "no-class"]


RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"


def test_raven_is_not_quoted(tmp_path: Path):
    lines = [f"{i}\tSpectrogram 1\t1\t{i}\t{i}.5\t100\t200\t" for i in range(1, 6)]
    labels = ["owl", '"', '"', '5" wing', '"owl, tawny"']
    body = "".join(f"{line}{label}\n" for line, label in zip(lines, labels, strict=True))
    rows, kinds, _ = events_of(tmp_path / "a.txt", RAVEN + "Annotation\n" + body)
    assert [row[3] for row in rows] == ["owl", "owl", "owl", '5" wing', "owl, tawny"]
    assert kinds == ["quotes", "ditto"]
    quoted = '"Begin Time (s)"\t"End Time (s)"\t"Annotation"\n1\t2\t"owl"\n'
    assert events_of(tmp_path / "a.txt", quoted)[:2] == ([("a", 1.0, 2.0, "owl")], [])


def test_a_stray_mark_does_not_swallow_rows(tmp_path: Path):
    text = 'file,start,end,label\na.wav,1,2,"\na.wav,3,4,owl\na.wav,5,6,"\na.wav,7,8,owl\n'
    with pytest.raises(UserError, match=r"a\.csv, row 2: .*stray quotation mark"):
        events_of(tmp_path / "a.csv", text)


def test_two_views_of_a_selection_are_merged(tmp_path: Path):
    rows, kinds, events = events_of(
        tmp_path / "a.txt",
        RAVEN + "Annotation\tNotes\n1\tWaveform 1\t1\t1\t2\t0\t0\towl\t\n"
        "1\tSpectrogram 1\t1\t1\t2\t100\t200\t\tfaint\n2\tWaveform 1\t1\t3\t4\t0\t0\ttit\t\n",
    )
    assert rows == [("a", 1.0, 2.0, "owl"), ("a", 3.0, 4.0, "tit")]
    assert kinds == []
    assert (events["low_hz"][0], events["high_hz"][0], events["Notes"][0]) == (100, 200, "faint")
    assert np.isnan(events["low_hz"][1])


def test_raven_paths_row_by_row_and_offsets_that_stand_still(tmp_path: Path):
    head = "Begin Time (s)\tEnd Time (s)\tBegin Path\tBegin File\tFile Offset (s)\tAnnotation\n"
    rows, _, _ = events_of(
        tmp_path / "a.txt", head + "1\t2\tD:\\x\\a.wav\ta.wav\t1\towl\n61\t62\t\tb.wav\t1\towl\n"
    )
    assert [row[0] for row in rows] == ["D:\\x\\a.wav", "b.wav"]
    one = "1\t2\t\ta.wav\t0\towl\n5\t6\t\ta.wav\t0\towl\n"
    rows, kinds, _ = events_of(tmp_path / "a.txt", head + one)
    assert [row[1:3] for row in rows] == [(1, 2), (5, 6)]
    assert kinds == ["stale-offset"]
    with pytest.raises(UserError, match=r"File Offset \(s\)` is 0 in every row of a\.wav"):
        events_of(tmp_path / "a.txt", head + one + "7\t8\t\tb.wav\t0\towl\n")


def test_ditto_marks_mean_the_value_above_and_are_told(tmp_path: Path):
    text = 'file,start,end,label\na.wav,1,2,owl\n"""",3,4,〃\n,5,6,tit\n'
    path = tmp_path / "a.csv"
    path.write_text(text, "utf-8")
    events, problems = read_events(path)
    assert events["file"].tolist() == ["a", "a.wav", "a.wav"]
    assert events["label"].tolist() == ["tit", "owl", "owl"]
    told = [str(problem) for problem in problems if problem.kind == "ditto"]
    assert told == [
        f"{path}, row 3: file is a ditto mark, read as the value above",
        f"{path}, row 3: label is a ditto mark, read as the value above",
    ]


@pytest.mark.parametrize(
    ("cells", "separator", "numbers", "told"),
    [
        (["1,5", "1.234,25"], ";", [1.5, 1234.25], False),
        (["1,234.5", "12"], "\t", [1234.5, 12], False),
        (["0,500", "1,234"], "\t", [0.5, 1.234], False),
        (["1,5", "2.5"], "\t", [1.5, 2.5], True),
        (["1,234", "2,345"], "\t", [1.234, 2.345], True),
        (["1,234", "2345"], "\t", [1.234, 2345], False),
        (["1,234", "2,345"], ",", [1234, 2345], True),
        (["1.234", "2.345"], ",", [1.234, 2.345], False),
        (["1.234.567", "2.345"], "\t", [1234567, 2345], True),
        (["1 234,5", "1\u202f234,25", "1'234,5"], ";", [1234.5, 1234.25, 1234.5], False),
        (["1_000", "1,2,3", "x", ""], ";", [np.nan] * 4, False),
        (["1,5", "1,23,4"], ";", [1.5, np.nan], False),
    ],
)
def test_decimal_signs_are_settled_by_the_table(cells, separator, numbers, told):
    found = settled(cells, separator)
    np.testing.assert_array_equal([found.number(cell) for cell in cells], numbers)
    assert bool(found.note) == told


def test_one_column_settles_the_sign_of_another(tmp_path: Path):
    text = "file;start;end;label;score\na.wav;1,234;2,345;owl;0,5\n"
    assert events_of(tmp_path / "a.csv", text)[0] == [("a.wav", 1.234, 2.345, "owl")]
    text = "file\tstart\tend\tlabel\tlow_hz\thigh_hz\na.wav\t1.5\t2.5\towl\t1,000\t2,000\n"
    assert events_of(tmp_path / "a.csv", text)[2]["high_hz"].tolist() == [2000]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_every_encoding_of_a_spreadsheet(tmp_path: Path, encoding: str):
    text = "file,start,end,label\nä.wav,1,2,Grünspecht – ♀\n".replace(
        " ♀", "" if encoding == "cp1252" else " ♀"
    )
    rows, kinds, _ = events_of(tmp_path / "a.csv", text, encoding)
    assert (rows[0][0], kinds) == ("ä.wav", [])
    assert rows[0][3].startswith("Grünspecht –")


def test_birdnet_pi_tells_clips(tmp_path: Path):
    head = "Date;Time;Sci_Name;Com_Name;Confidence;Lat;Lon;Cutoff;Week;Sens;Overlap"
    row = "2024-05-01;06:12:33;Turdus merula;Blackbird;0.85;48.1;11.5;0.7;17;1.25;0.0"
    clip = "Blackbird-85-2024-05-01-birdnet-06:12:33.mp3"
    for sign in ";,":
        text = f"{head};File_Name\n{row};{clip}\n".replace(";", sign)
        rows, kinds, events = events_of(tmp_path / "birds.csv", text)
        assert (rows, kinds) == ([(clip, 0.0, 6.0, "Blackbird")], ["whole-clip"])
        assert format_of(tmp_path / "birds.csv") == "birdnetpi"
        assert events["score"].tolist() == [0.85]
        assert events["Time"].tolist() == ["06:12:33"]
    with pytest.raises(UnknownFormat, match=r"birds\.csv: is BirdNET-Pi's, .* has File_Name"):
        events_of(tmp_path / "birds.csv", f"{head}\n{row}\n")


def test_birdnet_go_writes_two_tables(tmp_path: Path):
    """As WriteNotesCsv and WriteNotesTable of its internal/observation/observation.go do."""
    text = "Start (s),End (s),Scientific name,Common name,Confidence\n"
    text += "3.000000,6.000000,Turdus merula,Eurasian Blackbird,0.9132\n"
    rows, kinds, _ = events_of(tmp_path / "night.wav.csv", text)
    assert rows == [("night.wav", 3.0, 6.0, "Eurasian Blackbird")]
    text = "Selection\tView\tChannel\tBegin File\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\t"
    text += "High Freq (Hz)\tSpecies Code\tCommon Name\tConfidence\n"
    text += "1\tSpectrogram 1\t1\t/in/night.wav\t3.0\t6.0\t0\t15000\teurbla\tBlackbird\t0.9132\n"
    rows, kinds, events = events_of(tmp_path / "night.wav.txt", text)
    assert (rows, kinds) == ([("/in/night.wav", 3.0, 6.0, "Blackbird")], [])
    assert events["score"].tolist() == [0.9132]


def test_labels_that_differ_in_spelling_are_told(tmp_path: Path):
    lines = odd_labels(["owl", "Owl", "owl", "NaN", "tit"])
    assert len(lines) == 2
    assert "'Owl' and 'owl' differ only in case" in lines[0]
    assert "'NaN' may stand for an empty cell" in lines[1]
    text = "file,start,end,label\na.wav,1,2,owl\na.wav,3,4,owl \na.wav,5,6,Owl\n"
    rows, kinds, _ = events_of(tmp_path / "a.csv", text)
    assert [row[3] for row in rows] == ["owl", "owl", "Owl"]
    assert kinds == ["label"]


def test_one_list_of_columns():
    assert ours(["Start (s)", "END.S", "Filepath", "Common name"]) == {
        "file": "Filepath", "start_s": "Start (s)", "end_s": "END.S", "label": "Common name",
    }  # fmt: skip
    assert ours(["onset", "offset"]) == {"start_s": "onset", "end_s": "offset"}
    assert ours(["filename", "offset"]) == {"file": "filename", "start_s": "offset"}


def test_format_names_and_truth_of_a_silent_night(tmp_path: Path):
    path = tmp_path / "night.BirdNET.results.csv"
    path.write_text("Start (s),End (s),Scientific name,Common name,Confidence,File\n"
                    "0,3,nocall,nocall,1,night.wav\n")  # fmt: skip
    assert format_of(path) == "birdnet"
    assert list(read_truth(tmp_path)[0].subset_of) == ["night"]


def test_rows_that_are_no_calls_by_a_column_of_yes_and_no(tmp_path: Path):
    head, rows = "file,start_s,end_s,species", ("a.wav,0,3,owl", "a.wav,3,6,owl", "a.wav,6,9,wren")
    for name, answers in (("present", "1 0 -9"), ("Correct", "TRUE false FALSE"), ("tp", "y n no")):
        lines = [f"{row},{answer}" for row, answer in zip(rows, answers.split(), strict=True)]
        events, kinds, _ = events_of(tmp_path / "a.csv", "\n".join([f"{head},{name}", *lines]))
        assert (events, kinds) == ([("a.wav", 0.0, 3.0, "owl")], ["rejected"])
    # What nobody has answered, or in other words, says nothing.
    for answers in (("", "1", ""), ("0", "2", "1")):
        lines = [f"{row},{answer}" for row, answer in zip(rows, answers, strict=True)]
        events, kinds, _ = events_of(tmp_path / "a.csv", "\n".join([f"{head},valid", *lines]))
        assert (len(events), kinds) == (3, [])
    squeak = "ID\tLabel\tAccepted\tBegin Time (s)\tEnd Time (s)\tLow Freq (kHz)\tHigh Freq (kHz)\n"
    rows, kinds, events = events_of(
        tmp_path / "s.txt", squeak + "1\tusv\t1\t1\t1.1\t40\t60\n2\tusv\t0\t2\t2.1\t40\t60\n"
    )
    assert (rows, kinds) == ([("s", 1.0, 1.1, "usv")], ["rejected"])
    assert events[["low_hz", "high_hz"]].to_numpy().tolist() == [[40_000.0, 60_000.0]]


def test_a_species_is_read_with_its_genus(tmp_path: Path):
    text = "file,start,end,genus,species\na.wav,0,1,Parus,major\na.wav,2,3,Pulicaria,major\n"
    rows, kinds, _ = events_of(tmp_path / "a.csv", text + "a.wav,4,5,Strix,Strix aluco\n")
    assert [row[3] for row in rows] == ["Parus major", "Pulicaria major", "Strix aluco"]
    assert kinds == ["genus"]


def test_minutes_beside_seconds_are_refused_and_lengths_are_read(tmp_path: Path):
    with pytest.raises(UserError, match="has times in start_min, end_min"):
        events_of(
            tmp_path / "a.csv",
            "file,start_min,start_sec,end_min,end_sec,label\na.wav,1,5,1,6,owl\n",
        )
    rows, kinds, _ = events_of(tmp_path / "b.csv", "file,start_s,length_s,label\na.wav,5,1.5,owl\n")
    assert (rows, kinds) == ([("a.wav", 5.0, 6.5, "owl")], [])


def test_tables_of_two_encodings_and_of_an_old_mac(tmp_path: Path):
    path, text = tmp_path / "a.csv", "file,start_s,end_s,label\na.wav,0,1,Grünspecht\n"
    path.write_bytes(text.encode() + "a.wav,2,3,Grünspecht\n".encode("cp1252"))
    assert set(read_events(path)[0]["label"]) == {"Grünspecht"}
    path.write_bytes(text.replace("\n", "\r").encode("mac_roman"))
    assert read_events(path)[0]["label"].tolist() == ["Grünspecht"]


def test_labels_that_are_one_number_are_told():
    (line,) = odd_labels(["12", "0012", "1.5"])
    assert "'0012' and '12' differ" in line
