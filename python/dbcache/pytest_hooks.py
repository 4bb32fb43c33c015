"""The hooks of the pytest plugin. Implement them in the ``conftest.py`` beside your ``pytest.ini``:
the controller of pytest-xdist, which hands clusters back after a worker was killed, loads no
``conftest.py`` of a directory below.

Each may leave out arguments that it has no use for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import pytest

if TYPE_CHECKING:
    from dbcache import Creation, Termination


@pytest.hookspec(firstresult=True)
def pytest_dbcache_config(config: pytest.Config) -> Optional[dict[str, Any]]:
    """The default configuration: of the cluster that the fixture ``databricks_cluster`` gives.
    ``--dbcache-config``, and ``dbcache_config`` in ``pytest.ini``, override it."""


@pytest.hookspec(firstresult=True)
def pytest_dbcache_create(
    cluster_config: dict[str, Any], creation: Creation, config: pytest.Config
) -> Optional[str]:
    """Starts a cluster and returns its id once it can be used. One worker of all is asked, the
    others wait. Give Databricks ``creation.idempotency_token``, and call ``creation.started(id)``
    as soon as the id is known: then it is found again, should this process die meanwhile."""


@pytest.hookspec(firstresult=True)
def pytest_dbcache_check(cluster_id: str, config: pytest.Config) -> Optional[bool]:
    """Whether a cluster that nobody holds now still runs. Without it, one is believed to."""


@pytest.hookspec
def pytest_dbcache_terminate(termination: Termination, config: pytest.Config) -> None:
    """Terminates ``termination.cluster_id``. Where that is ``None``, a creation ended before it
    told which cluster it had started: find it by ``termination.idempotency_token``. Must do no harm
    where there is nothing left to terminate; what it raises leaves the cluster owed. Without this
    hook, clusters are kept until they expire."""
