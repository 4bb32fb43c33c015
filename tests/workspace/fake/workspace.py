"""The workspace: its parts, put together in its directory."""

from __future__ import annotations

import fcntl
import os
import pathlib
import sys
import threading
import time
from typing import Optional, TextIO

from fake.api import Api
from fake.certificates import Certificates
from fake.clusters import Clusters
from fake.common import Clock, Json
from fake.control import Control
from fake.faults import Faults
from fake.journal import Journal
from fake.oauth import Credentials, kept, write
from fake.proxy import Proxy
from fake.server import SecureServer, Server, listen

WAIT_FOR_LOCK_SECONDS = 10.0


def locked(path: pathlib.Path) -> TextIO:
    """A lock on the directory. One that was just killed may hold it for a moment."""
    lock = path.open("w")
    until = time.monotonic() + WAIT_FOR_LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > until:
                sys.exit(f"another fake workspace runs in {path.parent}; end it, or name another directory")
            time.sleep(0.02)


class Workspace:
    """Goes on from what its directory holds, and listens once it is made."""

    def __init__(self, directory: pathlib.Path, port: int = 0, control_port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = locked(directory / "lock")
        self.certificates = Certificates(directory)
        self.credentials = Credentials(directory)
        clock = Clock()
        self.journal = Journal(directory, clock)
        self.faults = Faults(self.journal)
        self.clusters = Clusters(self.journal, clock)
        for change in self.journal.replay():
            self.faults.restore(change["kept"])
            self.clusters.restore(change["kept"])
            if change["what"] in ("certificate", "reset"):
                self.certificates.use(change.get("which", "good"))
        path = directory / "ports.json"
        before = kept(path, {"host": 0, "control": 0, "proxy": 0})
        self.ports = self._listen({**before, **({"host": port} if port else {}),
                                   **({"control": control_port} if control_port else {})})
        write(path, self.ports)
        self.journal.note("started", pid=os.getpid())
        for server in self._servers:
            server.start()
        threading.Thread(target=self.clusters.run, daemon=True).start()

    def _listen(self, ports: Json) -> dict[str, int]:
        """Connections wait from here on, and are answered once the servers start."""
        host = listen(SecureServer, ports["host"], Api, self)
        control = listen(Server, ports["control"], Control, self)
        proxy = listen(Server, ports["proxy"], Proxy, self)
        found = {"host": host.server_port, "control": control.server_port, "proxy": proxy.server_port}
        self._servers = [host, control, proxy]
        if six := self._listen_on_ipv6(host.server_port):
            self._servers.append(six)
        return found

    def _listen_on_ipv6(self, port: int) -> Optional[Server]:
        try:
            return SecureServer(("::1", port), Api, self)
        except OSError:  # the machine has no IPv6
            return None

    @property
    def host(self) -> str:
        return f"https://127.0.0.1:{self.ports['host']}"

    def about(self) -> Json:
        return {
            "host": self.host,
            "control": f"http://127.0.0.1:{self.ports['control']}",
            "proxy": f"http://127.0.0.1:{self.ports['proxy']}",
            "github_oidc_url": f"{self.host}/github-oidc?version=1",
            "ca": str(self.directory / "ca.pem"),
            "pid": os.getpid(),
            **self.credentials.public,
        }

    def use_certificate(self, which: str) -> None:
        self.certificates.use(which)
        self.journal.note("certificate", which=which, kept={"certificate": which})

    def reset(self) -> None:
        """Forgets clusters, faults, settings and the clock's lead; keeps addresses, authority, tokens and
        the journal."""
        self.faults.clear()
        self.clusters.reset()
        self.certificates.use("good")

    def close(self) -> None:
        for server in self._servers:
            server.socket.close()
