"""`g5 finetune`: an encoder on a few labels, recorded in MLflow like every run."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from g5 import __version__
from g5.common.progress import track
from g5.common.revision import git_revision
from g5.common.spreadsheet import write_csv
from g5.common.words import counted, tell_some
from g5.config.schema import FinetuneSettings
from g5.config.settings import TransferSettings
from g5.embeddings.encoders.loaded import LoadedEncoder, save_encoder
from g5.embeddings.encoders.loading import load_encoder
from g5.evaluation.report.per_class import recall_figure, told
from g5.tracking.folders import RunFolder, claim
from g5.tracking.mlflow.logger import MLflowLogger
from g5.training.setup import quiet
from g5.transfer.finetune import FineTuning, read_windows
from g5.transfer.heads.saved import SavedHead, save_head
from g5.transfer.label_table import read_labels

EXPERIMENT = "finetune"


def finetune(
    name: str, labels: Path, audio_root: Path | None, exp_name: str, settings: TransferSettings,
    overrides: Sequence[str], *, columns: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Fine-tune, print an epoch a line, save encoder and head; the encoder's file.

    ``overrides`` are the encoder's: ``encoder.key=value``; ``columns``: see `read_labels`.
    """
    quiet()
    encoder = load_encoder(name, overrides)
    table = read_labels(labels, settings.finetune.task, columns)
    root = audio_root or labels.parent
    clips, problems = read_windows(
        encoder, table, root, settings.finetune.task, where=str(labels), rules=settings.audio
    )
    tell_some("left out", problems)
    for line in clips.notes:
        print(f"note: {line}")
    tuning = FineTuning(encoder, clips, settings.finetune)
    place = Path(settings.path.root_dir)
    with claim(place, EXPERIMENT, exp_name, training=True, resume=False, job=None) as folder:
        encoder_file, head_file = folder.checkpoints / "tuned.ckpt", folder.path / "tuned.head"
        with _logger(settings, place, exp_name, folder) or nullcontext() as logger:
            if logger is not None:
                _log_facts(logger, encoder, settings.finetune, labels)
            _train(tuning, settings.finetune, logger)
            _save(tuning, encoder_file, head_file, encoder, settings.finetune, clips.classes)
            shown = _recalls(tuning, settings.finetune, folder)
            if logger is not None:
                logger.log_artifact(encoder_file, "checkpoints")
                logger.log_artifact(head_file)
                for file in shown:
                    (logger.log_figure if file.suffix == ".png" else logger.log_artifact)(file)
                logger.describe("finetune", _headline(tuning))
    print(_headline(tuning))
    few = settings.classify.few_labels
    if len(clips.y) < few:
        print(
            f"note: {counted(len(clips.y), 'label')}; under {few:,}, fine-tuning rarely pays: "
            "trust a test"
        )
    for file in shown:
        print(f"recalls: {file}")
    print(f"encoder: {encoder_file}\nhead: {head_file}    (g5 predict {head_file} recordings/ ...)")
    return encoder_file


def _headline(tuning: FineTuning) -> str:
    frozen, best = tuning.frozen["val/score"], tuning.best["val/score"]
    return (
        f"head alone {frozen:.3f}, fine-tuned {best:.3f} on the held-back sources (epoch "
        f"{tuning.best['epoch']:.0f} was chosen on them, so both flatter a little)"
    )


def _logger(
    settings: TransferSettings, place: Path, exp_name: str, folder: RunFolder
) -> MLflowLogger | None:
    if not settings.logger.enabled:
        return None
    return MLflowLogger(
        root=place, experiment=settings.logger.experiment or EXPERIMENT, run_name=exp_name,
        folder=folder, resume=False,
        tracking_uri=settings.logger.tracking_uri, system_metrics=settings.logger.system_metrics,
        server_wait_s=settings.logger.server_wait_s,
    )  # fmt: skip


def _log_facts(
    logger: MLflowLogger, encoder: LoadedEncoder, settings: FinetuneSettings, labels: Path
) -> None:
    about = {"encoder": asdict(encoder.facts()), "finetune": asdict(settings)}
    logger.log_config({**about, "labels": str(labels)})
    tags = {"job": "finetune", "git_revision": git_revision()}
    logger.set_tags({**tags, "g5_version": __version__})


def _train(tuning: FineTuning, settings: FinetuneSettings, logger: MLflowLogger | None) -> None:
    total = settings.epochs
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
    write_csv(table, numbers, float_format="%.6g")
    title = f"Held-back sources: weights {settings.weights}, sampling {settings.sampling}"
    return [numbers, recall_figure(table, figure, title=title)]


def _save(
    tuning: FineTuning, encoder_file: Path, head_file: Path, encoder: LoadedEncoder,
    settings: FinetuneSettings, classes: list[str],
) -> None:  # fmt: skip
    save_encoder(encoder, encoder_file)
    # The user has named its class, on this command line.
    tuned = load_encoder(str(encoder_file), [f"encoder._target_={encoder.node['_target_']}"])
    head = SavedHead(
        tuning.head, settings.head, settings.task, classes, tuned.facts(), of_windows=True
    )
    save_head(head_file, head)
