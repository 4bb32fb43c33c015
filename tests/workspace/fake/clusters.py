"""The clusters of the workspace, and the calls that change them."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from typing import Any, Optional

from fake import settings as known
from fake.catalog import check_known, check_spec
from fake.cluster import Change, Cluster, reason
from fake.common import Clock, Json, Refused, invalid
from fake.journal import Journal
from fake.listing import Query, pages_of

TICK_SECONDS = 0.05
MOST_EVENTS = 500
# What a test may set of a cluster beside the fields that the API shows.
INNER = ("start_seconds", "terminate_seconds", "failure", "forced", "pinned", "idempotency_token")


def _gone(cluster_id: str, form: str) -> Refused:
    if form in ("404", "not_found"):
        return Refused(404, "RESOURCE_DOES_NOT_EXIST", f"Cluster {cluster_id} does not exist")
    if form == "bare_not_found":
        return Refused(404, None)
    if form == "more_than_30_days":
        return Refused(400, "INVALID_STATE", f"Cannot access cluster {cluster_id} that was terminated or "
                       "unpinned more than 30 days ago.")
    return invalid(f"Cluster {cluster_id} does not exist")


class Clusters:
    """All calls are safe between threads. What changes is in the journal before a call returns, so that
    the workspace may be killed at any moment."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.settings = known.defaults()
        self._lock = threading.RLock()
        self._clusters: dict[str, Cluster] = {}
        self._journal = journal
        self._clock = clock

    def restore(self, kept: Json) -> None:
        """Takes up what an earlier life kept."""
        if "cluster" in kept:
            cluster = Cluster(**kept["cluster"])
            self._clusters[cluster.cluster_id] = cluster
        elif "settings" in kept:
            self.settings.update(kept["settings"])
        elif "lead" in kept:
            self._clock.lead = kept["lead"]
        elif "reset" in kept:
            self._clusters.clear()
            self.settings, self._clock.lead = known.defaults(), 0.0

    def run(self) -> None:
        """Lets clusters change at their time, even if nobody asks, so that the journal has it then."""
        pause = threading.Event()
        while not pause.wait(TICK_SECONDS):
            with self._lock:
                for cluster in self._clusters.values():
                    self._aged(cluster)

    # ---- Told by a test

    def set(self, given: Json) -> Json:
        with self._lock:
            if complaint := known.complaint(given):
                raise invalid(complaint)
            self.settings.update(given)
            shown = {**given, "proxy_credentials": "..."} if given.get("proxy_credentials") else given
            self._journal.note("settings", settings=shown, kept={"settings": given})
            return self.settings

    def advance(self, seconds: float) -> float:
        with self._lock:
            self._clock.lead += seconds
            self._journal.note("clock", lead=self._clock.lead, kept={"lead": self._clock.lead})
            return self._clock.now()

    def reset(self) -> None:
        with self._lock:
            self._clusters.clear()
            self.settings, self._clock.lead = known.defaults(), 0.0
            self._journal.note("reset", kept={"reset": True})

    def force(self, cluster_id: str, fields: Json) -> Json:
        """Sets fields. A state that is set stays until `delete`, `start` or "forced": false."""
        with self._lock:
            if cluster_id not in self._clusters:
                raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"there is no cluster {cluster_id}")
            cluster, fields = self._clusters[cluster_id], dict(fields)
            if "state" in fields:
                state = fields.pop("state")
                cluster.forced = True
                self._turn(cluster, Change(self._clock.now(), state, fields.pop("termination_reason", None),
                                           fields.pop("state_message", "")), by="control")
            for key in ("termination_reason", "state_message", *INNER):
                if key in fields:
                    setattr(cluster, key, fields.pop(key))
            cluster.shown.update(fields)
            self._note("changed", cluster, by="control")
            return cluster.everything(self._clock.now())

    def all(self, state: Optional[str] = None) -> list[Json]:
        with self._lock:
            now = self._clock.now()
            aged = [self._aged(cluster) for cluster in self._clusters.values()]
            return [cluster.everything(now) for cluster in aged if state in (None, cluster.state)]

    def make(self, fields: Json) -> str:
        """A new cluster, whatever the API's rules say. A state that is given stays; without one it runs, and
        may terminate itself."""
        with self._lock:
            given: Json = {"state": "RUNNING", "forced": "state" in fields, **fields}
            start_time: Optional[int] = given.pop("start_time", None)
            rest = {key: given.pop(key) for key in ("state", "state_message", "termination_reason", *INNER)
                    if key in given}
            cluster_id = self._bear(given, None, start_time)
            self.force(cluster_id, rest)
            return cluster_id

    # ---- What changes

    def _note(self, what: str, cluster: Cluster, **fields: object) -> None:
        self._journal.note(what, cluster_id=cluster.cluster_id, tags=cluster.tags,
                           idempotency_token=cluster.idempotency_token, **fields,
                           kept={"cluster": dataclasses.asdict(cluster)})

    def _turn(self, cluster: Cluster, change: Change, by: str = "request") -> None:
        was = cluster.state
        cluster.turn(change)
        self._note("state", cluster, was=was, state=cluster.state, active=cluster.is_active, at=change.at,
                   reason=change.reason, by=by)

    def _aged(self, cluster: Cluster) -> Cluster:
        """The cluster as it is now."""
        while change := cluster.next_change(self.settings["terminate_seconds"]):
            if change.at > self._clock.now():
                break
            self._turn(cluster, change, by="clock")
        return cluster

    def _find(self, cluster_id: object) -> Cluster:
        if not isinstance(cluster_id, str) or not cluster_id:
            raise invalid("Missing required field: cluster_id")
        cluster = self._clusters.get(cluster_id)
        if (cluster is None or cluster.removed_at is not None
                or self._clock.now() < cluster.born + self.settings["get_lag_seconds"]):
            raise _gone(cluster_id, self.settings["gone_form"])
        if self._aged(cluster).is_forgotten(self._clock.now()):
            raise _gone(cluster_id, "more_than_30_days")
        return cluster

    def _take_failure(self) -> Optional[Json]:
        """How the start that begins now ends, if it fails."""
        failure = self.settings["start_failure"]
        if not failure or failure.get("times", 1) == 0:
            return None
        times = failure.get("times", 1)
        self.set({"start_failure": {**failure, "times": times - 1 if times > 0 else times}})
        return {key: value for key, value in failure.items() if key != "times"}

    def _bear(self, spec: Json, failure: Optional[Json], start_time: Optional[int] = None) -> str:
        now = self._clock.now()
        own = dict(spec)
        token = own.pop("idempotency_token", None)
        if minutes := self.settings["default_autotermination_minutes"]:
            own.setdefault("autotermination_minutes", minutes)
        cluster = Cluster(
            cluster_id=f"0101-{uuid.uuid4().int % 1000000:06}-{uuid.uuid4().hex[:8]}", spec=own,
            born=now if start_time is None else start_time / 1000,
            start_time=int(now * 1000) if start_time is None else start_time, since=now,
            start_seconds=self.settings["start_seconds"], idempotency_token=token,
            failure=failure)
        self._note("born", cluster)
        self._clusters[cluster.cluster_id] = cluster
        return cluster.cluster_id

    # ---- The API

    def create(self, spec: Json) -> Json:
        with self._lock:
            check_spec(spec)
            if self.settings["strict_types"]:
                check_known(spec)
            token = spec.get("idempotency_token")
            if token and self.settings["token_mode"] == "honoured":
                for cluster in self._clusters.values():
                    # Cleared when its cluster terminates.
                    if cluster.idempotency_token == token and self._aged(cluster).state != "TERMINATED":
                        return {"cluster_id": cluster.cluster_id}
            quota = self.settings["quota"]
            active = sum(self._aged(cluster).is_active for cluster in self._clusters.values())
            if quota is not None and active >= quota:
                raise Refused(400, "QUOTA_EXCEEDED", f"The quota of {quota} clusters is used up")
            return {"cluster_id": self._bear(spec, self._take_failure())}

    def get(self, cluster_id: object) -> Json:
        with self._lock:
            cluster, now = self._find(cluster_id), self._clock.now()
            return {**self._shown(cluster.details(now)), "spec": cluster.spec}

    def _shown(self, told: Json) -> Json:
        if self.settings["hidden_tags"]:
            del told["custom_tags"]
        elif self.settings["azure_tags"]:
            told["custom_tags"] = {f"x_{key}": value for key, value in told["custom_tags"].items()}
        return told

    def list(self, query: Query) -> Json:
        with self._lock:
            aged = [self._aged(cluster) for cluster in self._clusters.values()]
            page = pages_of(aged, query, self.settings, self._clock.now())
            for told in page.get("clusters", []):
                self._shown(told)
            return page

    def delete(self, cluster_id: object, permanently: bool) -> Json:
        with self._lock:
            cluster, now = self._find(cluster_id), self._clock.now()
            if permanently and cluster.pinned:
                raise invalid(f"Cluster {cluster.cluster_id} is pinned: unpin the cluster first")
            if cluster.state not in ("TERMINATING", "TERMINATED"):
                cluster.forced = False
                self._turn(cluster, Change(now, "TERMINATING", reason("USER_REQUEST", username="tester"),
                                           "Terminated by a user."))
            if permanently:
                cluster.removed_at = now
                self._note("removed", cluster)
            return {}

    def start(self, cluster_id: object) -> Json:
        with self._lock:
            cluster = self._find(cluster_id)
            if cluster.state != "TERMINATED":
                raise Refused(400, "INVALID_STATE", f"Cluster {cluster.cluster_id} is in unexpected state "
                              f"{cluster.state.capitalize()}.")
            cluster.forced, cluster.failure = False, self._take_failure()
            self._turn(cluster, Change(self._clock.now(), "PENDING"))
            return {}

    def pin(self, cluster_id: object, pinned: bool) -> Json:
        with self._lock:
            cluster, now = self._find(cluster_id), self._clock.now()
            if cluster.pinned != pinned:
                cluster.pinned = pinned
                cluster.unpinned_at = cluster.unpinned_at if pinned else now
                cluster.tell_pinned(now)
                self._note("changed", cluster, by="request")
            return {}

    def events(self, body: Json) -> Json:
        with self._lock:
            cluster = self._find(body.get("cluster_id"))
            types, begin, end = (body.get(key) for key in ("event_types", "start_time", "end_time"))
            found: list[Any] = [event for event in cluster.events
                                if (begin or 0) <= event["timestamp"] <= (end or float("inf"))
                                and (not types or event["type"] in types)]
            if body.get("order", "DESC") == "DESC":
                found.reverse()
            offset, limit = int(body.get("offset", 0)), min(int(body.get("limit", 50)), MOST_EVENTS)
            answer: Json = {"total_count": len(found)}
            if found[offset:offset + limit]:
                answer["events"] = found[offset:offset + limit]
            if found[offset + limit:]:
                answer["next_page"] = {**body, "offset": offset + limit, "limit": limit}
            return answer
