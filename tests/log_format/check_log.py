#!/usr/bin/env python3
"""Checks a log, and the tables made from it, without dbcache.

    check_log.py DATABASE [--head N:HASH]   checks a database, and that its log begins as kept
    check_log.py --vectors DOCUMENT         checks the test vectors in docs/log-format.md

Written from docs/log-format.md alone, with nothing taken from dbcache's sources, so that document
and program check each other: where this program and dbcache disagree, one of the three is wrong.

Prints a line for each problem, of each stream only the first event at fault; then, where the log
is without fault, a line for each difference between the tables and what the events make of them;
then the head. Exits with 0 when all is well, else with 1.
"""
import hashlib
import json
import sqlite3
import struct
import sys

FIELDS = {"position": int, "stream": str, "version": int, "type": str, "payload": str,
          "metadata": str, "recorded_at": int, "command_id": bytes, "hash": bytes}
METADATA = {"host", "pid", "user", "program", "label"}
WORKER = {"pid", "start_time", "boot_id", "pid_namespace"}
HOLDER = {"lock_file", "lock", "process", "host", "label", "until"}
TABLES = {"clusters": "cluster_id", "shared_cluster_registry": "config_hash",  # and their keys
          "shares": "config_hash", "leases": "id", "terminations": "subject", "participants": "id"}
STREAMS = {"cluster_id": "cluster-", "config_hash": "registry-", "subject": "cluster-",
           "run": "run-"}
WHOLE_ROW = {"configuration", "original"}  # payloads with one of these hold all columns
CLUSTER = ("cluster_id cluster_name host num_workers status created_at expiry_time last_accessed "
           "access_count is_active is_shared")
ENTRY = "config_hash cluster_id status worker_pid creation_time usage_count error_message"
# What payloads hold beside `schema`; the first names stream and row.
EVENTS = {kind: keys.split() for kind, keys in {
    "ClusterCached": CLUSTER + " configuration",
    "ClusterImported": CLUSTER + " original notes",
    "ClusterDeactivated": "cluster_id active_cluster_id",
    "ClusterAccessed": "cluster_id last_accessed access_count",
    "ClusterExpired": "cluster_id expiry_time",
    "ClusterRemoved": "cluster_id reason",
    "CreationRegistered": "config_hash creation_time worker",
    "EntryImported": ENTRY + " original notes",
    "RegistryStatusChanged": "config_hash from to cluster_id error_message for_good",
    "UsageIncremented": "config_hash usage_count",
    "UsageDecremented": "config_hash usage_count",
    "RegistryEntryRemoved": "config_hash reason",
    "CreationStarted": "config_hash holder idempotency_token cluster_id host creation_time "
                       "usage_count",
    "LeaseGranted": "config_hash cluster_id holder policy run granted_at created_here host "
                    "creation usage_count",
    "LeaseReleased": "config_hash lease cluster_id policy usage_count released_at",
    "LeaseLost": "config_hash lease cluster_id policy reason usage_count",
    "LeaseRenewed": "config_hash lease until deadline",
    "ClusterUsed": "cluster_id lease by",
    "CheckStarted": "config_hash cluster_id holder",
    "CheckAnswered": "config_hash cluster_id check answer error answered_at",
    "TerminationOwed": "subject cluster_id idempotency_token config_hash host reason owed_at",
    "TerminationStarted": "subject config_hash holder",
    "TerminationDone": "subject termination",
    "TerminationFailed": "subject termination error retry_at",
    "TerminationCancelled": "subject reason",
    "RunJoined": "run kind name holder joined_at",
    "RunLeft": "run participant reason",
}.items()}
ADDED_IN_SCHEMA_2 = {"LeaseRenewed": "deadline", "TerminationFailed": "retry_at",
                     "RegistryStatusChanged": "for_good", "LeaseReleased": "released_at",
                     "CheckAnswered": "answered_at"}


def event_hash(event, hash_before):
    content = struct.pack(">Q", 1)
    for data in [event[name] for name in FIELDS if name != "hash"] + [hash_before]:
        data = struct.pack(">q", data) if isinstance(data, int) else data
        data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        content += struct.pack(">Q", len(data)) + data
    return hashlib.sha256(content).digest()


