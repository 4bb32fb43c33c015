"""Hooks, fixtures and databases that fail under the pytest plugin."""

import pytest

from conftest import only_sqlite
from plugin_project import CONFTEST, totals


def test_a_failed_creation_fails_the_test_with_its_message(project):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"create',
            '    if once("failed"):\n        raise OSError("no quota")\n    tell(f"create',
        ),
    )
    project.write(
        "test_it.py",
        "def test_it(databricks_cluster): pass\ndef test_2(databricks_cluster): pass\n",
    )

    output = project.run(ends_with=1)

    assert "OSError: no quota" in output
    assert "\n1 creation failed or ended early\n" in output
    assert "_pytest_run.py" not in output  # the traceback shows only the user's code
    assert "2 errors" in output  # pytest sets up a failed fixture only once
    # The creation may have started a cluster, so its token gets a termination.
    assert project.told() == ["terminate None"]
    assert project.is_quiet()


def test_a_failed_termination_is_shown_and_repeated_by_the_next_session(project):
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
    assert f"{first} has a pending termination: OSError: no route" in output
    assert totals(output) == [1, 0, 0, 1]

    project.run()
    assert sorted(project.told_of("terminate")) == sorted(project.told_of("create"))
    assert project.is_quiet()


@pytest.mark.parametrize("outcome", ["fail", "skip"])
def test_a_terminate_that_calls_pytest_fail_or_skip_has_failed(project, outcome):
    project.write(
        "conftest.py",
        CONFTEST.replace(
            '    tell(f"terminate',
            f'    import pytest\n    pytest.{outcome}("no way")\n    tell(f"terminate',
        ),
    )
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run()
    assert "has a pending termination: RuntimeError: no way" in output
    assert totals(output)[3] == 1


def test_a_fixture_whose_teardown_fails_keeps_no_cluster(project):
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


def test_a_create_hook_that_returns_nothing_is_named(project):
    project.write("conftest.py", CONFTEST.replace("    return cluster_id\n", ""))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=1)
    assert "pytest_dbcache_create returned None; return the cluster's id" in output


@pytest.mark.parametrize("where", ["nowhere", "below"])
def test_a_create_hook_that_is_missing_at_the_start_is_named(project, where):
    project.write("conftest.py", "")
    if where == "below":
        project.write("below/conftest.py", CONFTEST)
    project.write("below/test_it.py", "def test_it(databricks_cluster): pass\n")

    output = project.run(ends_with=1)

    assert "implement pytest_dbcache_create in the conftest.py beside pytest.ini" in output


def test_an_unusable_database_ends_the_session_with_one_line(project, tmp_path):
    (tmp_path / "no-database").write_text("This is no database, but a text.\n" * 100)
    project.place = {"database": str(tmp_path / "no-database")}
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=4)
    assert "ERROR: dbcache: " in output
    assert "Traceback" not in output


@only_sqlite
def test_a_database_that_breaks_during_the_session_fails_no_test(project):
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
    assert "4 passed" in output  # each test has its cluster
    assert "cannot hand back the session's clusters: " in output
    assert "was not torn down" not in output
