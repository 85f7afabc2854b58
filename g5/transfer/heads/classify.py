"""`g5 classify`: which head on which embeddings, compared, told and saved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import ClassifySettings, Task
from g5.embeddings.vectors import VectorStore
from g5.evaluation.report.per_class import recall_figure, told
from g5.transfer.heads.compare import compare, folds_of, notes, table
from g5.transfer.heads.imbalance import effect_of_strategies
from g5.transfer.heads.saved import SUFFIX, SavedHead, fit_head, make_head, save_head
from g5.transfer.heads.thresholds import class_table
from g5.transfer.heads.thresholds import told as told_classes
from g5.transfer.label_table import read_labels
from g5.transfer.labels import Examples, examples


def classify(
    stores: Sequence[Path],
    labels: Path,
    output: Path | None,
    settings: ClassifySettings,
    overrides: Sequence[str],
    *,
    balance: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Path:
    """Compare heads on stores by cross-validation, print the table, save the best head.

    With ``balance`` show, too, what every strategy against class imbalance does to each class.
    ``overrides`` are the heads': ``head.key=value``; ``columns``: see `read_labels`.
    """
    # A head of one's own, compared beside the others.
    own = [text.partition("=")[2] for text in overrides if text.startswith("head._target_=")]
    settings = replace(settings, heads=[*settings.heads, *own])
    overrides = [text for text in overrides if not text.startswith("head._target_=")]
    if balance and settings.task != "single":
        raise UserError(f"--balance: task={settings.task} has no single class for each example")
    opened = [VectorStore.open(path) for path in stores]
    sets = _same_labels(opened, labels, settings.task, columns)
    first = sets[0][1]
    folds = folds_of(first, settings)
    print(
        f"{len(first.y)} {_of_what(first.classes, settings.task)} from "
        f"{counted(len(np.unique(first.groups)), 'source')}, {counted(len(folds), 'fold')} that "
        "keep sources apart"
    )
    rows = compare(sets, folds, settings, overrides)
    print(table(rows, settings))
    best = rows[0]
    at = [name for name, _ in sets].index(best.store)
    onnx = [
        p.name for p, s in zip(stores, opened, strict=True) if s.facts.encoder.endswith(".onnx")
    ]
    for line in notes(sets, onnx, settings):
        print(f"note: {line}")
    path = output or stores[at].with_suffix(SUFFIX)
    one = sets[at][1]
    model = make_head(best.head, settings.task, seed=settings.seed, overrides=overrides)
    thresholds = {}
    if settings.task != "rating":
        thresholds = _classes(class_table(model, one, folds), path)
    fitted = fit_head(model, one.x_ND, one.y)
    facts = opened[at].facts
    save_head(path, SavedHead(fitted, best.head, settings.task, one.classes, facts, thresholds))
    print(f"best: {best.head} on {best.store}; trained on all labels, in {path}")
    if len(rows) > 1:
        print(f"(the best of {len(rows)} on the same folds: its score flatters it a little)")
    if balance:
        effect = effect_of_strategies(best.head, one, folds, overrides, seed=settings.seed)
        _show_balance(effect, f"{best.head} on {best.store}", path)
    return path


def _classes(found: pd.DataFrame, head_path: Path) -> dict[str, float]:
    """Print what is known of each class, and write it beside the head; the thresholds."""
    table = head_path.with_suffix(".classes.csv")
    write_csv(found, table, float_format="%.6g")
    print(f"\nthe classes of the best head on folds it was not trained on\n{told_classes(found)}")
    print(f"table   {table}\n")
    return dict(zip(found["label"], found["threshold"], strict=True))


def _same_labels(
    stores: Sequence[VectorStore], labels: Path, task: Task, columns: Mapping[str, str] | None
) -> list[tuple[str, Examples]]:
    """The labelled embeddings of each store, of the same labels in all of them."""
    table = read_labels(labels, task, columns)
    sets = [(store.path.name, examples(store, table, task, where=str(labels))) for store in stores]
    name, first = sets[0]
    for other, one in sets[1:]:
        if not np.array_equal(one.rows, first.rows):
            raise UserError(
                f"{other}: has embeddings for other labels than {name} ({len(one.rows)} and "
                f"{len(first.rows)}); embed the same recordings for a fair comparison"
            )
    return sets


def _show_balance(effect: pd.DataFrame, what: str, head_path: Path) -> None:
    """Recall of each class under each strategy: printed, as a CSV and as a figure."""
    title = f"What helps rare classes: {what}"
    print(f"\n{title}\nrecall of each class over the folds, the rarest first\n\n{told(effect)}\n")
    table, figure = (head_path.with_suffix(f".balance{suffix}") for suffix in (".csv", ".png"))
    write_csv(effect, table, float_format="%.6g")
    recall_figure(effect, figure, title=title)
    print(f"table   {table}\nfigure  {figure}")
    print("(the saved head has what head.* says: head.weights, head.class_weight, head.sampling)")


def _of_what(classes: Sequence[str], task: str) -> str:
    return (
        "ratings" if task == "rating" else f"labels of {counted(len(classes), 'class', 'classes')}"
    )
