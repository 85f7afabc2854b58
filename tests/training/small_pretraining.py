"""A pretraining of seconds: few species, and sets to test on of a few recordings."""

from collections.abc import Callable

from preprocessing.synthetic import patches, worlds

OVERRIDES = (
    "features.n_mels=16", "features.hop_mel=512", "arch.model.channels=[4,8]",
    "arch.model.embedding_dim=24", "arch.model.timbre_dim=8", "arch.model.metric_rank=4",
    "trainer.accelerator=cpu", "pretrain.pool.slots=6", "pretrain.pool.backgrounds=2",
    "pretrain.workers=0", "pretrain.recipe.species=4", "pretrain.recipe.metric_species=4",
    "pretrain.world.track_s=1.0", "exp_name=small",
)  # fmt: skip


def shrink(set_: Callable[[object, str, object], None] = setattr) -> None:
    """Make the sets that are tested on small, in this process."""
    few = {"recording_s": 5.0, "test_species": 6, "recordings_per_species": 8}
    set_(worlds, "FIELD", {**worlds.FIELD, **few})
    set_(worlds, "CROWD", {**worlds.CROWD, **few})
    voices = {"test_species": 20, "recordings_per_species": 1, "recording_s": 40.0}
    set_(worlds, "VOICES", {**worlds.VOICES, **voices, "calls_per_recording": 4})
    set_(patches, "PATCHES", 6)
    set_(patches, "CLIPS", 8)
