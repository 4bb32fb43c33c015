"""`python -m dbcache` is the command line."""

import json
import subprocess
import sys

import pytest

import dbcache


@pytest.fixture
def command(place):
    def run(*arguments, **options):
        named = [f"--{key}={value}" for key, value in place.items()]
        return subprocess.run(
            [sys.executable, "-m", "dbcache", *arguments, *named],
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    return run


def test_the_command_and_the_package_use_the_same_database(command, manager):
    manager.cache_new_cluster("cluster-123", {"cluster_name": "test_name"})
    status = command("status")
    assert status.returncode == 0, status.stderr
    assert "=== Active Cached Cluster ===\n  Cluster ID: cluster-123" in status.stdout

    assert command("cache", "cluster-456").returncode == 0
    assert manager.load_cluster_cache()["cluster_id"] == "cluster-456"
    assert command("clear", "--yes").returncode == 0
    assert manager.load_cluster_cache() == {}


def test_the_exit_code_is_that_of_the_command_line(command):
    assert command("no-such-command").returncode == 2
    assert command("remove", "cluster-404").returncode == 1


def test_the_command_and_the_package_give_a_configuration_one_hash(command):
    config = {"cluster_name": "t\u00e9st", "num_workers": 2, "spark_conf": {"b": 1.5, "a": None}}
    run = subprocess.run(
        [sys.executable, "-m", "dbcache", "hash", "--config", "-"],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.strip() == dbcache.config_hash(config), run.stderr
    assert dbcache.config_hash({**config, "status": "RUNNING"}) == dbcache.config_hash(config)
    assert dbcache.config_hash(config, leave_out=["num_workers"]) != dbcache.config_hash(config)