def fault(event, version_before, hash_before):
    """The first thing wrong with an event, given the one before it in its stream; None if none."""
    for name, stored_as in FIELDS.items():
        if not isinstance(event[name], stored_as):
            return f"{name} is stored as the wrong type"
    if event["version"] != version_before + 1:
        return f"version {event['version']} follows version {version_before}"
    if len(event["command_id"]) != 16:
        return "command_id has not 16 bytes"
    if event["hash"] != event_hash(event, hash_before):
        return "the hash is not that of the event and the hash before it"
    kind = event["type"]
    try:
        (event["stream"] + kind + event["payload"] + event["metadata"]).encode("utf-8")
        payload, metadata = json.loads(event["payload"]), json.loads(event["metadata"])
    except (ValueError, RecursionError) as error:
        return f"not UTF-8, or not JSON: {error}"
    if not isinstance(payload, dict) or not isinstance(metadata, dict):
        return "payload or metadata is not an object"
    schema, newest = repr(payload.get("schema")), 2 if kind in ADDED_IN_SCHEMA_2 else 1
    if kind not in EVENTS or schema not in ("1", "2") or int(schema) > newest:
        return f"the event {kind!a} of schema {payload.get('schema')!a} is unknown"
    subject, keys = EVENTS[kind][0], {"schema", *EVENTS[kind]}
    if int(schema) < newest:
        keys.remove(ADDED_IN_SCHEMA_2[kind])
    if keys != set(payload):
        return f"the keys {sorted(payload)} are not those of {kind}"
    holder = payload.get("holder", {"process": payload.get("worker", dict.fromkeys(WORKER))})
    if METADATA - set(metadata) or set(holder["process"] or ()) != WORKER:
        return "metadata or worker has not the documented keys"
    if "holder" in keys and set(holder) != HOLDER:
        return "the holder has not the documented keys"
    if event["stream"] != f"{STREAMS[subject]}{payload[subject]}":
        return f"the stream is not that of the payload's {subject}"
    return None


