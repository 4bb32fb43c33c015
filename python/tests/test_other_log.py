"""The database becomes another one while leases are held: wiped, and made anew by the next job."""

import logging
import os
import pathlib
import re

import pytest

import dbcache

CONFIG = {"cluster_name": "test-cluster"}

pytestmark = pytest.mark.skipif(
    os.environ.get("DBCACHE_TEST_ENGINE") == "postgres",
    reason="a holder believes only after 8 s that its schema was dropped",
)


@pytest.fixture
def terminated():
    return []


@pytest.fixture
def acquire(shared, terminated):
    def of(cluster_id):
        return shared.acquire(
            CONFIG,
            lambda config, creation: cluster_id,
            terminate=lambda termination: terminated.append(termination.cluster_id),
            policy="hand_back",
        )

    return of


@pytest.fixture
def next_job(shared, place, acquire):
    """Wipes the database and takes the same steps on a new one; returns what it holds there."""

    def begin():
        database = pathlib.Path(place["database"])
        for file in database.parent.glob(database.name + "*"):
            file.unlink()
        return acquire("c-theirs").wait()

    return begin


def test_a_lease_is_lost_and_names_its_cluster(shared, acquire, next_job, terminated):
    ours = acquire("c-ours").wait()
    theirs = next_job()
    events = shared.manager.history()
    assert (theirs.fencing_token, theirs.name == ours.name) == (ours.fencing_token, False)

    assert ours.lost is True
    for call in (
        lambda: ours.note_use("test"),
        ours.report_dead,
        lambda: ours.hold_for(60),
        ours.release,
    ):
        with pytest.raises(dbcache.LeaseLost, match=f"{ours.name} .*c-ours is nobody's now"):
            call()
    for call in (
        lambda: shared.release_lease(ours.name),
        lambda: shared.renew_lease(ours.name, 60),
    ):
        with pytest.raises(dbcache.NotFound, match="is not of the log of this database"):
            call()

    assert shared.manager.history() == events
    assert (theirs.lost, terminated) == (False, [])
    theirs.release()
    assert terminated == ["c-theirs"]


def test_a_block_ends_with_a_warning(acquire, next_job, terminated, caplog):
    with caplog.at_level(logging.WARNING), acquire("c-ours") as ours:
        theirs = next_job()
    assert f"the lease {ours.name} is not of the log of this database" in caplog.text
    assert (theirs.lost, terminated) == (False, [])
    theirs.release()


def test_a_creator_terminates_its_cluster_alone(shared, next_job, terminated):
    theirs = []

    def create(config, creation):
        theirs.append(next_job())
        return "c-ours"

    with pytest.raises(dbcache.LeaseLost, match="its cluster c-ours was terminated"):
        shared.acquire(
            CONFIG, create, terminate=lambda owed: terminated.append(owed.cluster_id)
        ).wait()
    assert (theirs[0].lost, terminated) == (False, ["c-ours"])
    theirs[0].release()


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_a_session_of_the_plugin_keeps_its_outcome(project, place, workers):
    project.write(
        "test_it.py",
        """
        import pathlib
        import dbcache

        def test_before(databricks_cluster): pass

        def test_wiped(databricks_cluster):
            database = pathlib.Path(DATABASE)
            for file in database.parent.glob(database.name + "*"):
                file.unlink()
            shared = dbcache.SharedClusters(database=DATABASE)
            theirs = shared.acquire(
                {"cluster_name": "default"}, lambda config, creation: "c-theirs",
                policy="hand_back").wait()
            theirs.hold_for(3600)
        """.replace("DATABASE", repr(place["database"])),
    )

    output = project.run(*workers)

    assert "2 passed" in output
    summary = output[output.index("= dbcache =") :]
    assert "is not of the log of this database" in summary
    assert re.search(r"the cluster \S+ is nobody's now", summary)
    assert project.told_of("terminate") == []
    [theirs] = dbcache.SharedClusters(database=place["database"]).leases()["leases"]
    assert (theirs["cluster_id"], theirs["holder"]["alive"]) == ("c-theirs", True)
