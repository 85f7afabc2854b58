"""Train v1 and v2 on procedural species, detect unseen ones by five calls, print the table.

    python -m experiments.procedural_detection [key=value ...]
    python -m experiments.procedural_detection shipped [key=value ...]

Trainings are resumed: a second call only detects. `shipped` needs none: the encoder default beside
the energy detector, and BirdNET where it is installed.
"""

from collections.abc import Sequence

from experiments.common import run_as_command
from experiments.procedural_detection.detectors import (
    SHIPPED,
    DetectionSetup,
    compared,
    shipped_compared,
)
from experiments.procedural_detection.tables import f_losses, score_table
from g5.config.parts import corpus_of
from g5.config.settings import load
from g5.tracking.folders import DEFAULT

# Recordings to detect in: two species each, so that one's calls are the other's distractors.
EVENTS = (
    "data.train_species=2", "data.val_species=30", "data.test_species=30",
    "data.recordings_per_species=1", "data.species_per_recording=2",
    "data.calls_per_recording=20", "data.recording_s=120", "data.snr_db=[0,20]",
)  # fmt: skip


def setup(arguments: Sequence[str]) -> DetectionSetup:
    """The recordings, made where they are missing."""
    settings = load(["experiment=procedural_detection", *EVENTS, *arguments])
    return DetectionSetup(corpus_of(settings), settings.detection, settings.path.store)


def main(arguments: Sequence[str]) -> None:
    """Print the table of the test recordings, three training seeds."""
    if arguments and arguments[0] == SHIPPED:
        found = shipped_compared(setup(arguments[1:]))
        print(f"\n{score_table(found)}\n\n{f_losses(found, DEFAULT)}")
        return
    found = compared(setup(arguments), arguments)
    print(f"\n{score_table(found)}\n\n{f_losses(found, 'v2')}")


if __name__ == "__main__":
    run_as_command(main)
