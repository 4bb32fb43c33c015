"""A Databricks workspace by nothing but its host, a token and a configuration: from Python, by the
plugin and by the command line, against the fake of tests/workspace."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

import dbcache
from dbcache import databricks
from plugin_project import totals

FAKE = pathlib.Path(__file__).resolve().parents[2] / "tests/workspace/fake"
COMMAND = str(pathlib.Path(dbcache.__file__).parent / "bin/dbcache")
CONFIG = {"spark_version": "15.4.x-scala2.12", "node_type_id": "m5.large", "num_workers": 0}


class Fake:
    def __init__(self, directory):
        self.process = subprocess.Popen(
            [sys.executable, FAKE, directory, "--die-with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.about = json.loads(self.process.stdout.readline())

    def ask(self, path, body=None):
        request = urllib.request.Request(
            self.about["control"] + path, None if body is None else json.dumps(body).encode()
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            return json.loads(answer.read())

    def clusters(self, *states):
        found = self.ask("/clusters")
        return [each for each in found if not states or each["state"] in states]

    def active(self):
        return self.clusters("PENDING", "RUNNING", "RESTARTING", "RESIZING")


@pytest.fixture(scope="module")
def shared_fake(tmp_path_factory):
    fake = Fake(tmp_path_factory.mktemp("fake"))
    yield fake
    fake.process.kill()


@pytest.fixture
def fake(shared_fake, monkeypatch, tmp_path):
    shared_fake.ask("/reset", {})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", shared_fake.about["ca"])
    monkeypatch.setenv("DATABRICKS_HOST", shared_fake.about["host"])
    monkeypatch.setenv("DATABRICKS_TOKEN", shared_fake.about["token"])
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return shared_fake


@pytest.fixture
def command(place, monkeypatch, tmp_path):
    """Starts a command with the database of the test, and a cluster.json beside it."""
    monkeypatch.setenv("DBCACHE_DATABASE", place["database"])
    if "schema" in place:
        monkeypatch.setenv("DBCACHE_SCHEMA", place["schema"])
    (tmp_path / "cluster.json").write_text(json.dumps(CONFIG))

    def start(*arguments, **more):
        return subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    return start


def finish(process, code=0):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- Python


def test_a_lease_needs_no_functions(fake, shared):
    progress = []
    with shared.acquire(CONFIG, policy="hand_back", on_wait=progress.append) as lease:
        assert lease.created_here
        [cluster] = fake.active()
        assert cluster["cluster_id"] == lease.cluster_id
    assert fake.active() == []
    assert {each["waits_for"] for each in progress} == {"cluster"}
    assert any(each["doing"].startswith("Finding instances") for each in progress)


def test_a_lease_is_of_the_workspace_that_is_given(fake, shared, monkeypatch):
    workspace = databricks.Workspace()
    monkeypatch.delenv("DATABRICKS_HOST")
    monkeypatch.delenv("DATABRICKS_TOKEN")
    host = fake.about["host"]
    ways = ({"workspace": workspace}, {"create": workspace.create, "terminate": workspace.terminate})
    for way in ways:
        with shared.acquire({**CONFIG, "cluster_name": str(len(way))}, **way):
            pass
    assert {each["host"] for each in shared.manager.get_all_clusters()} == {host}
    assert len(fake.active()) == 2
    with pytest.raises(databricks.NotAuthenticated):
        shared.acquire(CONFIG)


def test_a_lone_worker_does_not_ask_again_and_again(fake, shared):
    def requests():
        return [each for each in fake.ask("/journal") if each["what"] == "request"]

    with shared.acquire(CONFIG):
        pass
    asked = len(requests())
    for _ in range(3):
        with shared.acquire(CONFIG):
            pass
    assert len(requests()) == asked


def test_a_check_ends_with_its_acquire(fake, shared, command):
    holder = command(
        "run", "--config", "cluster.json", "--", "sleep", "60", start_new_session=True
    )
    wait_for(lambda: any(each["kind"] == "lease" for each in shared.leases()["leases"]))
    os.killpg(holder.pid, signal.SIGKILL)  # so that the next one asks
    holder.communicate()
    [cluster] = fake.active()
    fake.ask(f"/clusters/{cluster['cluster_id']}", {"state": "RESTARTING"})
    with pytest.raises(dbcache.Timeout):
        shared.acquire(CONFIG, timeout=0.5).wait()
    assert fake.clusters() == fake.active()
    fake.ask(f"/clusters/{cluster['cluster_id']}", {"state": "RUNNING"})
    began = time.monotonic()
    with shared.acquire(CONFIG, timeout=3) as lease:  # later checks have no such end
        wait_for(lambda: time.monotonic() > began + 3)
        assert not lease.report_dead()


def test_a_workspace_shows_its_clusters_and_itself(fake):
    workspace = databricks.Workspace()
    assert workspace.user() == "tester@example.com"
    assert workspace.host == fake.about["host"]
    assert (workspace.credentials, workspace.credentials_source) == ("pat", "DATABRICKS_TOKEN")
    assert fake.about["token"] not in repr(workspace)
    fake.ask("/clusters", {"cluster_name": "one"})
    [one] = workspace.clusters(["RUNNING"])
    assert workspace.cluster(one["cluster_id"])["cluster_name"] == "one"
    assert workspace.clusters(["PENDING"]) == []
    assert workspace.cluster("no-such") is None
    with pytest.raises(dbcache.InvalidArgument, match="HIBERNATING"):
        workspace.clusters(["HIBERNATING"])


def test_errors_have_their_classes_and_what_the_workspace_said(fake, shared):
    fake.ask("/settings", {"quota": 0})
    with pytest.raises(databricks.QuotaExceeded) as caught:
        shared.acquire(CONFIG).wait()
    assert caught.value.http_status == 400
    assert caught.value.error_code == "QUOTA_EXCEEDED"
    assert caught.value.workspace_message == "The quota of 0 clusters is used up"
    assert not caught.value.may_succeed_again
    with pytest.raises(databricks.NotAuthenticated):
        databricks.Workspace(token="dapi-not-the-right-one").user()
    with pytest.raises(databricks.NotAuthenticated, match="DATABRICKS_HOST"):
        databricks.Workspace(host="https://elsewhere.example")
    # Nor does a token that the caller has for another workspace go there.
    elsewhere = {"host": "https://elsewhere.example"}
    with pytest.raises(databricks.NotAuthenticated, match="elsewhere"):
        databricks.Workspace.of(elsewhere, token=fake.about["token"])
    with pytest.raises(TypeError, match="no option tokne"):
        databricks.Workspace.of(CONFIG, tokne="x")


def test_all_who_wait_fail_with_what_no_other_try_can_mend(fake, place, tmp_path):
    fake.ask("/faults", {"path": "/create", "kind": "hang", "seconds": 1})
    fake.ask("/faults", {"path": "/create", "times": -1, "status": 400, "body": "BAD: no such"})
    shared = [dbcache.SharedClusters(**place) for _ in range(3)]
    failures = []

    def acquire(mine):
        try:
            mine.acquire(CONFIG).wait()
        except dbcache.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=acquire, args=(mine,)) for mine in shared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {type(each) for each in failures} == {
        databricks.InvalidClusterConfig,
        dbcache.CreationFailed,
    }
    assert [type(each) for each in failures].count(dbcache.CreationFailed) == 2
    assert all("no such" in str(each) for each in failures)


def test_ctrl_c_ends_a_creation_and_its_cluster_is_owed(fake, shared):
    fake.ask("/settings", {"start_seconds": 1e6})

    def interrupt():
        wait_for(fake.active)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        shared.acquire(CONFIG).wait()
    assert [owed["cluster_id"] for owed in shared.owed()] == [fake.active()[0]["cluster_id"]]
    assert shared.settle(databricks.Workspace().terminate)["failed"] == []
    assert fake.active() == []


# ---- The plugin


@pytest.fixture
def bare_project(project):
    """A project with a configuration and tests, and no conftest.py."""
    (project.directory / "conftest.py").unlink()
    project.write("cluster.json", json.dumps(CONFIG))
    project.write("pytest.ini", "[pytest]\ndbcache_config = cluster.json\n")
    project.write(
        "test_it.py",
        """
        import os, signal, pathlib
        import pytest

        @pytest.mark.parametrize("number", range(16))
        def test_it(databricks_cluster, number):
            assert os.environ["DATABRICKS_CLUSTER_ID"] == databricks_cluster.cluster_id
            if number in (3, 9) and os.environ.get("KILL"):
                mark = pathlib.Path(f"killed-{number}")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

        def test_without_it():
            assert "DATABRICKS_CLUSTER_ID" not in os.environ
        """,
    )
    return project


def test_the_plugin_needs_no_conftest(fake, bare_project):
    output = bare_project.run("-n", "8")
    assert totals(output)[0] == 1 and totals(output)[2:] == [0, 0]
    assert len(fake.clusters()) == 1 and fake.active() == []
    assert "tester@example.com" not in output and fake.about["token"] not in output


def test_the_plugin_hands_back_after_killed_workers(fake, bare_project):
    bare_project.run("-n", "8", ends_with=1, KILL="yes")
    assert len(fake.clusters()) == 1 and fake.active() == []
    assert bare_project.is_quiet()


def test_the_plugin_says_what_is_missing(fake, bare_project, monkeypatch):
    monkeypatch.delenv("DATABRICKS_TOKEN")
    output = bare_project.run(ends_with=1)
    assert "dbcache has no way to create one: there are no credentials" in output
    assert f"DATABRICKS_HOST is {fake.about['host']} without credentials" in output


def test_a_given_cluster_needs_no_credentials(fake, bare_project, shared, monkeypatch):
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLUSTER_ID", "given-1")
    with shared.acquire(CONFIG) as lease:
        assert lease.cluster_id == "given-1"
    bare_project.write("test_it.py", "def test_it(databricks_cluster): pass")
    assert totals(bare_project.run("-n", "2"))[0] == 0
    assert fake.clusters() == []


# ---- The command line


# A worker tells its cluster, and holds it until it is told to go: else the last may come when all others left.
HOLD = ("run", "--config", "cluster.json", "--hand-back", "--", "sh", "-c",
        "echo $DATABRICKS_CLUSTER_ID; read told")  # fmt: skip


def let_go(workers):
    for worker in workers:
        _, err = worker.communicate("\n", timeout=60)
        assert worker.returncode == 0, err


def test_eight_workers_share_one_cluster(fake, command):
    workers = [command(*HOLD, stdin=subprocess.PIPE) for _ in range(8)]
    assert len({worker.stdout.readline() for worker in workers}) == 1
    let_go(workers)
    assert len(fake.clusters()) == 1
    wait_for(lambda: fake.active() == [])
    assert "None" in finish(command("owed"))


def test_two_of_eight_workers_are_killed(fake, command):
    fake.ask("/settings", {"start_seconds": 1.5})

    def start():
        return command(*HOLD, stdin=subprocess.PIPE, start_new_session=True)

    creator = start()
    wait_for(fake.active)
    workers = [start() for _ in range(7)]
    os.killpg(creator.pid, signal.SIGKILL)  # while it creates
    creator.communicate()
    assert len({worker.stdout.readline() for worker in workers}) == 1
    os.killpg(workers[0].pid, signal.SIGKILL)  # while its command runs
    workers[0].communicate()
    let_go(workers[1:])
    finish(command("cleanup", "--workspace"))
    assert len(fake.clusters()) == 1 and fake.active() == []


def test_a_signal_ends_a_hand_back(fake, command):
    fake.ask("/faults", {"path": "/delete", "status": 503, "times": -1})
    process = command("run", "--config", "cluster.json", "--hand-back", "--", "true")
    wait_for(lambda: fake.ask("/faults")[0]["hits"] > 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)  # what is repeated is so for a minute
    assert process.returncode == 0 and "is not terminated yet" in err
    assert len(fake.active()) == 1
    fake.ask("/reset", {})


def test_shells_acquire_and_release(fake, command):
    name = finish(command("acquire", "--config", "cluster.json", "--hand-back")).strip()
    assert len(fake.active()) == 1
    assert "terminated" in finish(command("release", name, "--workspace"))
    assert fake.active() == []


def test_what_is_wrong_is_said(fake, command, monkeypatch):
    process = command("run", "--config", "cluster.json", "--workspace-profile", "x", "--", "true")
    _, err = process.communicate()
    assert process.returncode == 125 and "there is no profile x in " in err
    monkeypatch.delenv("DATABRICKS_TOKEN")
    process = command("run", "--config", "cluster.json", "--", "true")
    _, err = process.communicate()
    assert process.returncode == 125
    assert "without --create the Databricks workspace starts the cluster, but: there are" in err
    process = command("release", "1", "--workspace", "--terminate", "true")
    process.communicate()
    assert process.returncode == 2
    # A cluster that somebody gave needs no credentials.
    monkeypatch.setenv("DATABRICKS_CLUSTER_ID", "given-1")
    finish(command("run", "--config", "cluster.json", "--", "true"))


def test_workspace_tells_who_asks(fake, command, monkeypatch):
    out = finish(command("workspace"))
    assert f"  Host: {fake.about['host']}\n" in out
    assert "  Credentials: pat (DATABRICKS_TOKEN)\n  User: tester@example.com\n" in out
    assert "  May List Clusters: Yes\n  May Create Clusters: Yes\n" in out
    fake.ask("/settings", {"may_create": False})
    assert "May Create Clusters: Only by a cluster policy" in finish(command("workspace"))
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-not-the-right-one")
    told = json.loads(finish(command("workspace", "--json"), code=1))
    assert told["user"] is None and "does not accept the credentials" in told["error"]


def test_reconcile_records_what_is_gone(fake, command):
    finish(command("run", "--config", "cluster.json", "--", "true"))
    [cluster] = fake.active()
    told = json.loads(finish(command("reconcile", "--json")))
    assert told["running"] == [cluster["cluster_id"]] and told["removed"] == []
    fake.ask("/faults", {"path": "/list", "status": 403, "times": -1})
    assert command("reconcile").wait() == 3
    finish(command("status"))
    fake.ask("/reset", {})
    fake.ask("/faults", {"path": "/get", "status": 403, "times": -1})
    told = json.loads(finish(command("reconcile", "--json"), code=1))
    assert [each["cluster_id"] for each in told["unknown"]] == [cluster["cluster_id"]]
    fake.ask("/reset", {})
    told = json.loads(finish(command("reconcile", "--json")))
    assert told["removed"] == [cluster["cluster_id"]]
    assert dbcache.CacheManager().get_all_clusters() == []


def test_reconcile_ends_orphans_and_nothing_else(fake, command):
    finish(command("run", "--config", "cluster.json", "--", "true"))
    [cluster] = fake.active()
    hour_ago = int((time.time() - 3700) * 1000)
    tags = {"custom_tags": cluster["custom_tags"]}
    orphan = fake.ask("/clusters", {**tags, "start_time": hour_ago})["cluster_id"]
    young = fake.ask("/clusters", tags)["cluster_id"]
    foreign = {"custom_tags": {"dbcache-token": "dbcache-of-another-database"}}
    other = fake.ask("/clusters", {**foreign, "start_time": hour_ago})["cluster_id"]
    told = json.loads(finish(command("reconcile", "--orphans", "--json")))
    assert [each["cluster_id"] for each in told["orphans"]] == [orphan]
    assert told["others"] == 2
    assert len(fake.active()) == 4
    told = json.loads(finish(command("reconcile", "--orphans", "--terminate", "--json")))
    assert [each["terminated"] for each in told["orphans"]] == [True]
    left = {each["cluster_id"] for each in fake.active()}
    assert left == {cluster["cluster_id"], young, other}


def test_a_start_that_makes_no_request_loads_nothing(fake, command):
    with contextlib.suppress(FileNotFoundError):
        run = subprocess.run(
            [COMMAND, "status"], env={**os.environ, "LD_DEBUG": "libs"}, capture_output=True, text=True
        )
        assert "libcurl" not in run.stderr


# ---- Secrets


def test_no_secret_is_anywhere(fake, command, monkeypatch, tmp_path):
    """What the commands print and log at the highest level, write, and show in the list of processes."""
    pat, secret = fake.about["token"], fake.about["client_secret"]
    outputs = []  # as files of the directory
    lines = set()  # of /proc/PID/cmdline

    def run(*arguments):
        with open(tmp_path / f"output-{len(outputs)}", "w", encoding="utf-8") as output:
            outputs.append(output.name)
            process = subprocess.Popen(
                [COMMAND, "--log-level", "trace", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            while process.poll() is None:
                lines.update(command_lines())
                time.sleep(0.005)

    def command_lines():
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                yield path.read_bytes()

    def use(own):
        config = {**CONFIG, "spark_env_vars": {"A": own}, "token": pat}
        (tmp_path / "cluster.json").write_text(json.dumps(config))
        run("workspace")
        run("run", "--config", "cluster.json", "--hand-back", "--", "sleep", "0.2")
        run("run", "--config", "cluster.json", "--", "true")
        # A careless server repeats what it was sent.
        body = {"error_code": "INVALID_PARAMETER_VALUE", "message": f"bad {own}"}
        fake.ask("/faults", {"path": "/create", "status": 400, "body": body})
        (tmp_path / "other.json").write_text(json.dumps({**config, "cluster_name": own}))
        run("run", "--config", "other.json", "--", "true")
        fake.ask("/faults", {"path": "/list", "status": 401, "body": f"A: {own}"})
        run("reconcile", "--orphans")
        for what in (("status",), ("list",), ("shared",), ("history", "--json"), ("owed", "--json")):
            run(*what)
        (tmp_path / "cluster.json").unlink()  # these have the secrets of the user
        (tmp_path / "other.json").unlink()

    use(pat)
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", fake.about["client_id"])
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", secret)
    fake.ask("/settings", {"token_lifetime_seconds": 1})
    use(secret)

    basic = base64.b64encode(f"{fake.about['client_id']}:{secret}".encode()).decode()
    issued = json.loads((pathlib.Path(fake.about["ca"]).parent / "tokens.json").read_text())
    secrets = [pat, secret, basic, *issued]
    assert len(issued) > 3
    found = [
        (path.name, known[:8])
        for path in tmp_path.rglob("*")
        if path.is_file()
        for known in secrets
        if known.encode() in path.read_bytes()
    ]
    assert found == []
    assert [known[:8] for known in secrets if any(known.encode() in line for line in lines)] == []
    # The look is a real one.
    assert any(b"sleep" in line for line in lines)
    everything = "".join(pathlib.Path(name).read_text() for name in outputs)
    assert "[redacted]" in everything and "bad [redacted]" in everything
