"""`g5 import`: embeddings that other programs made, into a store."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from g5.common.errors import UserError
from g5.common.files import is_audio, walk
from g5.common.words import counted
from g5.embeddings.embed_files import mend
from g5.embeddings.importing import read_embeddings, with_unique_names
from g5.embeddings.vectors import EncoderFacts, VectorStore


def import_embeddings(
    files: Sequence[Path],
    out: Path,
    table: Path | None,
    encoder: str,
    audio_root: Path | None,
    *,
    check: bool = False,
) -> int:
    """Read each file and add its vectors; what fails leaves the others' in place."""
    if check:
        mend(out)
    failed = []
    for file in files:
        try:
            found = read_embeddings(file, table)
        except UserError as error:
            if len(files) == 1:
                raise
            failed.append(str(error))
            continue
        if audio_root is not None:
            found.index["file"] = _recordings(found.index["file"].astype(str).tolist(), audio_root)
        width = found.x_ND.shape[1]
        lengths = np.asarray(found.index["end_s"] - found.index["start_s"], np.float64) \
            if {"start_s", "end_s"} <= set(found.index) else np.array([np.nan])  # fmt: skip
        window_s = float(np.nanmedian(lengths)) if np.isfinite(lengths).any() else 0.0
        facts = EncoderFacts(encoder, f"imported-{encoder}-{width}", width, 0, round(window_s, 3))
        store = VectorStore.create(out, facts, audio_root=audio_root)
        try:
            index, notes = with_unique_names(found, store)
            added = store.ingest(found.x_ND, index)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        for note in [*found.notes, *notes]:
            print(f"{file}: {note}")
        print(
            f"{file}: {added:,} of {counted(len(found.x_ND), 'vector')} of "
            f"{counted(width, 'dimension')} are new"
        )
    for line in failed:
        print(f"left out: {line}")
    if len(failed) == len(files):
        raise UserError("none of the files could be imported")
    store = VectorStore.open(out)
    n_files = store.index["file"].nunique()
    print(f"{out}: {counted(len(store), 'vector')} of {counted(n_files, 'recording')} now")
    if store.audio_root is None:
        print("no --audio-root DIR: pages will find the recordings only by their paths as written")
    return int(bool(failed))


def _recordings(names: Sequence[str], root: Path) -> list[str]:
    """Recordings by what tables of BirdNET are called: names without suffix become those below."""
    bare = {name for name in set(names) if not Path(name).suffix}
    if not bare or not root.is_dir():
        return list(names)
    paths = [file.relative_to(root) for file in walk(root) if is_audio(file)]
    found: dict[str, list[str]] = {}
    for path in paths:
        for name in {path.stem, path.with_suffix("").as_posix()} & bare:
            found.setdefault(name, []).append(path.as_posix())
    sure = {name: files[0] for name, files in found.items() if len(files) == 1}
    return [sure.get(name, name) for name in names]
