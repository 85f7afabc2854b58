"""`g5 compare`: read tested runs back, pair their episodes, say whether they differ."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from g5.common.atomic import write_json
from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.evaluation.compare.compared_runs import find_runs
from g5.evaluation.compare.differences import Difference, compare_all, mean_ranks, plain
from g5.evaluation.compare.figures import critical_difference, overlaid_curves
from g5.evaluation.compare.groups import Group, config_differences, grouped
from g5.evaluation.compare.page import p_text, write_comparison
from g5.evaluation.intervals import ends_text, mean_text, points_text
from g5.evaluation.report.per_class import recall_figure, recall_table, told

KEYS_SHOWN = 40
CLASSES_SHOWN = 12


def compare_runs(
    references: Sequence[str], *, folds: bool, output: Path | None, mlflow: bool
) -> None:
    """Compare the runs that ``references`` mean, print it, and write figures and tables.

    With ``mlflow`` they are recorded there, too, where there is one.
    """
    root = Path.cwd()
    runs = [run for reference in references for run in find_runs(reference, root)]
    groups = grouped(runs, folds=folds)
    if len(groups) < 2 and not folds:
        raise UserError(
            f"{counted(len(runs), 'run')} of one configuration: give runs that differ "
            "in more than the seed (or --folds to add up a cross-validation)"
        )
    differences = compare_all(groups)
    for line in [*_accuracies(groups), *_fold_lines(groups, folds)]:
        print(line)
    for item in differences:
        print("\n" + "\n".join(_difference_text(item)))
    table = config_differences(groups, folds=folds)
    classes = recall_table({group.name: group.answers for group in groups})
    if len(groups) > 1:
        print("\n" + _settings(table))
        print(f"\nrecall of the classes that differ most\n{told(classes, CLASSES_SHOWN)}")
    folder = output or root / "outputs" / "compare" / _folder_name(groups)
    files = _write(folder, groups, differences, table, classes)
    print("\n" + "\n".join(f"written  {file}" for file in files))
    if mlflow:
        _record(files, root, groups, differences)


def _record(
    files: Sequence[Path], root: Path, groups: Sequence[Group], differences: Sequence[Difference]
) -> None:
    from g5.tracking.mlflow.files import record_files

    metrics = {f"acc/{group.name}": group.accuracy.mean for group in groups}
    for item in differences:
        metrics[f"difference/{item.first} - {item.second}"] = item.episodes.mean
        metrics[f"p_holm/{item.first} - {item.second}"] = item.p_holm
    names = ", ".join(group.name for group in groups)
    tags = {"runs": ", ".join(run.name for group in groups for run in group.runs.values())}
    said = [_difference_text(item) for item in differences]
    headline = "\n\n".join(f"{first}: {reason.strip()}" for first, *_, reason in said)
    place = record_files(
        files, root=root, job="compare", name=names[:200], headline=headline or names, tags=tags,
        metrics=metrics,
    )  # fmt: skip
    if place:
        print(f"MLflow   {place}")


def _accuracies(groups: Sequence[Group]) -> list[str]:
    width = max(len(group.name) for group in groups)
    lines = []
    for group in groups:
        seeds = sorted({seed for seed, _ in group.runs})
        of = f"{counted(len(group.runs), 'run')}, seed {', '.join(map(str, seeds))}"
        lines.append(
            f"{group.name:<{width}}  {mean_text(group.accuracy)}   for other classes and sources "
            f"{ends_text(group.resampled)}   ({of})"
        )
    return lines


def _fold_lines(groups: Sequence[Group], folds: bool) -> list[str]:
    """The accuracy of each fold, and folds that are not there."""
    if not folds:
        return []
    lines = []
    for group in groups:
        by_fold: dict[int, list[float]] = {}
        for (_, fold), run in group.runs.items():
            if fold is None:
                raise UserError(f"{run.name}: not a fold of a cross-validation (data.fold=...)")
            by_fold.setdefault(fold, []).append(float(run.accuracy_E.mean()))
        shown = "  ".join(f"{k}: {sum(v) / len(v):.1%}" for k, v in sorted(by_fold.items()))
        lines.append(f"  {group.name}, by fold  {shown}")
        wanted = range(max(max(by_fold) + 1, _n_folds(group)))
        if missing := [str(k) for k in wanted if k not in by_fold]:
            lines.append(f"  note: fold {', '.join(missing)} missing: not every class was tested")
    return lines


def _n_folds(group: Group) -> int:
    run = next(iter(group.runs.values()))
    # A split file's folds are its own; the configuration's number is that of folds by class.
    return 0 if run.protocol.get("split_file") else int(run.config["data"].get("folds", 0))


def _difference_text(item: Difference) -> list[str]:
    seeds = ", ".join(f"{100 * v:+.1f} (seed {k})" for k, v in sorted(item.by_seed.items()))
    return [
        f"{item.first} - {item.second}: {100 * item.episodes.mean:+.1f} points",
        f"  over {item.episodes.n:,} paired episodes     95 %: {points_text(item.episodes)}"
        f"   bootstrap p {p_text(item.p_bootstrap)}, permutation p {p_text(item.p_permutation)}, "
        f"after Holm {p_text(item.p_holm)}",
        f"  over classes and sources       95 %: {points_text(item.classes)}",
        f"  by training seed  {seeds}",
        f"  {item.reason}",
    ]


def _settings(table: pd.DataFrame) -> str:
    if table.empty:
        return "the configurations are equal but for the seed"
    shown = table.head(KEYS_SHOWN).map(
        lambda value: value if len(value) <= 40 else value[:37] + "..."
    )
    rest = len(table) - len(shown)
    text = f"configurations differ in {counted(len(table), 'key')}:\n{shown.to_string()}"
    return text + (f"\n({rest} more in compare.json)" if rest else "")


def _write(
    folder: Path,
    groups: Sequence[Group],
    differences: Sequence[Difference],
    table: pd.DataFrame,
    classes: pd.DataFrame,
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    recalls = {group.name: group.recalls for group in groups}
    figures = []
    if len(groups) >= 3:
        path = folder / "critical_difference.png"
        figures.append(critical_difference(groups, mean_ranks(groups), differences, path))
    if curves := overlaid_curves(groups, folder / "curves.png"):
        figures.append(curves)
    if len(groups) > 1:
        title = "Recall of each class, over all runs of a configuration"
        path = folder / "classes.png"
        figures.append(recall_figure(classes, path, title=title, intervals=recalls))
    write_csv(classes, folder / "classes.csv", float_format="%.6g")
    page = write_comparison(
        folder / "report.html", groups, differences, settings=table, classes=classes,
        recalls=recalls, figures=figures,
    )  # fmt: skip
    files = [page, *figures, folder / "classes.csv"]
    content = {
        "runs": {
            group.name: {
                "accuracy": vars(group.accuracy),
                "accuracy_resampled": vars(group.resampled),
                "runs": [run.name for run in group.runs.values()],
                "units": [{"seed": seed, "fold": fold} for seed, fold in group.runs],
            }
            for group in groups
        },
        "differences": [plain(item) for item in differences],
        "config": table.to_dict(orient="index"),
    }
    return [*files, write_json(folder / "compare.json", content, default=str)]


def _folder_name(groups: Sequence[Group]) -> str:
    """Eight hex digits for what is compared, so that another comparison has another folder."""
    facts = [
        (g.name, [(r.name, r.protocol["episodes_hash"]) for r in g.runs.values()]) for g in groups
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]
