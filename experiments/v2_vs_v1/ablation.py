"""The rows of the ablation: v2's recipe with one part changed, 300 batches instead of 600."""

from dataclasses import replace

from experiments.v2_vs_v1.runs import V1, Recipe

EPOCHS, FEW_EPOCHS, LONGER_EPOCHS = 6, 2, 48
SHORT = f"arch.training.max_epochs={EPOCHS}"
# The learned correction changes no answer here (see `main`) and takes most of the scoring time.
EUCLIDEAN = "arch.model.distance=euclidean"

NO_MASKS = ("arch.augmentation.n_time_masks=0", "arch.augmentation.n_freq_masks=0")
PREFIX = "ablation_"  # of the runs' names
GENERATOR = "generator: "  # rows that change the procedural world


def _v2(name: str, says: str, *changes: str) -> Recipe:
    return Recipe(f"{PREFIX}{name}", "v2", (SHORT, EUCLIDEAN, *changes), says)


# Trained with every seed: how far its own seeds lie apart says which gaps are noise.
FULL = _v2("full", "v2")
# In the order of interest: a table that was stopped has the rows that matter most.
ABLATION = (
    _v2("episodes", "no pretraining: episodes only", "arch.training.pretrain=0.0"),
    _v2("classes", "no episodes: classification only", "arch.training.pretrain=1.0"),
    replace(V1, name=f"{PREFIX}v1", changes=(SHORT,)),
    _v2("nose", "no squeeze-and-excitation", "arch.model.se_reduction=0"),
    _v2("noattention", "no temporal attention", "arch.model.attention_heads=0"),
    _v2("depth", "three residual blocks instead of four", "arch.model.channels=[32,64,256]"),
    _v2("nospec", "no SpecAugment", *NO_MASKS),
    _v2("sample", "clips normalised one by one", "features.normalize=sample"),
    _v2("clip2", "training clips of 2 s", "features.clip_s=2.0"),
    _v2("individual", "generator: individuals all alike", "data.individual=0.0"),
    _v2("channel", "generator: recorders all flat", "data.eq_db=0.0"),
    _v2("near", "generator: neither distance nor reverberation", "data.distance=0.0",
        "data.reverb=0.0"),
    _v2("loud", "generator: all calls 30 to 40 dB over the background", "data.snr_db=[30.0,40.0]"),
    _v2("weather", "generator: no wind, rain or hum", "data.wind=0.0", "data.rain=0.0",
        "data.hum=0.0"),
    _v2("distractors", "generator: no distractors", "data.distractors=0.0"),
    _v2("species", "generator: a quarter of the species, four times as often",
        "data.train_species=150", "data.recordings_per_species=16"),
    _v2("meanpool", "mean pooling only",
        "arch.model._target_=experiments.v2_vs_v1.pooling.MeanPooledV2"),
    _v2("width", "embeddings of 256 numbers, not 1,024", "arch.model.embedding_dim=256"),
    _v2("none", "embeddings as they come", "arch.model.normalize=none"),
    _v2("l2", "unit length without centring", "arch.model.normalize=l2"),
    _v2("cosine", "cosine distance, its temperature fixed", "arch.model.distance=cosine"),
    _v2("mixup", "MixUp within a class, in episodes", "arch.augmentation.mixup_alpha=0.4"),
    _v2("nonoise", "no noise", "arch.augmentation.noise_std=0.0"),
    _v2("nodropout", "no dropout", "arch.model.dropout=0.0"),
    _v2("pcen", "PCEN instead of log-mel", "features=pcen"),
    _v2("adaptive", "training clips as long as their calls", "features.clip=adaptive"),
    _v2("step2", "two episodes a step", "arch.episodes.episodes_per_batch=2"),
    _v2("ways20", "20-way episodes of 2 shots and 3 queries", "arch.episodes.n_way=20",
        "arch.episodes.k_shot=2", "arch.episodes.n_query=3"),
    _v2("nosmooth", "no label smoothing", "arch.training.label_smoothing=0.0"),
    _v2("constant", "no schedule: a constant rate", "arch.training.scheduler=none"),
    _v2("decay", "weight decay 0.01", "arch.training.weight_decay=1.0e-2"),
    _v2("neither", "neither coarse frequencies nor band statistics",
        "arch.model.frequency_bins=1", "arch.model.band_statistics=0"),
    _v2("learnable", "the learned distance", "arch.model.distance=learnable"),
    _v2("crossed", "support and query of one recording", "arch.episodes.cross_source=false"),
    Recipe(f"{PREFIX}v1_pretrained", "v1",
        (SHORT, "arch.model.normalize=cl2n", "arch.training.pretrain=0.5",
         "arch.episodes.shift=0.2", "arch.training.label_smoothing=0.1"),
        "v1 with v2's pretraining and geometry"),
    _v2("noshift", "no time shift", "arch.episodes.shift=0.0"),
    _v2("ways30", "30-way episodes of 1 shot and 2 queries", "arch.episodes.n_way=30",
        "arch.episodes.k_shot=1", "arch.episodes.n_query=2"),
    _v2("warmup", "two epochs of warm-up", "arch.training.scheduler=cosine_warmup"),
    _v2("nodecay", "no weight decay", "arch.training.weight_decay=0.0"),
    _v2("noaugment", "no augmentation", "arch.augmentation=null"),
    _v2("mean", "frequencies averaged away", "arch.model.frequency_bins=1"),
    _v2("nobands", "no band statistics", "arch.model.band_statistics=0"),
    _v2("clip05", "training clips of 0.5 s", "features.clip_s=0.5"),
)  # fmt: skip
# What the ablation liked better than the default: as long as `main` trains, and with every seed.
CANDIDATES = (Recipe("v2_nomasks", "v2", (EUCLIDEAN, *NO_MASKS), "v2 without SpecAugment"),)
# The same, four times as long and with one seed: does the difference last?
_LONGER = f"arch.training.max_epochs={LONGER_EPOCHS}"
LONGER = (
    Recipe("v2_longer", "v2", (EUCLIDEAN, _LONGER), "v2, four times as long"),
    Recipe("v2_nomasks_longer", "v2", (EUCLIDEAN, _LONGER, *NO_MASKS),
           "v2 without SpecAugment, four times as long"),
)  # fmt: skip

# A hundred batches, half of them pretraining where there is any, at both sizes.
_FEW = f"arch.training.max_epochs={FEW_EPOCHS}"
_RECIPES = {
    "v1": ("v1", ()),
    "v2": ("v2", (EUCLIDEAN,)),
    "v2, episodes only": ("v2", (EUCLIDEAN, "arch.training.pretrain=0.0")),
    "v2, classification only": ("v2", (EUCLIDEAN, "arch.training.pretrain=1.0")),
}
SIZES = {
    size: [
        Recipe(f"{size.replace(' ', '')}_{i}", arch, (_FEW, *changes, *of_size), says)
        for i, (says, (arch, changes)) in enumerate(_RECIPES.items())
    ]
    for size, of_size in {
        "64 x 43": (),
        "128 x 87": ("features.n_mels=128", "features.hop_mel=256"),
    }.items()
}
