"""The pytest plugin, in sessions of their own: real controllers, workers, and kills of them."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import xdist

import dbcache
from conftest import only_sqlite

CONFTEST = """
import os, pathlib, signal, time

ROOT = pathlib.Path(__file__).parent


def tell(line):
    with open(ROOT / "told", "a") as told:
        told.write(line + "\\n")


def once(name):
    # One process of all.
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
    """A project of a user's, with tests that the plugin serves."""

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
        """The tests that the log names as users of clusters."""
        return {
            (event["payload"]["by"], event["payload"]["cluster_id"])
            for event in self.shared.manager.history(types=["ClusterUsed"])
        }

    def is_quiet(self):
        """Whether nothing is held or owed any more."""
        report = self.shared.leases()
        return not report["leases"] and not report["participants"] and not self.shared.owed()


@pytest.fixture
def project(tmp_path, place):
    return Project(tmp_path / "project", place)


def totals(output):
    [found] = TOTALS.findall(output)
    return [int(found[0]), int(found[1]), int(found[3]), int(found[4])]


# ---- Eight workers

MODES = [
    "load",
    "loadfile",
    pytest.param(
        "worksteal",
        marks=pytest.mark.skipif(
            tuple(map(int, xdist.__version__.split(".")[:2])) < (3, 2),
            reason="this pytest-xdist cannot",
        ),
    ),
]

FORTY_TESTS = """
    import os, signal, time
    import pytest
    from conftest import once, tell

    @pytest.mark.parametrize("number", range(10))
    def test_of_file_{file}(databricks_cluster, number):
        {kill}
        time.sleep({seconds})
        tell(f"test {{databricks_cluster.cluster_id}}")
"""


@pytest.mark.parametrize("killed", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_eight_workers_share_one_cluster_that_ends_with_the_last(project, mode, killed):
    # One file is slow: by file, its worker goes on long after the others are done.
    for file in range(4):
        kill = "pass"
        if killed and file in (1, 2):
            death = ["os.abort()", "os.kill(os.getpid(), signal.SIGKILL)"][file - 1]
            kill = f"if number == 4 and once('kill-{file}'): {death}"
        project.write(
            f"test_{file}.py",
            FORTY_TESTS.format(file=file, kill=kill, seconds=0.15 if file == 0 else 0.01),
        )

    for _ in range(int(os.environ.get("DBCACHE_TEST_SESSIONS", "1"))):
        for left in [*project.directory.glob("once-*"), *project.directory.glob("told")]:
            left.unlink()
        # By file, pytest-xdist itself may lose its way when a worker is killed (a KeyError in its
        # scheduler, exit code 3), and loses or repeats tests: what is ours must be right even so.
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


def test_without_xdist_it_is_the_same(project):
    project.write("test_it.py", FORTY_TESTS.format(file=0, kill="pass", seconds=0))

    output = project.run()

    [cluster] = project.told_of("create")
    assert project.told() == [f"create {cluster}", *[f"test {cluster}"] * 10, f"terminate {cluster}"]
    assert totals(output) == [1, 0, 0, 0]
    assert re.search(r"^dbcache: \S+, run pytest-\w+$", output, re.MULTILINE)
    assert project.is_quiet()


def test_a_worker_killed_while_it_creates_is_followed_by_one_with_its_token(project):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create {cluster_id}")\n',
            '    tell(f"create {cluster_id}")\n'
            '    if once("killed"):\n'
            "        os.kill(os.getpid(), signal.SIGKILL)\n",
        ),
    )
    project.write("test_it.py", FORTY_TESTS.format(file=0, kill="pass", seconds=0))

    project.run("-n", "3", ends_with=1)

    first, second = project.told_of("create")
    assert first == second
    assert project.told_of("terminate") == [first]
    assert project.is_quiet()


def test_a_killed_controller_leaves_what_the_next_session_hands_back(project):
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
def test_ctrl_c_while_a_cluster_starts_hands_back_what_it_came_to(project, workers):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create {cluster_id}")\n',
            '    tell(f"create {creation.idempotency_token}")\n    time.sleep(600)\n',
        ).replace("termination.cluster_id", "termination.idempotency_token"),
    )
    project.write("test_it.py", FORTY_TESTS.format(file=0, kill="pass", seconds=0))
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