class Log:
    """What a pass over the events, in order of position, has found."""

    def __init__(self, gaps_until=0):
        self.gaps_until = gaps_until
        self.problems = []
        self.before = {}  # of each stream the last version and hash; None when it was at fault
        self.position = self.count = 0
        self.digest = hashlib.sha256()
        self.tables = {table: {} for table in TABLES}

    def head(self):
        return f"{self.count}:{self.digest.hexdigest()}"

    def add(self, event):
        position, stream = event["position"], event["stream"]
        where = f"position {position}, stream {stream!a}: "  # a: the name may hold newlines
        gap = position != self.position + 1
        if gap and not 1 <= position <= self.gaps_until:  # the log's fault, not this stream's
            self.problems.append(f"{where}follows position {self.position}")
        before = self.before.get(stream, (0, b""))
        wrong = before and fault(event, *before)
        if wrong:
            self.problems.append(where + wrong)
        self.before[stream] = (event["version"], event["hash"]) if before and not wrong else None
        self.position = position
        self.count += 1
        self.digest.update(event["hash"] if isinstance(event["hash"], bytes) else b"")
        if not self.problems:
            self.project(position, event["type"], json.loads(event["payload"]))

    def project(self, position, kind, payload):
        subject, *keys = EVENTS[kind]
        key = payload[subject]
        clusters, entries, shares, _, debts, _ = self.tables.values()
        rows = {"cluster_id": clusters, "config_hash": entries, "subject": debts}.get(subject)
        if WHOLE_ROW & set(keys):
            columns = payload.keys() - WHOLE_ROW - {"schema", "notes"}
            rows[key] = {"id": position} | {name: payload[name] for name in columns}
        elif kind in ("ClusterExpired", "ClusterRemoved", "RegistryEntryRemoved",
                      "TerminationDone", "TerminationCancelled"):
            rows.pop(key, None)
            if rows is entries:
                shares.pop(key, None)
        elif kind.startswith("Creation"):
            self.project_creation(position, kind, payload)
        elif kind.startswith("Lease"):
            self.project_lease(position, kind, payload)
        elif kind.startswith("Check"):
            self.project_check(position, kind, payload)
        elif kind.startswith("Termination"):
            self.project_termination(position, kind, payload)
        elif kind.startswith("Run"):
            self.project_run(position, kind, payload)
        elif key in rows and kind == "ClusterDeactivated":
            rows[key]["is_active"] = False
        elif key in rows and kind != "ClusterUsed":  # which changes no row
            self.project_change(rows[key], shares.get(key), kind, payload)

    def project_creation(self, position, kind, payload):
        key, given = payload["config_hash"], payload.get
        entries, shares = self.tables["shared_cluster_registry"], self.tables["shares"]
        if kind == "CreationRegistered":
            entries[key] = entry(position, key, status="creating",
                                 worker_pid=payload["worker"]["pid"],
                                 creation_time=payload["creation_time"], usage_count=1)
            shares[key] = share(key, "documented", worker={
                "lock_file": "", "lock": 0, "process": payload["worker"], "host": "",
                "label": None, "until": None})
            return
        entries[key] = entries.get(key, entry(position, key)) | {
            "cluster_id": given("cluster_id"), "creation_time": given("creation_time"),
            "usage_count": given("usage_count"), "status": "creating", "error_message": None,
            "worker_pid": payload["holder"]["process"]["pid"]}
        shares[key] = share(key, "acquired", host=given("host"), worker=given("holder"),
                            creation=position, idempotency_token=given("idempotency_token"))

    def project_lease(self, position, kind, payload):
        key, given = payload["config_hash"], payload.get
        entries, shares = self.tables["shared_cluster_registry"], self.tables["shares"]
        leases = self.tables["leases"]
        if kind == "LeaseGranted":
            if key not in entries:
                entries[key] = entry(position, key, cluster_id=given("cluster_id"), status="ready",
                                     creation_time=given("granted_at"))
                shares[key] = share(key, "environment", host=given("host"))
            entries[key]["usage_count"] = given("usage_count")
            of = shares.setdefault(key, share(key, "documented"))
            leases[position] = {"id": position} | {name: payload[name] for name in (
                "config_hash", "cluster_id", "holder", "policy", "run", "granted_at",
                "created_here")}
            if given("creation") is not None and of["creation"] == given("creation"):
                of |= {"creation": None, "worker": None, "created": True}
            if given("run") is not None and given("run") not in of["runs"]:
                of["runs"].append(given("run"))
        elif kind in ("LeaseReleased", "LeaseLost"):
            leases.pop(payload["lease"], None)
            if key in entries:
                entries[key]["usage_count"] = given("usage_count")
            if key in shares and shares[key]["creation"] == payload["lease"]:
                shares[key] |= {"creation": None, "worker": None}
            if key in shares and given("policy") is not None:
                shares[key]["policy"] = given("policy")
            if key in shares and entries.get(key, {}).get("cluster_id") == given("cluster_id"):
                if kind == "LeaseLost":
                    shares[key]["alive_at"] = None
                elif given("released_at") is not None and shares[key]["check"] is None:
                    shares[key]["alive_at"] = given("released_at")
        elif payload["lease"] in leases:  # LeaseRenewed
            leases[payload["lease"]]["holder"] |= {
                "until": given("until"), "lock_file": "", "lock": 0}
            holder = leases[payload["lease"]]["holder"]
            holder.pop("deadline", None)
            if payload.get("deadline") is not None:
                holder["deadline"] = payload["deadline"]

    def project_check(self, position, kind, payload):
        key, shares = payload["config_hash"], self.tables["shares"]
        if kind == "CheckStarted":
            shares.setdefault(key, share(key, "documented")).update(
                check=position, checker=payload["holder"], alive_at=None)
        elif key in shares and shares[key]["check"] == payload["check"]:
            shares[key] |= {"check": None, "checker": None}
            of = self.tables["shared_cluster_registry"].get(key, {})
            if payload["answer"] == "alive" and of.get("cluster_id") == payload["cluster_id"]:
                shares[key]["alive_at"] = payload.get("answered_at")

    def project_termination(self, position, kind, payload):
        key, debts = payload["subject"], self.tables["terminations"]
        if kind == "TerminationOwed":
            debts[key] = {"attempts": 0, "termination": None, "terminator": None, "error": None,
                          "retry_at": None} | {
                name: payload[name] for name in EVENTS[kind]}
        elif key not in debts:
            return
        elif kind == "TerminationStarted":
            of = self.tables["shares"].get(payload["config_hash"], {})
            if of and of["idempotency_token"] == debts[key]["idempotency_token"]:
                of["idempotency_token"] = None
            debts[key] |= {"attempts": debts[key]["attempts"] + 1, "termination": position,
                           "terminator": payload["holder"], "error": None, "retry_at": None}
        elif debts[key]["termination"] == payload["termination"]:  # TerminationFailed
            debts[key] |= {"termination": None, "terminator": None, "error": payload["error"],
                           "retry_at": payload.get("retry_at")}

    def project_run(self, position, kind, payload):
        participants = self.tables["participants"]
        if kind == "RunJoined":
            participants[position] = {"id": position} | {
                name: payload[name] for name in EVENTS[kind]}
        else:
            participants.pop(payload["participant"], None)

    @staticmethod
    def project_change(row, of, kind, payload):
        """What an event says of some columns of a row; `of` is the share of an entry."""
        if kind == "RegistryStatusChanged" and of:
            of["failed_for_good"] = payload.get("for_good", False)
            if row["cluster_id"] != payload["cluster_id"]:
                of["alive_at"] = None
            if of["origin"] == "acquired" and of["creation"] is None:
                if row["cluster_id"] != payload["cluster_id"]:
                    of |= {"origin": "documented", "created": False, "idempotency_token": None}
                elif payload["to"] == "ready":
                    of["created"] = True
        for name in set(EVENTS[kind][1:]) - {"from", "for_good"}:
            row["status" if name == "to" else name] = payload[name]

    def differences(self, table, live_rows):
        missing, key = dict(self.tables[table]), TABLES[table]
        for live in live_rows:
            where = f"table {table}, {key} {live[key]!a}: "
            if live[key] not in missing:
                yield where + "the events make no such row"
            for name, value in sorted(missing.pop(live[key], {}).items()):
                if isinstance(value, (dict, list)):
                    value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                value = int(value) if isinstance(value, bool) else value
                if repr(value) != repr(live.get(name)):  # repr tells 1 from 1.0
                    yield f"{where}{name} is {live.get(name)!a}, the events make it {value!a}"
        for row in missing:
            yield f"table {table}, {key} {row!a}: the row is missing"


