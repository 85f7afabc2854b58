"""`g5 shots`: how accuracy grows with the number of support calls."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from g5.common.atomic import write_json
from g5.common.words import printable
from g5.evaluation.episodes.protocol import TestProtocol
from g5.evaluation.episodes.shots import ShotCurve, shot_accuracies
from g5.evaluation.figures.curves import shot_curve
from g5.runs.tested import Tested, TestRequest, opened
from g5.training.setup import device_of, set_matmul_precision


def shots_of_checkpoint(request: TestRequest) -> ShotCurve:
    """Test a checkpoint at 1, 2, 5, 10 and 20 shots; write the numbers and the figure."""
    with opened(request) as tested:
        curve = _curve(tested)
        files = _write(curve, tested)
        if tested.logger is not None:
            said = []
            for row in curve.table.to_dict("records"):
                if row["name"] == tested.settings.arch.name:
                    accuracy = {"test/acc_over_shots": row["accuracy"]}
                    tested.logger.log_metrics(accuracy, step=row["k_shot"])
                    said.append(f"{row['k_shot']} {row['accuracy']:.1%}")
            tested.logger.describe("shots", f"Right by shots: {', '.join(said)}.")
            tested.logger.log_artifact(files[0])
            tested.logger.log_figure(files[1])
        print("\n" + printable(_told(curve, files), sys.stdout.encoding))
        return curve


def _curve(tested: Tested) -> ShotCurve:
    settings = tested.settings
    set_matmul_precision(settings)
    return shot_accuracies(
        settings.arch.name, tested.model, tested.split, TestProtocol.of(settings),
        device=device_of(settings),
    )  # fmt: skip


def _write(curve: ShotCurve, tested: Tested) -> list[Path]:
    """`shots.json` and its figure."""
    content = asdict(curve) | {"table": curve.table.to_dict(orient="records")}
    numbers = write_json(tested.folder.path / "shots.json", content)
    title = f"Accuracy over shots: {curve.n_way}-way, {curve.n_classes} classes"
    path = tested.folder.figures / "shots.png"
    return [numbers, shot_curve(curve.table, path, chance=1 / curve.n_way, title=title)]


def _told(curve: ShotCurve, files: Sequence[Path]) -> str:
    lines = [
        f"{curve.n_way}-way, {curve.n_query} queries a class, {curve.episodes:,} episodes over "
        f"{curve.n_classes} classes; chance {1 / curve.n_way:.1%}",
        "",
    ]
    for name, rows in curve.table.groupby("name", sort=False):
        lines.append(f"  {name}")
        for row in rows.to_dict("records"):
            half = max(row["high"] - row["accuracy"], row["accuracy"] - row["low"])
            lines.append(
                f"    {row['k_shot']:>2} shot{'s' if row['k_shot'] > 1 else ' '}  "
                f"{row['accuracy']:6.1%} ± {half:.1%}   for other classes and sources "
                f"{row['low_resampled']:.1%} – {row['high_resampled']:.1%}"
            )
    lines += ["", "checks  " + "  ".join(f"✓ {check}" for check in curve.checks)]
    lines += [f"note    {note}" for note in curve.notes]
    return "\n".join([*lines, "", f"numbers  {files[0]}", f"figure   {files[1]}"])
