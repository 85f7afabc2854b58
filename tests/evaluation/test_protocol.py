"""The test of a model: scores against a naive loop, checks that bite, and what is written down."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from archs.protonet import Encoder, ProtoNet
from g5.common.errors import UserError
from g5.common.words import printable
from g5.evaluation.episodes.checks import ProtocolError, check_disjoint, check_model, check_sources
from g5.evaluation.episodes.protocol import TestedModel, TestedSplit, TestProtocol, run_test
from g5.evaluation.episodes.raw_features import training_statistics
from g5.evaluation.episodes.refinement import Refined
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.evaluation.report.summary import summary_text
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import Corpus
from preprocessing.normalize import Normalize

RATE_HZ, N_MELS, CPU = 10, 8, torch.device("cpu")


# --- a small world ----------------------------------------------------------------------------


class Recordings:
    """A store in memory."""

    def __init__(self, features):
        self.features = features
        rows = [
            (key, float(x.float().mean()), float(x.float().std())) for key, x in features.items()
        ]
        self.meta = pd.DataFrame(rows, columns=["key", "mean", "std"])

    def get(self, key):
        return self.features[key]


class World:
    """A corpus whose classes have a spectrum each, and readers of its clips."""

    def __init__(
        self, *, noise=4.0, classes=(8, 6), sources=3, calls=4, root="/data", clip="fixed"
    ):
        self.clip = clip
        rng = np.random.default_rng(7)
        features, events = {}, []
        for split, n_classes in zip(("train", "test"), classes, strict=True):
            for class_id in range(n_classes):
                spectrum_M = rng.normal(size=N_MELS)
                for source in range(sources):
                    key = f"{split}{class_id:02d}-{source}"
                    x_TM = spectrum_M + noise * rng.normal(size=(calls * 20, N_MELS))
                    features[key] = torch.from_numpy(x_TM.astype(np.float16))
                    for call in range(calls):
                        length = 0.5 + 1.5 * rng.random()
                        events.append(
                            (f"{root}/{key}.wav", 2.0 * call, 2.0 * call + length,
                             f"{split}{class_id:02d}", "POS", split, key)
                        )  # fmt: skip
        columns = ["file", "start_s", "end_s", "label", "status", "split", "source"]
        table = pd.DataFrame(events, columns=columns)
        recordings = pd.DataFrame(table[["file", "split", "source"]].drop_duplicates())
        recordings["sha256"] = recordings["source"]
        self.store = Recordings(features)
        self.corpus = Corpus(events=table, recordings=recordings, problems=())

    def reader_for(self, split):
        return ClipReader(
            self.store, self.corpus.split(split), frame_rate_hz=RATE_HZ, clip=self.clip, clip_s=2.0,
            min_clip_s=0.5, max_clip_s=2.0, anchor="centre",
        )  # fmt: skip

    def plan(self, episodes=20, *, cross_source=True, seed=1):
        reader = self.reader_for("test")
        sampler = EpisodeSampler(
            self.corpus.split("test"), n_way=4, k_shot=3, n_query=2, seed=seed, split="test",
            cross_source=cross_source, clips=reader,
        )  # fmt: skip
        return plan_clips(sampler.episodes(0, episodes)), reader

    def raw_statistics(self):
        if self.corpus.split("train").empty:
            return None
        return training_statistics(self.reader_for("train"), batch_size=16)

    def tested(self, model, **changes):
        """What a test is given: the model, the split, the rules."""
        parts = [
            TestedModel(
                model=model, normalize=Normalize(mode="recording", n_mels=N_MELS),
                trained_labels=self.corpus.labels("train"),
                trained_recordings=self.corpus.recordings_of("train"),
                raw_statistics=self.raw_statistics(), temperature=2.0,
            ),
            TestedSplit(self.corpus, "test", self.reader_for, self.reader_for),
            TestProtocol(
                n_way=4, k_shot=3, n_query=2, episodes=30, cross_source=True, seed=1, refine=0,
                batch_size=16,
            ),
        ]  # fmt: skip
        for index, part in enumerate(parts):
            own = {key: changes.pop(key) for key in vars(part) if key in changes}
            parts[index] = replace(part, **own)
        assert not changes
        return parts

    def test(self, model, **changes):
        return run_test(*self.tested(model, **changes), device=CPU)


class MeanEncoder(Encoder):
    """Mean over time, then whatever is asked for; counts the clips it has seen."""

    embedding_dim = N_MELS

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.seen = 0

    def forward(self, x_B1MT):
        self.seen += len(x_B1MT)
        return self.layers(x_B1MT.mean((1, 3)))


class BatchStatistics(nn.Module):
    """What no encoder may do: standardise over the clips that happen to be in the batch."""

    def forward(self, x_BD):
        return (x_BD - x_BD.mean(0)) / (x_BD.std(0) + 1)


def make_model(*layers, kind=ProtoNet):
    return kind(
        encoder=MeanEncoder(*layers), distance="euclidean", cosine_scale=10.0, normalize="none"
    )


@pytest.fixture(scope="module")
def world():
    return World()


NONE = Normalize(mode="none", n_mels=N_MELS)


# --- embedding --------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", ["fixed", "adaptive"])
def test_each_clip_is_embedded_once_and_in_its_place(clip):
    plan, reader = World(clip=clip).plan()
    if clip == "adaptive":
        assert len(plan.n_frames.unique()) > 1
    model = make_model()
    z_PD = embed_plan(model, NONE, plan, reader, batch_size=5, device=CPU)
    assert model.encoder.seen == len(plan.rows)
    assert z_PD.shape == (len(plan.rows), N_MELS)
    assert z_PD.dtype == torch.float32
    for position, (row, n_frames) in enumerate(zip(plan.rows, plan.n_frames, strict=True)):
        x_11MT, _ = reader.gather(row[None], int(n_frames))
        torch.testing.assert_close(z_PD[position], x_11MT[0, 0].mean(1))


def test_eval_mode_inside_and_the_old_mode_outside(world):
    plan, reader = world.plan(3)
    dropout, norm = nn.Dropout(0.9), nn.BatchNorm1d(N_MELS)
    model = make_model(dropout, norm).train()
    norm.eval()
    z_PD = embed_plan(model, NONE, plan, reader, batch_size=5, device=CPU)
    assert not z_PD.requires_grad
    assert not (z_PD == 0).any()
    assert dropout.training
    assert not norm.training
    assert norm.num_batches_tracked == 0


def test_nan_embeddings_are_named(world):
    plan, reader = world.plan(3)
    lost = nn.Linear(N_MELS, N_MELS)
    nn.init.constant_(lost.weight, torch.nan)
    model = make_model(lost)
    with pytest.raises(UserError, match=r"embeddings are NaN.*row \d+ .*learning_rate"):
        embed_plan(model, NONE, plan, reader, batch_size=50, device=CPU)


# --- scoring ----------------------------------------------------------------------------------


class Skewed(ProtoNet):
    """A distance of its own, to see that a model's logits are what decides."""

    def prototype_logits(self, proto_ND, query_QD):
        return query_QD @ proto_ND.T + proto_ND[:, 0]


