"""The options of the pytest plugin, and the database that it uses."""

import re
import textwrap

import pytest

from plugin_project import CONFTEST, Project, totals


def test_the_plugin_is_inactive_in_a_project_without_the_create_hook(tmp_path):
    project = Project(tmp_path / "project", {"database": str(tmp_path / "none.db")})
    project.write("conftest.py", "")
    project.write("test_it.py", "def test_it(): pass\n")
    assert "dbcache: " not in (output := project.run())
    assert "= dbcache =" not in output
    assert not (tmp_path / "none.db").exists()


def test_collecting_creates_no_database(project, tmp_path):
    project.place = {"database": str(tmp_path / "none.db")}
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    for options in [
        ["--collect-only"],
        ["--co", "-n", "2"],
        ["--fixtures"],
        ["--fixtures-per-test"],
        ["--setup-plan"],
        ["--setup-plan", "-n", "2"],
        ["--cache-show", "-p", "cacheprovider"],
        ["--markers"],
        ["--help"],
        ["--version"],
    ]:
        project.run(*options)
        assert list(tmp_path.iterdir()) == [project.directory], options
    assert not project.told()


def test_a_session_that_only_sets_up_fixtures_hands_its_cluster_back(project):
    project.write("test_it.py", "def test_it(databricks_cluster): assert False\n")
    project.run("--setup-only")
    assert [line.split()[0] for line in project.told()] == ["create", "terminate"]
    assert project.is_quiet()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_the_default_configuration_may_be_a_file(project, workers):
    project.write("below/one.json", '{"cluster_name": "one"}')
    project.write("two.json", '{"cluster_name": "two"}')
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    project.run(*workers)

    # A path in pytest.ini is relative to that file; one on the command line, to the directory where
    # pytest is called.
    project.write("pytest.ini", "[pytest]\ndbcache_config = below/one.json\ntestpaths = .\n")
    here = project.directory
    project.directory = here / "below"
    project.run(*workers, "..")
    project.run(*workers, "--dbcache-config", "../two.json", "..")
    project.directory = here

    assert [name.split("-")[0] for name in project.told_of("create")] == [
        "default", "one", "two",
    ]  # fmt: skip


def test_a_missing_default_configuration_fails_the_test(project):
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_config", "nothing"))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    output = project.run(ends_with=1)
    assert "dbcache has no default configuration: implement pytest_dbcache_config" in output


def test_a_configuration_file_may_begin_with_a_byte_order_mark(project):
    (project.directory / "c.json").write_bytes(b'\xef\xbb\xbf{"cluster_name": "marked"}')
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    project.run("--dbcache-config", "c.json")
    assert project.told_of("create")[0].startswith("marked-")


def test_a_configuration_file_in_utf_16_is_refused_with_the_encoding_to_use(project):
    (project.directory / "c.json").write_text('{"cluster_name": "wide"}', encoding="utf-16")
    output = project.run("--dbcache-config", "c.json", ends_with=4)
    assert "it is in UTF-16 or UTF-32; save it as UTF-8" in output


@pytest.mark.parametrize("content", [None, "{", "[]", b"\xff"], ids=str)
def test_an_unreadable_configuration_file_ends_the_session(project, content):
    if content is not None:
        path = project.directory / "c.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    output = project.run("--dbcache-config", "c.json", ends_with=4)
    assert re.search(r"ERROR: dbcache: cannot read the cluster configuration .*c.json: ", output)
    assert "Traceback" not in output


def test_an_impossible_policy_ends_the_session(project):
    output = project.run("-o", "dbcache_policy=drop", ends_with=4)
    assert "dbcache_policy must be hand_back or keep, not 'drop'" in output
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_terminate", "nothing"))
    output = project.run("-o", "dbcache_policy=hand_back", ends_with=4)
    assert "dbcache_policy = hand_back needs the hook pytest_dbcache_terminate" in output


def test_without_a_terminate_hook_clusters_are_kept(project):
    project.write("conftest.py", CONFTEST.replace("pytest_dbcache_terminate", "nothing"))
    project.write("test_it.py", "def test_it(databricks_cluster): pass\n")
    assert totals(project.run()) == [1, 0, 0, 0]
    assert project.is_quiet()


def test_workers_use_the_database_of_the_controller(project, tmp_path):
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


def test_the_cluster_of_the_environment_is_used_and_never_handed_back(project):
    project.write(
        "test_it.py",
        "def test_it(databricks_cluster): assert databricks_cluster.cluster_id == 'given'\n",
    )
    project.run("-n", "2", DATABRICKS_CLUSTER_ID="given")
    assert project.told() == []
    assert project.is_quiet()
