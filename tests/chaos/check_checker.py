#!/usr/bin/env python3
"""Shows that check_chaos.py notices each broken rule, and that it has nothing to say of a good run.

    check_checker.py CHAOS WHAT

CHAOS is the program; WHAT is broken: a rule by a worker that misbehaves in a short run, or `log`, that
is each rule in turn in a copy of the log of one good run.
"""
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile

CHECKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_chaos.py")
# What breaks it -> the rule that must be named.
BY_A_WORKER = {
    "two-creators": "one-creator",
    "two-terminations": "one-termination",
    "terminate-under-lease": "no-termination-under-lease",
    "leak": "no-leak",
}


def events(log, kind):
    for position, payload, metadata in log.execute(
            "SELECT position, payload, metadata FROM events WHERE type = ? ORDER BY position",
            (kind,)):
        yield position, json.loads(payload), json.loads(metadata)


def write(log, position, payload, metadata):
    log.execute("UPDATE events SET payload = ?, metadata = ? WHERE position = ?",
                (json.dumps(payload), json.dumps(metadata), position))


def end_twice(log):
    """A lease ends that had ended before."""
    (_, first, _), (position, second, metadata) = list(events(log, "LeaseReleased"))[:2]
    write(log, position, second | {"config_hash": first["config_hash"], "lease": first["lease"]},
          metadata)


def miscount(log):
    position, payload, metadata = next(events(log, "LeaseGranted"))
    write(log, position, payload | {"usage_count": payload["usage_count"] + 1}, metadata)


def grant_dead_cluster(log):
    """The last grant is of a cluster that had been terminated long before."""
    _, done, _ = next(events(log, "TerminationDone"))
    position, payload, metadata = list(events(log, "LeaseGranted"))[-1]
    write(log, position, payload | {"cluster_id": done["subject"]}, metadata)


def keep_what_nobody_needs(log):
    """Takes a hand-back out, of a cluster that no run has used."""
    used_by_run, released = set(), set()
    for kind, payload, command in log.execute(
            "SELECT type, payload, command_id FROM events ORDER BY position"):
        payload = json.loads(payload)
        entry = payload.get("config_hash")
        if kind == "LeaseGranted" and payload["run"]:
            used_by_run.add(entry)
        elif kind == "LeaseReleased":
            released.add((entry, command))
        elif kind == "RegistryEntryRemoved":
            if (payload["reason"] == "handed_back" and (entry, command) in released
                    and entry not in used_by_run):
                break
            used_by_run.discard(entry)
    else:
        raise StopIteration
    log.execute("DELETE FROM events WHERE command_id = ? AND type IN ('RegistryEntryRemoved', "
                "'TerminationOwed', 'ClusterRemoved')", (command,))


def let_another_make_it_ready(log):
    position, payload, metadata = next(
        event for event in events(log, "RegistryStatusChanged") if event[1]["to"] == "ready")
    write(log, position, payload, metadata | {"pid": 1})


def forget_count(log):
    position, _, _ = next(events(log, "UsageIncremented"))
    log.execute("DELETE FROM events WHERE position = ?", (position,))


def reap_alive(log):
    position, payload, metadata = next(events(log, "LeaseReleased"))
    write(log, position, payload | {"reason": "died"}, metadata)
    log.execute("UPDATE events SET type = 'LeaseLost' WHERE position = ?", (position,))


IN_THE_LOG = {
    "ended-twice": (end_twice, "leases-end-once"),
    "miscounted": (miscount, "leases-end-once"),
    "dead-cluster": (grant_dead_cluster, "no-dead-cluster"),
    "count-forgotten": (forget_count, "counts-once"),
    "reaped-alive": (reap_alive, "leases-end-once"),
    "kept-unneeded": (keep_what_nobody_needs, "hands-back"),
    "illegal-state": (let_another_make_it_ready, "legal-states"),
}


MOST_RUNS = 6


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    print(done.stdout)
    return done


def names(rule, done):
    return re.search(f"^{rule}: ", done.stdout, re.MULTILINE) is not None


def short_run(chaos, directory, *more):
    return run(chaos, "--seconds", "3", "--workers", "6", "--configurations", "3",
               "--kill-every", "0", "--directory", directory, *more)


def tamper(directory, change):
    """A copy of the database with a changed log."""
    path = os.path.join(directory, "tampered.db")
    log = sqlite3.connect(path)  # the copy takes the place of the one before
    with sqlite3.connect(os.path.join(directory, "cache.db")) as database:
        database.backup(log)
    for (name,) in log.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' "
                               "AND tbl_name = 'events'").fetchall():
        log.execute(f"DROP TRIGGER {name}")
    change(log)
    log.commit()
    log.close()
    return path


def must_name(rule, done):
    assert done.returncode == 1, f"the exit status is {done.returncode}"
    assert names(rule, done), f"{rule} was not named"


def break_by_a_worker(chaos, directory, broken):
    rule = BY_A_WORKER[broken]
    # A run in which nobody met whoever breaks the rule shows nothing, and proves nothing.
    for attempt in range(MOST_RUNS):
        place = os.path.join(directory, str(attempt))
        os.mkdir(place)
        done = short_run(chaos, place, "--break", broken)
        if names(rule, done):
            break
    must_name(rule, done)


def break_the_log(chaos, directory):
    left = dict(IN_THE_LOG)
    # A log in which a change breaks another rule, or that has nothing to change, shows nothing.
    for attempt in range(MOST_RUNS):
        place = os.path.join(directory, str(attempt))
        os.mkdir(place)
        done = short_run(chaos, place)
        assert done.returncode == 0, "the checker complains of a good run"
        for broken, (change, rule) in list(left.items()):
            print(f"{broken}:")
            try:
                done = run(sys.executable, CHECKER, tamper(place, change), place)
            except StopIteration:
                continue
            if done.returncode == 1 and names(rule, done):
                del left[broken]
        if not left:
            return
    assert not left, f"not named: {', '.join(left)}"


def main(chaos, broken):
    with tempfile.TemporaryDirectory(prefix="dbcache-chaos-") as directory:
        if broken == "log":
            break_the_log(chaos, directory)
        else:
            break_by_a_worker(chaos, directory, broken)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in {"log", *BY_A_WORKER}:
        sys.exit(__doc__)
    main(*sys.argv[1:])