def test_refined_prototypes_are_one_round_of_soft_k_means():
    support_NKD = torch.tensor([[[0.0], [2.0]], [[6.0], [6.0]]])
    query_QD = torch.tensor([[1.0], [3.4], [3.6], [5.0]])
    model = make_model()
    share = torch.softmax(-torch.stack([(query_QD[:, 0] - p) ** 2 for p in (1.0, 6.0)]), 0)
    expected = [
        (float(support_NKD[n].sum()) + float(share[n] @ query_QD[:, 0]))
        / (2 + float(share[n].sum()))
        for n in (0, 1)
    ]
    logits = Refined(model, 1).logits(support_NKD, query_QD)
    for n in (0, 1):
        torch.testing.assert_close(logits[:, n], -((query_QD[:, 0] - expected[n]) ** 2))
    torch.testing.assert_close(
        Refined(model, 0).logits(support_NKD, query_QD), model.logits(support_NKD, query_QD)
    )


def test_a_transductive_test_says_so_and_asks_no_unknown_queries(world):
    plain, refined = (world.test(make_model(), refine=rounds) for rounds in (0, 3))
    assert any("transductive" in note for note in refined.notes)
    assert refined.scores.open_set_E is None
    assert set(plain.checks) - set(refined.checks) == {"queries independent"}
    assert not any("transductive" in note for note in plain.notes)
    assert plain.protocol == refined.protocol, "the episodes are the same"


