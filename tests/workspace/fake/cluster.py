"""One cluster: its state machine, and how the API shows it."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

from fake.common import Json

DAY = 86400.0
REMEMBERED = 30 * DAY  # for how long the API knows a cluster that has terminated
STATES = ("PENDING", "RUNNING", "RESTARTING", "RESIZING", "TERMINATING", "TERMINATED", "ERROR", "UNKNOWN")
ACTIVE = ("PENDING", "RUNNING", "RESTARTING", "RESIZING")
USER = "tester@example.com"
STARTING = (
    "Finding instances for new nodes, acquiring more instances if necessary",
    "Setting up the nodes of the cluster",
    "Starting Spark",
)
# The types of clusters/events, by the state that begins.
EVENTS = {"RUNNING": "RUNNING", "RESTARTING": "RESTARTING", "TERMINATING": "TERMINATING"}


@dataclasses.dataclass
class Change:
    """What befalls a cluster at a moment of the workspace's clock."""

    at: float
    state: str
    reason: Optional[Json] = None
    message: str = ""


def reason(code: str, kind: str = "SUCCESS", **parameters: str) -> Json:
    return {"code": code, "type": kind, "parameters": parameters}


@dataclasses.dataclass
class Cluster:
    """All that is known of a cluster; the journal has it as JSON. Times are seconds of the workspace's
    clock, but for those that the API shows, in milliseconds."""

    cluster_id: str
    spec: Json  # as it was sent, without the token
    born: float
    start_time: int
    since: float  # of the state
    start_seconds: float
    state: str = "PENDING"
    state_message: str = STARTING[0]
    idempotency_token: Optional[str] = None
    failure: Optional[Json] = None  # how its start ends
    terminate_seconds: Optional[float] = None  # if it has its own
    termination_reason: Optional[Json] = None
    terminated_time: Optional[int] = None
    last_restarted_time: Optional[int] = None
    pinned: bool = False
    unpinned_at: float = 0.0
    removed_at: Optional[float] = None  # by permanent-delete
    forced: bool = False  # its state stays
    shown: Json = dataclasses.field(default_factory=dict)  # fields that a test set
    history: list[tuple[float, str, str]] = dataclasses.field(default_factory=list)
    events: list[Json] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.history:
            self.history.append((self.since, self.state, self.state_message))
            self._tell(self.born, "CREATING", {"cluster_size": self._size()})

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.value("custom_tags") or {})

    def value(self, key: str) -> Any:
        return self.shown.get(key, self.spec.get(key))

    def next_change(self, default_terminate_seconds: float) -> Optional[Change]:
        """What befalls it without anybody asking, and when."""
        if self.forced:
            return None
        if self.state in ("PENDING", "RESTARTING"):
            ready = self.since + self.start_seconds
            if self.failure is None:
                return Change(ready, "RUNNING")
            cause = reason(self.failure["code"], self.failure.get("type", ""))
            cause["parameters"] = self.failure.get("parameters", {})
            return Change(ready, "TERMINATING", cause, self.failure.get("state_message", ""))
        if self.state == "RUNNING":
            minutes = self.value("autotermination_minutes")
            if not isinstance(minutes, (int, float)) or minutes <= 0:
                return None
            cause = reason("INACTIVITY", inactivity_duration_min=str(minutes))
            return Change(self.since + 60 * minutes, "TERMINATING", cause,
                          f"Inactive cluster terminated (inactive for {minutes} minutes).")
        if self.state == "TERMINATING":
            own = self.terminate_seconds
            seconds = default_terminate_seconds if own is None else own
            return Change(self.since + seconds, "TERMINATED", message=self.state_message)
        return None

    def turn(self, change: Change) -> None:
        """Begins another state."""
        self.state, self.since, self.state_message = change.state, change.at, change.message
        if change.reason is not None:
            self.termination_reason = change.reason
        if change.state == "PENDING":
            self.state_message = STARTING[0]
            self.last_restarted_time = int(change.at * 1000)
            self.termination_reason = self.terminated_time = None
            self._tell(change.at, "STARTING", {"user": USER})
        if change.state == "RUNNING":
            self.failure = None
        if change.state == "TERMINATED":
            self.terminated_time = int(change.at * 1000)
        if change.state in EVENTS:
            size = {"current_num_workers": self._size()}
            self._tell(change.at, EVENTS[change.state], {"reason": change.reason} if change.reason else size)
        self.history.append((change.at, self.state, self.state_message))

    def tell_pinned(self, at: float) -> None:
        self._tell(at, "PINNED" if self.pinned else "UNPINNED", {"user": USER})

    def _tell(self, at: float, kind: str, details: object) -> None:
        self.events.append({"cluster_id": self.cluster_id, "timestamp": int(at * 1000), "type": kind,
                            "details": details})

    def _size(self) -> Any:
        return self.value("num_workers") or 0

    def is_forgotten(self, now: float) -> bool:
        """Whether it was terminated or unpinned more than 30 days ago."""
        if self.pinned or self.state != "TERMINATED":
            return False
        return now > max(self.since, self.unpinned_at) + REMEMBERED

    def message(self, now: float) -> str:
        """What it is doing."""
        if self.state not in ("PENDING", "RESTARTING") or self.forced:
            return self.state_message
        part = (now - self.since) / self.start_seconds if self.start_seconds > 0 else 0.0
        return STARTING[max(0, min(len(STARTING) - 1, int(part * len(STARTING))))]

    def details(self, now: float) -> Json:
        """As the API shows it, but for what depends on settings."""
        name = self.value("cluster_name") or ""
        told: Json = {
            **self.spec, "cluster_id": self.cluster_id, "creator_user_name": USER, "cluster_source": "API",
            "state": self.state, "state_message": self.message(now), "start_time": self.start_time,
            "custom_tags": self.tags,
            "default_tags": {"Vendor": "Databricks", "Creator": USER, "ClusterName": name,
                             "ClusterId": self.cluster_id},
        }
        told.update({key: value for key in ("termination_reason", "terminated_time", "last_restarted_time")
                     if (value := getattr(self, key)) is not None})
        if self.state in ("RUNNING", "RESIZING"):
            told["spark_context_id"] = int(self.born * 1000)
            told["driver"] = {"host_private_ip": "10.0.0.1", "private_ip": "10.0.0.1"}
        return {**told, **self.shown}

    def details_as_of(self, moment: float, now: float) -> Json:
        """As a list shows it that is late: with the state of an earlier moment."""
        at, state, message = self.history[0]
        for entry in self.history:
            if entry[0] <= moment:
                at, state, message = entry
        told = self.details(now)
        if at == self.since and state == self.state:
            return told
        told.update(state=state, state_message=message)
        if state not in ("TERMINATING", "TERMINATED", "ERROR"):
            told.pop("termination_reason", None)
        if state != "TERMINATED":
            told.pop("terminated_time", None)
        return told

    def everything(self, now: float) -> Json:
        """For a test: as the API shows it, and what the API hides."""
        hidden = ("idempotency_token", "since", "born", "start_seconds", "terminate_seconds", "failure",
                  "pinned", "removed_at", "forced", "history", "events")
        return {**self.details(now), **{key: getattr(self, key) for key in hidden}}