def entry(position, config_hash, **columns):
    return {"id": position} | dict.fromkeys(ENTRY.split()) | {"config_hash": config_hash} | columns


def share(config_hash, origin, **columns):
    return {"config_hash": config_hash, "origin": origin, "host": None, "worker": None,
            "creation": None, "idempotency_token": None, "created": False, "check": None,
            "checker": None, "policy": None, "runs": [], "alive_at": None,
            "failed_for_good": False} | columns


def check_database(path, kept=None):
    uri = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    database = sqlite3.connect(f"file:{uri}?mode=ro", uri=True, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # loses no byte
    database.execute("BEGIN")  # log and tables of one moment
    log = Log(database.execute("SELECT gaps_until FROM log_state").fetchone()[0])
    kept = kept and kept.lower()
    begins_as_kept = kept in (None, log.head())
    for event in database.execute(f"SELECT {', '.join(FIELDS)} FROM events ORDER BY position"):
        log.add(dict(event))
        begins_as_kept |= kept == log.head()
    found = [] if begins_as_kept else [f"the log does not begin with the events of {kept}"]
    for table in TABLES if not log.problems else ():
        found += log.differences(table, map(dict, database.execute(f"SELECT * FROM {table}")))
    return log.problems + found, log.head()


def check_vectors(path):
    with open(path, encoding="utf-8") as document:
        section = document.read().split("\n## Test vectors\n")[1]
    events, head = (block.split("\n", 1)[1] for block in section.split("```")[1::2])
    read = {int: int, str: str, bytes: bytes.fromhex}
    log = Log()
    for event in json.loads(events):
        log.add({name: read[kind](event[name]) for name, kind in FIELDS.items()})
    if log.head() != head.strip():
        log.problems.append(f"the head is {log.head()}, not {head.strip()}")
    return log.problems, log.head()


def main(arguments):
    if arguments[:-1] not in ([], ["--vectors"], [*arguments[:1], "--head"]) or not arguments:
        sys.exit(__doc__)
    try:
        check = check_vectors if arguments[:-1] == ["--vectors"] else check_database
        problems, head = check(*(word for word in arguments if not word.startswith("--")))
    except (OSError, sqlite3.Error, ValueError, TypeError, LookupError) as error:
        problems, head = [f"cannot be checked: {error!r}"], ""
    print("\n".join(problems + [head]))
    sys.exit(1 if problems else 0)


main(sys.argv[1:])
