#!/usr/bin/env python3
"""Shows that check_chaos.py notices each broken rule, and that it has nothing to say of a good run.

    check_checker.py CHAOS WHAT

CHAOS is the program; WHAT is broken: a rule by a worker that misbehaves in a short run, or by a workspace
that hides what its clusters are known by, or `log`, that is each rule in turn in a copy of the log of one good run, or `logs`, the same for check_logs.py.
"""
import glob
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from chaos_log import LogChecker

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKER = os.path.join(HERE, "check_chaos.py")
CHECKER_OF_LOGS = os.path.join(HERE, "check_logs.py")
# What breaks it -> the rule that must be named.
IN_THE_WORKSPACE = {"tag-look-up": "one-cluster"}  # no cluster shows the tag of its creation
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


# What follows changes a copy of a run's whole directory, in which the log was exchanged.


def logs_of(directory):
    """Those that are gone, as databases that may be written to."""
    for path in sorted(glob.glob(os.path.join(directory, "log-*", "cache.db"))):
        with sqlite3.connect(path) as log:
            for (name,) in log.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' "
                                       "AND tbl_name = 'events'").fetchall():
                log.execute(f"DROP TRIGGER {name}")
            yield log


def append(directory, journal, *records):
    with open(os.path.join(directory, journal), "a", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)


