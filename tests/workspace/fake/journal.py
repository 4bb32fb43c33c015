"""The journal: what happened, and all that a killed workspace needs to go on."""

from __future__ import annotations

import array
import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator

from fake.common import Clock, Json

# A start does not parse these: they change nothing, and most lines are such.
REQUEST = b'{"what": "request"'


class Journal:
    """A file of JSON lines that only grows. Each is written before the answer that tells of it, in one
    write; a line that a kill cut off is removed at the next start. Safe between threads."""

    def __init__(self, path: pathlib.Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._ends = array.array("Q")  # where each line ends
        self._cause = threading.local()

    def replay(self) -> Iterator[Json]:
        """All that is in it except requests, at the start and once."""
        end = 0
        with open(self._file, "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                self._ends.append(end)
                if not line.startswith(REQUEST):
                    yield json.loads(line)
        os.ftruncate(self._file, end)

    def begin_request(self, request_id: str) -> None:
        """What this thread notes from now on, it notes in the course of this request."""
        self._cause.request_id = request_id

    def note(self, what: str, **fields: object) -> None:
        request_id = getattr(self._cause, "request_id", None)
        with self._lock:
            record = {"what": what, "sequence": len(self._ends), "time": time.time(),
                      "monotonic": time.monotonic(), "clock": self._clock.now(),
                      "request_id": request_id, **fields}
            line = json.dumps(record).encode() + b"\n"
            written = os.write(self._file, line)
            if written != len(line):
                os.write(self._file, line[written:])
            self._ends.append((self._ends[-1] if self._ends else 0) + len(line))

    def read_from(self, sequence: int) -> str:
        """The records from this number on, as a JSON array."""
        with self._lock:
            count = len(self._ends)
            if sequence >= count:
                return "[]"
            begin = self._ends[sequence - 1] if sequence > 0 else 0
            end = self._ends[-1]
        text = os.pread(self._file, end - begin, begin).decode()
        return "[" + ",".join(text.splitlines()) + "]"
