"""Measures increments per second from Python, for dbcache and for the tests' sqlite3 model of the
documented system. Both are equally durable (synchronous = FULL), use the same disk, and take turns.

    PYTHONPATH=build/python python3 python/bench/increments.py [SECONDS]
"""

import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

import dbcache
import documented_model

ROUNDS = 5


def count(manager, seconds):
    end = time.monotonic() + seconds
    done = 0
    while time.monotonic() < end:
        manager.increment_shared_cluster_usage("hash")
        done += 1
    return done


def work(make, path, seconds, results):
    results.put(count(make(database=path), seconds))


def processes(make, path, number, seconds):
    results = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=work, args=(make, path, seconds, results))
        for _ in range(number)
    ]
    for worker in workers:
        worker.start()
    total = sum(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total / seconds


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    kinds = {"dbcache": dbcache.CacheManager, "sqlite3 model": documented_model.CacheManager}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", ".")) as name:
        paths = {kind: f"{name}/{kind.replace(' ', '-')}/cache.db" for kind in kinds}
        for kind, make in kinds.items():
            make(database=paths[kind]).register_shared_cluster_creation("hash", os.getpid())
        for number in (1, 4, 8):
            rates = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for kind, make in kinds.items():
                    rates[kind].append(processes(make, paths[kind], number, seconds))
            medians = {kind: statistics.median(values) for kind, values in rates.items()}
            figures = ", ".join(f"{kind} {rate:.0f}/s" for kind, rate in medians.items())
            ratio = medians["dbcache"] / medians["sqlite3 model"]
            print(f"{number} processes: {figures}: {ratio:.2f} times", flush=True)


if __name__ == "__main__":
    main()
