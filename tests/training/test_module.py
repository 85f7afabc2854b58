"""The LightningModule's episode: what augmentation may mix, and what a step depends on."""

from dataclasses import replace

import torch
from torch import nn

from archs.classifier import CosineClassifier
from archs.v1.arch import ProtoNetV1
from g5.config.settings import load
from g5.training.module import FewShotModule, make_scheduler, step_seed
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.episodes.labelled import LabelledBatch
from preprocessing.normalize import Normalize

TRAINING = replace(
    load(["arch=v1"]).arch.training, weight_decay=0.0, max_epochs=4, scheduler="none",
    scheduler_step_size=1, warmup_epochs=1, pretrain_beta=0.9,
)  # fmt: skip


class Spy(nn.Module):
    """Keeps the labels an augmentation is given."""

    def forward(self, x_B1MT, labels_B):
        self.labels_B = labels_B
        return x_B1MT


def module(augmentation=None, counts=(), **changes):
    torch.manual_seed(0)
    return FewShotModule(
        model=ProtoNetV1(
            channels=[4, 8], dropout=0.0, distance="euclidean", cosine_scale=1.0,
            normalize="none",
        ),
        normalize=Normalize(mode="none", n_mels=8), augmentation=augmentation,
        training=replace(TRAINING, **changes),
        seed=0, train_counts=counts, val_classes=0, payload=dict, compile_model=False,
    )  # fmt: skip


def batch(n_way=3, k_shot=2, n_query=2):
    x = torch.randn(n_way * (k_shot + n_query), 1, 8, 9)
    return EpisodeBatch(
        x=x, stats=torch.zeros(len(x), 2), class_ids=torch.arange(n_way), n_way=n_way,
        k_shot=k_shot, n_query=n_query, epoch=0, index=0,
    )  # fmt: skip


def test_no_label_is_shared_by_support_and_query():
    """Mixed with its support, a query would hold the answer."""
    spy = Spy()
    module(spy).episode_loss(batch())
    labels = spy.labels_B.tolist()
    assert labels == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert not set(labels[:6]) & set(labels[6:])


def test_labelled_batches_teach_a_classifier_that_nothing_else_uses():
    part = module(counts=[1] * 5)
    x = torch.randn(6, 1, 8, 9)
    class_ids = torch.tensor([0, 1, 2, 3, 4, 0])
    batch = LabelledBatch(x=x, stats=torch.zeros(6, 2), class_ids=class_ids, epoch=0, index=0)
    classifier = part.classifier
    assert isinstance(classifier, CosineClassifier)
    loss, accuracy, count = part.loss(batch)
    loss.backward()
    assert count == 6
    assert 0 <= accuracy <= 1
    assert all(p.grad is not None for p in classifier.parameters())
    assert all(p.grad is not None for p in part.model.encoder.parameters())
    z, w = part.model(x), classifier.weight
    cosine = nn.functional.cosine_similarity(z[:, None], w[None], dim=-1)
    torch.testing.assert_close(classifier(z), 16 * cosine)
    assert not any(key.startswith("classifier") for key in part.model.state_dict())


def labelled(*class_ids: int) -> LabelledBatch:
    torch.manual_seed(1)
    x, stats = torch.randn(len(class_ids), 1, 8, 9), torch.zeros(len(class_ids), 2)
    return LabelledBatch(x=x, stats=stats, class_ids=torch.tensor(class_ids), epoch=0, index=0)


def test_class_weights_are_those_of_the_training_calls():
    batch = labelled(0, 1)
    part = module(counts=[30, 10], pretrain_weights="inverse_frequency").eval()
    assert isinstance(part.classifier, CosineClassifier)
    logits_BC = part.classifier(part.model(batch.x))
    each = nn.functional.cross_entropy(logits_BC, batch.class_ids, reduction="none")
    weighted = (each * torch.tensor([2 / 3, 2.0])).sum() / (2 / 3 + 2)
    torch.testing.assert_close(part.class_loss(batch)[0], weighted)


def test_the_loss_is_that_of_queries_against_prototypes():
    part, episode = module().eval(), batch()
    loss, accuracy = part.episode_loss(episode)
    z = part.model(episode.x)
    proto = torch.stack([z[0:2].mean(0), z[2:4].mean(0), z[4:6].mean(0)])
    logits = -torch.stack([((q - proto) ** 2).sum(1) for q in z[6:]])
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.isclose(loss, nn.functional.cross_entropy(logits, target), rtol=1e-4)
    assert accuracy == (logits.argmax(1) == target).float().mean()


def test_step_seeds_depend_on_every_part():
    seeds = {step_seed(a, b, c, d) for a in (1, 2) for b in (0, 1) for c in (0, 1) for d in (0, 1)}
    assert len(seeds) == 16
    assert step_seed(1, 12, 3) != step_seed(1, 1, 23)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_schedules_in_epochs():
    expected = {
        "step": [1.0, 0.5, 0.25, 0.125],
        "cosine": [1.0, 0.8536, 0.5, 0.1464],
        "cosine_warmup": [0.5, 1.0, 0.75, 0.25],
    }
    for name, rates in expected.items():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = make_scheduler(optimizer, replace(TRAINING, scheduler=name))
        seen = []
        for _ in range(4):
            seen.append(round(optimizer.param_groups[0]["lr"], 4))
            optimizer.step()
            scheduler.step()
        assert seen == rates, name
