"""easyfsl's prototypical network around our encoder: a second opinion on our training loop.

The same encoder, episodes, optimiser, schedule and precision, in a plain loop around
`easyfsl.methods.PrototypicalNetworks`. Two habits of easyfsl are set aside, because they are other
methods: it sends support and query through the encoder apart (batch norm then sees them apart), and
its scores are minus the distance instead of minus its square.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from archs.protonet import ProtoNet
from experiments.v2_vs_v1.runs import V1, config_of
from g5.common.atomic import atomic_path
from g5.common.progress import track
from g5.config.build import build
from g5.config.parts import data_of, feature_set_of, front_end_of, normalize_of
from g5.config.settings import Settings
from g5.tracking.restore import Restored
from g5.training.loaders import EpisodeLoaders
from g5.training.module import make_optimizer, make_scheduler, step_seed
from g5.training.setup import prepare_torch


def easyfsl_v1(seed: int, arguments: Sequence[str], like: Restored) -> Restored:
    """v1's encoder trained by easyfsl, where that is not done yet.

    Args:
        like: our own v1 of that seed, whose front end and normalisation it shares.
    """
    settings = config_of(V1, seed, arguments)
    path = settings.path.root / "outputs" / settings.name / f"easyfsl_seed{seed}.pt"
    prepare_torch(settings)
    model = build(settings.arch.model, expect=ProtoNet, where="arch.model")
    if not path.is_file():
        _train(model, settings, path)
    model.encoder.load_state_dict(torch.load(path, weights_only=True))
    return replace(like, model=model.eval())


def _train(model: ProtoNet, settings: Settings, path: Path) -> None:
    # A tool of the development extra: nothing else needs it.
    from easyfsl.methods import PrototypicalNetworks

    data, front_end, normalize = data_of(settings), front_end_of(settings), normalize_of(settings)
    feature_set = feature_set_of(settings, data.load(), front_end)
    episodes, training = settings.arch.episodes, settings.arch.training
    loaders = EpisodeLoaders(feature_set, episodes, training=training, seed=settings.seed)
    classifier = PrototypicalNetworks()  # of embeddings: no backbone
    optimizer = make_optimizer(model, training)
    scheduler = make_scheduler(optimizer, training)
    count = training.max_epochs * episodes.episodes_per_epoch
    for step in track(range(count), total=count, label="easyfsl", unit="episodes"):
        epoch, index = divmod(step, episodes.episodes_per_epoch)
        batch = loaders.train_set[epoch, index]
        torch.manual_seed(step_seed(settings.seed, epoch, index, 0))
        x_B1MT = normalize(batch.x, batch.stats)
        support = batch.n_way * batch.k_shot
        label_N = torch.arange(batch.n_way)
        model.train()
        with torch.autocast("cpu", torch.bfloat16, settings.trainer.precision == "bf16-mixed"):
            z_BD = model.encoder(x_B1MT)
        classifier.process_support_set(
            z_BD[:support].float(), label_N.repeat_interleave(batch.k_shot)
        )
        scores_QN = -classifier(z_BD[support:].float()).square()
        loss = F.cross_entropy(scores_QN, label_N.repeat_interleave(batch.n_query))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None and index == episodes.episodes_per_epoch - 1:
            scheduler.step()
    with atomic_path(path) as temporary:
        torch.save(model.encoder.state_dict(), temporary)
