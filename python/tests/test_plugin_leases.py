"""The leases that the pytest plugin gives to tests and fixtures."""

import os
import subprocess
import sys

from plugin_project import totals


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


def test_a_lease_that_a_test_released_is_acquired_again(project):
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


def test_a_dead_cluster_is_replaced_and_its_fixtures_are_set_up_again(project):
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


def test_a_teardown_that_fails_on_a_dead_cluster_fails_no_other_test(project):
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
