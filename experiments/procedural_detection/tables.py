"""The tables of both detection experiments.

Shapes: S training seeds, N recordings, R resamples.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.common import markdown
from experiments.procedural_detection.detectors import SplitResult
from g5.evaluation.events.scores import RESAMPLES, SEED, EventScores, f_interval

Found = Mapping[str, Sequence[SplitResult]]  # by ways to detect, one for each training seed


def score_table(found: Found) -> str:
    """One row per way to detect, means over training seeds."""
    lines = []
    for name, results in found.items():
        totals = [result.scores.overall for result in results]
        f = np.array([total.fmeasure for total in totals])
        spread = f" ± {f.std(ddof=1):.3f}" if len(f) > 1 else ""
        spans = [span for r in results if (span := f_interval(r.scores)) is not None]
        low, high = np.mean(spans, axis=0) if spans else (np.nan, np.nan)
        gap = np.mean([max(r.oracle - r.scores.overall.fmeasure, 0.0) for r in results])
        lines.append([
            name, str(len(f)), f"{f.mean():.3f}{spread}",
            f"{np.mean([t.precision for t in totals]):.3f}",
            f"{np.mean([t.recall for t in totals]):.3f}",
            f"{low:.3f} to {high:.3f}", f"{gap:.3f}",
        ])  # fmt: skip
    head = ["", "seeds", "F", "precision", "recall", "95 % of F over recordings", "oracle gap"]
    return markdown(head, lines)


def f_losses(found: Found, own: str) -> str:
    """F of one way minus that of each other, in points, over the same resampled recordings."""
    scores = {name: [result.scores for result in results] for name, results in found.items()}
    lines = []
    for name in found:
        if name == own:
            continue
        mean, low, high = (100 * x for x in f_difference(scores[own], scores[name]))
        lines.append([f"{own} - {name}", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}"])
    return markdown(["points of F", "mean", "95 % over recordings"], lines)


def f_difference(a: Sequence[EventScores], b: Sequence[EventScores]) -> tuple[float, float, float]:
    """F of ``a`` minus F of ``b``, each the mean over its seeds, with a 95 % interval."""
    names = sorted(a[0].files)
    assert all(sorted(scores.files) == names for scores in (*a, *b)), "other recordings"
    rng = np.random.default_rng(SEED)
    times_RN = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    times_RN[0] = 1  # the recordings as they are
    gap_R = _f(a, names, times_RN) - _f(b, names, times_RN)
    low, high = np.quantile(gap_R[1:], (0.025, 0.975))
    return float(gap_R[0]), float(low), float(high)


def _f(scores: Sequence[EventScores], names: Sequence[str], times_RN: np.ndarray) -> np.ndarray:
    """F in each resample, the mean over seeds, (R,)."""
    counts_SN3 = np.array([
        [(one.files[n].tp, one.files[n].fp, one.files[n].fn) for n in names] for one in scores
    ])  # fmt: skip
    tp_SR, fp_SR, fn_SR = np.moveaxis(times_RN @ counts_SN3, -1, 0)
    return (tp_SR / np.maximum(tp_SR + 0.5 * (fp_SR + fn_SR), 1e-9)).mean(axis=0)
