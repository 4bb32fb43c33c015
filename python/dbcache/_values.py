"""What users give, as the library takes it."""

from __future__ import annotations

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
        raise TypeError("a set has no order; give a list")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _refuse_what_would_change(value: Any) -> None:
    """The library keeps integers of 64 bits; what is larger would become another number."""
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"an integer of {value.bit_length()} bits; at most 64 are kept")
        return
    elif not isinstance(value, (list, tuple)):
        return
    for each in value:
        _refuse_what_would_change(each)


def to_json(value: Optional[Mapping[str, Any]], what: str) -> str:
    """A dictionary as the JSON that the library reads. Times become ISO strings."""
    if value is None:
        return "{}"
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{what} must be a dictionary, not {type(value).__name__}")
    try:
        _refuse_what_would_change(value)
        return json.dumps(dict(value), default=_plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what} cannot be kept: {error}") from error


def to_moment(value: Optional[Moment]) -> Optional[str]:
    """A time as the library reads it; without an offset it is UTC."""
    return value.isoformat() if isinstance(value, datetime.datetime) else value


#: What fits into the library's durations; what is longer than it takes, it refuses by itself.
LONGEST = 2**62


def to_units(number: float, units_in_one: int, what: str) -> int:
    """A number with a fraction as whole units."""
    # A whole number is finite, and may be too large for isfinite().
    finite = isinstance(number, int) or (isinstance(number, numbers.Real) and math.isfinite(number))
    if not finite:
        raise InvalidArgument(f"{what} is not a number: {number!r}")
    return round(max(-LONGEST, min(LONGEST, number * units_in_one)))


def to_microseconds(seconds: Union[float, datetime.timedelta], what: str) -> int:
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    return to_units(seconds, 1_000_000, what)


def to_milliseconds(seconds: Union[float, datetime.timedelta], what: str) -> int:
    """Rounded up: a wait is not shorter than asked for."""
    return -(-to_microseconds(seconds, what) // 1000)
