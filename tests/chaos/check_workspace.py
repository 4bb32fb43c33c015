#!/usr/bin/env python3
"""Judges a run of chaos whose clusters were of the fake workspace, by that one's own journal.

    check_workspace.py DATABASE DIRECTORY [SCHEMA]

Prints what check_chaos.py does. The log and the workers are judged by the rules of that, and the workspace
by these:

    one-cluster                 of a creation no two clusters run once nothing is owed any more
    no-leak                     what runs then is held; and at the end nothing runs
    no-termination-under-lease  the workspace never terminates on demand what a live lease holds
"""
import collections
import json
import os
import sys

from chaos_journals import FOREVER, Journals, Span
from check_chaos import Checker, judge

TOKEN_TAG = "dbcache-token"
FEWEST_SECONDS = 60  # of a run that meets everything


class Workspace:
    """What the journal of tests/workspace/fake says. Times are nanoseconds of the journals' clock."""

    def __init__(self, directory):
        self.token_of = {}  # cluster -> the token in its tag
        self.states = collections.defaultdict(list)  # cluster -> (when, whether it runs or starts)
        self.terminated = []  # on demand: cluster, when
        self.numbers = collections.Counter()
        with open(os.path.join(directory, "journal.jsonl"), encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                read = getattr(self, "on_" + record["what"], None)
                if read:
                    read(record, record["monotonic"] * 1e9)

    def on_born(self, record, at):
        self.token_of[record["cluster_id"]] = record["tags"].get(TOKEN_TAG, "")
        self.states[record["cluster_id"]].append((at, True))
        self.numbers["clusters born"] += 1

    def on_state(self, record, at):
        self.states[record["cluster_id"]].append((at, record["active"]))
        if record["by"] == "request" and record["state"] == "TERMINATING":
            self.terminated.append((record["cluster_id"], at))
            self.numbers["terminated on demand"] += 1
        if record["by"] == "control" and not record["active"]:
            self.numbers["ended by themselves"] += 1
        if record["by"] == "clock" and record["was"] == "PENDING" and not record["active"]:
            self.numbers["starts failed"] += 1

    def on_started(self, _record, _at):
        self.numbers["starts of the workspace"] += 1

    def on_fault(self, record, _at):
        self.numbers["faults"] += 1
        self.numbers[f"of them {record['kind']} {record['when']} the work"] += 1

    def on_request(self, record, _at):
        self.numbers["requests"] += 1
        if record["path"].endswith("/create") and record["done"] == 200 and record["status"] != 200:
            self.numbers["creations that were done and not told"] += 1

    def running(self, at=FOREVER):
        for cluster, states in self.states.items():
            known = [active for when, active in states if when <= at]
            if known and known[-1]:
                yield cluster


class WorkspaceChecker(Checker):
    def __init__(self, journals, workspace):
        super().__init__(journals)
        self.clusters = workspace

    def is_created_with(self, token, cluster):
        return self.clusters.token_of.get(cluster) == token

    def lost_before_claim(self, lease, cluster):
        """A cluster may be owed by its token."""
        token = self.clusters.token_of.get(cluster)
        return super().lost_before_claim(lease, cluster) or super().lost_before_claim(lease, token)

    def removals(self):
        for cluster, at in self.clusters.terminated:
            yield Span({"cluster_id": cluster}, at, at, "?")

    def check_workspace(self):
        [rest] = [record for record in self.journals.befell if record["what"] == "nothing is owed"]
        by_token = collections.defaultdict(list)
        for cluster in self.clusters.running(rest["since"]):
            by_token[self.clusters.token_of[cluster]].append(cluster)
            if cluster not in rest["held"]:
                self.broken("no-leak", f"{cluster} runs, and is neither held nor owed")
        for token, clusters in by_token.items():
            if len(clusters) > 1:
                self.broken("one-cluster", f"creation {token} has {', '.join(clusters)}")
        self.numbers["kept to the end"] = sum(map(len, by_token.values()))
        for cluster in self.clusters.running():
            self.broken("no-leak", f"{cluster} still runs, and nobody holds it")

    def summary(self):
        yield from super().summary()
        of_token = collections.Counter(self.clusters.token_of.values())
        numbers = self.clusters.numbers
        numbers["creations with more than one cluster"] = sum(n > 1 for n in of_token.values())
        yield "the workspace: " + ", ".join(
            f"{number} {name}" for name, number in sorted(numbers.items()) if number)
        if self.journals.seconds() >= FEWEST_SECONDS:
            for what in ("creations that were done and not told", "starts failed", "ended by themselves",
                         "creations with more than one cluster"):
                if not numbers[what]:
                    self.broken("no-leak", f"this says little: 0 {what}")


def main(database, directory, schema=""):
    workspace = Workspace(os.path.join(directory, "fake"))
    judge(WorkspaceChecker(Journals(directory), workspace), database, directory, schema)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