def test_a_fixture_whose_end_fails_keeps_no_cluster(project):
    project.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def table(databricks_cluster):
            yield
            raise OSError("no table to drop")

        def test_that_fails(table): assert False
        def test_that_is_not_run(table): pass
        """,
    )
    project.run("-x", ends_with=1)
    assert project.told_of("terminate") == project.told_of("create") != []
    assert project.is_quiet()


def test_debts_of_other_workspaces_are_left_to_their_own(project):
    project.shared.acquire(
        {"cluster_name": "other", "host": "https://other.example"},
        lambda *_: "of-another",
        policy="hand_back",
    ).wait().release()
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    assert totals(project.run())[3] == 0
    assert "of-another" not in project.told_of("terminate")
    assert [owed["subject"] for owed in project.shared.owed()] == ["of-another"]


@pytest.mark.parametrize("outcome", ["fail", "skip"])
def test_a_terminate_that_gives_up_in_pytests_way_has_failed(project, outcome):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"terminate', f'    import pytest\n    pytest.{outcome}("no way")\n    tell(f"terminate'
        ),
    )
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run()
    assert "is owed to be terminated: RuntimeError: no way" in output
    assert totals(output)[3] == 1


def test_a_lease_that_a_test_released_is_taken_anew(project):
    project.write(
        "test_it.py",
        """
        def test_one(databricks_cluster, databricks_clusters):
            with databricks_clusters({"cluster_name": "default"}): pass

        def test_two(databricks_cluster, databricks_clusters):
            assert databricks_cluster is databricks_clusters({"cluster_name": "default"})
            assert databricks_cluster.cluster_id
        """,
    )
    project.run()
    assert project.is_quiet()


def test_an_end_that_fails_on_a_dead_cluster_fails_no_other_test(project):
    project.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture(scope="module")
        def table(databricks_cluster):
            yield
            if databricks_cluster.lost:
                raise OSError("the cluster is gone")

        def test_that_finds_it_dead(databricks_cluster, table):
            assert databricks_cluster.report_dead()

        def test_on_another(databricks_cluster, table):
            assert not databricks_cluster.lost
        """,
    )
    project.run()
    assert project.is_quiet()


# ---- Which tests used it


