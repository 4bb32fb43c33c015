#!/usr/bin/env python3
"""Judges a run of chaos, without dbcache: by its log, the workspace's journal and the workers'.

    check_chaos.py DATABASE DIRECTORY [SCHEMA]

DATABASE is a path, or the URL of a PostgreSQL server. Prints a line for each broken rule, beginning with the rule's name, then what happened in numbers.
Exits with 0 when no rule was broken, else with 1. The rules:

    one-creator                 never two live creators of one configuration
    one-termination             never two terminations of one cluster at a time
    no-termination-under-lease  never a termination of what a live lease, or creator, holds
    no-leak                     at the end no cluster runs that nobody holds
    leases-end-once             what was granted ended once; counts and fencing tokens are right
    no-dead-cluster             nobody is granted a cluster that the log says is no more
    legal-states                entries, checks and terminations move as they may
    counts-once                 each worker's count has what was acknowledged, and nothing twice
    gives-up-first              nobody believes to hold what was lost by a death

A worker whose host was cut off from the database is as good as dead for the others after a while.
The journals' times are of one clock (CLOCK_MONOTONIC). A killed worker's doings end when the driver
decided to kill it, just before it did.
"""
import collections
import csv
import glob
import json
import os
import sqlite3
import subprocess
import sys

FOREVER = float("inf")
PATIENCE = 15e9  # nanoseconds
LONGEST_WAIT_FOR_LOCKS = 5e9
KILLS_THAT_MEET_EVERYTHING = 1000
SHOWN_OF_A_RULE = 20
Span = collections.namedtuple("Span", "record begin end worker")


def read_journal(path):
    records = []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # the torn end of a killed process
                continue
            if isinstance(record, dict) and "at" in record:
                records.append(record)
    return records


def read_events(database, schema):
    """Position, time, type, payload and metadata of each event."""
    query = ("SELECT position, recorded_at, type, payload, metadata FROM {}events "
             "ORDER BY position")
    if "://" not in database:
        log = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        yield from log.execute(query.format(""))
        return
    csv.field_size_limit(sys.maxsize)
    copy = "COPY (" + query.format(f'"{schema or "dbcache"}".') + ") TO STDOUT (FORMAT csv)"
    with subprocess.Popen(["psql", "--no-psqlrc", "--command", copy, database],
                          stdout=subprocess.PIPE, encoding="utf-8") as psql:
        for position, recorded_at, *texts in csv.reader(psql.stdout):
            yield int(position), int(recorded_at), *texts
    if psql.returncode:
        sys.exit(f"psql ended with {psql.returncode}")


