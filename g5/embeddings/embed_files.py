"""`g5 embed`: recordings into a store of embeddings."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from g5.common.errors import UserError
from g5.config.schema import EmbedSettings, EngineSettings
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from preprocessing.audio_rules import AudioRules

PROBLEMS_NAMED = 5


def embed(
    encoder_name: str, recordings: Sequence[Path], output: Path, settings: EmbedSettings, rules:
    AudioRules, engine: EngineSettings, overrides: Sequence[str], audio_root: Path | None = None, *,
    check: bool = False,
) -> int:  # fmt: skip
    """Embed recordings into a store, and say how many; the exit code, 1 if any was left out.

    ``check`` drops what is corrupt in the store first.

    ``overrides`` are the encoder's: ``encoder.key=value``.
    """
    found_root, files = find_recordings(recordings)
    encoder = load_encoder(encoder_name, overrides)
    if check:
        mend(output)
    store = VectorStore.create(
        output, encoder.facts(), audio_root=audio_root or _root(output, found_root)
    )
    root = store.audio_root
    assert root is not None
    again = partial(load_encoder, encoder_name, overrides)
    added, problems = embed_recordings(encoder, store, files, root, settings, rules, engine, again)
    for line in problems[:PROBLEMS_NAMED]:
        print(f"left out: {line}")
    if len(problems) > PROBLEMS_NAMED:
        print(f"left out: and {len(problems) - PROBLEMS_NAMED} more")
    n_files = store.index["file"].nunique()
    print(
        f"{added} recordings embedded, {n_files} in {output} now: {len(store):,} vectors of "
        f"{store.facts.embedding_dim} dimensions, {store.facts.window_s:g} s each"
    )
    if not added and problems and not len(store):
        raise UserError(f"none of {len(files)} recordings could be embedded")
    return int(bool(problems))


def mend(path: Path) -> None:
    """Drop what is corrupt in a store, and say what it was."""
    faults = VectorStore.mend(path)
    for line in faults[:PROBLEMS_NAMED]:
        print(f"dropped: {line}")
    if len(faults) > PROBLEMS_NAMED:
        print(f"dropped: and {len(faults) - PROBLEMS_NAMED} more")
    if not faults:
        print(f"{path}: nothing is corrupt")


def _root(output: Path, found: Path) -> Path:
    """The root that a store has already, where the recordings lie below it."""
    if (output / "settings.json").is_file():
        known = VectorStore.open(output).audio_root
        if known is not None and found.resolve().is_relative_to(known.resolve()):
            return known
    return found
