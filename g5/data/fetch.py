"""Download public sets: `g5 data fetch`."""

from pathlib import Path

import yaml

from g5.common.errors import UserError
from g5.common.words import counted
from g5.config.choices import CONF
from preprocessing.datasets.fetch import fetch


def fetch_set(name: str, folder: Path, *, url: str | None) -> None:
    """Download a set of ``conf/fetch.yaml`` into ``folder``, and say how it is used.

    Args:
        name: of the set.
        folder: where it goes.
        url: of a mirror of Zenodo; None: Zenodo.

    Raises:
        UserError: no such set, or anything that keeps it from arriving whole.
    """
    known = yaml.safe_load((CONF / "fetch.yaml").read_text("utf-8"))
    if name not in known["sets"]:
        raise UserError(f"there is no set {name!r}; choose from {', '.join(known['sets'])}")
    paths = fetch(known["sets"][name], folder, url=url or known["url"])
    print(f"{name}: {counted(len(paths), 'file')} in {folder}")
    sets = {place.name: place for path in paths for place in path.parents}
    if {"Training_Set", "Validation_Set"} <= set(sets):
        print(
            f"g5 data check data=dcase path.train_dir={sets['Training_Set']} "
            f"path.eval_dir={sets['Validation_Set']}"
        )
