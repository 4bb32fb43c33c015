"""The condition of get_all_clusters() selects rows and can do nothing else."""

import time

import pytest

import dbcache

ABUSE = {
    "stacked statements": "1; DELETE FROM clusters",
    "stacked behind a bracket": "1); DROP TABLE clusters; --",
    "another table": "cluster_id IN (SELECT cluster_id FROM shared_cluster_registry)",
    "the log": "EXISTS (SELECT * FROM events)",
    "the schema": "EXISTS (SELECT * FROM sqlite_master)",
    "the schema as a function": "EXISTS (SELECT * FROM pragma_table_info('clusters'))",
    "attach": "ATTACH DATABASE '{target}' AS other",
    "attach behind the condition": "1; ATTACH DATABASE '{target}' AS other",
    "pragma": "PRAGMA writable_schema = 1",
    "pragma behind the condition": "1; PRAGMA writable_schema = 1",
    "vacuum into a file": "1; VACUUM INTO '{target}'",
    "update": "1; UPDATE clusters SET is_active = 0",
    "insert": "1; INSERT INTO clusters (cluster_id) VALUES ('evil')",
    "write in a subquery": "EXISTS (DELETE FROM clusters RETURNING 1)",
    "load_extension": "load_extension('{target}') IS NULL",
    "a file": "readfile('/etc/passwd') IS NOT NULL",
    "writing a file": "writefile('{target}', 'x') IS NOT NULL",
    "much memory": "length(randomblob(2000000000)) > 0",
    "union": "0 UNION SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
    "endless recursion": "EXISTS (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT max(i) FROM n)",
    "endless joins": "(SELECT count(*) FROM clusters"
    + "".join(f", clusters AS c{number}" for number in range(40))
    + ") > 0",
    "a step that takes long": f"instr(replace('{'a' * 3000}', 'a', '{'a' * 500}'), "
    f"replace('{'a' * 1500}', 'a', '{'a' * 500}') || 'b') > 0",
    "a parameter": "cluster_id = ?",
    "NUL": "1\0; DROP TABLE clusters",
    "half a surrogate pair": "cluster_name = '\ud800'",
    "no condition": "which are mine?",
}


@pytest.fixture
def manager(place):
    manager = dbcache.CacheManager(**place)
    for number in range(3):
        manager.cache_new_cluster(f"c-{number}", {"num_workers": number})
    return manager


@pytest.mark.parametrize("kind", ABUSE)
def test_a_condition_that_does_more_than_select_is_refused(kind, manager, tmp_path):
    before = manager.get_all_clusters(), len(manager.history())
    target = tmp_path / "evil"

    began = time.monotonic()
    with pytest.raises(dbcache.InvalidArgument):
        manager.get_all_clusters(ABUSE[kind].replace("{target}", str(target)))

    assert time.monotonic() - began < 10
    assert not target.exists()
    assert (manager.get_all_clusters(), len(manager.history())) == before
    assert manager.replay(check=True)["differences"] == []


@pytest.mark.parametrize("condition", [7, b"1", ["1"]])
def test_a_condition_that_is_not_a_str_is_refused(condition, manager):
    with pytest.raises(TypeError):
        manager.get_all_clusters(condition)


def test_a_condition_may_use_the_clusters_and_the_present_time(manager):
    assert len(manager.get_all_clusters("expiry_time > datetime('now')")) == 3
    assert len(manager.get_all_clusters("expiry_time > CURRENT_TIMESTAMP")) == 3
    assert len(manager.get_all_clusters(" OR ".join(["num_workers = 1"] * 250))) == 1
    assert len(manager.get_all_clusters("expiry_time > datetime('now', '+2 hours')")) == 0
    newest = manager.get_all_clusters("id = (SELECT max(id) FROM clusters)")
    assert [row["cluster_id"] for row in newest] == ["c-2"]
