"""The pages of clusters/list."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable

from fake.cluster import STATES, Cluster
from fake.common import Json, invalid

Query = dict[str, list[str]]
Key = tuple[int, str]  # of the order of a list: the youngest first
DEFAULT_SIZE = 20
LARGEST_SIZE = 100


def pages_of(clusters: Iterable[Cluster], query: Query, settings: Json, now: float) -> Json:
    """One page. What the token names is where the page begins, so that clusters which appear between two
    pages neither repeat nor hide others."""
    size = min(_size(query), int(settings["page_size"]))
    after, is_empty = _read(query.get("page_token", [""])[0], settings["empty_pages"])
    found = sorted((_key(shown), shown) for shown in _listed(clusters, query, settings, now))
    rest = [(key, shown) for key, shown in found if after is None or key > after]
    if is_empty:
        return {"next_page_token": _written(after, False)}
    page = rest[:size]
    answer: Json = {}
    if page:
        answer["clusters"] = [shown for _, shown in page]
    if rest[size:]:
        answer["next_page_token"] = _written(page[-1][0], settings["empty_pages"])
    return answer


class _Shown(dict[str, object]):
    """A cluster in a list; two of them with one key are never compared."""

    def __lt__(self, other: object) -> bool:
        return False


def _key(shown: Json) -> Key:
    return -int(shown["start_time"]), shown["cluster_id"]


def _listed(clusters: Iterable[Cluster], query: Query, settings: Json, now: float) -> Iterable[Json]:
    states, sources = query.get("filter_by.cluster_states", []), query.get("filter_by.cluster_sources")
    for state in states:
        if state not in STATES:
            raise invalid(f"Invalid cluster state '{state}'")
    pinned = query.get("filter_by.is_pinned", [""])[0]
    moment = now - settings["list_state_lag_seconds"]
    for cluster in clusters:
        is_removed = cluster.removed_at is not None and cluster.removed_at <= moment
        is_fresh = cluster.born > now - settings["list_lag_seconds"]
        if is_fresh or is_removed or cluster.is_forgotten(now):
            continue
        if states and cluster.since <= moment and cluster.state not in states:
            continue  # of most, and cheaply
        shown = _Shown(cluster.details_as_of(moment, now))
        if states and shown["state"] not in states:
            continue
        if sources and shown["cluster_source"] not in sources:
            continue
        if pinned and cluster.pinned != (pinned == "true"):
            continue
        yield shown


def _size(query: Query) -> int:
    text = query.get("page_size", [str(DEFAULT_SIZE)])[0]
    if not text.isdecimal() or int(text) > LARGEST_SIZE:
        raise invalid(f"page_size must be a number from 0 to {LARGEST_SIZE}")
    return int(text) or DEFAULT_SIZE


def _written(after: Key | None, is_empty: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([after, is_empty]).encode()).decode()


def _read(token: str, empty_pages: bool) -> tuple[Key | None, bool]:
    if not token:
        return None, empty_pages
    try:
        after, is_empty = json.loads(base64.urlsafe_b64decode(token))
        return (None if after is None else (int(after[0]), str(after[1]))), bool(is_empty)
    except (ValueError, TypeError, IndexError, binascii.Error):
        raise invalid(f"Invalid page token {token}") from None
