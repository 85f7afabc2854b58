"""The model card beside a checkpoint: what it is, on what it was trained, how good, and its limits.

Markdown with YAML front matter as the Hugging Face hub reads it; after Mitchell et al., "Model
Cards for Model Reporting", FAT* 2019.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from g5.common.atomic import write_text
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.intervals import mean_text
from g5.evaluation.report.about import About, number_rows, origin_rows, protocol_rows, trained_rows
from g5.evaluation.report.summary import verdict_line


def write_model_card(path: Path, result: TestResult, about: About) -> Path:
    """Write the card of the tested checkpoint."""
    front = yaml.safe_dump(_front_matter(result, about), sort_keys=False, allow_unicode=True)
    return write_text(path, f"---\n{front}---\n\n{_body(result, about)}")


def _front_matter(result: TestResult, about: About) -> dict[str, Any]:
    facts, quality = result.protocol, result.quality()
    metrics = [
        {"type": "accuracy", "value": round(result.interval.mean, 4),
         "interval_95": [round(result.interval.low, 4), round(result.interval.high, 4)]},
        {"type": "f1", "name": "macro F1", "value": round(quality["macro_f1"], 4)},
        {"type": "expected_calibration_error", "value": round(quality["ece"], 4)},
    ]  # fmt: skip
    return {
        "library_name": "g5",
        "pipeline_tag": "audio-classification",
        "tags": ["bioacoustics", "few-shot", "prototypical-network", about.arch],
        "model-index": [
            {
                "name": about.run,
                "results": [
                    {
                        "task": {
                            "type": "audio-classification",
                            "name": f"{facts.n_way}-way {facts.k_shot}-shot",
                        },
                        "dataset": {
                            "name": about.settings.data.target.rsplit(".", 1)[-1],
                            "type": "audio",
                            "split": facts.split,
                            "revision": facts.data_hash,
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }


def _body(result: TestResult, about: About) -> str:
    raw, other = result.raw_best, result.resampled
    sections = [
        f"# {about.run}",
        f"A few-shot classifier of animal sounds: {about.arch}, a prototypical network. Given a "
        "few calls of each class it tells which of them a further call is.",
        "## Numbers",
        f"Accuracy **{mean_text(result.interval)}** (95 % over "
        f"{result.protocol.episodes:,} episodes); for other classes and sources of this kind "
        f"{other.low:.1%} to {other.high:.1%}. Raw features ({raw.name}) reach "
        f"{raw.interval.mean:.1%}, chance is {result.chance:.1%}. "
        + verdict_line(result, about.arch),
        _markdown_table(["", "", ""], number_rows(result)),
        "## Data",
        _markdown_table(["", ""], trained_rows(about)),
        "## Protocol",
        _markdown_table(["", ""], protocol_rows(result)),
        "Checked on the real episodes: " + ", ".join(result.checks) + ".",
        "## Intended use",
        "Classifying marked calls among a few classes of which a handful of examples are at hand, "
        "and as an encoder for search, clustering and detection in recordings like those above. A "
        "person should check what decisions are made on.",
        "## Limits",
        _list(_limits(result, about)),
        "## How to use it",
        _usage(about),
        "## Origin",
        _markdown_table(["", ""], origin_rows(result, about)),
    ]
    return "\n\n".join(sections) + "\n"


def _limits(result: TestResult, about: About) -> list[str]:
    facts, front = result.protocol, about.restored.header["front_end"]
    worst = sorted(
        (accuracy, label)
        for label, accuracy, n in zip(
            result.scores.labels,
            result.scores.classes.accuracy_C,
            result.scores.classes.support_C,
            strict=True,
        )
        if n
    )[:3]
    told = ", ".join(f"{label} ({accuracy:.0%})" for accuracy, label in worst)
    limits = [
        f"It hears {front['fmin']:g} to {front['fmax']:g} Hz and nothing else.",
        f"Every query was of one of the {facts.n_way} classes of its episode. In the field most "
        "sounds are of none: see the open-set AUROC above, and set a threshold.",
        f"Its probabilities are meant for {facts.n_way} classes with {facts.k_shot} support calls.",
        f"Its worst classes here: {told}.",
    ]
    if "procedural" in about.restored.settings.data.target.lower():
        limits.append("It was trained on invented species; test it on recordings of yours first.")
    return limits + list(result.notes)


def _usage(about: About) -> str:
    name, rate_hz = about.restored.path.name, about.restored.front_end.sr
    return (
        "```python\n"
        "from g5.tracking.restore import restore\n\n"
        f"encoder = restore({name!r})\n"
        f"embeddings = encoder.embed(waveforms)  # (clips, samples) at {rate_hz} Hz\n"
        "```\n\n"
        f"```sh\n{about.command}\n```"
    )


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Text that neither ends its cell nor becomes markup."""
    for mark in "\\|<*_`[":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(item)}" for item in items)
