"""What the log of a run of chaos says, and the rules that it breaks by itself."""
import collections
import csv
import json
import sqlite3
import subprocess
import sys

LONGEST_WAIT_FOR_LOCKS = 5e9  # nanoseconds


def read_events(database, schema):
    """Of each event: position, time, command, the position of that one's last event, type, payload
    and metadata."""
    query = ("SELECT position, recorded_at, command_id, "
             "max(position) OVER (PARTITION BY command_id), type, payload, metadata "
             "FROM {}events ORDER BY position")
    if "://" not in database:
        log = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        yield from log.execute(query.format(""))
        return
    csv.field_size_limit(sys.maxsize)
    copy = "COPY (" + query.format(f'"{schema or "dbcache"}".') + ") TO STDOUT (FORMAT csv)"
    with subprocess.Popen(["psql", "--no-psqlrc", "--command", copy, database],
                          stdout=subprocess.PIPE, encoding="utf-8") as psql:
        for position, recorded_at, command, last, *texts in csv.reader(psql.stdout):
            yield int(position), int(recorded_at), command, int(last), *texts
    if psql.returncode:
        sys.exit(f"psql ended with {psql.returncode}")


class Entry:
    """What the log says of a configuration so far."""

    def __init__(self):
        self.status = self.cluster = self.creation = self.creator = self.token = self.check = None
        self.policy = None  # of the lease that ended last
        self.used_by_run = False
        self.leases = {}  # number -> payload of the grant
        self.creator_lost = False

    def count(self):
        return len(self.leases) + (self.creation is not None)