@pytest.mark.parametrize("kind", [ProtoNet, Skewed])
def test_scores_equal_a_naive_loop(world, kind):
    plan, reader = world.plan()
    events, labels = world.corpus.split("test"), world.corpus.labels("test")
    model = make_model(kind=kind)
    z_PD = embed_plan(model, NONE, plan, reader, batch_size=50, device=CPU)
    scores = evaluate_episodes(model, z_PD, plan, labels)
    z = z_PD.double().numpy()
    place = 0
    confusion = np.zeros((len(labels), len(labels)), int)
    for number, episode in enumerate(plan.episodes):
        proto_ND = np.stack([z[support_K].mean(0) for support_K in episode.support.numpy()])
        hits = 0
        for way in range(4):
            for position in episode.query[way].tolist():
                if kind is ProtoNet:
                    logits_N = -((z[position] - proto_ND) ** 2).sum(1)
                else:
                    logits_N = proto_ND @ z[position] + proto_ND[:, 0]
                chosen = int(np.argmax(logits_N))
                odds_N = np.exp(logits_N - logits_N.max())
                true, predicted = (int(episode.class_ids[i]) for i in (way, chosen))
                assert scores.true_A[place] == true == events["class_id"][scores.row_A[place]]
                assert scores.predicted_A[place] == predicted
                assert scores.row_A[place] == plan.rows[position]
                assert scores.episode_A[place] == episode.index
                assert scores.probability_A[place] == pytest.approx(1 / odds_N.sum(), rel=1e-4)
                confusion[true, predicted] += 1
                hits += chosen == way
                place += 1
        assert scores.accuracy_E[number] == pytest.approx(hits / 8)
    assert place == len(scores.true_A)
    np.testing.assert_array_equal(scores.classes.confusion_CC, confusion)
    assert 0.4 < scores.interval.mean < 1  # neither chance nor perfect, or nothing was tested


def test_nan_logits_and_no_episodes_are_errors(world):
    plan, reader = world.plan(3)

    class Undefined(ProtoNet):
        def prototype_logits(self, proto_ND, query_QD):
            return super().prototype_logits(proto_ND, query_QD) * torch.tensor([1, 1, torch.nan, 1])

    labels = world.corpus.labels("test")
    z_PD = embed_plan(make_model(), NONE, plan, reader, batch_size=50, device=CPU)
    with pytest.raises(UserError, match="logits of 3 of 3 test episodes are NaN"):
        evaluate_episodes(make_model(kind=Undefined), z_PD, plan, labels)
    with pytest.raises(UserError, match="test_episodes"):
        evaluate_episodes(make_model(), z_PD, replace(plan, episodes=[]), labels)


# --- checks -----------------------------------------------------------------------------------


def test_a_tested_recording_that_was_trained_on_is_an_error(world):
    trained = [*world.corpus.recordings_of("train"), world.corpus.recordings_of("test")[2]]
    with pytest.raises(ProtocolError, match=r"untrained recordings.*\.wav and 0 others"):
        world.test(make_model(), trained_recordings=trained)
    assert "untrained recordings" in world.test(make_model(), episodes=2).checks


def test_a_clip_in_support_and_query_is_caught(world):
    plan, _ = world.plan(3)
    assert check_disjoint(plan) == "support and query disjoint"
    query = plan.episodes[1].query.clone()
    query[2, 1] = plan.episodes[1].support[0, 0]
    plan.episodes[1] = replace(plan.episodes[1], query=query)
    with pytest.raises(ProtocolError, match=r"disjoint.*episode 1"):
        check_disjoint(plan)


