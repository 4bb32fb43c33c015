"""The journal of what happened, and beside it the state that a killed workspace goes on from."""

from __future__ import annotations

import array
import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO, Optional

from fake.common import Clock, Json


class _Lines:
    """A file of JSON lines that only grows. Each is written at once, and a line that a kill cut off is
    removed at the next start."""

    def __init__(self, path: pathlib.Path) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def replay(self) -> Iterator[bytes]:
        end = 0
        lines: BinaryIO
        with open(self.file, "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                yield line
        os.ftruncate(self.file, end)

    def append(self, line: bytes) -> None:
        written = os.write(self.file, line)
        if written != len(line):
            os.write(self.file, line[written:])


class Journal:
    """What happened is in journal.jsonl, and what a restart needs in state.jsonl. Both are written before
    the answer that tells of it. Safe between threads."""

    def __init__(self, directory: pathlib.Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lines = _Lines(directory / "journal.jsonl")
        self._state = _Lines(directory / "state.jsonl")
        self._ends = array.array("Q")  # where each line of the journal ends
        self._cause = threading.local()

    def replay(self) -> Iterator[Json]:
        """The state, at the start and once: each change as it is in the journal, with what is `kept`."""
        for line in self._lines.replay():
            self._ends.append(self._end() + len(line))
        for line in self._state.replay():
            change = json.loads(line)
            if change["n"] >= len(self._ends):  # the kill came between the two files
                self._append({key: value for key, value in change.items() if key != "kept"})
            yield change

    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0

    def begin_request(self, request_id: str) -> None:
        """What this thread notes from now on, it notes in the course of this request."""
        self._cause.request_id = request_id

    def note(self, what: str, kept: Optional[Json] = None, **fields: object) -> None:
        """`kept` is what a restart needs to know of it."""
        request_id = getattr(self._cause, "request_id", None)
        with self._lock:
            record: Json = {"n": len(self._ends), "time": time.time(), "what": what,
                            "monotonic": time.monotonic(), "clock": self._clock.now(),
                            "request_id": request_id, **fields}
            if kept is not None:
                self._state.append(json.dumps({**record, "kept": kept}).encode() + b"\n")
            self._append(record)

    def _append(self, record: Json) -> None:
        line = json.dumps(record).encode() + b"\n"
        self._lines.append(line)
        self._ends.append(self._end() + len(line))

    def read_from(self, n: int) -> str:
        """The records from this number on, as a JSON array."""
        with self._lock:
            if n >= len(self._ends):
                return "[]"
            begin = self._ends[n - 1] if n > 0 else 0
            end = self._end()
        text = os.pread(self._lines.file, end - begin, begin).decode()
        return "[" + ",".join(text.splitlines()) + "]"
