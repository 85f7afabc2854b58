"""`g5 embed`: recordings into a store of embeddings."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted, tell_some
from g5.config.settings import TransferSettings
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore


def embed(
    encoder_name: str,
    recordings: Sequence[Path],
    output: Path,
    settings: TransferSettings,
    overrides: Sequence[str],
    audio_root: Path | None = None,
    *,
    check: bool = False,
) -> int:
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
    added, problems = embed_recordings(
        encoder, store, files, root, settings.embed, settings.audio, settings.engine, again
    )
    tell_some("left out", problems)
    n_files = store.index["file"].nunique()
    print(
        f"{counted(added, 'recording')} embedded, {n_files} in {output} now: "
        f"{counted(len(store), 'vector')} of "
        f"{store.facts.embedding_dim} dimensions, {store.facts.window_s:g} s each"
    )
    if not added and problems and not len(store):
        raise UserError(f"none of {len(files)} recordings could be embedded")
    return int(bool(problems))


def mend(path: Path) -> None:
    """Drop what is corrupt in a store, and say what it was."""
    faults = VectorStore.mend(path)
    tell_some("dropped", faults)
    if not faults:
        print(f"{path}: nothing is corrupt")


def _root(output: Path, found: Path) -> Path:
    """The root that a store has already, where the recordings lie below it."""
    if (output / "settings.json").is_file():
        known = VectorStore.open(output).audio_root
        if known is not None and found.resolve().is_relative_to(known.resolve()):
            return known
    return found