def test_a_shared_source_is_caught_where_it_could_be_avoided(world):
    events = world.corpus.split("test")
    plan, _ = world.plan()
    assert check_sources(plan, events, k_shot=3, n_query=2) == ("sources disjoint", [])
    careless, _ = world.plan(cross_source=False)
    with pytest.raises(ProtocolError, match=r"sources disjoint.*class 'test0"):
        check_sources(careless, events, k_shot=3, n_query=2)


def test_classes_of_one_source_are_exempt_and_named():
    world = World(sources=1, calls=6)
    plan, _ = world.plan()
    _, exempt = check_sources(plan, world.corpus.split("test"), k_shot=3, n_query=2)
    assert exempt == world.corpus.labels("test")
    assert any("6 classes that cannot" in check for check in world.test(make_model()).checks)


class AlwaysDropout(nn.Module):
    def forward(self, x_BD):
        return nn.functional.dropout(x_BD, 0.5, training=True)


class Counting(nn.BatchNorm1d):
    """Batch norm that goes on tracking in eval mode."""

    def forward(self, x_BD):
        self.running_mean += x_BD.mean(0).detach()
        return super().forward(x_BD)


class Transductive(ProtoNet):
    """Logits that look at the other queries."""

    def prototype_logits(self, proto_ND, query_QD):
        return super().prototype_logits(proto_ND, query_QD - query_QD.mean(0))


@pytest.mark.parametrize(
    ("model", "failed"),
    [
        (make_model(AlwaysDropout()), "eval mode"),
        (make_model(Counting(N_MELS)), "eval mode"),
        (make_model(BatchStatistics()), "queries independent"),
        (make_model(nn.BatchNorm1d(N_MELS, track_running_stats=False)), "queries independent"),
        (make_model(kind=Transductive), "queries independent"),
        (make_model(nn.Dropout(0.5), nn.BatchNorm1d(N_MELS), nn.Linear(N_MELS, N_MELS)), None),
        (make_model(kind=Skewed), None),
    ],
)
def test_what_depends_on_its_peers_is_caught(world, model, failed):
    plan, reader = world.plan(2)
    if failed is None:
        assert len(check_model(model.train(), NONE, plan, reader, device=CPU)) == 2
    else:
        with pytest.raises(ProtocolError, match=failed):
            check_model(model, NONE, plan, reader, device=CPU)
        with pytest.raises(ProtocolError, match=failed):
            world.test(model)


# --- the whole test ---------------------------------------------------------------------------


def test_result_is_complete_and_repeatable(world, tmp_path):
    model = make_model(nn.Linear(N_MELS, N_MELS))
    result, again = world.test(model), world.test(model, batch_size=3)
    np.testing.assert_array_equal(result.scores.predicted_A, again.scores.predicted_A)
    assert result.protocol == again.protocol
    assert result.chance == 0.25
    assert len(result.checks) == 7
    assert len(result.raw) == 3
    assert result.raw_best.interval.mean == max(row.interval.mean for row in result.raw)
    assert result.resampled.half_width > 0
    assert any("only 30 episodes" in note for note in result.notes)

    paths = result.save(tmp_path / "new")
    assert [path.name for path in paths] == [
        "test_scores.json", "test_episodes.parquet", "test_predictions.parquet",
    ]  # fmt: skip
    assert sorted(path.name for path in paths) == sorted(
        p.name for p in (tmp_path / "new").iterdir()
    )
    written = json.loads(paths[0].read_text(encoding="utf-8"))
    assert written["protocol"]["split_hash"] == world.corpus.split_hash
    assert written["accuracy"]["mean"] == pytest.approx(result.interval.mean)
    assert written["checks"] == list(result.checks)
    episodes, answers = pd.read_parquet(paths[1]), pd.read_parquet(paths[2])
    assert episodes["episode"].tolist() == list(range(30))
    assert list(episodes) == [
        "episode", "accuracy", "raw_unnormalised", "raw_per_sample_normalised", "raw_z_scored_l2",
        "open_set_auroc",
    ]  # fmt: skip
    hits = answers["label"].astype(str) == answers["predicted"].astype(str)
    means = np.asarray(hits.groupby(answers["episode"]).mean())
    np.testing.assert_allclose(means, episodes["accuracy"])
    table = world.corpus.split("test")
    assert (table["source"].to_numpy()[answers["row"]] == answers["source"].astype(str)).all()
    per_class = {row["label"]: row for row in written["per_class"]}
    for label, group in answers.groupby("label", observed=True):
        assert per_class[label]["queries"] == len(group)
        assert per_class[label]["accuracy"] == pytest.approx(hits[group.index].mean())


