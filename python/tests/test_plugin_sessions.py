"""Sessions under the pytest plugin: real controllers and workers, which are also killed."""

import contextlib
import os
import re
import signal
import textwrap
import time

import pytest
import xdist

from plugin_project import CONFTEST, TEN_TESTS, totals

MODES = [
    "load",
    "loadfile",
    pytest.param(
        "worksteal",
        marks=pytest.mark.skipif(
            tuple(map(int, xdist.__version__.split(".")[:2])) < (3, 2),
            reason="this pytest-xdist has no worksteal",
        ),
    ),
]


@pytest.mark.parametrize("killed", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_eight_workers_share_one_cluster_until_the_last_is_done(project, mode, killed):
    # One file is slow. With loadfile, its worker goes on long after the others are done.
    for file in range(4):
        kill = "pass"
        if killed and file in (1, 2):
            death = ["os.abort()", "os.kill(os.getpid(), signal.SIGKILL)"][file - 1]
            kill = f"if number == 4 and once('kill-{file}'): {death}"
        project.write(
            f"test_{file}.py",
            TEN_TESTS.format(file=file, kill=kill, seconds=0.15 if file == 0 else 0.01),
        )

    for _ in range(int(os.environ.get("DBCACHE_TEST_SESSIONS", "1"))):
        for left in [*project.directory.glob("once-*"), *project.directory.glob("told")]:
            left.unlink()
        # With loadfile, pytest-xdist itself may fail when a worker is killed (a KeyError in its
        # scheduler, exit code 3), and lose or repeat tests. The clusters must be right even then.
        output = project.run("-n", "8", "--dist", mode, ends_with=(1, 3) if killed else 0)

        told = project.told()
        assert len(project.told_of("create")) == 1, output
        cluster = project.told_of("create")[0]
        assert told[0] == f"create {cluster}"
        assert told[-1] == f"terminate {cluster}"
        assert set(told[1:-1]) == {f"test {cluster}"}
        assert killed or len(told) == 42
        assert project.is_quiet()
        if "INTERNALERROR" in output:
            assert killed and "xdist/scheduler" in output, output
            continue
        created, _, held, owed = totals(output)
        assert (created, held, owed) == (1, 0, 0)
        assert len(re.findall(r"worker 'gw\d+' crashed while running", output)) == killed


def test_a_session_without_xdist_uses_one_cluster(project):
    project.write("test_it.py", TEN_TESTS.format(file=0, kill="pass", seconds=0))

    output = project.run()

    [cluster] = project.told_of("create")
    uses = [f"test {cluster}"] * 10
    assert project.told() == [f"create {cluster}", *uses, f"terminate {cluster}"]
    assert totals(output) == [1, 0, 0, 0]
    assert re.search(r"^dbcache: \S+, run pytest-\w+$", output, re.MULTILINE)
    assert project.is_quiet()


def test_after_a_killed_creator_the_next_one_gets_its_token(project):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create {cluster_id}")\n',
            '    tell(f"create {cluster_id}")\n'
            '    if once("killed"):\n'
            "        os.kill(os.getpid(), signal.SIGKILL)\n",
        ),
    )
    project.write("test_it.py", TEN_TESTS.format(file=0, kill="pass", seconds=0))

    project.run("-n", "3", ends_with=1)

    first, second = project.told_of("create")
    assert first == second
    assert project.told_of("terminate") == [first]
    assert project.is_quiet()


def test_the_next_session_hands_back_the_cluster_of_a_killed_one(project):
    project.write(
        "test_it.py",
        """
        import time
        from conftest import tell

        def test_that_goes_on(databricks_cluster):
            tell("running")
            time.sleep(600)
        """,
    )
    process = project.start("-n", "2")
    try:
        while "running" not in project.told():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the whole job, as CI does
        process.communicate()
    [left] = project.told_of("create")
    assert project.told_of("terminate") == []

    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    project.run()

    assert sorted(project.told_of("create")) == sorted(project.told_of("terminate"))
    assert left in project.told_of("terminate")
    assert project.is_quiet()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_ctrl_c_while_a_cluster_starts_terminates_that_cluster(project, workers):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create {cluster_id}")\n',
            '    tell(f"create {creation.idempotency_token}")\n    time.sleep(600)\n',
        ).replace("termination.cluster_id", "termination.idempotency_token"),
    )
    project.write("test_it.py", TEN_TESTS.format(file=0, kill="pass", seconds=0))
    process = project.start(*workers)
    try:
        while not project.told_of("create"):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, _ = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    assert process.returncode == 2, output
    assert sorted(set(project.told_of("terminate"))) == sorted(set(project.told_of("create")))
    assert project.is_quiet()


def test_a_cluster_that_another_process_holds_is_kept_and_its_holder_named(project):
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    other = project.shared.acquire(
        {"cluster_name": "default"}, lambda *_: "made-before", policy="hand_back"
    )
    with other:
        output = project.run()
        assert totals(output) == [0, 1, 1, 0]
        assert f"made-before is held by process {os.getpid()} on " in output
    assert project.told_of("terminate") == []


def test_pending_terminations_of_other_workspaces_are_left_alone(project):
    project.shared.acquire(
        {"cluster_name": "other", "host": "https://other.example"},
        lambda *_: "of-another",
        policy="hand_back",
    ).wait().release()
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    assert totals(project.run())[3] == 0
    assert "of-another" not in project.told_of("terminate")
    assert [owed["subject"] for owed in project.shared.owed()] == ["of-another"]


def test_a_kept_cluster_is_checked_and_joined_by_the_next_session(project):
    project.write("pytest.ini", "[pytest]\ndbcache_policy = keep\n")
    project.write(
        "conftest.py",
        CONFTEST
        + textwrap.dedent(
            """
            def pytest_dbcache_check(cluster_id):
                tell(f"check {cluster_id}")
                return not once("dead") if (ROOT / "kill").exists() else True
            """
        ),
    )
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")

    output = project.run()
    [first] = project.told_of("create")
    assert totals(output) == [1, 0, 0, 0]
    assert re.search(rf"{first} is kept until \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d UTC", output)

    output = project.run()
    assert totals(output) == [0, 1, 0, 0]
    assert project.told_of("check") == [first]

    (project.directory / "kill").touch()
    output = project.run()
    assert totals(output) == [1, 0, 0, 0]
    assert len(project.told_of("create")) == 2
    assert project.told_of("terminate") == []