def test_the_log_names_the_tests_that_used_a_cluster(project):
    project.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture(scope="module")
        def table(databricks_cluster):
            return "a table"

        @pytest.fixture
        def other(databricks_clusters):
            return databricks_clusters({"cluster_name": "other"})

        def test_by_fixture(databricks_cluster): pass
        def test_by_fixture_of_a_fixture(table): pass
        def test_by_the_same_again(table): pass
        def test_of_another(other): pass
        def test_of_both(table, other): pass
        def test_while_it_runs(databricks_clusters):
            databricks_clusters({"cluster_name": "third"})
            databricks_clusters({"cluster_name": "third"})
        def test_asked_by_name(request): request.getfixturevalue("databricks_cluster")
        def test_of_none(): pass
        def test_of_the_factory_alone(databricks_clusters): pass
        """,
    )

    output = project.run("-n", "2")

    default, other, third = (
        next(name for name in project.told_of("create") if name.startswith(which))
        for which in ("default", "other", "third")
    )
    prefix = "test_it.py::test_"
    assert project.users() == {
        (prefix + "by_fixture", default),
        (prefix + "by_fixture_of_a_fixture", default),
        (prefix + "by_the_same_again", default),
        (prefix + "of_another", other),
        (prefix + "of_both", default),
        (prefix + "of_both", other),
        (prefix + "while_it_runs", third),
        (prefix + "asked_by_name", default),
    }
    assert totals(output)[0] == 3
    history = subprocess.run(
        [sys.executable, "-m", "dbcache", "history", default],
        env={
            **os.environ,
            "DBCACHE_DATABASE": project.place["database"],
            "DBCACHE_SCHEMA": project.place.get("schema", ""),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "    by: test_it.py::test_by_the_same_again\n" in history


def test_each_worker_has_one_lease_of_a_configuration(project):
    project.write(
        "test_it.py",
        """
        def test_it(databricks_cluster, databricks_clusters):
            assert databricks_clusters({"cluster_name": "default"}) is databricks_cluster
            assert databricks_clusters({"cluster_name": "other"}) is not databricks_cluster
        """,
    )
    project.run()


# ---- Clusters that die


def test_a_dead_cluster_is_replaced_and_what_stood_on_it_is_set_up_again(project):
    project.write(
        "test_it.py",
        """
        import pytest
        from conftest import tell

        @pytest.fixture(scope="module")
        def table(databricks_cluster):
            tell(f"table {databricks_cluster.cluster_id}")
            return databricks_cluster.cluster_id

        def test_that_finds_it_dead(databricks_cluster, table):
            assert table == databricks_cluster.cluster_id
            assert databricks_cluster.report_dead()

        def test_on_another(databricks_cluster, table):
            assert not databricks_cluster.lost
            assert table == databricks_cluster.cluster_id
        """,
    )

    output = project.run()

    first, second = project.told_of("create")
    assert first != second
    assert project.told_of("table") == [first, second]
    assert sorted(project.told_of("terminate")) == sorted([first, second])
    assert totals(output) == [2, 0, 0, 0]
    assert project.is_quiet()


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


# ---- What fails


def test_a_creation_that_fails_fails_the_test_with_its_message(project):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create', '    if once("failed"):\n        raise OSError("no quota")\n    tell(f"create'
        ),
    )
    project.write("test_it.py", "def test_it(databricks_cluster): pass\ndef test_2(databricks_cluster): pass\n")

    output = project.run(ends_with=1)

    assert "OSError: no quota" in output
    assert "\n1 creation failed or ended early\n" in output
    assert "_pytest_run.py" not in output  # the traceback is the user's
    assert "2 errors" in output  # pytest asks a fixture that failed no second time
    # What the creation may have left is terminated, by its token.
    assert project.told() == ["terminate None"]
    assert project.is_quiet()


def test_a_termination_that_fails_is_told_and_made_by_the_next_session(project):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"terminate',
            '    if once("failed"):\n        raise OSError("no route")\n    tell(f"terminate',
        ),
    )
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")

    output = project.run()
    [first] = project.told_of("create")
    assert f"{first} is owed to be terminated: OSError: no route" in output
    assert totals(output) == [1, 0, 0, 1]

    project.run()
    assert sorted(project.told_of("terminate")) == sorted(project.told_of("create"))
    assert project.is_quiet()


def test_somebody_else_who_holds_a_cluster_keeps_it_and_is_named(project):
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    other = project.shared.acquire(
        {"cluster_name": "default"}, lambda *_: "made-before", policy="hand_back"
    )
    with other:
        output = project.run()
        assert totals(output) == [0, 1, 1, 0]
        assert f"made-before is held by process {os.getpid()} of " in output
    assert project.told_of("terminate") == []


def test_hooks_that_forget_to_answer_are_told(project):
    project.write("conftest.py", CONFTEST.replace("    return cluster_id\n", ""))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=1)
    assert "pytest_dbcache_create returned None; return the cluster's id" in output


# ---- Configuration


def test_a_project_without_the_hook_sees_nothing_of_it(tmp_path):
    project = Project(tmp_path / "project", {"database": str(tmp_path / "none.db")})
    project.write("conftest.py", "")
    project.write("test_it.py", "def test_it(): pass\n")
    assert "dbcache: " not in (output := project.run())
    assert "= dbcache =" not in output
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("where", ["nowhere", "below"])
def test_a_hook_that_is_missing_when_the_session_begins_is_told(project, where):
    project.write("conftest.py", "")
    if where == "below":
        project.write("below/conftest.py", CONFTEST)
    project.write("below/test_it.py", "def test_it(databricks_cluster): pass\n")

    output = project.run(ends_with=1)

    assert "implement pytest_dbcache_create in the conftest.py beside pytest.ini" in output


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_the_default_configuration_may_be_a_file(project, workers):
    project.write("below/one.json", '{"cluster_name": "one"}')
    project.write("two.json", '{"cluster_name": "two"}')
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    project.run(*workers)

    # Of pytest.ini, wherever pytest is called; and of the command line, where it is.
    project.write("pytest.ini", "[pytest]\ndbcache_config = below/one.json\ntestpaths = .\n")
    here = project.directory
    project.directory = here / "below"
    project.run(*workers, "..")
    project.run(*workers, "--dbcache-config", "../two.json", "..")
    project.directory = here

    assert [name.split("-")[0] for name in project.told_of("create")] == [
        "default", "one", "two",
    ]  # fmt: skip


def test_a_default_configuration_that_is_missing_is_told(project):
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_config", "nothing"))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=1)
    assert "dbcache knows no default configuration: implement pytest_dbcache_config" in output


@pytest.mark.parametrize("content", [None, "{", "[]", b"\xff"], ids=str)
def test_a_configuration_file_that_cannot_be_read_is_told(project, content):
    if content is not None:
        path = project.directory / "c.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    output = project.run("--dbcache-config", "c.json", ends_with=4)
    assert re.search(r"ERROR: dbcache: the configuration .*c.json cannot be read", output)
    assert "Traceback" not in output


def test_a_policy_that_cannot_be_is_told(project):
    output = project.run("-o", "dbcache_policy=drop", ends_with=4)
    assert "dbcache_policy is hand_back or keep, not 'drop'" in output
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_terminate", "nothing"))
    output = project.run("-o", "dbcache_policy=hand_back", ends_with=4)
    assert "dbcache_policy = hand_back needs pytest_dbcache_terminate" in output


def test_without_a_terminate_clusters_are_kept(project):
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_terminate", "nothing"))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    assert totals(project.run()) == [1, 0, 0, 0]
    assert project.is_quiet()


def test_a_database_that_cannot_be_used_ends_the_session_in_one_line(project, tmp_path):
    (tmp_path / "no-database").write_text("This is no database, but a text.\n" * 100)
    project.place = {"database": str(tmp_path / "no-database")}
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=4)
    assert "ERROR: dbcache: " in output
    assert "Traceback" not in output


@only_sqlite
def test_a_database_that_breaks_meanwhile_fails_nothing_of_pytests(project):
    project.write(
        "test_it.py",
        """
        import os, pathlib

        def test_before(databricks_cluster): pass

        def test_that_breaks_it(databricks_cluster, request):
            path = pathlib.Path(os.environ["DBCACHE_DATABASE"])
            for file in path.parent.glob(path.name + "*"):
                file.write_bytes(b"This is no database. " * 1000)
            request.getfixturevalue("databricks_clusters")

        def test_after(databricks_cluster): pass

        def test_of_none(): pass
        """,
    )

    output = project.run()

    assert "INTERNALERROR" not in output
    assert "4 passed" in output  # they had their cluster
    assert "the end of the run failed: " in output
    assert "was not torn down" not in output


def test_collecting_touches_nothing(project, tmp_path):
    project.place = {"database": str(tmp_path / "none.db")}
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    project.run("--collect-only")
    assert not (tmp_path / "none.db").exists()


def test_the_database_is_where_the_controller_finds_it(project, tmp_path):
    if "schema" in project.place:
        pytest.skip("about SQLite's files")
    project.place = {"database": "here.db"}
    project.write(
        "test_it.py",
        """
        def test_it(request, monkeypatch, tmp_path):
            monkeypatch.chdir(tmp_path)
            request.getfixturevalue("databricks_cluster")
            assert not list(tmp_path.iterdir())
        """,
    )
    (project.directory / "elsewhere").mkdir()
    project.write(
        "conftest.py",
        CONFTEST
        + textwrap.dedent(
            """
            def pytest_configure(config):
                if hasattr(config, "workerinput"):
                    os.chdir(ROOT / "elsewhere")
            """
        ),
    )
    project.run("-n", "1")
    assert (project.directory / "here.db").exists()
    assert not list((project.directory / "elsewhere").iterdir())


def test_a_cluster_of_the_environment_is_used_and_never_handed_back(project):
    project.write(
        "test_it.py",
        "def test_it(databricks_cluster): assert databricks_cluster.cluster_id == 'given'\n",
    )
    project.run("-n", "2", DATABRICKS_CLUSTER_ID="given")
    assert project.told() == []
    assert project.is_quiet()
