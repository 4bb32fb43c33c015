#!/usr/bin/env python3
"""Judges a run of chaos, without dbcache: by its log, the workspace's journal and the workers'.

    check_chaos.py DATABASE DIRECTORY [SCHEMA]

DATABASE is a path, or the URL of a PostgreSQL server. Prints a line for each broken rule, which begins
with the rule's name, then what happened in numbers. Exits with 0 when no rule was broken, else with 1.
The rules:

    one-creator                 never two live creators of one configuration
    one-termination             never two terminations of one cluster at a time
    no-termination-under-lease  never a termination of what a live lease, or creator, holds
    no-leak                     at the end no cluster runs that nobody holds
    leases-end-once             what was granted ended once; counts and fencing tokens are right
    hands-back                  the end of a cluster's last lease hands it back, if that was wanted, and
                                no run has used it
    no-dead-cluster             nobody is granted a cluster that the log says is no more
    legal-states                entries, checks and terminations move as they may
    counts-once                 each worker's count has what was acknowledged, and nothing twice
    gives-up-first              nobody believes to hold what was lost by a death

A worker whose host was cut off from the database is as good as dead for the others after a while.
The journals' times are of one clock (CLOCK_MONOTONIC). A killed worker's doings end when the driver
decided to kill it, just before it did.
"""
import collections
import json
import os
import sys

from chaos_journals import FOREVER, Journals
from chaos_log import LONGEST_WAIT_FOR_LOCKS, LogChecker, read_events

KILLS_THAT_MEET_EVERYTHING = 1000
SHOWN_OF_A_RULE = 20


class Checker(LogChecker):
    """Judges by the journals too, and by what both say."""

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
        self.never_at_once("one-creator", self.journals.spans_of_workers("create"),
                           lambda record: record["config_hash"])
        self.never_at_once("one-termination", self.journals.spans_of_workers("terminate"),
                           lambda record: record["subject"])
        self.check_holds(self.journals.holds(self.with_deadline))
        self.check_against_log()
        self.check_counts()
        self.check_beliefs()
        self.check_workspace()

    def check_workspace(self):
        journals = self.journals
        self.never_at_once("one-creator", journals.spans_of_workspace("create"),
                           lambda record: record["config_hash"])
        self.never_at_once("one-termination", journals.spans_of_workspace("remove"),
                           lambda record: record["cluster_id"] or record["token"])
        for cluster in journals.running:
            self.broken("no-leak", f"{cluster} still runs, and nobody holds it")

    def removals(self):
        """What was terminated in the workspace because a worker asked for it."""
        return self.journals.spans_of_workspace("remove")

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
                # the worker that it found dead may have been killed meanwhile.
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
        for removal in self.removals():
            for hold in by_cluster.get(removal.record["cluster_id"], ()):
                lease = hold.record["lease"]
                if (hold.begin <= removal.begin < hold.end
                        and not self.lost_before_claim(lease, removal.record["cluster_id"])):
                    self.broken("no-termination-under-lease",
                                f"worker {removal.worker} terminates {hold.record['cluster_id']}, "
                                f"which worker {hold.worker} holds by lease #{lease}")

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
        yield f"{self.journals.seconds():.0f} seconds, {len(self.journals.workers)} workers"
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
    judge(Checker(Journals(directory)), database, directory, schema)


def judge(checker, database, directory, schema):
    checker.read_log(read_events(database, schema))
    checker.check_all_ended()
    checker.check_journals()
    summary = list(checker.summary())
    print_problems(checker.problems)
    print("\n".join(summary))
    if checker.problems and "://" in database:  # the server ends with the run
        with open(os.path.join(directory, "events.jsonl"), "w", encoding="utf-8") as kept:
            kept.writelines(json.dumps(event) + "\n" for event in read_events(database, schema))
    sys.exit(1 if checker.problems else 0)


def print_problems(problems):
    for rule, texts in sorted(problems.items()):
        for text in texts[:SHOWN_OF_A_RULE]:
            print(f"{rule}: {text}")
        if len(texts) > SHOWN_OF_A_RULE:
            print(f"{rule}: and {len(texts) - SHOWN_OF_A_RULE} more")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