class LogChecker:
    """Reads the log event by event, and knows from the journals which holders may be dead."""

    def __init__(self, journals):
        self.journals = journals
        self.problems = collections.defaultdict(list)
        self.entries = collections.defaultdict(Entry)
        self.debts = {}  # subject -> the position of the attempt under way, and its holder, or None
        self.claims = collections.defaultdict(list)  # subject -> positions of TerminationStarted
        self.dead = {}  # cluster -> the position from which on it is no more
        # Command -> cluster that it let go of -> how many entries had that before.
        self.undecided = collections.defaultdict(dict)
        self.kept = {}  # cluster -> the entry that kept it, when, and what to say of it
        self.command = None  # of the event that is read
        self.participants = {}
        self.lost_by_death = {}  # lease -> when
        self.to_take_over = set()  # configurations of leases that a host lost when it was cut off
        self.now = 0  # of the event that is read, as in the journals
        self.counters = {}  # name -> the counts that events told
        self.with_deadline = set()  # leases
        self.grants, self.ends, self.creations = {}, {}, {}
        self.numbers = collections.Counter()

    def broken(self, rule, text):
        self.problems[rule].append(text)

    def read_log(self, events):
        # Events of one command may have others between them.
        for position, recorded_at, command, last_of_command, kind, payload, metadata in events:
            self.command = command
            self.now = recorded_at * 1000 + self.journals.clock
            self.numbers["events"] += 1
            step = getattr(self, "on_" + kind, None)
            if step is None:
                self.broken("legal-states", f"#{position}: {kind} is nothing that workers do")
                continue
            payload = json.loads(payload)
            if kind in ("RegistryStatusChanged", "LeaseGranted"):
                self.named_meanwhile(payload)
            step(position, payload, json.loads(metadata))
            if "usage_count" in payload and payload["config_hash"] not in self.counters:
                count = self.entries[payload["config_hash"]].count()
                if payload["usage_count"] != count:
                    self.broken("leases-end-once", f"#{position}: {kind} says usage_count "
                                f"{payload['usage_count']}, {count} are live")
            if position == last_of_command:
                self.check_decided(position, self.undecided.pop(command, {}))
        for _, _, text in self.kept.values():
            self.broken("hands-back", text)

    def check_all_ended(self):
        for config_hash, entry in self.entries.items():
            for lease in [*entry.leases, *([entry.creation] if entry.creation else [])]:
                self.broken("leases-end-once", f"#{lease} of {config_hash} never ended")
        for participant in self.participants:
            self.broken("leases-end-once", f"#{participant} never left its run")

    def is_created_with(self, token, cluster):
        return token in cluster

    def lost_before_claim(self, lease, cluster):
        """Whether a lease had ended in the log, untold, before a termination was begun under it."""
        claims = [position for position in self.claims[cluster] if position > lease]
        end = self.ends.get(lease)
        return end and end[1] == "LeaseLost" and claims and end[0] < claims[0]

    def check_decided(self, position, clusters):
        """The command that ends here let go of clusters: if nobody needs them, it handed them back.
        Two that each leave that to the other break this. On PostgreSQL a command draws its positions
        before it has the lock on a cluster: while another that let go of it is not read to its end,
        that one decides."""
        for cluster, entries_before in clusters.items():
            if any(cluster in others for others in self.undecided.values()):
                continue
            named = self.entries_with(cluster)
            if any(lease["cluster_id"] == cluster for _, entry in named
                   for lease in entry.leases.values()):
                continue
            for config_hash, entry in named:
                # A process that joins a run meanwhile keeps the run's clusters, although its
                # position may be a later one.
                if (entry.policy == "hand_back" and entry.status == "ready" and not entry.check
                        and not entry.creation and not entry.used_by_run):
                    text = (f"#{position}: {config_hash} keeps {cluster}, which nobody needs any "
                            "more")
                    self.kept.setdefault(cluster, (config_hash, self.now, text))
            self.numbers["let go of by the last of several entries"] += entries_before > 1

    def named_meanwhile(self, payload):
        """On PostgreSQL a command draws its positions before it has the lock on a cluster. So another
        configuration that came to have the cluster first, and is why it was kept, may have a later
        position, though it is of the same moment."""
        config_hash, since, _ = self.kept.get(payload["cluster_id"], (None, 0, ""))
        if config_hash not in (None, payload["config_hash"]) and self.now - since < 1e9:
            del self.kept[payload["cluster_id"]]

    def entries_with(self, cluster):
        return [(config_hash, entry) for config_hash, entry in self.entries.items()
                if entry.cluster == cluster]

    def on_CreationStarted(self, position, payload, _metadata):
        self.note_takeover(payload)
        entry = self.entries[payload["config_hash"]]
        if entry.creation:
            self.broken("one-creator", f"#{position}: while creation #{entry.creation} is live")
        if entry.leases:
            self.broken("legal-states", f"#{position}: creates under leases {list(entry.leases)}")
        self.claimed_now(position, payload["idempotency_token"])
        self.claimed_now(position, payload["cluster_id"])
        self.numbers["creations"] += 1
        self.numbers["takeovers"] += entry.creator_lost
        self.creations[position] = payload
        entry.status, entry.cluster = "creating", payload["cluster_id"]
        entry.creation, entry.creator = position, payload["holder"]
        entry.token, entry.creator_lost = payload["idempotency_token"], False

    def on_RegistryStatusChanged(self, position, payload, metadata):
        entry = self.entries[payload["config_hash"]]
        if payload["from"] != entry.status:
            self.broken("legal-states", f"#{position}: from {payload['from']}, is {entry.status}")
        if payload["to"] == "ready" or payload["cluster_id"] not in (None, entry.cluster):
            by_creator = entry.creation and metadata["pid"] == entry.creator["process"]["pid"]
            if entry.status != "creating" or not by_creator:
                self.broken("legal-states", f"#{position}: {entry.status} to {payload['to']} with "
                            f"{payload['cluster_id']} by a process that is not the creator")
            self.claimed_now(position, payload["cluster_id"])
        if payload["to"] == "failed" and entry.status != "creating":
            self.broken("legal-states", f"#{position}: failed from {entry.status}")
        entry.status, entry.cluster = payload["to"], payload["cluster_id"]

    def note_takeover(self, payload):
        worker = self.journals.worker_of(payload["holder"])
        if payload["config_hash"] in self.to_take_over and not self.journals.was_cut_off(worker):
            self.to_take_over.remove(payload["config_hash"])
            self.numbers["taken over from it"] += 1

    def by_itself(self, position, what, holder, metadata):
        """Nobody else says what becomes of what a process has, as long as it lives."""
        if holder and holder["process"]["pid"] != metadata["pid"]:
            self.broken("leases-end-once", f"#{position}: {what} by another than the holder")

    def on_LeaseGranted(self, position, payload, metadata):
        self.note_takeover(payload)
        entry, cluster = self.entries[payload["config_hash"]], payload["cluster_id"]
        if entry.status != "ready" or entry.cluster != cluster:
            self.broken("legal-states", f"#{position}: {cluster} granted, the entry is "
                        f"{entry.status} with {entry.cluster}")
        if payload["creation"] != entry.creation:
            self.broken("one-creator", f"#{position}: by creation {payload['creation']}, live is "
                        f"{entry.creation}")
        if payload["created_here"] != (payload["creation"] is not None):
            self.broken("legal-states", f"#{position}: created_here without a creation, or not")
        # Another configuration's cluster may have died since the creator saw that it runs.
        if payload["creation"] is not None and not self.is_created_with(entry.token, cluster):
            self.dead.pop(cluster, None)
        if cluster in self.dead:
            self.broken("no-dead-cluster", f"#{position}: {cluster} was granted, which is no more "
                        f"since #{self.dead[cluster]}")
        self.claimed_now(position, cluster)
        self.by_itself(position, "granted", payload["holder"], metadata)
        if payload["creation"] is not None:
            self.by_itself(position, "its creation was ended", entry.creator, metadata)
            self.ends[payload["creation"]] = (position, "LeaseGranted", payload)
            entry.creation = None
        entry.leases[position] = payload
        entry.used_by_run |= payload["run"] is not None
        self.grants[position] = payload
        self.numbers["grants"] += 1

    def end_lease(self, position, kind, payload):
        """Whether it was live; and its holder."""
        entry, lease = self.entries[payload["config_hash"]], payload["lease"]
        entry.policy = payload["policy"] or entry.policy
        if cluster := payload["cluster_id"]:
            self.undecided[self.command].setdefault(cluster, len(self.entries_with(cluster)))
        if lease == entry.creation:
            holder, entry.creation = entry.creator, None
            entry.creator_lost = kind == "LeaseLost"
        elif lease in entry.leases:
            holder = entry.leases.pop(lease)["holder"]
        else:
            how = "had ended before" if lease in self.ends else "was never granted"
            self.broken("leases-end-once", f"#{position}: {kind} of #{lease}, which {how}")
            return None
        self.ends[lease] = (position, kind, payload)
        return holder

    def on_LeaseReleased(self, position, payload, metadata):
        holder = self.end_lease(position, "LeaseReleased", payload)
        self.by_itself(position, "released", holder, metadata)
        self.numbers["released"] += 1

    def on_LeaseLost(self, position, payload, _metadata):
        holder = self.end_lease(position, "LeaseLost", payload)
        reason = payload["reason"]
        self.numbers["lost, " + reason] += 1
        by_deadline = payload["lease"] in self.with_deadline
        if reason not in ("cluster_lost", "deadline" if by_deadline else "died"):
            self.broken("legal-states", f"#{position}: {reason} is no reason here")
        if reason == "died" and holder:
            self.died(position, payload["lease"], "was lost", holder)
            self.lost_by_death[payload["lease"]] = self.now
            worker = self.journals.worker_of(holder)
            if (self.journals.was_cut_off(worker) and worker not in self.journals.killed
                    and self.now > self.journals.cut_off[self.journals.hosts[worker]]):
                self.to_take_over.add(payload["config_hash"])
                self.numbers["lost by the host cut off"] += 1

    def died(self, position, began, what, holder):
        # An event has its transaction's time, and that may have waited for its locks since.
        if not self.journals.may_be_dead(holder, self.now + LONGEST_WAIT_FOR_LOCKS):
            self.broken("leases-end-once", f"#{position}: #{began} {what} by a death, worker "
                        f"{self.journals.worker_of(holder)} lives")

    def on_CreationRegistered(self, position, payload, _metadata):
        if payload["config_hash"] in self.counters:
            self.broken("counts-once", f"#{position}: {payload['config_hash']} is there already")
        self.counters[payload["config_hash"]] = []

    def on_UsageIncremented(self, position, payload, _metadata):
        counts = self.counters.get(payload["config_hash"])
        if counts is None:
            self.broken("legal-states", f"#{position}: a use of what was not registered so")
            return
        counts.append(payload["usage_count"])

    def on_LeaseRenewed(self, position, payload, metadata):
        lease = self.entries[payload["config_hash"]].leases.get(payload["lease"])
        if not lease:
            self.broken("leases-end-once", f"#{position}: #{payload['lease']} is not live")
        else:
            self.by_itself(position, "renewed", lease["holder"], metadata)
        self.with_deadline.add(payload["lease"])
        self.numbers["left behind"] += 1

    def on_ClusterUsed(self, position, payload, metadata):
        leases = [entry.leases[payload["lease"]] for entry in self.entries.values()
                  if payload["lease"] in entry.leases]
        if not leases:
            self.broken("leases-end-once", f"#{position}: #{payload['lease']} is not live")
        for lease in leases:
            self.by_itself(position, "used", lease["holder"], metadata)

    def on_CheckStarted(self, position, payload, _metadata):
        entry = self.entries[payload["config_hash"]]
        if entry.check:
            self.broken("legal-states", f"#{position}: a check beside #{entry.check}")
        entry.check, entry.checker = position, payload["holder"]
        self.numbers["checks"] += 1

    def on_CheckAnswered(self, position, payload, metadata):
        entry = self.entries[payload["config_hash"]]
        if entry.check != payload["check"]:
            self.broken("legal-states", f"#{position}: answers #{payload['check']}, under way is "
                        f"{entry.check}")
        elif payload["answer"] == "died":
            self.died(position, entry.check, "was ended", entry.checker)
        else:
            self.by_itself(position, f"check #{entry.check} was answered", entry.checker, metadata)
        entry.check = None

    def on_RegistryEntryRemoved(self, position, payload, _metadata):
        entry = self.entries.pop(payload["config_hash"], Entry())
        if entry.status is None:
            self.broken("legal-states", f"#{position}: there is no entry to remove")
        for lease in [*entry.leases, *([entry.creation] if entry.creation else [])]:
            self.broken("leases-end-once", f"#{position}: removed under #{lease}")

    def on_ClusterCached(self, position, payload, _metadata):
        self.claimed_now(position, payload["cluster_id"])

    def on_ClusterRemoved(self, position, payload, _metadata):
        if payload["reason"] == "lost":
            self.dead.setdefault(payload["cluster_id"], position)

    def on_ClusterAccessed(self, _position, _payload, _metadata):
        pass

    on_ClusterDeactivated = on_ClusterExpired = on_ClusterAccessed

    def on_TerminationOwed(self, position, payload, _metadata):
        if payload["subject"] in self.debts:
            self.broken("legal-states", f"#{position}: {payload['subject']} is owed already")
        self.debts[payload["subject"]] = None
        self.numbers["owed, " + payload["reason"]] += 1

    def on_TerminationStarted(self, position, payload, _metadata):
        subject = payload["subject"]
        if subject not in self.debts:
            self.broken("legal-states", f"#{position}: {subject} is not owed")
        before = self.debts.get(subject)
        if before and not self.journals.may_be_dead(before[1]):
            self.broken("one-termination", f"#{position}: of {subject} beside #{before[0]}")
        self.numbers["terminations taken over"] += before is not None
        for config_hash, entry in self.entries.items():
            for lease, grant in entry.leases.items():
                if grant["cluster_id"] == subject:
                    self.broken("no-termination-under-lease",
                                f"#{position}: of {subject}, which lease #{lease} holds")
            # A holder may have reported it dead since.
            if entry.creation and subject not in self.dead and subject in (
                    entry.cluster, entry.token):
                self.broken("no-termination-under-lease", f"#{position}: of {subject}, with which "
                            f"#{entry.creation} creates for {config_hash}")
        self.debts[subject] = (position, payload["holder"])
        self.claims[subject].append(position)
        self.numbers["terminations begun"] += 1

    def claimed_now(self, position, subject):
        """For what may not be where somebody alive terminates `subject`."""
        claim = self.debts.get(subject)
        if claim and not self.journals.may_be_dead(claim[1]):
            self.broken("no-termination-under-lease",
                        f"#{position}: {subject} is used while termination #{claim[0]} goes on")

    def end_attempt(self, position, payload, metadata):
        claim = self.debts.get(payload["subject"])
        if not claim or claim[0] != payload["termination"]:
            self.broken("legal-states", f"#{position}: ends attempt #{payload['termination']} at "
                        f"{payload['subject']}, under way is {claim and claim[0]}")
        elif payload.get("error", "").startswith("the process that terminated it died"):
            self.died(position, claim[0], "was ended", claim[1])
        else:
            self.by_itself(position, f"termination #{claim[0]} was ended", claim[1], metadata)

    def on_TerminationDone(self, position, payload, metadata):
        self.end_attempt(position, payload, metadata)
        self.debts.pop(payload["subject"], None)
        self.dead.setdefault(payload["subject"], position)
        self.numbers["terminations done"] += 1

    def on_TerminationFailed(self, position, payload, metadata):
        self.end_attempt(position, payload, metadata)
        self.debts[payload["subject"]] = None
        self.numbers["terminations failed"] += 1

    def on_TerminationCancelled(self, position, payload, _metadata):
        if payload["subject"] not in self.debts:
            self.broken("legal-states", f"#{position}: {payload['subject']} is not owed")
        self.claimed_now(position, payload["subject"])
        self.debts.pop(payload["subject"], None)
        self.numbers["terminations cancelled"] += 1

    def on_RunJoined(self, position, payload, _metadata):
        self.participants[position] = payload

    def on_RunLeft(self, position, payload, metadata):
        joined = self.participants.pop(payload["participant"], None)
        if joined is None:
            self.broken("leases-end-once", f"#{position}: #{payload['participant']} is in no run")
        elif payload["reason"] == "died":
            self.died(position, payload["participant"], "left its run", joined["holder"])
        else:
            self.by_itself(position, "left its run", joined["holder"], metadata)
