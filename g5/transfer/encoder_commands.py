"""`g5 encoders`: which there are, the contract checks of one, and what embeddings know."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from g5.config.choices import CONF, choices
from g5.config.nodes import refuse_foreign


def list_encoders() -> None:
    """Print the names in `conf/encoder/` with their first lines, and what else is an encoder."""
    names = choices("encoder")
    width = max(map(len, names))
    for name in names:
        text = (CONF / "encoder" / f"{name}.yaml").read_text(encoding="utf-8")
        print(f"{name:<{width}}  {text.splitlines()[0].lstrip('# ')}")
    print()
    print("or FILE.ckpt (g5 train, g5 finetune), FILE.onnx, pkg.models.MyEncoder (your own class)")


def check(name: str, head: str | None, overrides: Sequence[str]) -> int:
    """Print each contract check of an encoder (and a head); 1 if one fails."""
    from g5.embeddings.encoders import load_encoder
    from g5.transfer.contracts import check_encoder, check_head

    refuse_foreign(overrides, ("encoder",))
    encoder = load_encoder(name, overrides)
    takes = "waveforms" if encoder.front_end is None else "features"
    print(
        f"{name}: {takes}, {encoder.sr} Hz, windows of {encoder.window_s:g} s, "
        f"{encoder.embedding_dim} dimensions"
    )
    failed = _printed(check_encoder(encoder))
    if head is not None:
        print(f"{head}: a rating head")
        failed += _printed(check_head(head, encoder.embedding_dim))
    print("all contract checks pass" if not failed else f"contract checks that fail: {failed}")
    return int(failed > 0)


def _printed(findings: Iterable) -> int:
    failed = 0
    for finding in findings:
        failed += bool(finding.problem)
        mark = "FAIL" if finding.problem else "ok"
        more = finding.problem or finding.note
        print(f"  {mark:<4}  {finding.check}{': ' + more if more else ''}")
    return failed


def probe(path: Path, overrides: Sequence[str]) -> None:
    """Print how well a store's embeddings predict each acoustic measure."""
    from g5.embeddings.encoders import load_encoder
    from g5.embeddings.vectors import VectorStore
    from g5.transfer.probe import probe as run

    refuse_foreign(overrides, ("encoder",))
    store = VectorStore.open(path)
    found = run(store, load_encoder("handcrafted", overrides))
    print(
        f"R2 of a linear probe on {path}, in recordings it was not fitted on (1 perfect, 0 blind)"
    )
    width = max(len(one.measure) for one in found)
    for one in found:
        print(f"{one.measure:<{width}}  {one.r2:6.2f}  {'#' * round(20 * max(one.r2, 0))}")
