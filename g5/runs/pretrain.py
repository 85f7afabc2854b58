"""Make an encoder from the endless world, and its curve: `g5 pretrain`."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from archs.protonet import ProtoNet
from g5.common.atomic import write_text
from g5.common.errors import UserError
from g5.common.machine import cores
from g5.common.seeds import step_seed
from g5.config.build import build
from g5.config.compose import composed, resolve
from g5.config.parts import corpus_of, feature_set_of, front_end_of, normalize_of, scene_settings
from g5.config.schema import Whole
from g5.config.settings import Settings, Tree, group_of, load, plain_of
from g5.evaluation.episodes.raw_features import RawStatistics, time_statistics
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.runs.pretrain_card import card
from g5.tracking.checkpoints import check_same, load_weights, payload, save
from g5.tracking.checkpoints import load as load_checkpoint
from g5.tracking.folders import claim, find
from g5.tracking.history import read_rows, write_rows
from g5.training.arithmetic import trusted_precision
from g5.training.pretraining import Pretraining, Recipe
from g5.training.processes import Processes
from g5.training.setup import device_of, precision_of, prepare_torch
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize
from preprocessing.spectra.mel import band_centres_hz
from preprocessing.synthetic.pool import Pool, PoolSettings
from preprocessing.synthetic.power_scenes import PlaceSettings, PowerScenes
from preprocessing.synthetic.remix import RemixSettings
from preprocessing.synthetic.tracks import TrackSettings
from preprocessing.synthetic.worlds import make_worlds

GROUP = "pretrain"
ENCODER = "encoder.ckpt"
CURVE = "curve.csv"
CARD = "encoder.md"
MEL_KEYS = ("sr", "n_fft", "hop_mel", "n_mels", "fmin", "fmax")
# Points of the curve: sets, their clips in seconds, ways and shots; of few episodes, for speed.
TESTS = (
    ("field", 5.0, 5, 5), ("voices", 0.5, 20, 1), ("crowd", 5.0, 5, 5), ("other", 5.0, 5, 5),
    ("other", 5.0, 5, 1), ("hard", 5.0, 5, 5), ("hard", 5.0, 5, 1),
)  # fmt: skip
EPISODES, QUERIES, TEST_SEED, TEST_BATCH = 300, 2, 1234, 50
RAW_SPECIES = 500  # whose clips tell what raw features are like


@dataclass(frozen=True)
class PretrainSettings:
    """What the world and the training are like."""

    workers: Whole | Literal["auto"]
    world: TrackSettings
    remix: RemixSettings
    place: PlaceSettings
    pool: PoolSettings
    recipe: Recipe


@dataclass(frozen=True)
class PretrainFile(Tree):
    """`conf/pretrain.yaml`."""

    pretrain: PretrainSettings


def pretrain(overrides: Sequence[str]) -> Path:
    """Train, or go on where an earlier call was stopped; the checkpoint that comes of it.

    Args:
        overrides: ``pretrain.*`` change conf/pretrain.yaml, the others the configuration.

    Raises:
        UserError: an override that cannot be, or a loss that is no number.
    """
    own = [text for text in overrides if group_of(text) == GROUP]
    others = [text for text in overrides if group_of(text) != GROUP]
    settings = load(["experiment=pretrained", *others])
    ours = read_settings(own, sr=settings.features.front_end.values["sr"])
    prepare_torch(settings)
    processes = Processes.start(settings, ours.recipe.batches)
    if processes.rank > 0:  # the first one speaks
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    with claim(
        settings.path.root, settings.name, settings.exp_name, training=True, resume=True, job=None
    ) as folder:
        begun_with = settings.arch.training.load_weight_from
        _check_same(folder.path / "pretrain.yaml", ours, begun_with)
        return _Run(settings, ours, folder.path, processes).run()


def read_settings(overrides: Sequence[str], *, sr: int) -> PretrainSettings:
    """`conf/pretrain.yaml` with overrides, checked; the world sounds at a front end's rate, Hz."""
    plain = resolve(composed(overrides, GROUP))
    plain[GROUP]["world"]["sr"] = sr
    settings = PretrainFile.from_plain(plain, known=None).pretrain
    recipe, pool = settings.recipe, settings.pool
    for name, asked, there in (
        ("batches * species", recipe.batches * recipe.species, pool.slots),
        ("individuals", recipe.individuals, pool.individuals),
    ):
        if asked > there:
            raise UserError(
                f"{GROUP}.recipe.{name}={asked}: the pool has only {there}; lower the one "
                f"or raise {GROUP}.pool"
            )
    return settings


