"""``python -m dbcache``: the command line."""

from __future__ import annotations

import os
import pathlib
import sys


def main() -> None:
    """Becomes the command line, so that signals, terminal and exit code are its own."""
    program = pathlib.Path(__file__).parent / "bin" / "dbcache"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, ["dbcache", *sys.argv[1:]])


if __name__ == "__main__":
    main()
