"""A project for the tests of the pytest plugin. Each test runs pytest sessions in it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap

import dbcache

CONFTEST = """
import os, pathlib, signal, time

ROOT = pathlib.Path(__file__).parent


def tell(line):
    with open(ROOT / "told", "a") as told:
        told.write(line + "\\n")


def once(name):
    # True for one process of all.
    try:
        os.close(os.open(ROOT / f"once-{name}", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def pytest_dbcache_config():
    return {"cluster_name": "default"}


def pytest_dbcache_create(cluster_config, creation):
    cluster_id = f"{cluster_config['cluster_name']}-{creation.idempotency_token[-6:]}"
    tell(f"create {cluster_id}")
    return cluster_id


def pytest_dbcache_terminate(termination):
    tell(f"terminate {termination.cluster_id}")
"""

TOTALS = re.compile(
    r"(\d+) clusters? created, (\d+) joined, ([\d.]+) minutes of start-up saved, "
    r"(\d+) still held, (\d+) owed"
)


class Project:
    """The project of a user of the plugin. Runs pytest in it, and reads what its hooks and tests
    told."""

    def __init__(self, directory, place):
        self.directory = directory
        self.place = place
        directory.mkdir()
        self.write("pytest.ini", "[pytest]\n")
        self.write("conftest.py", CONFTEST)

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def start(self, *arguments, **variables):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
        environment["DBCACHE_DATABASE"] = self.place["database"]
        if "schema" in self.place:
            environment["DBCACHE_SCHEMA"] = self.place["schema"]
        environment.pop("PYTEST_CURRENT_TEST", None)
        environment.pop("PYTEST_XDIST_WORKER", None)
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",  # names of files
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *arguments, ends_with=0, **variables):
        process = self.start(*arguments, **variables)
        try:
            output, _ = process.communicate(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        allowed = ends_with if isinstance(ends_with, tuple) else (ends_with,)
        assert process.returncode in allowed, output
        return output

    def told(self):
        path = self.directory / "told"
        return path.read_text().splitlines() if path.exists() else []

    def told_of(self, what):
        return [line.split(" ", 1)[1] for line in self.told() if line.startswith(what + " ")]

    @property
    def shared(self):
        return dbcache.SharedClusters(**self.place)

    def users(self):
        """The tests that used clusters, by the log: pairs of test and cluster."""
        return {
            (event["payload"]["by"], event["payload"]["cluster_id"])
            for event in self.shared.manager.history(types=["ClusterUsed"])
        }

    def is_quiet(self):
        """Whether there are no leases, participants and pending terminations."""
        report = self.shared.leases()
        return not report["leases"] and not report["participants"] and not self.shared.owed()


def totals(output):
    """The summary's numbers of clusters: created, joined, still held and owed."""
    [found] = TOTALS.findall(output)
    return [int(found[0]), int(found[1]), int(found[3]), int(found[4])]


TEN_TESTS = """
    import os, signal, time
    import pytest
    from conftest import once, tell

    @pytest.mark.parametrize("number", range(10))
    def test_of_file_{file}(databricks_cluster, number):
        {kill}
        time.sleep({seconds})
        tell(f"test {{databricks_cluster.cluster_id}}")
"""
