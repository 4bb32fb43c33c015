"""The hooks of the pytest plugin. Implement them in the ``conftest.py`` beside your ``pytest.ini``.
One in a directory below is too late: the controller of pytest-xdist does not load it, and the
controller hands clusters back after a worker was killed.

A hook may leave out any arguments that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import pytest

if TYPE_CHECKING:
    from dbcache import Creation, Termination


@pytest.hookspec(firstresult=True)
def pytest_dbcache_config(config: pytest.Config) -> Optional[dict[str, Any]]:
    """Returns the default configuration, which the fixture ``databricks_cluster`` uses.
    ``--dbcache-config``, and ``dbcache_config`` in ``pytest.ini``, override it."""


@pytest.hookspec(firstresult=True)
def pytest_dbcache_create(
    cluster_config: dict[str, Any], creation: Creation, config: pytest.Config
) -> Optional[str]:
    """Starts a cluster, waits until it can be used, and returns its id. One worker calls this for a
    configuration; the others wait. Give Databricks ``creation.idempotency_token``, and call
    ``creation.started(id)`` as soon as the id is known: if this process then dies, the next creator
    finds the cluster."""


@pytest.hookspec(firstresult=True)
def pytest_dbcache_check(cluster_id: str, config: pytest.Config) -> Optional[bool]:
    """Returns whether the cluster still runs. Called before a session joins a cluster that no
    process holds, and by ``Lease.report_dead``. Without this hook, such a cluster is assumed to
    run, and a cluster that a test reports dead is assumed to be dead."""


@pytest.hookspec
def pytest_dbcache_terminate(termination: Termination, config: pytest.Config) -> None:
    """Terminates ``termination.cluster_id``. If that is ``None``, a creation ended before it
    recorded its cluster: find the cluster by ``termination.idempotency_token``. Must succeed if the
    cluster is gone already. If it raises, the termination stays pending, and the next session tries
    again. Without this hook, clusters are kept until they expire."""
