"""What several parts need: refusals, answers, and the workspace's clock."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any, Optional, Union

Json = dict[str, Any]


@dataclasses.dataclass
class Answer:
    """What a client gets: a JSON value, or text as it is."""

    status: int
    body: Union[str, Json, list[Any]]
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    def content(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


class Refused(Exception):
    """A request that gets no 200. Without a code the answer has no body."""

    def __init__(self, status: int, code: Optional[Union[str, int]], message: str = "") -> None:
        super().__init__(message)
        body: Union[str, Json] = "" if code is None else {"error_code": code, "message": message}
        self.answer = Answer(status, body)


class OAuthRefused(Refused):
    """A refusal of the token endpoint, in the form of RFC 6749."""

    def __init__(self, code: str, message: str, status: int = 401) -> None:
        super().__init__(status, code, message)
        self.answer = Answer(status, {"error": code, "error_description": message})


def invalid(message: str) -> Refused:
    return Refused(400, "INVALID_PARAMETER_VALUE", message)


class Clock:
    """The workspace's time. A test moves it, so that a month passes at once."""

    def __init__(self) -> None:
        self.lead = 0.0  # seconds before the machine's clock

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.lead


def matches(path: str, pattern: str) -> bool:
    """Whether a path is the one that a test means: it ends with the pattern, such as `/create`."""
    return path.endswith(pattern)
