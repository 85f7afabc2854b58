"""`g5 encoders`: which there are."""

from g5.config.choices import CONF, choices


def list_encoders() -> None:
    """Print the names in `conf/encoder/` with their first lines, and what else is an encoder."""
    names = choices("encoder")
    width = max(map(len, names))
    print(f"{'default':<{width}}  Comes with g5: made by g5 pretrain, has never heard an animal.")
    for name in names:
        text = (CONF / "encoder" / f"{name}.yaml").read_text(encoding="utf-8")
        print(f"{name:<{width}}  {text.splitlines()[0].lstrip('# ')}")
    print()
    print("or FILE.ckpt (g5 train, g5 finetune), FILE.onnx, pkg.models.MyEncoder (your own class)")
