"""The one exception that means "the user can put this right"."""


class UserError(ValueError):
    """What is wrong (file, row or key) and what to do, in one line.

    Entry points print it as ``error: ...`` and exit with 1; it never shows a traceback.
    """


class DiskError(UserError):
    """The disk fails: no fault of what was being worked on, and there is no going on."""


def brief(error: BaseException, most: int = 200) -> str:
    """What an error of somebody else's code says, as one line of at most so many characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:most]
