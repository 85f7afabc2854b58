"""Where the YAML of the configuration lies, and the names in its groups, without loading Hydra."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
# In the wheel `conf/` lies in the package, in a checkout beside it. A path, not a module: another
# project's `conf` may come first on `sys.path`.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def choices(group: str) -> list[str]:
    """The YAML files of `conf/<group>/`, without their suffix."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
