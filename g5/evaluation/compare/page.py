"""The page of a comparison: the verdict of every pair, curves, recalls, and what differs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from g5.common.words import counted
from g5.evaluation.compare.differences import Difference
from g5.evaluation.compare.figures import validated
from g5.evaluation.compare.groups import Group
from g5.evaluation.intervals import Interval, ends_text, mean_text, points_text
from g5.evaluation.report.per_class import LABEL, QUERIES, ways_of
from g5.web import page
from g5.web.page import Html

INTERVALS = (
    "Cite the interval over classes and sources for what will happen on other species and "
    "recordings; the one over episodes, the narrower, says how exactly the difference on these "
    "test classes is known. A difference is called real where both are clear of zero, p after "
    "Holm's correction is below 0.05, and every training seed says the same."
)
CAPTIONS = {
    "critical_difference": "Bars join what the paired tests cannot tell apart.",
    "classes": "Recall of each class, its 95 % interval over the recordings of the class. The "
               "intervals of one class overlap more readily than the paired test doubts.",
}  # fmt: skip


def write_comparison(
    path: Path,
    groups: Sequence[Group],
    differences: Sequence[Difference],
    *,
    settings: pd.DataFrame,
    classes: pd.DataFrame,
    recalls: Mapping[str, Mapping[str, Interval]],
    figures: Sequence[Path],
) -> Path:
    """Write the page.

    Args:
        path: of the page.
        groups: what was compared.
        differences: of every pair.
        settings: the keys that differ, a column a group.
        classes: the recall of each class, a column a group.
        recalls: the same with intervals, by group and class.
        figures: PNG, in order.
    """
    facts = next(iter(groups[0].runs.values())).protocol
    told = (
        f"{facts.get('n_way')}-way {facts.get('k_shot')}-shot, {facts.get('split')} split; the "
        "same episodes, classes and recordings for all"
    )
    parts: list[str] = [page.paragraph(told, "soft")]
    parts += [_verdict(item) for item in differences]
    parts += [page.heading("Accuracy"), page.table(_accuracies(groups))]
    if differences:
        parts += [page.heading("Paired tests"), page.table(_tests(differences))]
        parts.append(page.paragraph(INTERVALS))
    for figure in figures:
        caption = _curves_caption(groups) if figure.stem == "curves" else CAPTIONS[figure.stem]
        parts.append(page.figure(figure, caption))
    parts.append(page.details("Recall of each class", page.table(_recalls(classes, recalls))))
    if len(groups) > 1:
        parts += [page.heading("What differs"), _settings(settings)]
    names = " and ".join(group.name for group in groups)
    return page.write_page(path, page.page(f"Comparison of {names}", *parts))


def _verdict(item: Difference) -> Html:
    points = 100 * item.episodes.mean
    better, worse = (item.first, item.second) if points >= 0 else (item.second, item.first)
    said = f"{better} is {abs(points):.1f} points above {worse}: {item.reason}."
    return page.paragraph(said, "good" if item.real else "bad")


def _accuracies(groups: Sequence[Group]) -> pd.DataFrame:
    rows = []
    for group in groups:
        seeds = ", ".join(map(str, sorted({seed for seed, _ in group.runs})))
        runs = f"{counted(len(group.runs), 'run')}, seed {seeds}"
        rows.append((group.name, mean_text(group.accuracy), ends_text(group.resampled), runs))
    names = ["", "accuracy, 95 % over episodes", "for other classes and sources", "of"]
    return pd.DataFrame(rows, columns=names)


def _tests(differences: Sequence[Difference]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "difference": f"{item.first} − {item.second}",
                "points": f"{100 * item.episodes.mean:+.1f}",
                f"95 % over {item.episodes.n:,} episodes": points_text(item.episodes),
                "over classes and sources": points_text(item.classes),
                "p, permutation": p_text(item.p_permutation),
                "after Holm": p_text(item.p_holm),
                "by training seed": ", ".join(
                    f"{100 * value:+.1f} ({seed})" for seed, value in sorted(item.by_seed.items())
                ),
            }
            for item in differences
        ]
    )


def _recalls(classes: pd.DataFrame, recalls: Mapping[str, Mapping[str, Interval]]) -> pd.DataFrame:
    table = pd.DataFrame(classes[[LABEL, QUERIES]])
    for name in ways_of(classes):
        found = [recalls[name].get(str(label)) for label in classes[LABEL]]
        table[name] = [f"{i.mean:.0%}  ({i.low:.0%} – {i.high:.0%})" if i else "" for i in found]
    return table


def _curves_caption(groups: Sequence[Group]) -> str:
    ways = validated(groups)
    if len(ways) > 1:
        return f"Not to be compared: validated on {' and '.join(ways)} episodes."
    return (
        f"On the validation episodes ({ways[0]}), cross-entropy without smoothing in every run. "
        "Losses of training are left out: pretraining, smoothing and augmentation make them of "
        "different kinds."
    )


def _settings(table: pd.DataFrame) -> Html:
    if table.empty:
        return page.paragraph("The configurations are equal but for the seed.")
    return page.table(table.reset_index())


def p_text(p: float) -> str:
    """A p-value."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
