"""The names in a configuration group, read from its folder without loading Hydra."""

from importlib.resources import files


def choices(group: str) -> list[str]:
    """The YAML files of `conf/<group>/`, without their suffix."""
    folder = files("conf").joinpath(group)
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))
