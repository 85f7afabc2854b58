"""Soundscapes from clips: calls of one class among as many of others, over a background.

Shapes: n samples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from g5.common.atomic import atomic_path
from g5.common.progress import track
from preprocessing.audio_rules import READ_ALL
from preprocessing.events import CORPUS_COLUMNS, Corpus
from preprocessing.recordings import scan
from preprocessing.synthetic.mixing import Call, flat, mix

SR = 22050
CALLS = 12  # of the class that is looked for; and as many of the others together
SNR_DB = (0.0, 20.0)
CALLING = 0.5  # share of a recording in which something calls
SHORTEST_GAP_S = 0.3
# A clip's call is what lies around its loudest moment up to the first pause on either side: for
# so long nothing within so much of the loudest.
PAUSE_S = 0.3
SOUNDING_DB = 20.0
BLOCK_S = 0.02
FADE_S = 0.005
TABLE = "calls.csv"
TABLE_COLUMNS = ["file", "start_s", "end_s", "label", "target", "background", "snr_db", "source"]

# Makes n samples of a background.
Background = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """One clip: ``samples`` (n,), and the recording it was cut from."""

    samples: np.ndarray
    source: str


@dataclass(frozen=True)
class Mix:
    """How a soundscape is mixed.

    Attributes:
        calls, others: how many of the class that is looked for, and of its group's others together.
        snr_db: lowest and highest ratio of a call.
        calling: share of the recording in which something calls.
    """

    calls: int = CALLS
    others: int = CALLS
    snr_db: tuple[float, float] = SNR_DB
    calling: float = CALLING


def usual(rng: np.random.Generator) -> Mix:
    """All alike."""
    del rng
    return Mix()


@dataclass(frozen=True)
class Bank:
    """What soundscapes are made of.

    Attributes:
        groups: classes that are heard together, each with its clips; every one is looked for in
            soundscapes where the others of its group distract.
        backgrounds: by name.
        repeats: soundscapes of each class and background.
        mix: draws how each is mixed.
    """

    groups: Sequence[Mapping[str, Sequence[Clip]]]
    backgrounds: Mapping[str, Background]
    repeats: int
    mix: Callable[[np.random.Generator], Mix] = usual


@dataclass(frozen=True)
class SoundscapePlan:
    """One soundscape: which class is looked for, among what, over what."""

    target: str
    group: Mapping[str, Sequence[Clip]]
    background: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.target}-{self.background}-{self.number}"


def plans(bank: Bank) -> Iterator[SoundscapePlan]:
    """Every class over every background."""
    for group in bank.groups:
        for target in group:
            for background in bank.backgrounds:
                for number in range(bank.repeats):
                    yield SoundscapePlan(target, group, background, number)


def make(folder: Path, bank: Callable[[], Bank], *, seed: int) -> pd.DataFrame:
    """Write the soundscapes that are not there yet; the table of their calls, `TABLE_COLUMNS`.

    Args:
        folder: gets a WAV for each, and the table, which comes last.
        bank: called only where something is to be made.
        seed: of everything random.
    """
    path = folder / TABLE
    if not path.is_file():
        source = bank()
        todo = list(plans(source))
        tables = []
        for number, plan in track(
            list(enumerate(todo)), total=len(todo), label="soundscapes", unit="recordings"
        ):
            samples, calls = soundscape(plan, source, np.random.default_rng([seed, number]))
            wav = folder / f"{plan.name}.wav"
            with atomic_path(wav) as temporary:
                soundfile.write(temporary, samples, SR, subtype="PCM_16", format="WAV")
            tables.append(calls.assign(file=wav.name))
        with atomic_path(path) as temporary:
            pd.concat(tables)[TABLE_COLUMNS].to_csv(temporary, index=False, float_format="%.5f")
    table = pd.read_csv(path, dtype={"source": "str"})
    return table.assign(file=[str(folder / name) for name in table["file"]])


def corpus(tables: Mapping[str, pd.DataFrame], cache_dir: Path) -> Corpus:
    """The tables of `make` by split; all calls that are marked are POS."""
    events = pd.concat([
        table.loc[:, ["file", "start_s", "end_s", "label"]].assign(
            status="POS", split=split, source=table["file"]
        )
        for split, table in tables.items()
    ])  # fmt: skip
    events = events.sort_values(["file", "start_s", "end_s"], ignore_index=True)
    split_of = dict(zip(events["file"], events["split"], strict=True))
    recordings, problems = scan([Path(file) for file in split_of], cache_dir, READ_ALL)
    recordings = recordings.assign(
        split=[split_of[file] for file in recordings["file"]], source=recordings["file"]
    )
    return Corpus(events.loc[:, CORPUS_COLUMNS], recordings, tuple(problems))


def soundscape(
    plan: SoundscapePlan, bank: Bank, rng: np.random.Generator
) -> tuple[np.ndarray, pd.DataFrame]:
    """One recording, (n,) float32 within full scale, and its calls.

    Calls of the target and of the others of its group in random order, as many and as loud as
    `Mix` says. No two calls of a class come from one source where it has enough.
    """
    how = bank.mix(rng)
    others = [label for label in plan.group if label != plan.target]
    labels = [plan.target] * how.calls + [others[i % len(others)] for i in range(how.others)]
    drawn = {label: iter(_drawn_clips(plan.group[label], labels.count(label), rng)) for label in
             sorted(set(labels))}  # fmt: skip
    order = [labels[i] for i in rng.permutation(len(labels))]
    chosen = [next(drawn[label]) for label in order]
    calls = [
        Call(faded(sounding(clip.samples)), 0.0, label, rng.uniform(*how.snr_db), 0.0, -np.inf)
        for clip, label in zip(chosen, order, strict=True)
    ]
    calls, length = _placed(calls, how.calling, rng)
    background = bank.backgrounds[plan.background](rng, length)
    mixture, events = mix(calls, background, sr=SR, channel=flat(SR), room=np.zeros(0, np.float32))
    mixture *= np.float32(min(1.0, 0.97 / np.abs(mixture).max()))
    # Calls do not overlap, so that their order is that of the events.
    return mixture, events.assign(
        snr_db=[call.snr_db for call in calls], source=[clip.source for clip in chosen],
        target=plan.target, background=plan.background,
    )  # fmt: skip


def _drawn_clips(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Clip]:
    """Different clips of a class in random order, of different sources as long as there are."""
    shuffled = [clips[i] for i in rng.permutation(len(clips))]
    seen: set[str] = set()
    first: list[Clip] = []
    later: list[Clip] = []
    for clip in shuffled:
        (later if clip.source in seen else first).append(clip)
        seen.add(clip.source)
    found = (first + later)[:count]
    assert len(found) == count, f"{count} calls of {len(clips)} clips"
    return found


def _placed(
    calls: Sequence[Call], calling: float, rng: np.random.Generator
) -> tuple[list[Call], int]:
    """The calls one after the other with random pauses; how many samples that is."""
    lengths_s = np.array([len(call.samples) / SR for call in calls])
    free_s = lengths_s.sum() * (1 / calling - 1)
    gaps_s = SHORTEST_GAP_S + free_s * rng.dirichlet(np.full(len(calls) + 1, 1.5))
    starts_s = np.cumsum(gaps_s[:-1]) + np.concatenate([[0.0], np.cumsum(lengths_s[:-1])])
    placed = [replace(call, start_s=float(t)) for call, t in zip(calls, starts_s, strict=True)]
    return placed, round((lengths_s.sum() + gaps_s.sum()) * SR)


def sounding(samples: np.ndarray) -> np.ndarray:
    """The call of a clip, cut at both ends to where its sound is."""
    width = round(BLOCK_S * SR)
    padded = np.zeros(-(-len(samples) // width) * width)
    padded[: len(samples)] = samples
    power = np.square(padded).reshape(-1, width).mean(axis=1)
    heard = np.flatnonzero(power >= power.max() * 10 ** (-SOUNDING_DB / 10))
    stretches = np.split(heard, np.flatnonzero(np.diff(heard) > PAUSE_S / BLOCK_S) + 1)
    call = next(blocks for blocks in stretches if power.argmax() in blocks)
    return samples[call[0] * width : (call[-1] + 1) * width]


def faded(samples: np.ndarray) -> np.ndarray:
    """Without clicks at the ends."""
    samples = samples.astype(np.float32, copy=True)
    width = min(round(FADE_S * SR), len(samples) // 2)
    ramp = np.linspace(0, 1, width, dtype=np.float32)
    samples[:width] *= ramp
    samples[len(samples) - width :] *= ramp[::-1]
    return samples


def background_of(clips: Sequence[Clip]) -> Background:
    """A background of clips at one level, in random order, faded into each other."""

    def background(rng: np.random.Generator, n: int) -> np.ndarray:
        cross = round(0.5 * SR)
        rising = np.sin(np.linspace(0, np.pi / 2, cross)).astype(np.float32)
        out = np.zeros(n + 6 * SR, np.float32)
        at, order = 0, []
        while at < n:
            order = order or rng.permutation(len(clips)).tolist()
            x = clips[order.pop()].samples
            x = x / np.float32(np.sqrt(np.mean(np.square(x))))
            x[:cross] *= rising
            x[-cross:] *= rising[::-1]
            x = x[: len(out) - at]
            out[at : at + len(x)] += x
            at += len(x) - cross
        return out[:n] * np.float32(0.05)

    return background
