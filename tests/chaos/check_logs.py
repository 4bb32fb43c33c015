#!/usr/bin/env python3
"""Judges a run of chaos in which the workers' database was exchanged again and again.

    check_logs.py DATABASE DIRECTORY

DATABASE is the last one; those before it are in DIRECTORY as log-NUMBER/cache.db. Prints what
check_chaos.py does. Each log has to be right by itself, by the rules of that, as far as one log can be; and

    own-log          what a worker was told, it was told by the log that it is of; and nobody was told that
                     a log is gone where none was
    own-cluster      a creator whose log is gone has its cluster terminated
    no-leak          at the end no cluster runs that the last log knows
    no-termination-under-lease
                     whichever log it is of: a cluster that is held is terminated by nobody. Not where a
                     backup brought back what its log had let go of: nobody can know that
"""
import collections
import glob
import os
import re
import sys

from chaos_journals import Journals
from chaos_log import LogChecker, read_events
from check_chaos import print_problems

LOG_IS_GONE = ("is not of the log of this database", "the database does not exist")
UPHEAVALS = ("wiped", "restored")  # which exchange the log


def token_of(cluster):
    return cluster.rsplit(".", 1)[1]


class JournalsOfLogs(Journals):
    def exchanged_between(self, begin, end):
        return any(record["what"] in UPHEAVALS and begin <= record["at"] and record["since"] <= end
                   for record in self.befell)


class CheckerOfOne(LogChecker):
    """Of one log, which may have begun as a backup of one of those before."""

    def __init__(self, journals, database, before):
        super().__init__(journals)
        log = list(read_events(database, ""))
        self.events = {(position, command) for position, _, command, *_ in log}
        shared = self.events & set().union(*(each.events for each in before))
        self.brought_back = max((position for position, _ in shared), default=0)
        self.claimants = set()  # of a cluster, or a token: workers
        self.read_log(log)
        self.tokens = {creation["idempotency_token"] for creation in self.creations.values()}

    def on_TerminationStarted(self, position, payload, metadata):
        super().on_TerminationStarted(position, payload, metadata)
        self.claimants.add((self.journals.worker_of(payload["holder"]), payload["subject"]))

    def claims_for(self, removal):
        """Whether a call to the workspace is of a termination that stands here."""
        cluster = removal.record["cluster_id"]
        return not self.claimants.isdisjoint({(removal.worker, cluster),
                                              (removal.worker, token_of(cluster))})

    def died(self, position, began, what, holder):
        """A process may have let go since of what a backup brought back."""
        if began > self.brought_back:
            super().died(position, began, what, holder)

    def is_of(self, worker, acquired):
        """Whether a lease that a worker was given stands here."""
        grant = self.grants.get(acquired["lease"])
        return (grant is not None and grant["cluster_id"] == acquired["cluster_id"]
                and grant["config_hash"] == acquired["config_hash"]
                and self.journals.worker_of(grant["holder"]) == worker)

    def left_creating(self):
        """The tokens and workers of creations that never ended here."""
        for entry in self.entries.values():
            if entry.creation:
                yield entry.token, self.journals.worker_of(entry.creator)


