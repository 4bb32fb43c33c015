"""The clusters of the fake workspace: a state machine by a clock of its own, kept in a file."""

import json
import threading
import time
import uuid

DAY = 86400.0
ACTIVE = ("PENDING", "RUNNING", "RESTARTING", "RESIZING")
MESSAGES = ("Finding instances for new nodes, acquiring more instances if necessary", "Starting Spark")

DEFAULTS = {
    "start_seconds": 0.3,  # until a new cluster runs
    "terminate_seconds": 0.1,  # how long one is TERMINATING
    "list_lag_seconds": 0.0,  # until a new cluster is listed
    "get_lag_seconds": 0.0,  # until clusters/get knows a new cluster
    "token_mode": "honoured",  # or "ignored": the idempotency token
    "quota": None,  # the most active clusters
    "start_failure": None,  # {"code", "type", "parameters", "times"}: of the next starts
    "empty_pages": False,  # an empty page before each page of the list
    "page_size": 100,  # the most clusters of a page
    "azure_tags": False,  # custom_tags come back as x_KEY
    "gone_form": "does_not_exist",  # or not_found, bare_not_found, more_than_30_days
    "token_lifetime_seconds": 3600,  # of OAuth tokens
    "may_create": True,  # the user's entitlement
}


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status = status
        self.body = "" if code is None else {"error_code": code, "message": message}


def invalid(message):
    return Refused(400, "INVALID_PARAMETER_VALUE", message)


