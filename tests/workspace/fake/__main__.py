"""The command line: python3 tests/workspace/fake DIRECTORY [--die-with-parent]."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import sys
import threading

sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

import fake  # noqa: E402
from fake.oauth import write  # noqa: E402
from fake.workspace import Workspace  # noqa: E402


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/workspace/fake", description=fake.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path, help="holds all that it knows; is made if missing")
    parser.add_argument("--port", type=int, default=0, help="of the API; by default the one before, or any")
    parser.add_argument("--control-port", type=int, default=0, help="of the control address")
    parser.add_argument("--die-with-parent", action="store_true", help="end when standard input ends")
    return parser.parse_args()


def main() -> None:
    given = parsed()
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        end.set()

    workspace = Workspace(given.directory.absolute(), given.port, given.control_port)
    about = workspace.about()
    write(workspace.directory / "address.json", about)
    print(json.dumps(about), flush=True)
    if given.die_with_parent:
        threading.Thread(target=end_with_input, daemon=True).start()
    end.wait()
    workspace.close()
    sys.stdout.flush()
    os._exit(0)  # without waiting for clients


if __name__ == "__main__":
    main()
