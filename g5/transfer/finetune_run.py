"""`g5 finetune`: an encoder on a few labels, recorded in MLflow like every run."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from g5 import __version__
from g5.common.atomic import atomic_path
from g5.common.progress import track
from g5.common.revision import git_revision
from g5.config.compose import composed, resolve
from g5.config.nodes import read_section, refuse_foreign
from g5.embeddings.encoders import load_encoder, save_encoder
from g5.evaluation.report.per_class import recall_figure, told
from g5.tracking.folders import RunFolder, claim
from g5.tracking.mlflow_logger import MLflowLogger
from g5.training.setup import quiet
from g5.transfer.finetune import FinetuneSettings, FineTuning, read_windows
from g5.transfer.heads.saved import SavedHead, save_head
from g5.transfer.labels import read_labels

EXPERIMENT = "finetune"
GROUPS = ("encoder", "finetune", "logger", "path")


def finetune(
    name: str, labels: Path, audio_root: Path | None, exp_name: str, overrides: Sequence[str]
) -> Path:
    """Fine-tune, print an epoch a line, save encoder and head; the encoder's file."""
    quiet()
    refuse_foreign([o for o in overrides if not o.startswith("logger=")], GROUPS)
    settings = FinetuneSettings(**read_section("finetune", FinetuneSettings, overrides))
    shared = [o for o in overrides if o.startswith(("logger", "path."))]
    config = resolve(composed(shared))
    encoder = load_encoder(name, overrides)
    table = read_labels(labels, settings.task)
    root = audio_root or labels.parent
    clips, problems = read_windows(encoder, table, root, settings.task, where=str(labels))
    for line in problems[:5]:
        print(f"left out: {line}")
    if len(problems) > 5:
        print(f"left out: and {len(problems) - 5} more")
    tuning = FineTuning(encoder, clips, settings)
    about = {"encoder": asdict(encoder.facts()), "finetune": asdict(settings)}
    place = Path(config["path"]["root_dir"])
    with claim(place, EXPERIMENT, exp_name, training=True, resume=False, job=None) as folder:
        logger = None
        if config["logger"]["enabled"]:
            logger = MLflowLogger(
                root=place, experiment=EXPERIMENT, run_name=exp_name, folder=folder, resume=False,
                tracking_uri=config["logger"]["tracking_uri"],
                system_metrics=config["logger"]["system_metrics"],
            )  # fmt: skip
        shown: list[Path] = []
        encoder_file, head_file = folder.checkpoints / "tuned.ckpt", folder.path / "tuned.head"
        if logger is None:
            _train(tuning, settings, None)
            _save(tuning, encoder_file, head_file, encoder, settings, clips.classes)
            shown = _recalls(tuning, settings, folder)
        else:
            with logger:
                logger.log_config({**about, "labels": str(labels)})
                tags = {"job": "finetune", "git_revision": git_revision()}
                logger.set_tags({**tags, "g5_version": __version__})
                _train(tuning, settings, logger)
                _save(tuning, encoder_file, head_file, encoder, settings, clips.classes)
                logger.log_artifact(encoder_file, "checkpoints")
                logger.log_artifact(head_file)
                for file in (shown := _recalls(tuning, settings, folder)):
                    logger.log_artifact(file, "figures" if file.suffix == ".png" else None)
    frozen, best = tuning.frozen["val/score"], tuning.best["val/score"]
    print(
        f"head alone {frozen:.3f}, fine-tuned {best:.3f} on the held-back sources (epoch "
        f"{tuning.best['epoch']:.0f} was chosen on them, so both flatter a little)"
    )
    if len(clips.y) < 1000:
        print(f"note: {len(clips.y)} labels; under 1,000, fine-tuning rarely pays: trust a test")
    for file in shown:
        print(f"recalls: {file}")
    print(f"encoder: {encoder_file}\nhead: {head_file}    (g5 predict {head_file} recordings/ ...)")
    return encoder_file


def _train(tuning: FineTuning, settings: FinetuneSettings, logger: MLflowLogger | None) -> None:
    total = settings.frozen_epochs + settings.epochs
    for epoch, metrics in enumerate(
        track(tuning.run(), total=total, label="fine-tuning", unit="epochs")
    ):
        stage = f"{metrics['blocks_free']:.0f} blocks" if metrics["blocks_free"] else "frozen"
        print(
            f"epoch {epoch + 1:3d}  {stage:>9}  loss {metrics['train/loss']:.4f}  "
            f"train {metrics['train/score']:.3f}  validation {metrics['val/score']:.3f}"
        )
        if logger is not None:
            logger.log_metrics(metrics, step=epoch + 1)


def _recalls(tuning: FineTuning, settings: FinetuneSettings, folder: RunFolder) -> list[Path]:
    """Print the recall of each class, and write it as a CSV and a figure; of single labels only."""
    if settings.task != "single":
        return []
    table = tuning.recalls()
    print(f"\nrecall of each class on the held-back sources, the rarest first\n\n{told(table)}\n")
    numbers, figure = folder.path / "recalls.csv", folder.figures / "recalls.png"
    with atomic_path(numbers) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    title = f"Held-back sources: weights {settings.weights}, sampling {settings.sampling}"
    return [numbers, recall_figure(table, figure, title=title)]


def _save(tuning, encoder_file, head_file, encoder, settings, classes) -> None:
    save_encoder(encoder, encoder_file)
    tuned = load_encoder(str(encoder_file))
    head = SavedHead(tuning.head, settings.head, settings.task, classes, tuned.facts())
    save_head(head_file, head)