def _check_same(path: Path, settings: PretrainSettings, begun_with: str | None) -> None:
    """A training goes on only as it began."""
    plain = plain_of(settings)
    del plain["workers"]  # no number depends on it
    if begun_with:
        plain["begun_with"] = begun_with
    if path.exists():
        if yaml.safe_load(path.read_text("utf-8")) != plain:
            raise UserError(
                f"{path}: the training that would go on has other settings; leave them as they "
                "were, or start another with exp_name=..."
            )
        return
    write_text(path, yaml.safe_dump(plain, sort_keys=False))


class _Run:
    """One call: the training, its curve and the encoder that it leaves."""

    def __init__(
        self, settings: Settings, ours: PretrainSettings, folder: Path, processes: Processes
    ) -> None:
        self.settings, self.ours, self.folder = settings, ours, folder
        self.processes, self.speaks = processes, processes.rank == 0
        self.front_end, self.normalize = front_end_of(settings), normalize_of(settings)
        named = settings.arch.training.load_weight_from
        self.begun_with = _Begun.read(named, settings) if named else None

    def run(self) -> Path:
        tests = list(_tests(self.settings, front_end_of(self.settings))) if self.speaks else []
        training = self._training()
        print(
            f"run       {self.folder}\nworld     {self.ours.pool.slots} species at once", flush=True
        )
        try:
            for done in training.pool.fill(training.step):
                if done % 1000 == 0:
                    print(f"          {done} of them are there", flush=True)
            training.run(lambda point: self._tell(point, training, tests))
            if self.speaks:
                self._save(training.tested(), self._raw_statistics(training))
                self._write_card(training)
        finally:
            training.pool.close()
        print(f"encoder   {self.folder / ENCODER}")
        return self.folder / ENCODER

    def _tell(
        self, point: dict[str, float], training: Pretraining, tests: Sequence["_Test"]
    ) -> None:
        """Add a point to the curve, and keep the encoder of now."""
        if not self.speaks:
            return
        tested = training.tested()
        row = point | {t.name: t.accuracy(tested, self.normalize, training.device) for t in tests}
        _append(self.folder / CURVE, row)
        self._save(tested, self._raw_statistics(training))
        print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)

    def _training(self) -> Pretraining:
        torch.manual_seed(self.settings.seed)
        device, workers = device_of(self.settings), self.ours.workers
        mel = {key: getattr(self.front_end, key) for key in MEL_KEYS}
        pool = Pool(
            self.ours.pool,
            self.ours.world,
            mel,
            workers=self._cores() - 1 if workers == "auto" else workers,
            device=device,
        )
        model = build(self.settings.arch.model, expect=ProtoNet, where="arch.model")
        if self.begun_with:
            load_weights(model, self.begun_with.state, "model.", self.begun_with.path)
        return Pretraining(
            model=model,
            front_end=self.front_end,
            normalize=self.normalize,
            pool=pool,
            remix=self.ours.remix,
            scenes=self._scenes(),
            recipe=self.ours.recipe,
            seed=self.settings.seed,
            folder=self.folder,
            device=device,
            bf16=trusted_precision(precision_of(self.settings), device) == "bf16-mixed",
            processes=self.processes,
        )

    def _cores(self) -> int:
        """Of this machine, for this process."""
        here = max(1, self.processes.count // self.settings.trainer.num_nodes)
        return max(1, cores() // here)

    def _scenes(self) -> PowerScenes:
        front_end = self.front_end
        centres = band_centres_hz(front_end.n_mels, front_end.fmin, front_end.fmax)
        return PowerScenes(
            self.ours.place,
            torch.from_numpy(centres).float(),
            hop_s=1 / front_end.frame_rate_hz,
            takes=self.ours.pool.takes,
        )

    @torch.inference_mode()
    def _raw_statistics(self, training: Pretraining) -> RawStatistics:
        """Of the plain features of some clips, for the rows of raw features in a test."""
        species = min(RAW_SPECIES, self.ours.pool.slots)
        torch.manual_seed(step_seed(self.settings.seed, "raw", training.step))
        x_B1WT, *_ = training.heard(species)
        raw_BF = time_statistics(x_B1WT[:, :, : self.front_end.n_mels]).double().cpu()
        std_F, mean_F = torch.std_mean(raw_BF, dim=0, correction=0)
        return RawStatistics(mean_F, std_F)

    def _save(self, model: ProtoNet, raw: RawStatistics) -> None:
        """Write the encoder as any checkpoint, in fp16: what it heard is invented from settings."""
        front_end, normalize = self.front_end, self.normalize
        header = payload(
            config=self.settings.plain(),
            front_end=front_end.settings(),
            normalize={"mode": normalize.mode, "n_mels": front_end.n_mels},
            label_map={"train": [], "val": [], "test": []},
            data_hash=f"{GROUP} {self.ours.world.seed}",
            split_hash="",
            trained_recordings=[],
            raw_statistics=raw.plain(),
        )
        state = {
            f"model.{name}": value.cpu().half() if value.is_floating_point() else value.cpu()
            for name, value in model.state_dict().items()
        }
        header[GROUP] = plain_of(self.ours)
        if self.begun_with:
            header[GROUP]["begun_with"] = self.begun_with.story
        content = {"g5": header, "state_dict": state, "epoch": 0, "global_step": 0}
        save(content, self.folder / ENCODER)

    def _write_card(self, training: Pretraining) -> None:
        parameters = sum(p.numel() for p in training.model.parameters())
        last = read_rows(self.folder / CURVE)[-1]
        before = self.begun_with.story if self.begun_with else None
        text = card(self.settings, plain_of(self.ours), last, parameters, before)
        write_text(self.folder / CARD, text)


@dataclass(frozen=True)
class _Begun:
    """The checkpoint that a training begins with (`arch.training.load_weight_from`).

    Attributes:
        path: of it.
        state: its weights.
        story: what it was made by, for the model card.
    """

    path: Path
    state: Mapping[str, Any]
    story: dict[str, Any]

    @classmethod
    def read(cls, named: str, settings: Settings) -> "_Begun":
        path, message = find(named)
        content = load_checkpoint(path)
        header = content["g5"]
        check_same(header, settings, path)
        print(f"weights   {message or path}")
        story = {"revision": header["git_revision"], "pretrain": header.get(GROUP)}
        return cls(path, content["state_dict"], story)


@dataclass(frozen=True)
class _Test:
    """A point of the curve: fixed episodes of a procedural set."""

    name: str
    plan: ClipPlan
    reader: ClipReader
    labels: list[str]

    def accuracy(self, model: ProtoNet, normalize: Normalize, device: torch.device) -> float:
        z_PD = embed_plan(
            model, normalize, self.plan, self.reader, batch_size=TEST_BATCH, device=device
        )
        return float(evaluate_episodes(model, z_PD, self.plan, self.labels).hit_A.mean())


def _tests(settings: Settings, front_end: FrontEnd) -> Iterator[_Test]:
    """The procedural sets, made and heard where they are not yet."""
    worlds = make_worlds(settings.path.root / "outputs" / "worlds", scene_settings())
    clips = load(["data=clips", "data.split=test"]).data
    for name, clip_s, n_way, k_shot in TESTS:
        own = replace(settings, data=clips).but(
            {"data.root": str(worlds[name]), "features.clip_s": clip_s}
        )
        corpus = corpus_of(own)
        reader = feature_set_of(own, corpus, front_end).reader("test")
        sampler = EpisodeSampler(
            corpus.split("test"), n_way=n_way, k_shot=k_shot, n_query=QUERIES, seed=TEST_SEED,
            split="test", cross_source=True, clips=reader,
        )  # fmt: skip
        plan = plan_clips(sampler.episodes(0, EPISODES))
        yield _Test(f"{name} {n_way}-way {k_shot}-shot", plan, reader, corpus.labels("test"))


def _append(path: Path, row: Mapping[str, float]) -> None:
    """Add a point to the curve; a point that a resumed training makes again replaces its own."""
    before = [old for old in read_rows(path) if float(old["step"]) < row["step"]]
    write_rows(path, [*before, row])
