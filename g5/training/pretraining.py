"""Pretraining in the endless world: supervised contrast of species, in a new scene at every step.

Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020. It has no weights of
classes, so that species may come and go.

It can be killed at any moment: the world and every step's draws follow from the seed and the
number of the step, and weights and optimiser are saved again and again. Beside torch it needs NumPy
and SciPy alone.

Two parts of an embedding are taught apart. What is called: clips of a species alike, whoever calls,
wherever, through whatever recorder. Who calls, by timbre: takes of an individual through one
recorder alike.

Shapes: B clips, M mel bands, T frames, D embedding width, C of it for what is called, S species,
I individuals.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from archs.classifier import SupervisedContrast
from archs.metrics import MahalanobisMap
from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.common.seeds import step_seed
from g5.config.check import BelowOne, Count, NotNegative, Positive, Share
from g5.config.schema import AtLeastTwo
from g5.tracking.checkpoints import load_plain, save
from g5.training.fit import weight_groups
from g5.training.processes import Processes
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize, scalar_stats
from preprocessing.synthetic.pool import Pool
from preprocessing.synthetic.power_scenes import PowerScenes, windows
from preprocessing.synthetic.remix import RemixSettings, remixed

STATE = "pretraining.ckpt"
CLIPS_AT_ONCE = 100  # that the learned distance is made from


@dataclass(frozen=True)
class Recipe:
    """How it is trained; see `recipe` in conf/pretrain.yaml."""

    steps: Count
    batches: Count
    species: AtLeastTwo
    individuals: AtLeastTwo
    timbre: NotNegative
    clip_s: list[Positive]
    lead_s: NotNegative
    learning_rate: Positive
    warmup: Share
    weight_decay: NotNegative
    gradient_clip: Positive
    average: BelowOne
    smoothing: BelowOne
    metric_species: AtLeastTwo
    test_every: Count
    save_every_s: NotNegative

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        done = step / self.steps
        return (
            self.learning_rate
            * min(1.0, (step + 1) / max(1.0, self.warmup * self.steps))
            * 0.5
            * (1 + math.cos(math.pi * done))
        )


class Pretraining:
    """A training that goes on where it was.

    Args:
        model: what is trained; in place.
        front_end: what compresses mel power.
        normalize: between features and encoder; clips are recordings of their own.
        pool: the world.
        remix: kinds that are made of its species.
        scenes: where they are heard.
        recipe: how.
        seed: of the draws.
        folder: keeps the state.
        device: where it is trained.
        bf16: whether convolutions are in bf16.
        processes: those that share a step's batches; the first of them keeps the state.
    """

    def __init__(
        self, *, model: ProtoNet, front_end: FrontEnd, normalize: Normalize, pool: Pool,
        remix: RemixSettings, scenes: PowerScenes, recipe: Recipe, seed: int, folder: Path,
        device: torch.device, bf16: bool, processes: Processes,
    ) -> None:  # fmt: skip
        self.model, self.front_end, self.normalize = model.to(device), front_end, normalize
        self.pool, self.remix, self.scenes, self.recipe = pool, remix, scenes, recipe
        self.seed, self.folder, self.device, self.bf16 = seed, folder, device, bf16
        self.processes = processes
        self.front_end.to(device)
        self.of_species, self.of_individuals = SupervisedContrast(), SupervisedContrast()
        self.contrast = nn.ModuleList([self.of_species, self.of_individuals]).to(device)
        trained = nn.ModuleList([model.encoder, self.contrast])
        groups = weight_groups(trained, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.average = AveragedModel(model, avg_fn=self._averaged, use_buffers=True)
        self.step, self.seconds = 0, 0.0
        self._resume()

    # --- the course -------------------------------------------------------------------------

    def run(self, told: Callable[[dict[str, float]], None]) -> None:
        """Train to the end.

        Args:
            told: takes the point of the curve every `test_every` steps, and at the end: step,
                seconds, loss, share that is right. `tested` is the model to test meanwhile.

        Raises:
            UserError: a loss is not finite.
        """
        since, saved, points = time.monotonic(), time.monotonic(), []
        while self.step < self.recipe.steps:
            self.pool.advance(self.step)
            points.append(self._train())
            self.step += 1
            now = time.monotonic()
            self.seconds, since = self.seconds + now - since, now
            if self.step % self.recipe.test_every == 0 or self.step == self.recipe.steps:
                loss, right = torch.tensor(points).mean(0).tolist()
                points = []
                self.save()
                told({"step": self.step, "seconds": self.seconds, "loss": loss, "acc": right})
                since = saved = time.monotonic()
            elif now - saved > self.recipe.save_every_s:
                self.save()
                saved = now

    def _train(self) -> tuple[float, float]:
        """One step: its loss, and the share of clips nearest to their own species."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        loss, right = self._loss(*self._embedded())
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f"the loss is {value} at step {self.step + 1}; {self.folder / STATE} is of before; "
                "lower pretrain.recipe.learning_rate, or train with trainer.precision=32-true"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.add_gradients(self.model.encoder.parameters())
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return value, float(right)

    def _embedded(self) -> tuple[Tensor, Tensor]:
        """Embeddings and species of a step's batches, each of which the encoder hears alone."""
        z, species = [], []
        for batch in self.processes.mine(self.recipe.batches):
            torch.manual_seed(step_seed(self.seed, "pretrain", self.step))
            x_BIMT, species_B = self.clips(self.recipe.species, batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                z.append(self.model.encoder(x_BIMT).float())
            species.append(species_B)
        return self.processes.joined(z), self.processes.joined(species)

    def _loss(self, z_BD: Tensor, species_B: Tensor) -> tuple[Tensor, Tensor]:
        """Contrast of embeddings before they are centred; the running centres follow them."""
        with torch.no_grad():
            self.model.placed(z_BD)
        call_BC, timbre_BI = z_BD.tensor_split([self.model.call_dim], dim=1)
        takes = self.pool.settings.takes
        individual_B = torch.arange(len(z_BD), device=z_BD.device) // takes
        smoothing = self.recipe.smoothing
        loss, right = self.of_species.loss(call_BC, species_B, smoothing, twin_B=individual_B)
        if self.model.timbre is not None and takes > 1:
            of_individuals, _ = self.of_individuals.loss(timbre_BI, individual_B, 0.0)
            loss = loss + self.recipe.timbre * of_individuals
        return loss, right

    def _averaged(self, average: Tensor, new: Tensor, count: int | Tensor) -> Tensor:
        """The average moves faster in the first steps (Tarvainen and Valpola 2017)."""
        share = max(1 - self.recipe.average, 9 / (10 + int(count)))
        return average + share * (new - average)

    # --- sound ------------------------------------------------------------------------------

    def clips(self, species: int, batch: int = 0) -> tuple[Tensor, Tensor]:
        """New clips as the encoder takes them ``(B, I, M, T)``, and the slots of their species."""
        x_B1WT, stats_B2, slot_B = self.heard(species, batch)
        return self.normalize(x_B1WT, stats_B2), slot_B

    def heard(self, species: int, batch: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """New clips as the front end gives them ``(B, 1, W, T)``, their statistics, their slots.

        Batches of one seed are of other species each, and of one length.
        """
        slots, takes = len(self.pool.db_SNMT), self.pool.settings.takes
        clip_s = self.recipe.clip_s[int(torch.randint(len(self.recipe.clip_s), (1,)))]
        hop_s = self.scenes.hop_s
        frames = max(1, round(clip_s / hop_s))
        lead = int(torch.randint(round(self.recipe.lead_s / hop_s) + 1, (1,)))
        individuals, there = self.recipe.individuals, self.pool.settings.individuals
        species_S = torch.randperm(slots)[batch * species :][:species]
        slot_B = species_S.repeat_interleave(individuals * takes)
        if batch:
            torch.manual_seed(step_seed(self.seed, "pretrain", self.step, batch))
        one_SI = torch.rand(species, there).argsort(1)[:, :individuals]
        track_B = (one_SI[..., None] * takes + torch.arange(takes)).flatten()
        other = torch.randint(slots, slot_B.shape), torch.randint(there * takes, slot_B.shape)
        partner_B = torch.randint(slots, (species,)).repeat_interleave(individuals * takes)
        kinds_BMT = remixed(
            self.remix, self._power(slot_B, track_B), self._power(partner_B, track_B),
            species=species, takes=takes,
        )  # fmt: skip
        power_BMT = self.scenes(
            windows(kinds_BMT, frames),
            windows(self._power(*other), lead + frames),
            self._background(len(slot_B), lead + frames),
            lead=lead,
        )
        features_BTW, _ = self.front_end.compress(power_BMT.transpose(1, 2), None)
        x_B1WT = features_BTW.transpose(1, 2)[:, None]
        stats_B2 = scalar_stats(x_B1WT, self.normalize.channels)
        return x_B1WT[..., lead:], stats_B2, slot_B.to(self.device)

    def _power(self, slot_B: Tensor, track_B: Tensor) -> Tensor:
        """Tracks as power (B, M, T); what is at the floor is silence."""
        db_BMT = self.pool.db_SNMT[slot_B.to(self.device), track_B.to(self.device)].float()
        return torch.where(db_BMT > -139.0, 10 ** (db_BMT / 10), 0.0)

    def _background(self, clips: int, frames: int) -> Tensor:
        db_XMT = self.pool.background_XMT
        which_B = torch.randint(len(db_XMT), (clips,)).to(self.device)
        start = int(torch.randint(max(1, db_XMT.shape[2] - frames + 1), (1,)))
        at_T = (start + torch.arange(frames, device=self.device)) % db_XMT.shape[2]
        return 10 ** (db_XMT[which_B][:, :, at_T].float() / 10)

    # --- what comes of it -------------------------------------------------------------------

    def tested(self) -> ProtoNet:
        """The averaged model with its learned distance, in eval mode."""
        model = copy.deepcopy(self.average.module)
        assert isinstance(model, ProtoNet)
        model.eval()
        if isinstance(model.metric, MahalanobisMap):
            torch.manual_seed(step_seed(self.seed, "metric", self.step))
            z_XD, species_X = map(torch.cat, zip(*self._placed(model), strict=True))
            model.metric.fit(z_XD, species_X)
        return model

    @torch.inference_mode()
    def _placed(self, model: ProtoNet) -> Iterator[tuple[Tensor, Tensor]]:
        takes = self.pool.settings.takes
        species = max(2, CLIPS_AT_ONCE // (self.recipe.individuals * takes))
        for _ in range(math.ceil(self.recipe.metric_species / species)):
            x_BIMT, species_B = self.clips(min(species, len(self.pool.db_SNMT)))
            yield model.calls(model.encoder(x_BIMT)), species_B

    # --- going on ---------------------------------------------------------------------------

    def save(self) -> None:
        """Keep everything that the next step depends on; the first process alone does."""
        if self.processes.rank > 0:
            return
        save(
            {
                "step": self.step, "seconds": self.seconds, "model": self.model.state_dict(),
                "average": self.average.state_dict(), "contrast": self.contrast.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            self.folder / STATE,
        )  # fmt: skip

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            return
        state: Mapping[str, Any] = load_plain(path)
        for name in ("model", "average", "contrast", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
