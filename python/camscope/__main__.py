"""The command ``camscope``, and ``python -m camscope``."""

import sys

from camscope._camscope import main as run


def main() -> int:
    """Does what the command line asks for, and returns the exit status."""
    return run(["camscope", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
