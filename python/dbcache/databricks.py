"""A Databricks workspace: its clusters as a lifecycle, so that nobody writes ``create``, ``check``
and ``terminate``::

    with dbcache.SharedClusters().acquire(config) as lease:  # DATABRICKS_HOST, DATABRICKS_TOKEN
        test_on(lease.cluster_id)

``Workspace`` is for those who want other credentials than the environment's, or to look around.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from dbcache import _dbcache
from dbcache._values import to_json
from dbcache.errors import (
    CapacityUnavailable,
    ClusterFailed,
    InvalidClusterConfig,
    NotAuthenticated,
    PermissionDenied,
    QuotaExceeded,
    WorkspaceError,
    WorkspaceUnavailable,
)

if TYPE_CHECKING:
    from dbcache._shared import Creation, Termination

__all__ = [
    "CapacityUnavailable",
    "ClusterFailed",
    "InvalidClusterConfig",
    "NotAuthenticated",
    "PermissionDenied",
    "QuotaExceeded",
    "Workspace",
    "WorkspaceError",
    "WorkspaceUnavailable",
]


class LazyWorkspace:
    """The workspace of a configuration, found at the first need: an acquire may join a cluster that
    needs no credentials. Without ``DATABRICKS_CLUSTER_ID`` there is no such cluster, and missing
    credentials are an error at once."""

    def __init__(self, config: Mapping[str, Any], found: Optional[Workspace] = None) -> None:
        self._config = config
        self._found = found
        self._stop: Optional[_dbcache.StopSource] = None
        self._deadline: Optional[float] = None
        if not os.environ.get("DATABRICKS_CLUSTER_ID"):
            self._get()

    @property
    def host(self) -> str:
        """Empty where there are no credentials."""
        try:
            return self._get().host
        except NotAuthenticated:
            return ""

    @contextlib.contextmanager
    def limited_checks(self, deadline: float, stop: _dbcache.StopSource) -> Iterator[None]:
        """Checks end with the acquire. ``deadline`` is as ``time.monotonic()`` counts."""
        self._deadline, self._stop = deadline, stop
        try:
            yield
        finally:
            self._deadline = self._stop = None

    def _get(self) -> Workspace:
        if self._found is None:
            self._found = Workspace.of(self._config)
        return self._found

    def create(self, config: Mapping[str, Any], creation: Creation) -> str:
        return self._get().create(config, creation)

    def check(self, cluster_id: str) -> bool:
        return self._get()._native.check(cluster_id, self._stop, self._deadline)

    def terminate(self, termination: Termination) -> None:
        self._get().terminate(termination)


class Workspace:
    """A workspace, by the Clusters API over HTTPS.

    What is left out comes from the environment (``DATABRICKS_HOST``, ``DATABRICKS_TOKEN`` and the
    other variables of Databricks' tools) or from a profile of ``~/.databrickscfg``. Credentials go
    to their own host only. The constructor makes no request; it raises ``NotAuthenticated`` where
    there are no credentials.

    ``autotermination_minutes`` is for configurations without one: even if every machine that knows
    of a cluster is gone, it ends by itself. ``permanent_delete`` removes clusters from the
    workspace's lists when they are terminated.

    ``create``, ``check`` and ``terminate`` are what ``SharedClusters.acquire`` takes. Every call
    raises the errors of this module. Several threads may use one object, and a forked child, too.
    """

    def __init__(
        self,
        host: Optional[str] = None,
        token: Optional[str] = None,
        *,
        client_id: Optional[str] = None,
        client_secret: Optional[str] = None,
        profile: Optional[str] = None,
        config_file: Optional[str] = None,
        auth_type: Optional[str] = None,
        autotermination_minutes: int = 60,
        permanent_delete: bool = False,
    ) -> None:
        self._native = _dbcache.Workspace(
            _options(
                host=host,
                token=token,
                client_id=client_id,
                client_secret=client_secret,
                profile=profile,
                config_file=config_file,
                auth_type=auth_type,
                autotermination_minutes=autotermination_minutes,
                permanent_delete=permanent_delete,
            )
        )

    @classmethod
    def of(cls, config: Mapping[str, Any], **options: Any) -> Workspace:
        """The workspace of a configuration: that of its ``host``, else that of the options and the
        environment. If these are two, the credentials of the options are not used, but those that
        the environment or a profile has for this very host."""
        workspace = cls.__new__(cls)
        workspace._native = _dbcache.Workspace.of(to_json(config, "config"), _options(**options))
        return workspace

    @staticmethod
    def is_configured() -> bool:
        """Whether the environment or a profile has a workspace and its credentials."""
        return _dbcache.Workspace.is_configured(_options())

    def __repr__(self) -> str:
        return f"<dbcache.databricks.Workspace {self.host}, {self.credentials}>"

    @property
    def host(self) -> str:
        """Scheme, host name and port."""
        return self._native.host

    @property
    def credentials(self) -> str:
        """The kind of the credentials, such as ``"pat"``. Never a secret."""
        return self._native.credentials

    @property
    def credentials_source(self) -> str:
        """Where the credentials are from, such as ``"DATABRICKS_TOKEN"``."""
        return self._native.credentials_source

    def create(self, config: Mapping[str, Any], creation: Creation) -> str:
        """Takes on the cluster that an earlier creator of this creation had started, else asks for
        one. Returns its id once it runs."""
        return self._native.create(to_json(config, "config"), creation)

    def check(self, cluster_id: str) -> bool:
        """Returns whether the cluster runs. Waits for one that starts. Raises where the workspace
        does not say."""
        return self._native.check(cluster_id, None, None)

    def terminate(self, termination: Termination) -> None:
        """Terminates the cluster of a ``Termination``, and those with the tag of its token."""
        self._native.terminate(dataclasses.asdict(termination))

    def user(self) -> str:
        """The name of the user whose credentials these are."""
        return self._native.user()

    def cluster(self, cluster_id: str) -> Optional[dict[str, Any]]:
        """The cluster as the workspace has it, or ``None`` if it is gone."""
        return self._native.cluster(cluster_id)

    def clusters(self, states: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The clusters in one of the states (``"RUNNING"``, say), or in any."""
        return self._native.clusters(list(states))


def _options(
    *, autotermination_minutes: int = 60, permanent_delete: bool = False, **texts: Optional[str]
) -> _dbcache.WorkspaceOptions:
    names = ("host", "token", "client_id", "client_secret", "profile", "config_file", "auth_type")
    unknown = texts.keys() - set(names)
    if unknown:
        raise TypeError(f"a workspace has no option {sorted(unknown)[0]}")
    return _dbcache.WorkspaceOptions(
        **{name: texts.get(name) or "" for name in names},
        autotermination_minutes=autotermination_minutes,
        permanent_delete=permanent_delete,
    )
