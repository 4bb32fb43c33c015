"""Leases: context managers, creations, checks, terminations, runs."""

import os
import threading
import time

import pytest

import dbcache

CONFIG = {"cluster_name": "test-cluster", "num_workers": 1}


def create(config, creation):
    creation.started("c-1")
    return "c-1"


def test_a_lease_is_a_context_manager(shared):
    given = {}

    def create_and_look(config, creation):
        given.update(config=config, token=creation.idempotency_token, creation=creation)
        assert creation.deadline > time.monotonic()
        assert creation.cancelled is False
        assert creation.started_cluster_id is None
        return create(config, creation)

    with shared.acquire(CONFIG, create_and_look) as lease:
        assert lease.cluster_id == "c-1"
        assert lease.created_here is True
        assert lease.config_hash == dbcache.config_hash(CONFIG)
        assert lease.lost is False
        [held] = shared.leases()["leases"]
        assert (held["lease"], held["holder"]["pid"]) == (lease.fencing_token, os.getpid())

    assert given["config"] == CONFIG
    assert 0 < len(given["token"]) <= 64
    with pytest.raises(dbcache.LeaseLost):
        given["creation"].started("c-2")  # it has ended
    assert shared.leases()["leases"] == []
    with shared.acquire(CONFIG, create) as lease:
        assert lease.created_here is False


def test_a_lease_may_be_acquired_and_released_without_with(shared):
    lease = shared.acquire(CONFIG, create).wait()
    report = lease.release()
    assert (report["was_held"], report["was_last"]) == (True, True)
    assert lease.release()["was_held"] is False


def test_threads_share_one_cluster(shared):
    created = []

    def create_slowly(config, creation):
        created.append(threading.get_ident())
        time.sleep(0.3)
        return "c-1"

    def use():
        with shared.acquire(CONFIG, create_slowly) as lease:
            assert lease.cluster_id == "c-1"

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(created) == 1


def test_the_last_lease_hands_the_cluster_back(shared):
    terminated = []
    with shared.acquire(CONFIG, create, terminate=terminated.append, policy="hand_back"):
        with shared.acquire(CONFIG, create, terminate=terminated.append, policy="hand_back"):
            pass
        assert terminated == []
    assert [termination.cluster_id for termination in terminated] == ["c-1"]
    assert shared.owed() == []


def test_a_failed_termination_stays_pending_and_is_logged(shared, caplog):
    def fail(termination):
        raise OSError("out of reach")

    with shared.acquire(CONFIG, create, terminate=fail, policy="hand_back"):
        pass

    [owed] = shared.owed()
    assert (owed["cluster_id"], owed["error"]) == ("c-1", "OSError: out of reach")
    assert any("out of reach" in record.getMessage() for record in caplog.records)
    terminated = []
    assert shared.settle(terminated.append)["settled"] == ["c-1"]
    assert terminated[0].attempts == 2


def test_a_dead_cluster_is_replaced(shared):
    with shared.acquire(CONFIG, create):
        pass
    asked = []

    def check(cluster_id):
        asked.append(cluster_id)
        return False

    with shared.acquire(CONFIG, lambda config, creation: "c-2", check) as lease:
        assert lease.cluster_id == "c-2"
        assert lease.report_dead() is True
        assert lease.lost is True
    assert asked == ["c-1", "c-2"]


def test_an_exception_of_create_reaches_the_caller_and_the_registry(shared, manager):
    class NoQuota(Exception):
        pass

    def fail(config, creation):
        raise NoQuota("no quota")

    with pytest.raises(NoQuota, match="no quota") as raised:
        with shared.acquire(CONFIG, fail):
            pass
    assert "fail" in [entry.name for entry in raised.traceback]
    entry = manager.get_shared_cluster_info(dbcache.config_hash(CONFIG))
    assert (entry["status"], entry["error_message"]) == ("failed", "NoQuota: no quota")


def test_a_create_that_returns_no_id_raises_a_type_error(shared):
    with pytest.raises(TypeError, match="the cluster id that create returned"):
        shared.acquire(CONFIG, lambda config, creation: None).wait()


def test_a_wait_past_its_timeout_raises_timeout(shared):
    with shared.acquire(CONFIG, create):
        began, finish, told = threading.Event(), threading.Event(), []

        def create_other(config, creation):
            began.set()
            finish.wait(60)
            return "c-2"

        other = {"cluster_name": "other"}
        thread = threading.Thread(
            target=lambda: shared.acquire(other, create_other).wait().release()
        )
        thread.start()
        began.wait(30)
        with pytest.raises(dbcache.Timeout) as raised:
            shared.acquire(other, create_other, timeout=0.2, on_wait=told.append).wait()
        finish.set()
        assert isinstance(raised.value, TimeoutError)
        assert told[0]["waits_for"] == "creator"
        assert told[0]["holder"]["pid"] == os.getpid()
        thread.join(30)


def test_started_on_another_thread_races_with_the_end_of_create(shared):
    """started() on another thread may still run when create() returns."""
    for number in range(20):
        helpers = []

        def create_with_help(config, creation, number=number, helpers=helpers):
            def help():
                try:
                    creation.started(f"c-{number}")
                except dbcache.LeaseLost:
                    pass  # create() had returned before it began

            helpers.append(threading.Thread(target=help))
            helpers[0].start()
            return f"c-{number}"

        with shared.acquire({"cluster_name": f"n-{number}"}, create_with_help) as lease:
            assert lease.cluster_id == f"c-{number}"
        helpers[0].join()
    assert shared.owed() == []


def test_an_exception_of_a_check_is_raised_only_once(shared):
    def exits(cluster_id):
        raise SystemExit(3)

    with pytest.raises(ZeroDivisionError):
        with shared.acquire(CONFIG, create, exits) as lease:
            with pytest.raises(SystemExit):
                lease.report_dead()
            raise ZeroDivisionError


def test_pickled_shared_clusters_open_the_same_database(shared, place):
    import pickle

    again = pickle.loads(pickle.dumps(shared))
    with shared.acquire(CONFIG, create) as lease:
        assert again.leases()["leases"][0]["lease"] == lease.fencing_token


def test_a_run_keeps_its_clusters_until_it_ends(shared):
    terminated = []
    with shared.join_run("nightly", "worker", "gw0"):
        with shared.acquire(
            CONFIG, create, terminate=terminated.append, policy="hand_back", run="nightly"
        ):
            pass
        assert shared.leases()["participants"][0]["name"] == "gw0"
        assert (terminated, shared.owed()) == ([], [])
    assert [owed["cluster_id"] for owed in shared.owed()] == ["c-1"]


def test_a_lease_with_a_deadline_outlives_its_object(shared):
    lease = shared.acquire(CONFIG, create).wait()
    name, number = lease.name, lease.fencing_token
    assert name == shared.leases()["leases"][0]["name"]
    lease.hold_for(60)
    shared.renew_lease(name, 120)
    for bare in (number, str(number)):
        with pytest.raises(dbcache.InvalidArgument, match="every database has a lease"):
            shared.release_lease(bare)
    assert shared.release_lease(name)["was_held"] is True


def test_a_garbage_collected_lease_is_released(shared):
    shared.acquire(CONFIG, create).wait()
    assert shared.leases()["leases"] == []


@pytest.mark.parametrize("returned", ["", '{"cluster_id": "c"}', "Created c", "None", 4, None])
def test_create_must_return_an_id(shared, returned):
    with pytest.raises((dbcache.InvalidArgument, TypeError)):
        shared.acquire({}, lambda config, creation: returned).wait()
    assert not shared.leases()["leases"]
    assert len(shared.owed()) == 1
