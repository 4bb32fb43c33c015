"""Names with bytes that are not UTF-8: of databases, test files and configuration files."""

import os

import pytest

import dbcache

LATIN_1 = os.fsdecode(b"caf\xe9")
USES_A_CLUSTER = "def test_it(databricks_cluster): pass\n"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_a_database_may_lie_in_a_directory_whose_name_is_not_utf_8(project, tmp_path, workers):
    if "schema" in project.place:
        pytest.skip("about SQLite's files")
    project.place = {"database": str(tmp_path / LATIN_1 / "cache.db")}
    project.write("test_it.py", USES_A_CLUSTER)
    project.run(*workers)
    assert (tmp_path / LATIN_1 / "cache.db").exists()
    assert len(project.users()) == 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_a_configuration_file_may_have_a_name_that_is_not_utf_8(project, workers):
    (project.directory / f"{LATIN_1}.json").write_text('{"cluster_name": "here"}')
    project.write("test_it.py", USES_A_CLUSTER)
    # Not on the command line, all of which pytest-xdist sends to its workers as text.
    project.run(*workers, PYTEST_ADDOPTS=f"--dbcache-config {LATIN_1}.json")
    assert project.told_of("create")[0].startswith("here-")


def test_the_history_names_a_test_whose_file_is_not_utf_8(project):
    project.write(f"test_{LATIN_1}.py", USES_A_CLUSTER)
    project.run()
    assert {by for by, _ in project.users()} == {"test_caf\ufffd.py::test_it"}


def test_an_error_of_create_may_name_a_file_that_is_not_utf_8(shared):
    def create(config, creation):
        raise RuntimeError(f"no file {LATIN_1}")

    with pytest.raises(RuntimeError):
        shared.acquire({}, create).wait()
    [entry] = shared.manager.get_all_shared_clusters()
    assert entry["error_message"] == "RuntimeError: no file caf\ufffd"


def test_a_label_may_be_any_bytes(place):
    dbcache.CacheManager(label=LATIN_1, **place).cache_new_cluster("c")
    dbcache.CacheManager(label="half \ud800", **place).cache_new_cluster("c")
    labels = [event["metadata"]["label"] for event in dbcache.CacheManager(**place).history()]
    assert labels == ["caf\ufffd", "half ?"]
