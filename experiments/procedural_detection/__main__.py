"""Train v1 and v2 on procedural species, detect unseen ones by five calls, print the table.

    python -m experiments.procedural_detection [main|adapt [WAY ...]] [key=value ...]

Trainings are resumed: a second call only detects.
"""

from collections.abc import Callable, Sequence

from experiments.common import run_as_command
from experiments.procedural_detection.detectors import (
    SEEDS,
    DetectionSetup,
    SplitResults,
    changed,
    compared,
    trained_encoder,
)
from experiments.procedural_detection.tables import f_gains, f_losses, score_table
from g5.common.errors import UserError
from g5.config.parts import data_of
from g5.config.settings import load

# Recordings to detect in: two species each, so that one's calls are the other's distractors.
EVENTS = (
    "data.train_species=2", "data.val_species=30", "data.test_species=30",
    "data.recordings_per_species=1", "data.species_per_recording=2",
    "data.calls_per_recording=20", "data.recording_s=120", "data.snr_db=[0,20]",
)  # fmt: skip
# What the shots may teach at test time. The steps end it, however slow the machine is.
ADAPT = ("none", "head", "finetune", "transductive")
LONG_S = 1e6


def setup(arguments: Sequence[str]) -> DetectionSetup:
    """The recordings, made where they are missing."""
    settings = load(["experiment=procedural_detection", *EVENTS, *arguments])
    return DetectionSetup(data_of(settings).load(), settings.detection, settings.path.store)


def main_table(arguments: Sequence[str]) -> str:
    """Test recordings, three training seeds."""
    found = compared(setup(arguments), arguments)
    return f"{score_table(found)}\n\n{f_losses(found, 'v2')}"


def adapt_table(arguments: Sequence[str]) -> str:
    """Test recordings, v2 of three training seeds: what learning from the shots is worth.

    Words without ``=`` among the arguments are ways to adapt; without any there are all.
    """
    chosen = [word for word in arguments if "=" not in word]
    if unknown := sorted(set(chosen) - set(ADAPT)):
        raise UserError(f"{unknown[0]}: is no way to adapt; choose of {', '.join(ADAPT)}")
    arguments = [word for word in arguments if "=" in word]
    work, found = setup(arguments), SplitResults()
    for seed in SEEDS:
        v2 = trained_encoder("v2", seed, arguments)
        for adapt in (way for way in ADAPT if not chosen or way in (ADAPT[0], *chosen)):
            detection = changed(work.detection, {"adapt": adapt, "adapt_max_s": LONG_S})
            found.add(f"adapt={adapt}", work.detected(v2, "test", detection))
    return f"{score_table(found)}\n\n{f_gains(found, f'adapt={ADAPT[0]}')}"


TABLES: dict[str, Callable[[Sequence[str]], str]] = {"main": main_table, "adapt": adapt_table}


def main(arguments: Sequence[str]) -> None:
    """Print the table that the first argument names, the main one where it names none."""
    choice, rest = "main", list(arguments)
    if rest and "=" not in rest[0]:
        choice = rest.pop(0)
    if choice not in TABLES:
        raise UserError(f"{choice}: there is no such table; choose one of {', '.join(TABLES)}")
    print(f"\n{TABLES[choice](rest)}")


if __name__ == "__main__":
    run_as_command(main)