class Checker:
    """Of all of them, by the journals."""

    def __init__(self, databases, directory):
        self.problems = collections.defaultdict(list)
        self.journals = JournalsOfLogs(directory)
        self.logs = []
        for database in databases:
            self.logs.append(CheckerOfOne(self.journals, database, self.logs))
        self.logs[-1].check_all_ended()
        for number, log in enumerate(self.logs, 1):
            for rule, texts in log.problems.items():
                self.problems[rule] += [f"log {number}: {text}" for text in texts]
        self.known_in = collections.Counter(token for log in self.logs for token in log.tokens)
        self.told = collections.Counter()
        # What a worker took over from another configuration when the log went: it could not be told.
        self.adopting = set()

    def broken(self, rule, text):
        self.problems[rule].append(text)

    def check(self):
        for worker, records in self.journals.workers.items():
            self.check_told(worker, records)
        self.check_removals()
        self.check_creators()
        for cluster in self.journals.running:
            if token_of(cluster) in self.logs[-1].tokens:
                self.broken("no-leak", f"{cluster} still runs, and nobody holds it")

    def check_told(self, worker, records):
        acquired, asked = {}, 0
        for record in records:
            what, lease = record["what"], record.get("lease")
            if what == "acquire" and record["mark"] == "begin":
                asked = record["at"]
            elif what == "acquired":
                acquired[lease] = record | {"asked": asked}
                if not any(log.is_of(worker, record) for log in self.logs):
                    self.broken("own-log", f"worker {worker} was given lease #{lease} on "
                                f"{record['cluster_id']}, which stands in no log")
            elif what == "adopts":
                self.adopting.add((worker, record["cluster_id"]))
            elif what == "adopted":
                self.adopting.discard((worker, record["cluster_id"]))
            elif what in ("released", "lost"):
                self.check_ended(worker, record, acquired[lease])
            elif what == "failed":
                self.broken("legal-states", f"worker {worker} failed: {record['error']}")
            elif what == "cut_off":
                # What stands for an id, a name or a path says nothing about its kind.
                self.told[re.sub(r"\S*[\d/]\S*", "...", record["error"])] += 1
                if (not self.journals.exchanged_between(asked, record["at"])
                        or not any(text in record["error"] for text in LOG_IS_GONE)):
                    self.broken("own-log", f"worker {worker} lost its log, which was there: "
                                f"{record['error']}")

    def check_ended(self, worker, record, acquired):
        """As it was told is how it ended in a log that it is of."""
        lease = record["lease"]
        ends = {log.ends[lease][1] for log in self.logs
                if lease in log.ends and log.is_of(worker, acquired)}
        if record["what"] == "lost" or record["was_held"] is False:
            right = "LeaseLost" in ends or self.journals.exchanged_between(acquired["asked"],
                                                                           record["at"])
        else:
            # By a destructor, which tells nobody, or by a release.
            right = record["was_held"] is None or "LeaseReleased" in ends
        if not right:
            self.broken("own-log", f"worker {worker} was told {record} of its lease on "
                        f"{acquired['cluster_id']}, the logs say {ends}")

    def check_removals(self):
        removals = collections.defaultdict(list)
        for removal in self.journals.spans_of_workspace("remove"):
            removals[removal.record["cluster_id"]].append(removal)
        for log in self.logs:
            for hold in self.journals.holds(log.with_deadline):
                cluster = hold.record["cluster_id"]
                if not log.is_of(hold.worker, hold.record):
                    continue
                log.numbers["held"] += 1
                for removal in removals[cluster]:
                    if self.could_not_know(removal, log):
                        continue
                    if hold.begin <= removal.begin < hold.end and not log.lost_before_claim(
                            hold.record["lease"], cluster):
                        self.broken("no-termination-under-lease",
                                    f"worker {removal.worker} terminates {cluster}, which worker "
                                    f"{hold.worker} holds by lease #{hold.record['lease']}")

    def could_not_know(self, removal, log):
        """Whether a worker terminates a cluster without knowing this log: by a backup that had it,
        or by what it had taken over from another configuration there."""
        cluster = removal.record["cluster_id"]
        if (removal.worker, cluster) in self.adopting:
            return True
        claiming = [each for each in self.logs if each.claims_for(removal)]
        return log not in claiming if claiming else self.known_in[token_of(cluster)] > 1

    def check_creators(self):
        asked = {(span.worker, token) for span in self.journals.spans_of_workers("terminate")
                 for token in span.record["subject"].split(".")[-1:]}
        running = {token_of(cluster) for cluster in self.journals.running}
        for log in self.logs[:-1]:
            for token, worker in log.left_creating():
                if self.known_in[token] > 1 or worker is None or worker in self.journals.killed:
                    continue
                log.numbers["creators whose log was gone"] += 1
                if token in running and (worker, token) not in asked:
                    self.broken("own-cluster", f"worker {worker} left what it created with "
                                f"{token} when its log was gone")

    def summary(self):
        numbers = sum((log.numbers for log in self.logs), collections.Counter())
        befell = collections.Counter(record["what"] for record in self.journals.befell)
        yield f"{len(self.logs)} logs, {len(self.journals.workers)} workers, " \
              f"{len(self.journals.killed)} killed"
        yield ", ".join(f"{number} {what}" for what, number in befell.items())
        yield ", ".join(f"{number} {name}" if "," not in name else f"{name}: {number}"
                        for name, number in sorted(numbers.items()) if number)
        for text, times in self.told.most_common():
            yield f"told {times} times: {text}"


def main(database, directory):
    gone = glob.glob(os.path.join(directory, "log-*", "cache.db"))
    gone.sort(key=lambda path: int(path.split(os.sep)[-2].rsplit("-", 1)[1]))
    checker = Checker([*gone, database], directory)
    checker.check()
    print_problems(checker.problems)
    print("\n".join(checker.summary()))
    sys.exit(1 if checker.problems else 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