class Journals:
    """What was journaled in a run's directory."""

    def __init__(self, directory):
        self.workers = {}
        for path in glob.glob(os.path.join(directory, "journals", "worker-*")):
            self.workers[int(path.rsplit("-", 1)[1])] = read_journal(path)
        self.killed = {}
        self.befell = []  # what the run met with beside the deaths of workers
        self.cut_off = {}  # host -> since when at the earliest
        self.surely_cut_off = {}  # host -> since when at the latest
        self.clock = 0  # what makes nanoseconds of the journals of the log's microseconds
        for record in read_journal(os.path.join(directory, "journals", "driver")):
            if record["what"] == "kill":
                self.killed.setdefault(record["worker"], record["at"])
            elif record["what"] == "clock":
                self.clock = record["at"] - record["microseconds_since_1970"] * 1000
            else:
                self.befell.append(record)
                if record["what"] == "unplugged":
                    self.cut_off[record["host"]] = record["since"]
                    self.surely_cut_off[record["host"]] = record["at"]
        self.workspace = read_journal(os.path.join(directory, "workspace", "journal"))
        running = os.path.join(directory, "workspace", "running")
        self.running = [os.readlink(os.path.join(running, name)) for name in os.listdir(running)]
        self.hosts = {worker: record["host"] for worker, records in self.workers.items()
                      for record in records if record["what"] == "hello"}
        self.processes = {self.name_of(record): worker
                          for worker, records in self.workers.items() for record in records
                          if record["what"] == "hello"}

    @staticmethod
    def name_of(process):
        return process["pid"], process["start_time"], process["pid_namespace"]

    def worker_of(self, holder):
        return self.processes.get(self.name_of(holder["process"]))

    def was_cut_off(self, worker):
        return self.hosts.get(worker) in self.cut_off

    def may_be_dead(self, holder):
        """Whether nobody who lives is found dead where this one is."""
        worker = self.worker_of(holder)
        return worker is None or worker in self.killed or self.was_cut_off(worker)

    def span(self, record, end, worker):
        end = min(end, self.killed.get(worker, FOREVER))
        return Span(record, record["at"], max(record["at"], end), worker)

    def spans_of_workers(self, what):
        """From begin to end, or to the worker's death. Who is cut off may wait for the database in
        the midst of it, and for the others that ends with their patience."""
        for worker, records in self.workers.items():
            begun = None
            for record in records:
                if record["what"] != what:
                    continue
                if record["mark"] == "begin":
                    begun = record
                elif begun:
                    end = record["at"]
                    if self.was_cut_off(worker):
                        host = self.hosts[worker]
                        if begun["at"] < self.surely_cut_off[host] and self.cut_off[host] < end:
                            end = min(end, self.cut_off[host] + PATIENCE)
                    yield self.span(begun, end, worker)
                    begun = None
            if begun:
                yield self.span(begun, FOREVER, worker)

    def spans_of_workspace(self, what):
        """The calls. What stands in the record of the end is in the span's record too."""
        begun = {}
        for record in self.workspace:
            if record["what"] != what:
                continue
            call = record["caller"], record["call"]
            if record["mark"] == "begin":
                begun[call] = record
            elif call in begun:
                first = begun.pop(call)
                yield self.span({**record, "at": first["at"]}, record["at"], record["caller"])
        for record in begun.values():
            yield self.span(record, FOREVER, record["caller"])

    def holds(self, with_deadline):
        """From an acquire's return to just before the release, or to the deadline that was set."""
        for worker, records in self.workers.items():
            held, until = {}, {}
            for record in records:
                what, lease = record["what"], record.get("lease")
                if what == "acquired":
                    held[lease] = record
                elif what == "left_behind" and lease in with_deadline:
                    until[lease] = record["at"] + record["for"]
                elif what == "releasing" and lease in held:
                    end = min(record["at"], until.get(lease, FOREVER))
                    yield self.span(held.pop(lease), end, worker)
            for lease, record in held.items():
                if lease in until:
                    yield Span(record, record["at"], until[lease], worker)
                else:
                    yield self.span(record, FOREVER, worker)

    def doing_when_killed(self, worker):
        """What a worker was at when it was killed."""
        open_spans, holds = set(), False
        for record in self.workers.get(worker, []):
            if record["at"] > self.killed[worker]:
                break
            if record.get("mark") == "begin":
                open_spans.add(record["what"])
            elif record.get("mark") == "end":
                open_spans.discard(record["what"])
            elif record["what"] in ("acquired", "releasing", "left_behind"):
                holds = record["what"] == "acquired"
        for what, kind in (("terminate", "terminators"), ("create", "creators"),
                           ("acquire", "waiters")):
            if what in open_spans:
                return kind
        return "holders" if holds else "others"


class Entry:
    """What the log says of a configuration so far."""

    def __init__(self):
        self.status = self.cluster = self.creation = self.creator = self.token = self.check = None
        self.leases = {}  # number -> payload of the grant
        self.creator_lost = False

    def count(self):
        return len(self.leases) + (self.creation is not None)


