"""dbcache: test workers share one Databricks cluster per configuration.

``CacheManager`` has the documented operations; ``SharedClusters().acquire(...)`` leases a cluster::

    with dbcache.SharedClusters().acquire(config, create) as lease:
        test_on(lease.cluster_id)

``history``, ``replay``, ``verify`` and ``watch`` work on the log of events. Every error derives
from ``dbcache.Error`` (see ``dbcache.errors``). ``dbcache.types`` describes the dictionaries that
the calls return.
"""

from __future__ import annotations

from dbcache import _dbcache, errors
from dbcache import _logging as _logging
from dbcache._event_log import history, replay, verify, watch
from dbcache._lease import Acquisition, Lease, RunMembership
from dbcache._manager import CacheManager, config_hash
from dbcache._shared import Creation, SharedClusters, Termination
from dbcache.errors import *  # noqa: F403

__version__: str = _dbcache.version

__all__ = [
    "Acquisition",
    "CacheManager",
    "Creation",
    "Lease",
    "RunMembership",
    "SharedClusters",
    "Termination",
    "config_hash",
    "history",
    "replay",
    "verify",
    "watch",
    *errors.__all__,
]
