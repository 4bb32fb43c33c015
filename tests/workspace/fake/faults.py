"""Faults that a test names: which request they hit, and how often."""

from __future__ import annotations

import dataclasses
import random
import threading
from typing import Any, Optional

from fake.common import Answer, Json, matches
from fake.journal import Journal

# Kinds that answer at once: the status, the content type and the body that they have by default.
ANSWERS: dict[str, tuple[int, str, str]] = {
    "status": (503, "application/json", ""),
    "redirect": (302, "text/html", ""),
    "garbage": (200, "application/json", '{"cluster_id": "0101-000000-garbage", "state": RUNN'),
    "html": (502, "text/html", "<html><body><pre>Bad gateway: upstream connect error</pre></body></html>"),
    "empty": (200, "application/json", ""),
}
# Kinds that spoil the connection, with the answer of the work or without any.
SPOILS = ("cut", "close", "reset", "hang", "delay", "slow")
LOGIN = "/login.html?error=private-link-validation-error"


@dataclasses.dataclass
class Fault:
    """What a test sends, with its defaults, and how often it has hit."""

    method: str = ""  # "": any, except a proxy's CONNECT
    path: str = ""  # the end of the path
    skip: int = 0  # requests to leave alone first
    times: int = 1  # requests to hit then; -1: all
    probability: float = 1.0  # of hitting one of those
    when: str = "before"  # or "after" the work was done
    # status: an answer of the fields below. redirect: 302 to a login page, or to headers.Location.
    # garbage: 200 and half of a JSON. html: 502 and a page. empty: 200 and no body.
    # cut: the connection ends in the midst of the body. close: it ends without an answer. reset: the same
    # by RST. hang: no answer for `seconds`, then it ends. delay: the answer comes after `seconds`.
    # slow: the answer comes at one byte a second, and the connection ends after `seconds`. With delay and
    # slow the work is always done first.
    kind: str = "status"
    status: Optional[int] = None
    error_code: Any = None  # with message: a body {"error_code", "message"}
    message: Optional[str] = None
    body: Any = None  # text as it is, or JSON
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 60.0
    id: int = 0
    seen: int = 0  # requests that it could have hit
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ANSWERS and self.kind not in SPOILS:
            raise ValueError(f"kind is one of {', '.join([*ANSWERS, *SPOILS])}")
        if self.when not in ("before", "after"):
            raise ValueError("when is before or after")

    @property
    def does_work(self) -> bool:
        return self.when == "after" or self.kind in ("delay", "slow")

    def is_of(self, method: str, path: str) -> bool:
        if method == "CONNECT" and self.method != "CONNECT":
            return False
        return self.method in ("", method) and matches(path, self.path)

    def answer(self, host: str) -> Answer:
        """What one that answers at once says."""
        status, content_type, body = ANSWERS[self.kind]
        headers = {"Content-Type": content_type, **self.headers}
        if self.kind == "redirect":
            headers.setdefault("Location", host + LOGIN)
        if self.body is not None:
            body = self.body
        elif self.error_code is not None or self.message is not None:
            told = {"error_code": self.error_code, "message": self.message}
            return Answer(self.status or status, {key: told[key] for key in told if told[key] is not None},
                          headers)
        return Answer(self.status or status, body, headers)


class Faults:
    """The faults in force. They and their counts survive a kill. Safe between threads."""

    KEYS = {field.name for field in dataclasses.fields(Fault)} - {"id", "seen", "hits"}

    def __init__(self, journal: Journal) -> None:
        self._lock = threading.Lock()
        self._journal = journal
        self._faults: list[Fault] = []
        self._last_id = 0

    def restore(self, kept: Json) -> None:
        """Takes up what an earlier life kept."""
        if "fault" in kept:
            self._faults.append(Fault(**kept["fault"]))
            self._last_id = kept["fault"]["id"]
        elif "seen" in kept:
            for fault in self._faults:
                if fault.id == kept["id"]:
                    fault.seen, fault.hits = kept["seen"], kept["hits"]
        elif "faults-cleared" in kept or "reset" in kept:
            self._faults.clear()

    def add(self, given: Json) -> int:
        if unknown := given.keys() - self.KEYS:
            raise ValueError(f"a fault has no {sorted(unknown)}; it has {', '.join(sorted(self.KEYS))}")
        with self._lock:
            fault = Fault(**given, id=self._last_id + 1)
            self._last_id = fault.id
            told = dataclasses.asdict(fault)
            self._journal.note("fault-added", fault=told, kept={"fault": told})
            self._faults.append(fault)
            return fault.id

    def all(self) -> list[Json]:
        with self._lock:
            return [dataclasses.asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        with self._lock:
            self._journal.note("faults-cleared", kept={"faults-cleared": True})
            self._faults.clear()

    def hit(self, method: str, path: str) -> Optional[Fault]:
        """The first fault that hits this request."""
        with self._lock:
            for fault in self._faults:
                if fault.is_of(method, path) and self._hits(fault):
                    return dataclasses.replace(fault)
        return None

    def _hits(self, fault: Fault) -> bool:
        if 0 <= fault.times <= fault.hits:
            return False
        fault.seen += 1
        hits = fault.seen > fault.skip and random.random() < fault.probability
        fault.hits += hits
        if hits or fault.seen <= fault.skip:
            counts = {"id": fault.id, "seen": fault.seen, "hits": fault.hits}
            self._journal.note("fault" if hits else "fault-skipped", kind=fault.kind, when=fault.when,
                               **counts, kept=counts)
        return hits
