"""Results on real recordings, each with the command that reproduces its table."""

import sys
from collections.abc import Callable, Sequence

from g5.common.errors import UserError


def run_as_command(main: Callable[[Sequence[str]], object]) -> None:
    """Run ``main`` on the command line's words; what the user can put right is one line, exit 1."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
