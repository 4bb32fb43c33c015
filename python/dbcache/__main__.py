"""``python -m dbcache``: the command line."""

from __future__ import annotations

import os
import pathlib
import sys


def main() -> None:
    """Replaces this process by the command line, which so gets the signals and the terminal, and
    sets the exit code."""
    program = pathlib.Path(__file__).parent / "bin" / "dbcache"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, ["dbcache", *sys.argv[1:]])


if __name__ == "__main__":
    main()