class Checker:
    def __init__(self, journals):
        self.journals = journals
        self.problems = collections.defaultdict(list)
        self.entries = collections.defaultdict(Entry)
        self.debts = {}  # subject -> the position of the attempt under way, and its holder, or None
        self.claims = collections.defaultdict(list)  # subject -> positions of TerminationStarted
        self.dead = {}  # cluster -> the position from which on it is no more
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

    # ---- The log, event by event

    def read_log(self, events):
        for position, recorded_at, kind, payload, metadata in events:
            self.now = recorded_at * 1000 + self.journals.clock
            self.numbers["events"] += 1
            step = getattr(self, "on_" + kind, None)
            if step is None:
                self.broken("legal-states", f"#{position}: {kind} is nothing that workers do")
                continue
            payload = json.loads(payload)
            step(position, payload, json.loads(metadata))
            if "usage_count" in payload and payload["config_hash"] not in self.counters:
                count = self.entries[payload["config_hash"]].count()
                if payload["usage_count"] != count:
                    self.broken("leases-end-once", f"#{position}: {kind} says usage_count "
                                f"{payload['usage_count']}, {count} are live")
        for config_hash, entry in self.entries.items():
            for lease in [*entry.leases, *([entry.creation] if entry.creation else [])]:
                self.broken("leases-end-once", f"#{lease} of {config_hash} never ended")
        for participant in self.participants:
            self.broken("leases-end-once", f"#{participant} never left its run")

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

    def on_LeaseGranted(self, position, payload, _metadata):
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
        if cluster in self.dead:
            self.broken("no-dead-cluster", f"#{position}: {cluster} was granted, which is no more "
                        f"since #{self.dead[cluster]}")
        self.claimed_now(position, cluster)
        if payload["creation"] is not None:
            self.ends[payload["creation"]] = (position, "LeaseGranted", payload)
            entry.creation = None
        entry.leases[position] = payload
        self.grants[position] = payload
        self.numbers["grants"] += 1

    def end_lease(self, position, kind, payload):
        """Whether it was live; and its holder."""
        entry, lease = self.entries[payload["config_hash"]], payload["lease"]
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
        if holder and holder["process"]["pid"] != metadata["pid"]:
            self.broken("leases-end-once", f"#{position}: released by another than the holder")
        self.numbers["released"] += 1

    def on_LeaseLost(self, position, payload, _metadata):
        holder = self.end_lease(position, "LeaseLost", payload)
        reason = payload["reason"]
        self.numbers["lost, " + reason] += 1
        by_deadline = payload["lease"] in self.with_deadline
        if reason not in ("cluster_lost", "deadline" if by_deadline else "died"):
            self.broken("legal-states", f"#{position}: {reason} is no reason here")
        if reason == "died" and holder:
            self.died(position, f"#{payload['lease']} was lost", holder)
            self.lost_by_death[payload["lease"]] = self.now
            worker = self.journals.worker_of(holder)
            if (self.journals.was_cut_off(worker) and worker not in self.journals.killed
                    and self.now > self.journals.cut_off[self.journals.hosts[worker]]):
                self.to_take_over.add(payload["config_hash"])
                self.numbers["lost by the host cut off"] += 1

    def died(self, position, what, holder):
        if not self.journals.may_be_dead(holder):
            self.broken("leases-end-once", f"#{position}: {what} by a death, worker "
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

    def on_LeaseRenewed(self, position, payload, _metadata):
        if payload["lease"] not in self.entries[payload["config_hash"]].leases:
            self.broken("leases-end-once", f"#{position}: #{payload['lease']} is not live")
        self.with_deadline.add(payload["lease"])
        self.numbers["left behind"] += 1

    def on_ClusterUsed(self, position, payload, _metadata):
        if not any(payload["lease"] in entry.leases for entry in self.entries.values()):
            self.broken("leases-end-once", f"#{position}: #{payload['lease']} is not live")

    def on_CheckStarted(self, position, payload, _metadata):
        entry = self.entries[payload["config_hash"]]
        if entry.check:
            self.broken("legal-states", f"#{position}: a check beside #{entry.check}")
        entry.check, entry.checker = position, payload["holder"]
        self.numbers["checks"] += 1

    def on_CheckAnswered(self, position, payload, _metadata):
        entry = self.entries[payload["config_hash"]]
        if entry.check != payload["check"]:
            self.broken("legal-states", f"#{position}: answers #{payload['check']}, under way is "
                        f"{entry.check}")
        elif payload["answer"] == "died":
            self.died(position, f"check #{entry.check} was ended", entry.checker)
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
            if entry.creation and subject in (entry.cluster, entry.token):
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

    def end_attempt(self, position, payload):
        claim = self.debts.get(payload["subject"])
        if not claim or claim[0] != payload["termination"]:
            self.broken("legal-states", f"#{position}: ends attempt #{payload['termination']} at "
                        f"{payload['subject']}, under way is {claim and claim[0]}")

    def on_TerminationDone(self, position, payload, _metadata):
        self.end_attempt(position, payload)
        self.debts.pop(payload["subject"], None)
        self.dead.setdefault(payload["subject"], position)
        self.numbers["terminations done"] += 1

    def on_TerminationFailed(self, position, payload, _metadata):
        self.end_attempt(position, payload)
        claim = self.debts.get(payload["subject"])
        if claim and payload["error"].startswith("the process that terminated it died"):
            self.died(position, f"termination #{claim[0]} was ended", claim[1])
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

    def on_RunLeft(self, position, payload, _metadata):
        joined = self.participants.pop(payload["participant"], None)
        if joined is None:
            self.broken("leases-end-once", f"#{position}: #{payload['participant']} is in no run")
        elif payload["reason"] == "died":
            self.died(position, f"#{payload['participant']} left its run", joined["holder"])

    # ---- The journals, and what both say

    def never_at_once(self, rule, spans, subject_of):
        by_subject = collections.defaultdict(list)
        for span in spans:
            by_subject[subject_of(span.record)].append(span)
        for subject, of_one in by_subject.items():
            of_one.sort(key=lambda span: span.begin)
            before = of_one[0]
            for span in of_one[1:]:
                if span.begin < before.end:
                    self.broken(rule, f"{subject}: workers {before.worker} and {span.worker} at "
                                f"once, for {(before.end - span.begin) / 1e6:.1f} ms")
                before = max(before, span, key=lambda one: one.end)

    def check_journals(self):
        journals = self.journals
        for spans in (journals.spans_of_workers, journals.spans_of_workspace):
            self.never_at_once("one-creator", spans("create"),
                               lambda record: record["config_hash"])
        self.never_at_once("one-termination", journals.spans_of_workspace("remove"),
                           lambda record: record["cluster_id"] or record["token"])
        self.never_at_once("one-termination", journals.spans_of_workers("terminate"),
                           lambda record: record["subject"])
        self.check_holds(journals.holds(self.with_deadline))
        self.check_against_log()
        self.check_counts()
        self.check_beliefs()
        for cluster in journals.running:
            self.broken("no-leak", f"{cluster} still runs, and nobody holds it")

    def check_counts(self):
        """Only what was under way when a worker was killed, or cut off, may be there, or not."""
        for worker, records in self.journals.workers.items():
            acknowledged, open_attempts, counter = [], 0, None
            for record in records:
                if record["what"] == "count" and record["mark"] == "begin":
                    open_attempts += 1
                    counter = record["counter"]
                elif record["what"] == "counted":
                    open_attempts -= 1
                    acknowledged.append(record["count"])
            if counter is None:
                continue
            told = self.counters.get(counter, [])
            self.numbers["counted"] += len(told)
            right = [number + 2 for number in range(len(told))]  # 1 is the registration's
            unknown = open_attempts if (worker in self.journals.killed
                                        or self.journals.was_cut_off(worker)) else 0
            if (told != right or acknowledged != sorted(set(acknowledged) & set(right))
                    or len(told) - len(acknowledged) > unknown):
                self.broken("counts-once", f"{counter}: {len(acknowledged)} acknowledged, the last "
                            f"as {acknowledged[-1:]}, {unknown} unknown; the log has {len(told)}, "
                            f"the last as {told[-1:]}")

    def check_beliefs(self):
        for worker, records in self.journals.workers.items():
            last_word = {}  # of a lease
            for record in records:
                if record["at"] >= self.journals.killed.get(worker, FOREVER):
                    break  # written between the kill's entry in the journal and the kill
                if record["what"] in ("used", "lost", "releasing", "left_behind"):
                    last_word[record["lease"]] = record["what"]
                if record["what"] == "cut_off" and not self.journals.was_cut_off(worker):
                    self.broken("legal-states", f"worker {worker} failed: {record['error']}")
                lost = self.lost_by_death.get(record.get("lease"))
                if lost is None or record["what"] not in ("used", "lost"):
                    continue
                # An event has its transaction's time, and that may have waited for its locks since:
                # whoever was found dead by it may have been killed meanwhile.
                killed = self.journals.killed.get(worker, FOREVER)
                if lost < killed < lost + LONGEST_WAIT_FOR_LOCKS:
                    lost = killed
                if record["what"] == "used" and record["at"] >= lost:
                    self.broken("gives-up-first", f"worker {worker} used a cluster by lease "
                                f"#{record['lease']} {(record['at'] - lost) / 1e9:.1f} s after "
                                "others took it for lost")
                elif record["what"] == "lost":
                    self.numbers["gave up first"] += record["at"] < lost
                    self.numbers["learnt late of their loss"] += record["at"] >= lost
            if self.journals.was_cut_off(worker) and worker not in self.journals.killed:
                for lease, word in last_word.items():
                    if word == "used" and lease in self.lost_by_death:
                        self.broken("gives-up-first",
                                    f"worker {worker} never learnt that it lost lease #{lease}")
        for what in ("gave up first", "taken over from it"):
            if self.journals.cut_off and not self.numbers[what]:
                self.broken("gives-up-first", f"this says little: nothing {what}")

    def check_holds(self, holds):
        by_cluster = collections.defaultdict(list)
        for hold in holds:
            by_cluster[hold.record["cluster_id"]].append(hold)
        for removal in self.journals.spans_of_workspace("remove"):
            for hold in by_cluster.get(removal.record["cluster_id"], ()):
                lease = hold.record["lease"]
                if (hold.begin <= removal.begin < hold.end
                        and not self.lost_before_claim(lease, removal.record["cluster_id"])):
                    self.broken("no-termination-under-lease",
                                f"worker {removal.worker} terminates {hold.record['cluster_id']}, "
                                f"which worker {hold.worker} holds by lease #{lease}")

    def lost_before_claim(self, lease, cluster):
        """Whether a lease had ended in the log, untold, before a termination was begun under it."""
        claims = [position for position in self.claims[cluster] if position > lease]
        end = self.ends.get(lease)
        return end and end[1] == "LeaseLost" and claims and end[0] < claims[0]

    def check_against_log(self):
        returned = collections.defaultdict(list)  # of a configuration: when, and the lease
        acquires = collections.defaultdict(list)
        for worker, records in self.journals.workers.items():
            begun = None
            for record in records:
                what, lease = record["what"], record.get("lease")
                if what == "acquire" and record["mark"] == "begin":
                    begun = record["at"]
                elif what == "acquired":
                    self.check_acquired(worker, record)
                    returned[record["config_hash"]].append((record["at"], lease))
                    if begun is not None:
                        acquires[record["config_hash"]].append((begun, lease))
                elif what == "released" or what == "lost":
                    self.check_ended(worker, record)
                elif what == "create" and record["mark"] == "begin":
                    self.check_created(worker, record)
                elif what == "refused":
                    self.numbers["refused, " + record["error"].split(":")[0]] += 1
                elif what == "failed":
                    self.broken("legal-states", f"worker {worker} failed: {record['error']}")
        for config_hash, begun in acquires.items():
            returns = sorted(returned[config_hash], reverse=True)
            highest = 0
            for at, lease in sorted(begun):
                while returns and returns[-1][0] < at:
                    highest = max(highest, returns.pop()[1])
                if lease <= highest:
                    self.broken("leases-end-once", f"fencing token {lease} of {config_hash} came "
                                f"after {highest} was in use")

    def check_acquired(self, worker, record):
        grant = self.grants.get(record["lease"])
        if (not grant or grant["cluster_id"] != record["cluster_id"]
                or grant["config_hash"] != record["config_hash"]
                or self.journals.worker_of(grant["holder"]) not in (worker, None)):
            self.broken("leases-end-once", f"worker {worker} holds lease #{record['lease']} on "
                        f"{record['cluster_id']}, the log says {grant}")

    def check_ended(self, worker, record):
        end = self.ends.get(record["lease"])
        told = "LeaseLost" if record["what"] == "lost" or record["was_held"] is False else (
            "LeaseReleased" if record["was_held"] else None)
        if not end or told not in (None, end[1]):
            self.broken("leases-end-once", f"worker {worker} was told {told} of lease "
                        f"#{record['lease']}, the log says {end and end[1]}")

    def check_created(self, worker, record):
        creation = self.creations.get(record["creation"])
        if (not creation or creation["config_hash"] != record["config_hash"]
                or self.journals.worker_of(creation["holder"]) != worker):
            self.broken("one-creator", f"worker {worker} creates as #{record['creation']}, the log "
                        f"says {creation}")

    # ---- What came of it

    def summary(self):
        kinds = collections.Counter(map(self.journals.doing_when_killed, self.journals.killed))
        times = [record["at"] for record in self.journals.workspace]
        seconds = (max(times) - min(times)) / 1e9 if times else 0
        yield f"{seconds:.0f} seconds, {len(self.journals.workers)} workers"
        yield f"{len(self.journals.killed)} killed: " + ", ".join(
            f"{kinds[kind]} {kind}"
            for kind in ("creators", "holders", "terminators", "waiters", "others"))
        for what, number in collections.Counter(
                record["what"] for record in self.journals.befell).items():
            yield f"{what}: {number}"
        yield ", ".join(f"{number} {name}" if "," not in name else f"{name}: {number}"
                        for name, number in sorted(self.numbers.items()) if number)
        if len(self.journals.killed) >= KILLS_THAT_MEET_EVERYTHING:
            for kind in ("creators", "holders", "terminators"):
                if not kinds[kind]:
                    self.broken("legal-states", f"this says little: no {kind} were killed")


def main(database, directory, schema=""):
    checker = Checker(Journals(directory))
    checker.read_log(read_events(database, schema))
    checker.check_journals()
    summary = list(checker.summary())
    for rule, texts in sorted(checker.problems.items()):
        for text in texts[:SHOWN_OF_A_RULE]:
            print(f"{rule}: {text}")
        if len(texts) > SHOWN_OF_A_RULE:
            print(f"{rule}: and {len(texts) - SHOWN_OF_A_RULE} more")
    print("\n".join(summary))
    sys.exit(1 if checker.problems else 0)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
