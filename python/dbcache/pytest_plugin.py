"""The pytest plugin: the tests of a session, in any number of workers, share one cluster per
configuration.

The plugin is active in projects that implement ``pytest_dbcache_create`` (see ``pytest_hooks``), and
in those that name a configuration where the environment has a Databricks workspace with
credentials. There, every process of a session joins one run at
``pytest_sessionstart``, the controller of pytest-xdist too. A cluster is handed back when all of
them have left the run. So it survives a moment in which one worker is done with it and another has
not begun. A killed process has left.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, Optional, get_args

import pytest

import dbcache
from dbcache import pytest_hooks
from dbcache._logging import logger
from dbcache._pytest_lifecycle import Lifecycle, is_implemented, why_no_clusters
from dbcache._pytest_run import Place, Policy, Run, is_over
from dbcache._values import read_json_object

if TYPE_CHECKING:
    from _pytest.fixtures import FixtureDef

ClusterFactory = Callable[[Mapping[str, Any]], dbcache.Lease]


# ---- The fixtures


@pytest.fixture(scope="session")
def databricks_clusters(pytestconfig: pytest.Config) -> Iterator[ClusterFactory]:
    """A function: ``databricks_clusters(config)`` leases the cluster of a configuration and returns
    a ``dbcache.Lease``. Each worker has one lease for a configuration, and holds it until its last
    test is done."""
    session = _session_of(pytestconfig)
    yield session.lease_of
    session.run.release_leases()


@pytest.fixture(scope="session")
def databricks_cluster(
    databricks_clusters: ClusterFactory, pytestconfig: pytest.Config
) -> dbcache.Lease:
    """The ``dbcache.Lease`` of the default configuration. Its ``cluster_id`` is the same in every
    worker. In the tests that use it, ``DATABRICKS_CLUSTER_ID`` names the cluster, as
    ``databricks-connect`` wants it."""
    session = _session_of(pytestconfig)
    lease = databricks_clusters(session.run.default_config())
    session.exported.use(lease)
    return lease


# ---- Which tests use which leases


class _Exported:
    """The variables by which the programs of a test find the cluster of ``databricks_cluster``. The
    name of the lease goes with it, so that a ``dbcache`` among them takes the cluster for that
    lease's, and not for one of the user's own."""

    _NAMES = ("DATABRICKS_CLUSTER_ID", "DBCACHE_LEASE")

    def __init__(self) -> None:
        self._lease: Optional[dbcache.Lease] = None
        self._before: Optional[dict[str, Optional[str]]] = None

    def use(self, lease: dbcache.Lease) -> None:
        """From now on, tests that use the fixture find this lease's cluster."""
        self._lease = lease
        self.put()

    def put(self) -> None:
        if self._lease is None or is_over(self._lease):
            return
        if self._before is None:
            self._before = {name: os.environ.get(name) for name in self._NAMES}
        os.environ["DATABRICKS_CLUSTER_ID"] = self._lease.cluster_id
        os.environ["DBCACHE_LEASE"] = self._lease.name

    def take_back(self) -> None:
        for name, value in (self._before or {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = None


class _Session:
    """The plugin in a session in which it is active. Records in the log which test used which
    cluster."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.exported = _Exported()
        self._fixtures_in_setup: list[FixtureDef[Any]] = []
        #: The leases that each fixture took in its setup. A test that uses the fixture uses them.
        self._leases_of: dict[FixtureDef[Any], list[dbcache.Lease]] = {}
        self._item: Optional[pytest.Item] = None
        #: The leases that the running test, or a fixture set up for it, took.
        self._taken: list[dbcache.Lease] = []
        self._is_called = False
        self._recorded: set[dbcache.Lease] = set()
        self._failure: Optional[str] = None

    def lease_of(self, cluster_config: Mapping[str, Any]) -> dbcache.Lease:
        __tracebackhide__ = True  # pytest's traceback then begins in the user's hook
        lease = self.run.lease_of(cluster_config)
        for fixture in self._fixtures_in_setup:
            self._leases_of.setdefault(fixture, []).append(lease)
        self._taken.append(lease)
        if self._is_called:
            self._record(lease)
        return lease

    def _record(self, lease: dbcache.Lease) -> None:
        if self._item is not None and lease not in self._recorded:
            self._recorded.add(lease)
            try:
                lease.note_use(self._item.nodeid)
            except dbcache.LeaseLost:
                raise
            except dbcache.Error as error:  # the test can go on: it has its cluster
                logger.warning(
                    "cannot record in the log that %s used %s: %s",
                    self._item.nodeid, lease.cluster_id, error,
                )  # fmt: skip

    def _fixtures_of(self, item: pytest.Item) -> list[FixtureDef[Any]]:
        # These names include the fixtures that the test asked for by getfixturevalue.
        names = item._request.fixturenames if hasattr(item, "_request") else ()
        return [
            fixture
            for fixture in self._leases_of
            if fixture.argname in names and item.nodeid.startswith(fixture.baseid or "")
        ]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: FixtureDef[Any]) -> Iterator[None]:
        self._fixtures_in_setup.append(fixturedef)
        yield
        self._fixtures_in_setup.pop()

    def pytest_fixture_post_finalizer(self, fixturedef: FixtureDef[Any]) -> None:
        self._leases_of.pop(fixturedef, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._item, self._is_called, self._taken, self._recorded = item, False, [], set()
        for fixture in self._fixtures_of(item):
            if any(is_over(lease) for lease in self._leases_of.get(fixture, ())):
                # The fixture was set up on a cluster that was found dead. Finish it, so that pytest
                # sets it up again on another cluster.
                try:
                    fixture.finish(item._request)  # type: ignore[attr-defined]
                except Exception as error:  # its teardown may need the dead cluster
                    logger.warning(
                        "the teardown of the fixture %s failed: %s", fixture.argname, error
                    )

        if "databricks_cluster" in getattr(item, "fixturenames", ()):
            self.exported.put()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        yield
        self.exported.take_back()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self._is_called = True
        self._record_all(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        if self._is_called:
            try:
                self._record_all(item)
            except dbcache.LeaseLost as error:  # raised here, it would stop pytest's own teardown
                logger.warning("%s", error)
        self._item, self._is_called = None, False

    def _record_all(self, item: pytest.Item) -> None:
        for fixture in self._fixtures_of(item):
            self._taken += self._leases_of[fixture]
        for lease in self._taken:
            self._record(lease)

    # After all other implementations, even if they raise: they tear down fixtures, too.
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield
        try:
            self.run.leave()
        except dbcache.Error as error:
            # This process has left the run once it ends. The next session terminates what this one
            # could not.
            self._failure = f"cannot hand back the session's clusters: {error}"
            logger.warning("%s", self._failure)
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["dbcache_lost"] = self.run.lost

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Called in the controller of pytest-xdist when a worker has ended."""
        self.run.lost += getattr(node, "workeroutput", {}).get("dbcache_lost", [])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Called in the controller of pytest-xdist for each worker, also for one that replaces
        another."""
        node.workerinput["dbcache"] = self.run.place.to_send()

    def pytest_report_header(self) -> str:
        return f"dbcache: {self.run.manager.db_path}, run {self.run.place.run}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("dbcache")
        for text in self.run.lost:
            terminalreporter.line(text, red=True)
        if self._failure is not None:
            terminalreporter.line(self._failure, red=True)
            return
        try:
            summary = self.run.summary()
        except dbcache.Error as error:
            terminalreporter.line(f"cannot read what the session did: {error}", red=True)
            return
        for line in summary.lines():
            terminalreporter.line(line, yellow=bool(summary.owed))


def _session_of(config: pytest.Config) -> _Session:
    session = config.pluginmanager.get_plugin(_SESSION)
    if session is None:
        reason = why_no_clusters(config, _config_file(config))
        pytest.fail(
            "a test asks for a cluster, but dbcache has no way to create one"
            + (f": {reason}" if reason else "")
            + ". What it needs: a configuration, named by dbcache_config in pytest.ini, and "
            "DATABRICKS_HOST and DATABRICKS_TOKEN (or other credentials). Or implement "
            "pytest_dbcache_create in the conftest.py beside pytest.ini (a conftest.py in a "
            "directory below is loaded too late)",
            pytrace=False,
        )
    return session


# ---- Options, and the start of a session


_SESSION = "dbcache-session"
#: The options of pytest with which a session runs neither tests nor fixtures. (--setup-only runs
#: fixtures; --help, --version and --markers begin no session.)
_RUN_NO_TESTS = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
    "setupplan",
    "help",
    "version",
    "markers",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dbcache", "Databricks clusters shared by dbcache")
    group.addoption(
        "--dbcache-config",
        metavar="FILE",
        type=os.fsencode,  # pytest-xdist cannot send a str whose bytes are not UTF-8
        help="JSON file with the default cluster configuration (overrides dbcache_config in "
        "pytest.ini, which overrides the hook pytest_dbcache_config)",
    )
    parser.addini(
        "dbcache_config",
        "JSON file with the default cluster configuration, relative to pytest.ini",
    )
    parser.addini(
        "dbcache_policy",
        "hand_back: terminate clusters when the session ends (the default); keep: leave them to "
        "the next session until they expire (the default without pytest_dbcache_terminate)",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(pytest_hooks)


# First, because pytest-xdist then starts its workers and pytest prints the header.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if any(getattr(config.option, option, False) for option in _RUN_NO_TESTS):
        return
    given = getattr(config, "workerinput", {}).get("dbcache")
    if given is None and hasattr(config, "workerinput"):
        return  # the plugin is inactive in the controller
    default_config = None if given else _config_file(config)
    if given is None and why_no_clusters(config, default_config) is not None:
        return
    try:
        place = Place.sent(given) if given else Place.of_new_session(default_config)
        run = Run(config, place, _policy(config))
    except dbcache.Error as error:
        raise pytest.UsageError(f"dbcache: {error}") from error
    config.pluginmanager.register(_Session(run), _SESSION)


def _policy(config: pytest.Config) -> Policy:
    policy: Policy = config.getini("dbcache_policy")
    can_terminate = Lifecycle(config).can_terminate
    if not policy:
        return "hand_back" if can_terminate else "keep"
    if policy not in get_args(Policy):
        raise pytest.UsageError(f"dbcache_policy must be hand_back or keep, not {policy!r}")
    if policy == "hand_back" and not can_terminate:
        raise pytest.UsageError(
            "dbcache_policy = hand_back needs the hook pytest_dbcache_terminate: implement it in "
            "conftest.py, or set dbcache_policy = keep"
        )
    return policy


def _config_file(config: pytest.Config) -> Optional[str]:
    """The JSON in the file that the command line or pytest.ini names, or ``None``."""
    name = config.getoption("dbcache_config")
    directory = config.invocation_params.dir
    if name is None:
        name = config.getini("dbcache_config")
        directory = config.inipath.parent if config.inipath else config.rootpath
    if not name:
        return None
    path = pathlib.Path(directory, os.fsdecode(name))
    try:
        return read_json_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise pytest.UsageError(
            f"dbcache: cannot read the cluster configuration {path}: {error}"
        ) from error
