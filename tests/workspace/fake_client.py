"""A fake workspace as a child process, requests to it, and what the tests of the fake have in common."""

from __future__ import annotations

import base64
import http.client
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

FAKE = pathlib.Path(__file__).resolve().parent / "fake"
API = "/api/2.1/clusters/"
SPEC = {"spark_version": "15.4.x-scala2.12", "node_type_id": "m5.large", "num_workers": 0}
PATIENCE_SECONDS = 20.0


class Got(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Fake:
    """The process, in a directory of its own."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.directory = pathlib.Path(self._temporary.name)
        self.process: subprocess.Popen[bytes]
        self.about: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(FAKE), str(self.directory), "--die-with-parent"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.about = json.loads(self.process.stdout.readline())

    def end(self, number: int = signal.SIGKILL) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.end()
        self._temporary.cleanup()

    # ---- Requests

    def connection(self, host: str = "127.0.0.1", timeout: float = PATIENCE_SECONDS,
                   proxy: Optional[str] = None) -> http.client.HTTPSConnection:
        """To the API, or through the proxy with these credentials ("" for none)."""
        port = self.port("host")
        trust = ssl.create_default_context(cafile=self.about["ca"])
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=trust)
        made = http.client.HTTPSConnection("127.0.0.1", self.port("proxy"), timeout=timeout, context=trust)
        coded = base64.b64encode(proxy.encode()).decode()
        made.set_tunnel(host, port, {"Proxy-Authorization": f"Basic {coded}"} if proxy else {})
        return made

    def port(self, which: str) -> int:
        return int(self.about[which].rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, *, token: Optional[str] = None,
            headers: Optional[dict[str, str]] = None,
            connection: Optional[http.client.HTTPSConnection] = None) -> Got:
        """One request, by default with the personal token ("" for none)."""
        given = dict(headers or {})
        token = self.about["token"] if token is None else token
        if token:
            given.setdefault("Authorization", f"Bearer {token}")
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        one = connection or self.connection()
        try:
            one.request(method, path, content, given)
            answer = one.getresponse()
            return Got(answer.status, answer.read().decode(), dict(answer.getheaders()))
        finally:
            one.close()

    def post(self, call: str, body: Any, **more: Any) -> Got:
        return self.ask("POST", API + call, body, **more)

    def get(self, cluster_id: str, **more: Any) -> Got:
        return self.ask("GET", f"{API}get?cluster_id={cluster_id}", **more)

    def clusters(self, **query: Any) -> Got:
        return self.ask("GET", API + "list?" + urllib.parse.urlencode(query, doseq=True))

    def create(self, **fields: Any) -> str:
        got = self.post("create", {**SPEC, **fields})
        assert got.status == 200, got
        return str(got.body["cluster_id"])

    def state(self, cluster_id: str) -> str:
        return str(self.get(cluster_id).body["state"])

    def token_for(self, form: dict[str, str], authorization: str = "") -> Got:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": authorization}
        return self.ask("POST", "/oidc/v1/token", urllib.parse.urlencode(form), headers=headers)

    # ---- The control address

    def tell(self, path: str, body: Any = None, method: str = "POST") -> Any:
        one = http.client.HTTPConnection("127.0.0.1", self.port("control"), timeout=PATIENCE_SECONDS)
        try:
            one.request(method, path, None if method != "POST" else json.dumps(body or {}))
            answer = one.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)
        finally:
            one.close()

    def set(self, **settings: Any) -> None:
        self.tell("/settings", settings)

    def fault(self, **fault: Any) -> int:
        return int(self.tell("/faults", fault)["id"])

    def advance(self, seconds: float) -> None:
        self.tell("/clock", {"advance_seconds": seconds})

    def journal(self, what: str, since: int = 0) -> list[dict[str, Any]]:
        return [record for record in self.tell(f"/journal?from={since}", method="GET")
                if record["what"] == what]

    def position(self) -> int:
        """The number of the journal's next record."""
        return len(self.tell("/journal", method="GET"))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come to be in time"
        time.sleep(0.005)


class FakeTest(unittest.TestCase):
    """Tests that share one workspace, which forgets everything before each. Its clock is moved, so that
    no test waits."""

    fake: Fake

    @classmethod
    def setUpClass(cls) -> None:
        cls.fake = Fake()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.fake.close()

    def setUp(self) -> None:
        self.fake.tell("/reset")
        self.begin = self.fake.position()
        self.fake.set(start_seconds=1000, terminate_seconds=1000)

    def journal(self, what: str) -> list[dict[str, Any]]:
        return self.fake.journal(what, self.begin)

    def running(self, **fields: Any) -> str:
        made: str = self.fake.tell("/clusters", fields)["cluster_id"]
        return made

    def assert_refused(self, got: Got, status: int, code: str, message: str) -> None:
        self.assertEqual((got.status, got.body["error_code"]), (status, code))
        self.assertIn(message, got.body["message"])