def test_metrics_are_flat_numbers(world):
    result = world.test(make_model())
    metrics = result.metrics()
    assert all(name.startswith("test/") and "@" not in name for name in metrics)
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
    assert metrics["test/acc"] == pytest.approx(result.scores.accuracy_E.mean())
    spread = result.scores.accuracy_E.std(ddof=1) / 30**0.5
    assert metrics["test/acc_ci95"] == pytest.approx(1.96 * spread)
    assert metrics["test/raw_best"] == max(row.interval.mean for row in result.raw)
    assert f"{result.interval.mean:.1%}" in result.headline()


def test_episodes_are_known_by_their_calls_not_by_their_place(world):
    model = make_model()
    here = world.test(model).protocol
    assert World(root="/elsewhere").test(model).protocol.episodes_hash == here.episodes_hash
    assert world.test(model, seed=2).protocol.episodes_hash != here.episodes_hash
    assert World(calls=5).test(model).protocol.episodes_hash != here.episodes_hash


def test_without_training_recordings_the_z_scored_row_is_left_out():
    result = World(classes=(0, 6)).test(make_model())
    assert [row.name for row in result.raw] == ["unnormalised", "per-sample normalised"]
    assert any("no training statistics" in note for note in result.notes)


@pytest.mark.parametrize("clip", ["fixed", "adaptive"])
def test_perfect_classes_are_perfect_but_not_certain(clip):
    result = World(noise=0.0, clip=clip).test(make_model())
    assert result.interval.mean == 1.0
    assert result.interval.low == pytest.approx(1 - 3 / 30)
    assert result.resampled.low == pytest.approx(1 - 3 / 6)


def test_impossible_tests_are_errors(world):
    with pytest.raises(UserError, match="the test split has no calls"):
        World(classes=(4, 0)).test(make_model())
    with pytest.raises(UserError, match="n_way=9"):
        world.test(make_model(), n_way=9)


def test_a_validation_set_in_the_place_of_a_test_set_is_told():
    world = World()
    events = world.corpus.events.replace({"split": {"test": "val"}})
    world.corpus = replace(world.corpus, events=events, test_is_val=True)
    assert any("checkpoint was chosen" in note for note in world.test(make_model()).notes)


# --- the summary ------------------------------------------------------------------------------


def test_summary_says_what_the_numbers_mean(world):
    result = world.test(make_model())
    places = {"checkpoint": "/runs/v9/best.ckpt", "MLflow": "mlflow ui"}
    text = summary_text(result, name="v9", places=places, encoding="utf-8")
    mean = f"{result.interval.mean:.1%} ± {result.interval.half_width:.1%}"
    for part in (mean, "25.0%", "4-way 3-shot", "✓ support and query disjoint", "mlflow ui"):
        assert part in text
    assert text.count("best raw row") == 1
    assert max(map(len, text.splitlines()[:10])) <= 120
    # The same answers as the encoder's: nobody is better.
    tie = replace(result, raw=(replace(result.raw[0], scores=result.scores),))
    assert "not clear of raw features" in summary_text(tie, name="v9", places={}, encoding="utf-8")
    worse = replace(result.scores, accuracy_E=result.scores.accuracy_E * 0.2)
    assert "BELOW" in summary_text(
        replace(result, scores=worse), name="v9", places={}, encoding="utf-8"
    )


def test_summary_survives_a_terminal_without_unicode():
    assert printable("✓ 5 ± 1 – ä", "ascii") == "ok: 5 +- 1 - ?"
    assert printable("✓ 5 ± 1 – ä", "utf-8") == "✓ 5 ± 1 – ä"
    assert printable("✓ ä", None) == "ok: ?"