def records_of(directory, journal):
    with open(os.path.join(directory, journal), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def tokens_of(log):
    return {payload["idempotency_token"] for _, payload, _ in events(log, "CreationStarted")}


def release_for_another(directory):
    """As the holder of the lease with this number in the log before would."""
    log = next(logs_of(directory))
    position, payload, metadata = next(events(log, "LeaseReleased"))
    write(log, position, payload, metadata | {"pid": 1})
    log.commit()


def answer_for_another(directory):
    for log in logs_of(directory):
        for position, payload, metadata in events(log, "TerminationDone"):
            write(log, position, payload, metadata | {"pid": 1})
            return log.commit()
    raise StopIteration


def terminate_what_is_held(directory):
    known = [tokens_of(log) for log in logs_of(directory)]
    for path in glob.glob(os.path.join(directory, "journals", "worker-*")):
        records = records_of(directory, path)
        for held, after in zip(records, records[1:]):
            cluster = held.get("cluster_id")
            if (held["what"] == "acquired" and after["what"] == "releasing"
                    and sum(cluster.rsplit(".", 1)[1] in tokens for tokens in known) == 1):
                call = {"what": "remove", "cluster_id": cluster, "token": "", "caller": 0,
                        "call": 1, "at": held["at"] + 1}
                return append(directory, os.path.join("workspace", "journal"),
                              call | {"mark": "begin"}, call | {"mark": "end"})
    raise StopIteration


def tell_of_a_loss(directory):
    """Before any log was exchanged."""
    path = next(iter(glob.glob(os.path.join(directory, "journals", "worker-*"))))
    records = records_of(directory, path)
    append(directory, path, {"what": "cut_off", "error": "is not of the log of this database",
                             "at": records[0]["at"] + 1})


def leave_what_was_created(directory):
    """A creator whose log was gone did nothing, and its cluster runs on."""
    logs = list(logs_of(directory))
    known = [token for log in logs for token in tokens_of(log)]
    for log in logs:
        ended = {payload["creation"] for _, payload, _ in events(log, "LeaseGranted")}
        ended |= {payload["lease"] for kind in ("LeaseReleased", "LeaseLost")
                  for _, payload, _ in events(log, kind)}
        for position, payload, _ in events(log, "CreationStarted"):
            token = payload["idempotency_token"]
            if position in ended or known.count(token) > 1:
                continue
            for path in glob.glob(os.path.join(directory, "journals", "worker-*")):
                records = records_of(directory, path)
                os.unlink(path)
                append(directory, path, *(record for record in records if record["what"] !=
                                          "terminate" or token not in record["subject"]))
            return run_on(directory, token)
    raise StopIteration


def leak(directory):
    with sqlite3.connect(os.path.join(directory, "database", "cache.db")) as log:
        run_on(directory, next(iter(tokens_of(log))))


def run_on(directory, token):
    link = os.path.join(directory, "workspace", "running", token)
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink("c1." + token, link)


IN_THE_LOGS = {
    "released-by-another": (release_for_another, "leases-end-once"),
    "answered-by-another": (answer_for_another, "leases-end-once"),
    "terminated-under-another": (terminate_what_is_held, "no-termination-under-lease"),
    "told-without-cause": (tell_of_a_loss, "own-log"),
    "left-its-own": (leave_what_was_created, "own-cluster"),
    "leaked": (leak, "no-leak"),
}

MOST_RUNS = 12


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    print(done.stdout)
    return done


def names(rule, done):
    return re.search(f"^{rule}: ", done.stdout, re.MULTILINE) is not None


def short_run(chaos, directory, *more, seconds=3, kill_every=0):
    return run(chaos, "--seconds", str(seconds), "--workers", "6", "--configurations", "3",
               "--kill-every", str(kill_every), "--directory", directory, *more)


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
    rule = {**BY_A_WORKER, **IN_THE_WORKSPACE}[broken]
    # A run in which nobody met whoever breaks the rule shows nothing, and proves nothing.
    for attempt in range(MOST_RUNS):
        place = os.path.join(directory, str(attempt))
        os.mkdir(place)
        if broken in IN_THE_WORKSPACE:
            done = short_run(chaos, place, "--break", broken, "--workspace", seconds=8, kill_every=300)
        else:
            done = short_run(chaos, place, "--break", broken)
        if names(rule, done):
            break
    must_name(rule, done)


class NoJournals:
    clock = 0


def judged(*events):
    """What is said of the ends of two leases, on one cluster and of two configurations. An event here is
    its position, command, that one's last position, type, configuration, and what is in its payload."""
    checker = LogChecker(NoJournals())
    for number, name in enumerate("ab", 1):
        entry = checker.entries[name]
        entry.status, entry.cluster, entry.policy = "ready", "c", "hand_back"
        entry.leases[number] = {"cluster_id": "c", "holder": {"process": {"pid": number}}}
    checker.read_log((position, 0, command, last, kind, json.dumps({"config_hash": name, **payload}),
                      json.dumps({"pid": payload.get("lease")}))
                     for position, command, last, kind, name, payload in events)
    return list(checker.problems)


def judge_two_that_let_go():
    """On PostgreSQL, where positions are drawn before the cluster's lock is there, the first may be the
    one that comes second, and hands back."""
    def released(position, command, last, name, lease):
        return (position, command, last, "LeaseReleased", name,
                {"lease": lease, "cluster_id": "c", "policy": "hand_back"})
    removed = [(position, "A", 5, "RegistryEntryRemoved", name, {})
               for position, name in ((4, "a"), (5, "b"))]
    second = released(3, "B", 3, "b", 2)
    assert not judged(released(2, "A", 5, "a", 1), second, *removed), "two in turn are no fault"
    assert judged(released(2, "A", 2, "a", 1), second) == ["hands-back"], "neither handed back"


def break_the_log(chaos, directory):
    judge_two_that_let_go()
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


def break_the_logs(chaos, directory):
    left = dict(IN_THE_LOGS)
    for attempt in range(MOST_RUNS):
        place = os.path.join(directory, str(attempt))
        os.mkdir(place)
        done = run(chaos, "--other-logs", "--seconds", "8", "--workers", "12",
                   "--configurations", "12", "--kill-every", "0", "--directory", place)
        assert done.returncode == 0, "the checker complains of a good run"
        for broken, (change, rule) in list(left.items()):
            print(f"{broken}:")
            copy = os.path.join(directory, "tampered")
            shutil.copytree(place, copy, symlinks=True)
            try:
                change(copy)
                done = run(sys.executable, CHECKER_OF_LOGS,
                           os.path.join(copy, "database", "cache.db"), copy)
                if done.returncode == 1 and names(rule, done):
                    del left[broken]
            except StopIteration:
                pass
            finally:
                shutil.rmtree(copy)
        if not left:
            return
    assert not left, f"not named: {', '.join(left)}"


def main(chaos, broken):
    with tempfile.TemporaryDirectory(prefix="dbcache-chaos-") as directory:
        if broken == "log":
            break_the_log(chaos, directory)
        elif broken == "logs":
            break_the_logs(chaos, directory)
        else:
            break_by_a_worker(chaos, directory, broken)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in {"log", "logs", *BY_A_WORKER,
                                                             *IN_THE_WORKSPACE}:
        sys.exit(__doc__)
    main(*sys.argv[1:])