class Clusters:
    """All calls are safe between threads. What changes is on disk before a call returns, so that the
    fake may be killed at any moment."""

    def __init__(self, directory):
        self.lock = threading.RLock()
        self.clusters = {}
        self.settings = dict(DEFAULTS)
        self.advanced = 0.0  # the clock's lead over the machine's
        self._kept = directory / "state.jsonl"
        self._journal_path = directory / "journal.jsonl"
        if self._kept.exists():
            for line in self._kept.read_text().splitlines():
                if line.endswith("}"):  # the last may be cut off
                    self._restore(json.loads(line))
        self._state = self._kept.open("a")
        self._journal = self._journal_path.open("a")

    def _restore(self, line):
        if "cluster" in line:
            self.clusters[line["cluster"]["cluster_id"]] = line["cluster"]
        elif "settings" in line:
            self.settings, self.advanced = line["settings"], line["advanced"]
        else:
            self.clusters.clear()

    def _keep(self, line):
        self._state.write(json.dumps(line) + "\n")
        self._state.flush()

    def note(self, what, **fields):
        """Writes to the journal, which a judge of a test reads."""
        with self.lock:
            self._journal.write(json.dumps({"time": time.time(), "what": what, **fields}) + "\n")
            self._journal.flush()

    def now(self):
        return time.time() + self.advanced

    # ---- Told by a test

    def set(self, settings):
        with self.lock:
            unknown = settings.keys() - DEFAULTS.keys()
            if unknown:
                raise invalid(f"there are no settings {sorted(unknown)}")
            self.settings.update(settings)
            self._keep({"settings": self.settings, "advanced": self.advanced})

    def advance(self, seconds):
        with self.lock:
            self.advanced += seconds
            self._keep({"settings": self.settings, "advanced": self.advanced})

    def reset(self):
        with self.lock:
            self.clusters.clear()
            self.settings, self.advanced = dict(DEFAULTS), 0.0
            self._keep({"reset": True})
            self.note("reset")

    def force(self, cluster_id, fields):
        """Sets any fields; a state that is set stays."""
        with self.lock:
            cluster = self.clusters[cluster_id]
            cluster.update(fields)
            if "state" in fields:
                cluster["forced"] = True
            self._put(cluster)

    def all(self):
        with self.lock:
            return [dict(self._aged(cluster)) for cluster in self.clusters.values()]

    # ---- The state machine

    def _put(self, cluster):
        self.clusters[cluster["cluster_id"]] = cluster
        self._keep({"cluster": cluster})

    def _turn(self, cluster, state, at, **fields):
        cluster.update(state=state, since=at, **fields)
        self._put(cluster)
        self.note("state", cluster_id=cluster["cluster_id"], state=state,
                  token=cluster.get("custom_tags", {}).get("dbcache-token"))

    def _aged(self, cluster):
        """The cluster as it is now."""
        if cluster.get("forced"):
            return cluster
        now, since = self.now(), cluster["since"]
        if cluster["state"] == "PENDING":
            ready = since + cluster["start_seconds"]
            cluster["state_message"] = MESSAGES[now > since + cluster["start_seconds"] / 2]
            if now >= ready:
                if cluster["failure"]:
                    self._turn(cluster, "TERMINATING", ready, termination_reason=cluster["failure"])
                else:
                    self._turn(cluster, "RUNNING", ready, state_message="")
        if cluster["state"] == "RUNNING":
            minutes = cluster.get("autotermination_minutes") or 0
            if minutes and now >= cluster["since"] + 60 * minutes:
                self._end(cluster, cluster["since"] + 60 * minutes, "INACTIVITY", "SUCCESS")
        if cluster["state"] == "TERMINATING":
            done = cluster["since"] + self.settings["terminate_seconds"]
            if now >= done:
                self._turn(cluster, "TERMINATED", done, terminated_time=int(done * 1000))
        return cluster

    def _end(self, cluster, at, code, kind):
        self._turn(cluster, "TERMINATING", at,
                   termination_reason={"code": code, "type": kind, "parameters": {}})

    def _gone(self, cluster_id, form=None):
        form = form or self.settings["gone_form"]
        if form == "not_found":
            return Refused(404, "RESOURCE_DOES_NOT_EXIST", f"Cluster {cluster_id} does not exist")
        if form == "bare_not_found":
            return Refused(404, None, "")
        if form == "more_than_30_days":
            return Refused(400, "INVALID_STATE", f"Cannot access cluster {cluster_id} that was "
                           "terminated or unpinned more than 30 days ago.")
        return invalid(f"Cluster {cluster_id} does not exist")

    def _find(self, cluster_id):
        cluster = self.clusters.get(cluster_id)
        if cluster is None or self.now() < cluster["start_time"] / 1000 + cluster["get_lag"]:
            raise self._gone(cluster_id)
        self._aged(cluster)
        if (cluster["state"] == "TERMINATED" and not cluster.get("pinned")
                and self.now() > cluster["since"] + 30 * DAY):
            raise self._gone(cluster_id, "more_than_30_days")
        return cluster

    # ---- The API

    def create(self, spec):
        with self.lock:
            self._check(spec)
            token = spec.get("idempotency_token")
            if token and self.settings["token_mode"] == "honoured":
                for cluster in self.clusters.values():
                    if cluster.get("idempotency_token") == token:
                        if self._aged(cluster)["state"] != "TERMINATED":
                            return {"cluster_id": cluster["cluster_id"]}
            quota = self.settings["quota"]
            active = [each for each in self.clusters.values()
                      if self._aged(each)["state"] in ACTIVE]
            if quota is not None and len(active) >= quota:
                raise Refused(400, "QUOTA_EXCEEDED", f"The quota of {quota} clusters is used up")
            return {"cluster_id": self.make(spec)}

    def make(self, spec):
        """A new cluster, whatever the rules say."""
        with self.lock:
            failure = self.settings["start_failure"]
            if failure and failure.get("times", 1) > 0:
                self.set({"start_failure": {**failure, "times": failure.get("times", 1) - 1}})
                failure = {"code": failure["code"], "type": failure.get("type", ""),
                           "parameters": failure.get("parameters", {})}
            else:
                failure = None
            now = self.now()
            cluster = {
                "state": "PENDING", "state_message": MESSAGES[0], "custom_tags": {},
                "creator_user_name": "tester@example.com", "cluster_source": "API",
                **spec, "cluster_id": f"0101-{uuid.uuid4().hex[:6]}-{uuid.uuid4().hex[:8]}",
                "start_time": spec.get("start_time", int(now * 1000)), "since": now,
                "failure": failure, "start_seconds": self.settings["start_seconds"],
                "get_lag": self.settings["get_lag_seconds"],
                "list_lag": self.settings["list_lag_seconds"],
                "forced": "state" in spec,
            }
            self._put(cluster)
            self.note("born", cluster_id=cluster["cluster_id"], tags=cluster["custom_tags"],
                      token=spec.get("idempotency_token"))
            return cluster["cluster_id"]

    @staticmethod
    def _check(spec):
        if not spec.get("spark_version"):
            raise invalid("Missing required field: spark_version")
        if str(spec["spark_version"]).startswith("unknown"):
            raise invalid(f"Spark version {spec['spark_version']} is not supported")
        if ("num_workers" in spec) == ("autoscale" in spec):
            raise invalid("Exactly one of num_workers, autoscale must be specified")
        minutes = spec.get("autotermination_minutes", 0)
        if minutes != 0 and not 10 <= minutes <= 10000:
            raise invalid("autotermination_minutes must be 0 or 10 to 10000")
        tags = spec.get("custom_tags", {})
        if len(tags) > 45 or "Name" in tags:
            raise invalid("Invalid tags")

    def get(self, cluster_id):
        with self.lock:
            return self._shown(self._find(cluster_id))

    def _shown(self, cluster):
        hidden = ("since", "failure", "start_seconds", "get_lag", "list_lag", "forced",
                  "idempotency_token", "pinned")
        shown = {key: value for key, value in cluster.items() if key not in hidden}
        if self.settings["azure_tags"]:
            shown["custom_tags"] = {f"x_{key}": value for key, value in shown["custom_tags"].items()}
        return shown

    def list(self, states, size, token):
        """Pages are numbers; with empty_pages the even ones are empty."""
        with self.lock:
            now = self.now()
            found = []
            for cluster in sorted(self.clusters.values(), key=lambda each: -each["start_time"]):
                if now < cluster["start_time"] / 1000 + cluster["list_lag"]:
                    continue
                self._aged(cluster)
                old = cluster["state"] == "TERMINATED" and now > cluster["since"] + 30 * DAY
                if not old and (not states or cluster["state"] in states):
                    found.append(self._shown(cluster))
            size = max(1, min(size, self.settings["page_size"]))
            page = int(token or 0)
            answer = {}
            if self.settings["empty_pages"]:
                if page % 2 == 0:
                    return {"next_page_token": str(page + 1)}
                at = page // 2 * size
            else:
                at = page * size
            if found[at:at + size]:
                answer["clusters"] = found[at:at + size]
            if found[at + size:]:
                answer["next_page_token"] = str(page + 1)
            return answer

    def delete(self, cluster_id, permanently):
        with self.lock:
            cluster = self._find(cluster_id)
            if permanently and cluster.get("pinned"):
                raise Refused(400, "INVALID_STATE", "unpin the cluster first")
            if cluster["state"] not in ("TERMINATING", "TERMINATED"):
                cluster["forced"] = False
                self._end(cluster, self.now(), "USER_REQUEST", "SUCCESS")
            if permanently:
                self.note("state", cluster_id=cluster_id, state="REMOVED")
                cluster["get_lag"] = cluster["list_lag"] = 1e12  # never to be seen again
                self._put(cluster)
            return {}

    def pin(self, cluster_id, pinned):
        with self.lock:
            cluster = self._find(cluster_id)
            cluster["pinned"] = pinned
            self._put(cluster)
            return {}
