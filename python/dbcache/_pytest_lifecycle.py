"""The create, check and terminate of a pytest session: the hooks of conftest.py, else those of the
Databricks workspace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional

import pytest

import dbcache
from dbcache._logging import logger
from dbcache.databricks import LazyWorkspace, NotAuthenticated


class Functions(NamedTuple):
    """What ``SharedClusters.acquire`` takes."""

    create: Callable[[dict[str, Any], dbcache.Creation], str]
    check: Optional[Callable[[str], bool]]
    terminate: Optional[Callable[[dbcache.Termination], None]]
    workspace: Optional[LazyWorkspace]


class Lifecycle:
    """A hook wins where it is implemented. Without ``pytest_dbcache_create``, the workspace has the
    others."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_workspaces = not is_implemented(config, "create")

    @property
    def can_terminate(self) -> bool:
        return self._is_workspaces or is_implemented(self._config, "terminate")

    def of(self, cluster_config: Mapping[str, Any]) -> Functions:
        """The functions for clusters of a configuration."""
        workspace = LazyWorkspace(cluster_config) if self._is_workspaces else None
        return Functions(
            self._creator(workspace),
            self._checker(workspace),
            self._terminator(workspace),
            workspace,
        )

    def terminate_of(self, host: str) -> Callable[[dbcache.Termination], None]:
        """What terminates the clusters of a host; empty: of no known host."""
        needs_workspace = not is_implemented(self._config, "terminate")
        workspace = LazyWorkspace({"host": host}) if needs_workspace else None
        terminate = self._terminator(workspace)
        assert terminate is not None  # can_terminate
        return terminate

    def _creator(
        self, workspace: Optional[LazyWorkspace]
    ) -> Callable[[dict[str, Any], dbcache.Creation], str]:
        hook = self._config.hook

        def create(given: dict[str, Any], creation: dbcache.Creation) -> str:
            __tracebackhide__ = True  # pytest's traceback then begins in the user's hook
            logger.info("creating the cluster of %s", creation.config_hash)
            if workspace is not None:
                return workspace.create(given, creation)
            cluster_id = hook.pytest_dbcache_create(
                cluster_config=given, creation=creation, config=self._config
            )
            if cluster_id is None:
                raise TypeError("pytest_dbcache_create returned None; return the cluster's id")
            return cluster_id

        return create

    def _checker(self, workspace: Optional[LazyWorkspace]) -> Optional[Callable[[str], bool]]:
        hook = self._config.hook
        if not is_implemented(self._config, "check"):
            return None if workspace is None else workspace.check

        def check(cluster_id: str) -> bool:
            answer = hook.pytest_dbcache_check(cluster_id=cluster_id, config=self._config)
            if answer is None:
                raise TypeError("pytest_dbcache_check returned None; return True or False")
            return answer

        return check

    def _terminator(
        self, workspace: Optional[LazyWorkspace]
    ) -> Optional[Callable[[dbcache.Termination], None]]:
        hook = self._config.hook
        has_hook = is_implemented(self._config, "terminate")
        if workspace is None and not has_hook:
            return None

        def terminate(termination: dbcache.Termination) -> None:
            logger.info("terminating %s", termination.subject)
            if not has_hook:
                assert workspace is not None
                workspace.terminate(termination)
                return
            try:
                hook.pytest_dbcache_terminate(termination=termination, config=self._config)
            except (pytest.fail.Exception, pytest.skip.Exception) as outcome:
                # These derive from BaseException, not Exception: they would end the session as
                # Ctrl-C does.
                raise RuntimeError(str(outcome)) from outcome

        return terminate


def is_implemented(config: pytest.Config, hook: str) -> bool:
    return bool(getattr(config.hook, f"pytest_dbcache_{hook}").get_hookimpls())


def why_no_clusters(config: pytest.Config, default_config: Optional[str]) -> Optional[str]:
    """Why the session cannot create clusters, or ``None`` if it can. ``default_config``: the JSON
    of the configuration's file."""
    if is_implemented(config, "create"):
        return None
    if default_config is None and not is_implemented(config, "config"):
        return "no configuration is named"
    try:
        LazyWorkspace(json.loads(default_config or "{}"))
    except (dbcache.InvalidArgument, NotAuthenticated) as error:
        return str(error)
    return None
