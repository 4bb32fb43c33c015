"""A proxy by CONNECT, so that a test sees whether it was used."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
from typing import Optional

from fake.common import Answer
from fake.server import PATIENCE_SECONDS, Handler
from fake.spoiling import UNDONE, sent_status, spoil

CHUNK = 65536


class Proxy(Handler):
    """Passes on one connection. Faults whose method is CONNECT hit it; their path is the target's end."""

    def serve(self) -> None:
        self.say(Answer(405, "this proxy passes on HTTPS only", {"Content-Type": "text/plain"}))

    def do_CONNECT(self) -> None:
        self.workspace = self.server.workspace
        self.close_connection = True
        fault = self.workspace.faults.hit("CONNECT", self.path)
        wanted = self.workspace.clusters.settings["proxy_credentials"]
        given = self._given()
        there: Optional[socket.socket] = None
        answer = UNDONE
        if fault is None and wanted is not None and given != wanted:
            answer = Answer(407, "", {"Proxy-Authenticate": 'Basic realm="fake workspace"'})
        elif fault is None:
            there = self._connect()
            answer = Answer(200 if there else 502, "")
        self.workspace.journal.note(
            "proxy", target=self.path, client="%s:%d" % self.client_address[:2],
            user_agent=self.headers.get("User-Agent", ""),
            authorization="none" if given is None else "basic right" if given == wanted else "wrong",
            status=answer.status if fault is None else sent_status(fault, answer),
            fault=None if fault is None else {"id": fault.id, "kind": fault.kind, "when": fault.when})
        if fault is not None:
            spoil(self, fault, answer, "proxy")
        elif there is None:
            self.say(answer)
        else:
            with there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(self.connection, there)

    def _given(self) -> Optional[str]:
        kind, _, value = self.headers.get("Proxy-Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            return base64.b64decode(value).decode()
        except ValueError:
            return ""

    def _connect(self) -> Optional[socket.socket]:
        name, _, port = self.path.rpartition(":")
        try:
            return socket.create_connection((name.strip("[]"), int(port)), timeout=PATIENCE_SECONDS)
        except (OSError, ValueError):
            return None


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    """Until both sides have ended, or nobody has said anything for long. The end of one side reaches the
    other, which may still have something to say."""
    open_sides = {here: there, there: here}
    with contextlib.suppress(OSError):
        while open_sides:
            ready = select.select(list(open_sides), [], [], PATIENCE_SECONDS)[0]
            if not ready:
                return
            for side in ready:
                if data := side.recv(CHUNK):
                    open_sides[side].sendall(data)
                else:
                    open_sides.pop(side).shutdown(socket.SHUT_WR)
