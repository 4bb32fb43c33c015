"""Converts the values that callers give to the form that the library takes."""

from __future__ import annotations

import codecs
import datetime
import json
import math
import numbers
import os
from collections.abc import Mapping
from typing import Any, Optional, Union

from dbcache.errors import InvalidArgument

Moment = Union[str, datetime.datetime]


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set has no order in JSON; give a list")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(
        f"a value of type {type(value).__name__} has no form in JSON; "
        "give a dict, list, str, number, bool or None"
    )


def _refuse_large_integers(value: Any) -> None:
    """The library keeps integers of 64 bits; a larger one would become another number."""
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(
                f"an integer has {value.bit_length()} bits, and at most 64 are kept; give a string"
            )
        return
    elif not isinstance(value, (list, tuple)):
        return
    for each in value:
        _refuse_large_integers(each)


def to_json(value: Optional[Mapping[str, Any]], what: str) -> str:
    """The JSON of a dictionary; ``{}`` for ``None``. Times become ISO strings. ``what`` names the
    argument. Raises ``InvalidArgument`` for a value that JSON cannot hold."""
    if value is None:
        return "{}"
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{what} must be a dictionary, not {type(value).__name__}")
    try:
        _refuse_large_integers(value)
        return json.dumps(dict(value), default=_plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what} cannot be written as JSON: {error}") from error


def read_json_object(encoded: bytes) -> str:
    """The text of a JSON object in UTF-8, with or without a byte order mark. Raises ``ValueError``
    for any other."""
    if encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (
        b"\0" in encoded[:4] and b"{" in encoded[:4]
    ):
        raise ValueError(
            "it is in UTF-16 or UTF-32; save it as UTF-8 (in PowerShell: Set-Content -Encoding utf8)"
        )
    text = encoded.decode("utf-8-sig")
    if not isinstance(json.loads(text), dict):
        raise ValueError("it must hold a JSON object")
    return text


def to_moment(value: Optional[Moment]) -> Optional[str]:
    """The ISO text of a time. A time without an offset is UTC."""
    return value.isoformat() if isinstance(value, datetime.datetime) else value


#: The largest number that the library's durations can hold. The library itself refuses a duration
#: that is too long for its purpose.
LONGEST = 2**62


def to_units(number: float, units_in_one: int, what: str) -> int:
    """A number, which may have a fraction, as whole units. ``what`` names the argument. Raises
    ``InvalidArgument`` for a value that is not a finite number."""
    # An int is finite, and may be too large for isfinite().
    finite = isinstance(number, int) or (isinstance(number, numbers.Real) and math.isfinite(number))
    if not finite:
        raise InvalidArgument(f"{what} must be a finite number, not {number!r}")
    return round(max(-LONGEST, min(LONGEST, number * units_in_one)))


def to_microseconds(seconds: Union[float, datetime.timedelta], what: str) -> int:
    """Seconds, or a ``timedelta``, as whole microseconds."""
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    return to_units(seconds, 1_000_000, what)


def to_milliseconds(seconds: Union[float, datetime.timedelta], what: str) -> int:
    """Seconds, or a ``timedelta``, as whole milliseconds. Rounds up, so that no wait is shorter
    than the caller asked for."""
    return -(-to_microseconds(seconds, what) // 1000)
