"""The short text at the end of a run: the number, what it means, and where things are."""

from collections.abc import Mapping
from pathlib import Path

from g5.common.words import counted, printable
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.intervals import Interval, ends_text


def summary_text(
    result: TestResult,
    *,
    name: str,
    places: Mapping[str, Path | str],
    encoding: str | None,
) -> str:
    """Test accuracy beside raw features and chance, whether they are apart, and where things are.

    Args:
        name: of what was tested, e.g. ``"v2"``.
        places: what lies where, in order, e.g. ``{"checkpoint": ..., "figures": ...,
            "MLflow": "mlflow ui  (from /home/ada/calls)"}``.
        encoding: of the stream it is written to (``sys.stdout.encoding``).
    """
    facts = result.protocol
    title = (
        f"{facts.split} of {name}: {counted(facts.n_classes, 'class', 'classes')}, "
        f"{counted(facts.episodes, 'episode')}, "
        f"{facts.n_way}-way {facts.k_shot}-shot, {counted(facts.n_query, 'query', 'queries')} a "
        "class"
    )
    checks = "  ".join(f"✓ {check}" for check in result.checks)
    lines = [title, "", *_aligned_rows(result, name), "", verdict_line(result, name)]
    lines += [*_quality(result), f"checks  {checks}"]
    lines += [f"note    {note}" for note in result.notes]
    if places:
        width = max(map(len, places))
        lines += ["", *(f"{what:<{width}}  {where}" for what, where in places.items())]
    return printable("\n".join(lines), encoding)


def _aligned_rows(result: TestResult, name: str) -> list[str]:
    """The rows of numbers, aligned."""
    rows = [
        (f"{name}, accuracy", _aligned(result.interval), _with_ends(result.interval)),
        ("  for other classes and sources", "", _with_ends(result.resampled)),
    ]
    rows += [
        (
            f"raw features, {row.name}",
            _aligned(row.interval),
            _with_ends(row.interval) + ("  best raw row" if row is result.raw_best else ""),
        )
        for row in result.raw
    ]
    rows.append(("chance", f"{result.chance:6.1%}", ""))
    width = max(len(row[0]) for row in rows)
    middle = max(len(row[1]) for row in rows)
    return [f"  {what:<{width}}  {mean:<{middle}}  {span}".rstrip() for what, mean, span in rows]


def _quality(result: TestResult) -> list[str]:
    """The further numbers, in three lines."""
    n = result.quality()
    top = "".join(f", top-{k} {v:.1%}" for k, v in result.scores.probabilities.top_k.items())
    open_set = result.scores.open_set
    return [
        f"classes balanced accuracy {n['balanced_accuracy']:.1%}, macro precision "
        f"{n['macro_precision']:.1%}, recall {n['macro_recall']:.1%}, F1 {n['macro_f1']:.1%}{top}",
        f"ranking ROC-AUC {n['roc_auc']:.3f}, average precision {n['average_precision']:.3f}"
        + (f", open-set AUROC {open_set.mean:.3f} ± {open_set.half_width:.3f}" if open_set else ""),
        f"trust   calibration error {n['ece']:.1%}, Brier {n['brier']:.3f}, negative "
        f"log-likelihood {n['nll']:.3f} at temperature {n['temperature']:.3g}",
    ]


def verdict_line(result: TestResult, name: str) -> str:
    """Whether the encoder's interval is clear of the best raw-feature row's."""
    ours, raw = result.interval, result.raw_best.interval
    points = 100 * (ours.mean - raw.mean)
    if ours.overlaps(raw):
        return f"{name} is not clear of raw features: the 95 % intervals overlap."
    where = "above" if points > 0 else "BELOW"
    return (
        f"{name} is {abs(points):.1f} points {where} the best raw-feature row; "
        "the 95 % intervals do not overlap."
    )


def _aligned(interval: Interval) -> str:
    return f"{interval.mean:6.1%} ± {interval.half_width:.1%}"


def _with_ends(interval: Interval) -> str:
    return f"95 %: {ends_text(interval)}"
