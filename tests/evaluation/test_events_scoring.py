"""Event scores: hand-worked cases, a slow second opinion, and the odd inputs of the protocol."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import hmean

from g5.common.errors import UserError
from g5.evaluation.events.errors import errors
from g5.evaluation.events.ground_truth import Truth, read_predictions, read_truth
from g5.evaluation.events.matching import (
    FAIR,
    FLOOR,
    MODES,
    OFFICIAL,
    Counts,
    PrecisionRecallF,
    count,
    matching,
    overall,
    overlapping,
    reference,
    scores,
)
from g5.evaluation.events.scores import f_interval, oracle, score_events
from tests.conftest import run_g5


def counted(events: list[tuple], predictions: list[tuple], mode: str = OFFICIAL) -> tuple:
    """(tp, fp, fn) of one recording; events are (onset, offset, status)."""
    times = np.array([event[:2] for event in events], dtype=float).reshape(-1, 2)
    status = np.array([event[2] for event in events], dtype=object)
    pred = np.array(predictions, dtype=float).reshape(-1, 2)
    counts = count(pred, reference(times, status, mode=mode), mode=mode).counts
    return counts.tp, counts.fp, counts.fn


SHOTS = [(float(k), k + 0.5, "POS") for k in range(5)]  # the support ends at 4.5
CALLS = [(10.0, 11.0, "POS"), (20.0, 21.0, "POS"), (30.0, 31.0, "UNK"), (40.0, 41.0, "NEG")]


# --- hand-worked cases --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictions", "official", "fair"),
    [
        ([], (0, 0, 7), (0, 0, 2)),  # without predictions the shots are missed too
        ([(10, 11), (20, 21)], (2, 0, 0), (2, 0, 0)),
        ([(10, 11), (10, 11)], (1, 1, 1), (1, 1, 1)),  # each call is found once
        ([(30, 31), (30, 31)], (0, 1, 2), (0, 1, 2)),  # UNK takes one
        ([(40, 41)], (0, 1, 2), (0, 1, 2)),  # NEG takes none
        ([(0, 0.5), (1, 1.5)], (0, 2, 2), (0, 0, 2)),  # in the support
        ([(4, 4.6)], (0, 1, 2), (0, 1, 2)),  # it ends after the support
        ([(10, 10.25)], (0, 1, 2), (0, 1, 2)),
        ([(10, 10.31)], (1, 0, 1), (1, 0, 1)),
        ([(10, 10), (20.5, 20.5)], (0, 2, 2), (0, 2, 2)),  # no length
        ([(11, 10)], (0, 1, 2), (0, 1, 2)),  # backwards
        ([(9, 22)], (0, 1, 2), (0, 1, 2)),  # two calls in one: IoU 1/13
        ([(11, 20)], (0, 1, 2), (0, 1, 2)),  # touches both, shares nothing
    ],
)
def test_golden_counts(predictions, official, fair):
    assert counted(SHOTS + CALLS, predictions) == official
    assert counted(SHOTS + CALLS, predictions, FAIR) == fair


def test_support_that_is_unsorted_or_overlaps():
    # By onset the fifth call is (4, 4.5), wherever it stands in the table.
    assert counted([*CALLS, *SHOTS[::-1]], [(10, 11)]) == (1, 0, 1)
    # An UNK of the support goes with it; what ends in it later than the fifth stays.
    events = [*SHOTS, (3.0, 4.4, "UNK"), (4.2, 5.5, "UNK"), *CALLS]
    assert counted(events, [(3, 4.4), (4.2, 5.5)]) == (0, 1, 2)
    # A shot that outlasts the fifth is left in by the published code; "fair" neither asks for it
    # nor blames who finds it.
    events = [(0.0, 9.0, "POS"), *SHOTS[1:], *CALLS]
    assert counted(events, [(10, 11)]) == (1, 0, 2)
    assert counted(events, [(10, 11), (0, 9)]) == (2, 0, 1)
    assert counted(events, [(10, 11)], FAIR) == (1, 0, 1)
    assert counted(events, [(10, 11), (0, 9)], FAIR) == (1, 0, 1)


def test_fewer_calls_than_shots_leave_nothing_to_find():
    assert counted(SHOTS[:3], [(10, 11)]) == (0, 1, 0)
    assert counted(SHOTS[:3], [], FAIR) == (0, 0, 0)
    assert counted([], [(10, 11)]) == (0, 1, 0)


def test_an_iou_of_the_limit_is_not_greater():
    calls = np.array([(10.0, 20.0)])
    assert len(overlapping(calls, np.array([(17.0, 20.0)]), 0.3)[0]) == 0
    assert len(overlapping(calls, np.array([(16.999, 20.0)]), 0.3)[0]) == 1


def test_a_maximum_matching_is_found_where_the_first_choice_is_a_trap():
    # The middle prediction suits both calls, the first one only the first call.
    calls = np.array([(0, 10), (4, 14)], dtype=float)
    predictions = np.array([(2, 12), (0, 7)], dtype=float)
    assert matching(calls, predictions).tolist() == [1, 0]
    assert matching(calls, predictions[::-1]).tolist() == [0, 1]


def test_scores_and_harmonic_means_by_hand():
    assert scores(Counts(0, 0, 0)) == PrecisionRecallF(FLOOR, FLOOR, FLOOR)
    assert scores(Counts(0, 9, 9)) == PrecisionRecallF(FLOOR, FLOOR, FLOOR)
    assert scores(Counts(3, 1, 2)) == PrecisionRecallF(0.75, 0.6, 3 / 4.5)
    # Only precision is floored where there is a hit, as published.
    assert scores(Counts(1, 10**6, 10**6)).precision == FLOOR
    assert scores(Counts(1, 10**6, 10**6)).recall == 1 / (10**6 + 1)
    both = overall([PrecisionRecallF(0.5, 1.0, 0.4), PrecisionRecallF(1.0, FLOOR, 0.4)])
    assert both.precision == pytest.approx(2 / 3, abs=1e-15)
    assert both.recall == pytest.approx(2 / (1 + 1 / FLOOR), abs=1e-15)
    assert both.fmeasure == hmean([0.4, 0.4])


# --- a slow second opinion ----------------------------------------------------------------------


def slow_iou(a: tuple, b: tuple) -> float:
    if a[0] > b[1] or b[0] > a[1]:
        return 0.0
    union = max(a[1], b[1]) - min(a[0], b[0])
    return (min(a[1], b[1]) - max(a[0], b[0])) / union if union else 0.0


def slow_matching(calls: list[tuple], predictions: list[tuple]) -> dict[int, int]:
    """Augmenting paths (Berge 1957), one call after the other; prediction -> call."""
    taken: dict[int, int] = {}

    def place(call: int, tried: set[int]) -> bool:
        for prediction, box in enumerate(predictions):
            if prediction in tried or not slow_iou(calls[call], box) > 0.3:
                continue
            tried.add(prediction)
            if prediction not in taken or place(taken[prediction], tried):
                taken[prediction] = call
                return True
        return False

    for call in range(len(calls)):
        place(call, set())
    return taken


def slow_counts(
    events: list[tuple], predictions: list[tuple], mode: str
) -> tuple[int, int, set[int]]:
    """tp, fn and the false positives that some maximum matchings lead to."""
    events = sorted(events, key=lambda event: event[0])
    calls = [event for event in events if event[2] == "POS"]
    shots = calls[:5]
    end = shots[-1][1] if shots else -np.inf
    unknown = [event for event in events if event[2] == "UNK"]
    if mode == FAIR:
        calls, unknown = calls[5:], unknown + shots
        predictions = [box for box in predictions if box[1] > end]
    elif not predictions:
        return 0, len(calls), {0}
    calls = [event for event in calls if event[1] > end]
    unknown = [event for event in unknown if event[1] > end]
    tp = len(slow_matching(calls, predictions))
    # Which predictions are left over depends on the matching: between none of those that suit an
    # UNK being used up, and as many as can be.
    most = len(slow_matching(unknown, predictions))
    return tp, len(calls) - tp, set(range(len(predictions) - tp - most, len(predictions) - tp + 1))


TIMES = st.integers(0, 24).map(lambda n: n / 4)
BOXES = st.tuples(TIMES, TIMES).map(lambda box: (min(box), max(box)))


@settings(max_examples=400, deadline=None)
@given(
    events=st.lists(st.tuples(BOXES, st.sampled_from(["POS", "POS", "UNK", "NEG"])), max_size=14),
    predictions=st.lists(BOXES, max_size=12),
)
@example(events=[], predictions=[])
@example(events=[((1.0, 1.0), "POS")] * 7, predictions=[(1.0, 1.0)] * 2)
def test_the_counts_are_those_of_the_slow_way(events, predictions):
    rows = [(*box, status) for box, status in events]
    for mode in MODES:
        tp, fp, fn = counted(rows, predictions, mode)
        slow_tp, slow_fn, slow_fp = slow_counts(rows, predictions, mode)
        assert (tp, fn) == (slow_tp, slow_fn)
        assert fp in slow_fp


@settings(max_examples=300, deadline=None)
@given(st.lists(BOXES, max_size=12), st.lists(BOXES, max_size=12), st.sampled_from([0.0, 0.3]))
def test_pairs_are_all_pairs(calls, predictions, min_iou):
    want = {
        (i, j)
        for i, call in enumerate(calls)
        for j, prediction in enumerate(predictions)
        if slow_iou(call, prediction) > min_iou
    }
    call_T2, pred_P2 = (np.array(rows, float).reshape(-1, 2) for rows in (calls, predictions))
    got = list(zip(*overlapping(call_T2, pred_P2, min_iou), strict=True))
    assert len(got) == len(want)
    assert set(got) == want


def test_unk_round_counts_by_hand_where_matchings_differ():
    # Either prediction may take the call; only one of them suits the UNK.
    events = [*SHOTS, (10.0, 20.0, "POS"), (16.0, 30.0, "UNK")]
    tp, fp, fn = counted(events, [(10, 20), (15, 25)])
    assert (tp, fn) == (1, 0)
    assert fp in (0, 1)


def test_ten_thousand_predictions_against_a_thousand_events_in_a_second():
    rng = np.random.default_rng(1)
    call_T2, pred_P2 = (np.sort(rng.uniform(0, 3600, (n, 1)), 0) for n in (1000, 10_000))
    call_T2, pred_P2 = (
        np.hstack([on, on + rng.uniform(0.1, 2, on.shape)]) for on in (call_T2, pred_P2)
    )
    status_T = np.full(1000, "POS", dtype=object)
    count(pred_P2[:10], reference(call_T2, status_T, mode=FAIR), mode=FAIR)
    start = time.process_time()
    for mode in MODES:
        count(pred_P2, reference(call_T2, status_T, mode=mode), mode=mode)
    assert time.process_time() - start < 1


# --- folders and tables -------------------------------------------------------------------------

HEAD = "Audiofilename,Starttime,Endtime"


def write_truth(folder: Path, name: str, events: list[tuple]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}.wav,{on},{off},{status}" for on, off, status in events]
    (folder / f"{name}.csv").write_text("\n".join([f"{HEAD},Q", *lines]) + "\n")


def write_predictions(path: Path, rows: list[tuple]) -> Path:
    path.write_text("\n".join([HEAD, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def scored(path: Path, folder: Path, mode: str):
    truth, problems = read_truth(folder)
    predictions, found = read_predictions(path, truth)
    told = [str(problem) for problem in (*problems, *found)]
    return score_events(predictions, truth, mode=mode), told


@pytest.fixture
def two_subsets(tmp_path: Path) -> Path:
    write_truth(tmp_path / "gt" / "HB", "a", SHOTS + CALLS)
    write_truth(tmp_path / "gt" / "HB", "b", SHOTS + CALLS)
    write_truth(tmp_path / "gt" / "PB", "c", [*SHOTS, *CALLS[::-1]])
    return tmp_path / "gt"


def test_a_folder_by_hand(two_subsets: Path, tmp_path: Path):
    rows = [("a.wav", 10, 11), ("a.wav", 50, 51), ("c.wav", 10, 11), ("c.wav", 20, 21),
            ("c.wav", 0, 0.5)]  # fmt: skip
    path = write_predictions(tmp_path / "p.csv", rows)
    result, told = scored(path, two_subsets, OFFICIAL)
    plain = result.plain()
    assert plain["files"] == {
        "a": {"tp": 1, "fp": 1, "fn": 1}, "b": {"tp": 0, "fp": 0, "fn": 7},
        "c": {"tp": 2, "fp": 1, "fn": 0},
    }  # fmt: skip
    # HB: 1 tp, 1 fp, 8 fn; PB: 2 tp, 1 fp, 0 fn.
    assert plain["subsets"]["HB"] == {"precision": 0.5, "recall": 1 / 9, "fmeasure": 1 / 5.5}
    assert plain["subsets"]["PB"] == {"precision": 2 / 3, "recall": 1.0, "fmeasure": 0.8}
    f = 2 / (5.5 + 1 / 0.8)
    assert plain["official"]["overall"] == {
        "precision": pytest.approx(2 / (2 + 1.5), abs=1e-15),
        "recall": pytest.approx(2 / (9 + 1), abs=1e-15),
        "fmeasure": round(100 * f, 3),
    }
    assert any("c.csv: is not sorted by onset; it is sorted here" in line for line in told)
    fair, _ = scored(path, two_subsets, FAIR)
    assert fair.files == {"a": Counts(1, 1, 1), "b": Counts(0, 0, 2), "c": Counts(2, 0, 0)}


def test_odd_predictions_are_scored_and_told(two_subsets: Path, tmp_path: Path):
    rows = [("a.wav", 10, 11), ("a.wav", 10, 11), ("a.wav", 12, 12), ("a.wav", 14, 13),
            ("x.wav", 1, 2), ("b.wav", "", 3)]  # fmt: skip
    result, told = scored(write_predictions(tmp_path / "p.csv", rows), two_subsets, OFFICIAL)
    assert result.files["a"] == Counts(1, 3, 1)
    for line in (
        "row 3: repeats another row; each counts",
        "row 4: has no length and matches nothing",
        "row 5: ends before it starts and matches nothing",
        "row 6: there is no ground truth for x; left out",
        "row 7: Starttime is ''",
    ):
        assert any(line in one for one in told), line
    result, told = scored(write_predictions(tmp_path / "p.csv", []), two_subsets, OFFICIAL)
    assert result.files == {"a": Counts(0, 0, 7), "b": Counts(0, 0, 7), "c": Counts(0, 0, 7)}
    assert result.plain()["official"]["overall"]["fmeasure"] == 0.001
    assert any("has no predictions" in line for line in told)


def test_ground_truth_that_cannot_be_used_is_named(two_subsets: Path, tmp_path: Path):
    with pytest.raises(UserError, match="neither a table nor a folder"):
        read_truth(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no annotation tables"):
        read_truth(tmp_path / "empty")
    write_truth(two_subsets / "PB", "a", SHOTS)
    with pytest.raises(UserError, match=r"tells of a, as .*HB.a\.csv does"):
        read_truth(two_subsets)
    write_truth(tmp_path / "flat", "z", [*SHOTS, ("x", 3, "POS")])
    with pytest.raises(UserError, match=r"z\.csv, row 7: Starttime is 'x'"):
        read_truth(tmp_path / "flat")


def test_a_flat_folder_is_one_subset_and_other_tables_are_passed_over(tmp_path: Path):
    write_truth(tmp_path / "flat", "z", SHOTS[:4])
    (tmp_path / "flat" / "classes.csv").write_text("name,code\nwren,W\n")
    truth, problems = read_truth(tmp_path / "flat")
    assert dict(truth.subset_of) == {"z": "flat"}
    told = " ".join(map(str, problems))
    assert "classes.csv: its first row is 'name,code'" in told
    assert "has 4 calls of z, and the first 5 are support" in told


def test_classes_are_told_apart_where_the_truth_names_them(tmp_path: Path):
    folder = tmp_path / "gt"
    folder.mkdir()
    lines = [
        f"{on + shift}\t{off + shift}\t{label}"
        for label, shift in (("wren", 0), ("tit", 100))
        for on, off, _ in SHOTS + CALLS[:2]
    ]
    (folder / "night.txt").write_text("\n".join(lines) + "\n")
    path = tmp_path / "p.csv"
    path.write_text(
        "file,start_s,end_s,label,score\nnight.wav,10,11,wren,0.9\nnight.wav,150,151,tit,0.2\n"
        "night.wav,110,111,tit,0.8\n"
    )
    result, _ = scored(path, folder, FAIR)
    table = result.class_table().set_index("class")
    assert table.loc["wren", ["tp", "fp", "fn"]].tolist() == [1, 0, 1]
    assert table.loc["tit", ["tp", "fp", "fn"]].tolist() == [1, 1, 1]
    assert result.files["night"] == Counts(2, 1, 2)
    with pytest.raises(UserError, match="says no class, and night has 2"):
        scored(write_predictions(path, [("night.wav", 10, 11)]), folder, FAIR)


# --- beside the score ---------------------------------------------------------------------------


def truth_of(events: dict[str, list[tuple]], durations_s: dict[str, float]) -> Truth:
    rows = [(name, "", *event) for name, group in events.items() for event in group]
    table = pd.DataFrame(rows, columns=["name", "label", "start_s", "end_s", "status"])
    return Truth(table, dict.fromkeys(events, "all"), durations_s)


def predicted(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["name", "start_s", "end_s", "score"])
    return table.assign(label="")


def test_the_oracle_is_the_best_threshold():
    truth = truth_of({"a": SHOTS + CALLS}, {})
    rows = predicted([("a", 10, 11, 0.9), ("a", 20, 21, 0.8), ("a", 50, 51, 0.7)])
    assert score_events(rows, truth, mode=FAIR).overall.fmeasure == 0.8
    assert oracle(rows, truth, mode=FAIR) == (1.0, 0.8)
    assert oracle(rows.drop(columns="score"), truth, mode=FAIR) is None


def test_the_bootstrap_spans_what_other_recordings_would_give():
    names = [f"r{k}" for k in range(20)]
    truth = truth_of(dict.fromkeys(names, SHOTS + CALLS), {})
    rows = [(name, 10, 11, 1.0) for name in names]  # half of the calls of each
    same = score_events(predicted(rows), truth, mode=FAIR)
    assert f_interval(same) == pytest.approx((2 / 3, 2 / 3))
    rows += [(name, 20, 21, 1.0) for name in names[::2]]
    low, high = f_interval(score_events(predicted(rows), truth, mode=FAIR)) or (0, 0)
    f = score_events(predicted(rows), truth, mode=FAIR).overall.fmeasure
    assert 2 / 3 < low < f < high < 1
    assert (
        f_interval(score_events(predicted(rows[:1]), truth_of({"r0": SHOTS}, {}), mode=FAIR))
        is None
    )


def test_errors_are_told_apart():
    calls = [(10.0, 11.0), (12.0, 13.0), (20.0, 30.0), (40.0, 50.0), (60.0, 61.0), (70.0, 71.0)]
    truth = truth_of({"a": [*SHOTS, *((*call, "POS") for call in calls)]}, {})
    rows = [(9, 14), (20, 22), (24, 26), (40, 41), (70.25, 71.5), (90, 91)]
    result = score_events(predicted([("a", *row, 1.0) for row in rows]), truth, mode=FAIR)
    found = errors(result.units)
    assert found.calls == {
        "found": 1, "merged": 2, "split": 1, "onset or offset off": 1, "missed": 1,
    }  # fmt: skip
    assert found.false == {"where no call is": 1, "on a call that is counted above": 4}
    assert (found.onset_s.tolist(), found.offset_s.tolist()) == ([0.25], [0.5])
    assert sum(found.false.values()) == result.files["a"].fp
    assert sum(found.calls.values()) - found.calls["found"] == result.files["a"].fn


def test_psds_by_the_library():
    pytest.importorskip("psds_eval")
    from g5.evaluation.events.psds import psds, why_not

    truth = truth_of({"a": CALLS}, {"a": 3600.0})
    perfect = predicted([("a", 10, 11, 0.9), ("a", 20, 21, 0.8)])
    assert why_not(perfect, truth) == ""
    assert psds(perfect, truth) == pytest.approx(1)
    # One of two calls until the first false alarm, of which there is one per hour.
    late = predicted([("a", 10, 11, 0.9), ("a", 50, 51, 0.8), ("a", 20, 21, 0.7)])
    assert psds(late, truth) == pytest.approx(0.995)
    assert psds(predicted([("a", 50, 51, 0.9)]), truth) == pytest.approx(0)
    assert "scores" in why_not(perfect.drop(columns="score"), truth)
    assert "recordings beside" in why_not(perfect, truth_of({"a": CALLS}, {}))


def test_columns_of_the_users_own_are_scored(tmp_path: Path, capsys):
    times = [(float(t), t + 0.5) for t in range(1, 20, 2)]
    rows = "".join(f"owl;{a};{b};night.wav\n".replace(".5", ",5").replace(".0", ",0")
                   for a, b in times)  # fmt: skip
    truth = tmp_path / "calls.csv"
    truth.write_text(f"Sp;Von;Bis;Datei\n{rows}", "latin-1")
    found = tmp_path / "found.csv"
    lines = "".join(f"night.wav,{a},{b},owl,0.9\n" for a, b in times[5:9])
    found.write_text(f"file,start_s,end_s,label,score\n{lines}")
    names = "start_s=Von,end_s=Bis,label=Sp,file=Datei"
    assert run_g5(["evaluate", str(found), str(truth)]) == 1
    assert "Which column is what" in capsys.readouterr().err
    scores = tmp_path / "scores.json"
    arguments = ["evaluate", str(found), str(truth), "--json", str(scores)]
    assert run_g5([*arguments, "--columns", names]) == 0
    assert '"fn": 1' in scores.read_text()
    assert '"tp": 4' in scores.read_text()
    capsys.readouterr()
    assert run_g5([*arguments, "--columns", names.replace("Bis", "Biss")]) == 1
    assert "calls.csv: has no column Biss (it has Sp, Von, Bis, Datei)" in capsys.readouterr().err


def test_names_that_differ_in_case_are_of_one_recording(tmp_path: Path):
    table, head = tmp_path / "a.csv", "file,start_s,end_s,label\n"
    table.write_text(head + "s/A.wav,0,1,owl\nS/a.WAV,2,3,owl\nt/a.wav,4,5,owl\n")
    assert len(read_truth(tmp_path)[0].subset_of) == 2
    table.write_text(head + "A.wav,0,1,owl\na.WAV,2,3,owl\na,4,5,owl\n")
    assert set(read_truth(tmp_path)[0].subset_of) == {"A"}
    (tmp_path / "b.csv").write_text(head + "a.WAV,0,1,owl\n")
    with pytest.raises(UserError, match=r"tells of a, as .*a\.csv does"):
        read_truth(tmp_path)
