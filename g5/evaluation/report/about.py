"""What a test has to say of itself, as rows: what was trained on what, under what rules, how good.

The report and the model card show the same rows.
"""

import platform
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from g5.common.words import counted, some
from g5.config.schema import FeatureSettings
from g5.config.settings import Settings
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.intervals import ends_text
from g5.tracking.restore import Restored
from preprocessing.events import SPLITS, Corpus


@dataclass(frozen=True)
class About:
    """What was tested, where it comes from, and how to do it again.

    Attributes:
        run: the run's name.
        restored: the checkpoint.
        settings: of the test.
        corpus: the data it was tested on.
        command: that repeats the test.
    """

    run: str
    restored: Restored
    settings: Settings
    corpus: Corpus
    command: str

    @property
    def arch(self) -> str:
        """Name of the architecture."""
        return self.settings.arch.name

    @property
    def own_data(self) -> bool:
        """Whether it was tested on the data it comes from."""
        return self.corpus.data_hash == self.restored.header["data_hash"]

    def events(self, result: TestResult) -> pd.DataFrame:
        """The tested split's table."""
        return self.corpus.split(result.protocol.split)


def trained_rows(about: About) -> list[tuple[str, str]]:
    """What was trained on what."""
    header, settings = about.restored.header, about.restored.settings
    parameters = sum(p.numel() for p in about.restored.model.parameters())
    front = header["front_end"]
    training, episodes = settings.arch.training, settings.arch.episodes
    rows = [
        ("architecture", f"{settings.arch.name}, {parameters:,} parameters, embeddings of "
                         f"{about.restored.model.embedding_dim} numbers"),
        ("front end", f"{front['_target_'].rsplit('.', 1)[-1]}: {front['n_mels']} bands, "
                      f"{front['fmin']:g}–{front['fmax']:g} Hz, {front['sr']:,} Hz, clips of "
                      f"{_clip_length(settings.features)}"),
        ("data", _data_told(settings)),
        *[(f"{split} classes", _split_told(about, split)) for split in SPLITS],
        ("training", f"up to {counted(training.max_epochs, 'epoch')} of "
                     f"{episodes.episodes_per_epoch:,} "
                     f"episodes, {episodes.n_way}-way {episodes.k_shot}-shot, "
                     f"{training.optimizer}, learning rate {training.learning_rate:g}, seed "
                     f"{settings.seed}"),
    ]  # fmt: skip
    if not about.own_data:
        here = about.corpus
        counts = ", ".join(f"{len(here.labels(s))} {s} classes" for s in SPLITS)
        rows.append(
            ("tested on other data", f"{counts}, {counted(len(here.recordings), 'recording')}")
        )
    return rows


def _data_told(settings: Settings) -> str:
    kind = settings.data.target.rsplit(".", 1)[-1]
    folder = settings.path.train_dir
    return f"{Path(folder).name} ({kind})" if folder else f"invented recordings ({kind})"


def _clip_length(features: FeatureSettings) -> str:
    if features.clip == "adaptive":
        return f"{features.min_clip_s:g}–{features.max_clip_s:g} s"
    return f"{features.clip_s:g} s"


def _split_told(about: About, split: str) -> str:
    labels = about.restored.label_map.get(split, [])
    told = f"{len(labels)}"
    if about.own_data:
        events = about.corpus.split(split)
        told += (
            f" ({counted(len(events), 'call')} in {counted(events['file'].nunique(), 'recording')})"
        )
    return f"{told}: {some(labels, 8)}" if labels else told


def protocol_rows(result: TestResult) -> list[tuple[str, str]]:
    """The rules of the test."""
    facts = result.protocol
    apart = (
        "from different recordings (or sources) wherever a class has several"
        if facts.cross_source
        else "may share a recording"
    )
    return [
        ("episodes", f"{facts.episodes:,}, the same for every model (seed {facts.seed})"),
        ("an episode", f"{facts.n_way} classes, {facts.k_shot} support calls and {facts.n_query} "
                       "queries of each; each query is given one of the classes"),
        ("support and query", apart),
        ("drawn from", f"{facts.n_clips:,} calls of {facts.n_classes} classes "
                       f"({facts.split} split)"),
        ("interval", "95 % over episodes: how well these classes were measured; cite the wider "
                     "one, which resamples classes and sources as well, for other species and "
                     "places"),
    ]  # fmt: skip


def accuracy_table(result: TestResult) -> pd.DataFrame:
    """The encoder beside raw features and chance."""
    rows = [("this model", result.interval.mean, ends_text(result.interval))]
    rows += [("… for other classes and sources", float("nan"), ends_text(result.resampled))]
    rows += [
        (f"raw features, {r.name}", r.interval.mean, ends_text(r.interval)) for r in result.raw
    ]
    rows.append(("chance", result.chance, ""))
    return pd.DataFrame(rows, columns=["", "accuracy", "95 % interval"])


SAYS = {
    "balanced_accuracy": ("balanced accuracy", ".1%", "every class weighs the same"),
    "macro_precision": ("precision, macro", ".1%", "of the answers “A”, how many are A"),
    "macro_recall": ("recall, macro", ".1%", "of the A, how many are found"),
    "macro_f1": ("F1, macro", ".1%", "both in one"),
    "top3": ("top-3 accuracy", ".1%", "the right class is among the three likeliest"),
    "top5": ("top-5 accuracy", ".1%", "the right class is among the five likeliest"),
    "roc_auc": ("ROC-AUC", ".3f", "a class's own queries score higher than others'"),
    "average_precision": ("average precision", ".3f", "the same, with an eye on false alarms"),
    "open_set_auroc": ("open-set AUROC", ".3f", "unknown species are told from known ones"),
    "ece": ("expected calibration error", ".1%", "how far confidence and truth lie apart"),
    "brier": ("Brier score", ".3f", "quality of the probabilities; 0 is perfect"),
    "nll": ("negative log-likelihood", ".3f", "likewise, hard on confident mistakes"),
    "temperature": ("temperature", ".3g", "logits are divided by it, as fitted on validation"),
}


def number_rows(result: TestResult) -> list[tuple[str, str, str]]:
    """The further numbers, with what they say."""
    numbers = result.quality()
    return [
        (name, format(numbers[key], spec), says)
        for key, (name, spec, says) in SAYS.items()
        if key in numbers and numbers[key] == numbers[key]
    ]


def class_table(result: TestResult) -> pd.DataFrame:
    """One row for every class that was asked, the worst first."""
    classes, sure = result.scores.classes, result.scores.probabilities
    table = pd.DataFrame(
        {
            "class": result.scores.labels,
            "accuracy": classes.accuracy_C,
            "queries": classes.support_C,
            "confidence when right": sure.confidence_correct_C,
            "ROC-AUC": sure.roc_auc_C,
            "average precision": sure.average_precision_C,
        }
    )
    asked = table.loc[table["queries"] > 0]
    return asked.sort_values("accuracy", kind="stable", ignore_index=True)


def origin_rows(result: TestResult, about: About) -> list[tuple[str, str]]:
    """Hashes and versions by which anyone can tell whether they have the same."""
    header, facts = about.restored.header, result.protocol
    code = f"g5 {header['g5_version']}, {header['git_revision'] or 'no git'}"
    return [
        ("checkpoint", about.restored.path.name),
        ("code it was trained with", code),
        ("data hash", facts.data_hash),
        ("split hash", facts.split_hash),
        ("episodes hash", facts.episodes_hash),
        ("Python", f"{platform.python_version()} on {platform.system()}"),
    ]  # fmt: skip
