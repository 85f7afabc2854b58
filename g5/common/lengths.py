"""Lengths of time as people say them."""


def length(seconds: float) -> str:
    """``0.02`` -> ``20 ms``, ``90`` -> ``90 s``, ``600`` -> ``10 min``, ``9000`` -> ``2.5 h``."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * size or (unit == "s" and seconds >= 0.1):
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"
