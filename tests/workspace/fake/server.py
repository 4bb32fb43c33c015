"""What the addresses of the workspace have in common: sockets, threads, and requests as JSON."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import json
import random
import socket
import socketserver
import sys
import threading
import time
import traceback
import urllib.parse
from typing import TYPE_CHECKING, Any, Optional

from fake.common import Answer, Json, Refused

if TYPE_CHECKING:
    from fake.workspace import Workspace

PATIENCE_SECONDS = 120.0  # with a client that says nothing
LONGEST_BODY = 10 << 20
LONGEST_LINE = 65536
# Below the ports that systems give to connections, so that after a kill no connection has taken one.
LEAST_PORT, MOST_PORT = 15000, 30000
WAIT_FOR_PORT_SECONDS = 10.0


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """With room for many clients, and silent about those that go away."""

    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], workspace: Workspace) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.workspace = workspace
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's would look up the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is one
            traceback.print_exc()

    def start(self) -> int:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return int(self.server_address[1])


class SecureServer(Server):
    """Makes the handshake in the connection's own thread, with the certificate of the moment."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(PATIENCE_SECONDS)
        with self.workspace.certificates.context().wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)


def listen(server: type[Server], port: int, handler: type[Handler], workspace: Workspace,
           host: str = "127.0.0.1") -> Server:
    """A server at this port, or with 0 at one that is free. The port of one that was just killed may be
    taken for a moment."""
    until = time.monotonic() + WAIT_FOR_PORT_SECONDS
    while True:
        wanted = port or random.randint(LEAST_PORT, MOST_PORT)
        try:
            return server((host, wanted), handler, workspace)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            if port:
                time.sleep(0.05)


def has_gone(connection: socket.socket, seconds: float) -> bool:
    """Waits, at most until the client ends the connection, and says whether it did."""
    connection.settimeout(seconds)
    try:
        # Beneath TLS. Data would be its farewell, since nobody asks twice before an answer.
        socket.socket.recv(connection, 1, socket.MSG_PEEK)
        return True
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_SECONDS)


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request and leaves the answer to `serve`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = PATIENCE_SECONDS
    server: Server
    workspace: Workspace
    address: str  # the path
    query: dict[str, list[str]]
    body: bytes

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._begin()

    do_POST = do_DELETE = do_PUT = do_PATCH = do_GET

    def _begin(self) -> None:
        self.workspace = self.server.workspace
        parts = urllib.parse.urlsplit(self.path)
        self.address, self.query = parts.path, urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        try:
            self.body = self._read_body()
        except ValueError as error:
            self.close_connection = True
            self.say(Answer(400, {"error_code": "MALFORMED_REQUEST", "message": str(error)}))
        else:
            self.serve()

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read_bytes(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(LONGEST_LINE).partition(b";")[0], 16):
            body += self._read_bytes(size)
            self.rfile.readline(LONGEST_LINE)
        while self.rfile.readline(LONGEST_LINE).strip():  # trailers
            pass
        return body

    def _read_bytes(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_BODY:
            raise ValueError(f"a body has from 0 to {LONGEST_BODY} bytes")
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionAbortedError("the client went away in the midst of its request")
        return found

    def serve(self) -> None:
        raise NotImplementedError

    def json(self) -> Json:
        """The body, which must be a JSON object."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "MALFORMED_REQUEST", "The body must be a JSON object")
        return found

    def render(self, answer: Answer, request_id: Optional[str] = None) -> bytes:
        """The answer as it goes through the connection."""
        content = answer.content()
        headers = {"Date": self.date_time_string(), "Content-Type": "application/json",
                   "Content-Length": str(len(content))}
        if request_id is not None:
            headers["x-request-id"] = request_id
        if self.close_connection:
            headers["Connection"] = "close"
        names = {name.lower() for name in answer.headers}
        headers = {name: value for name, value in headers.items() if name.lower() not in names}
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **answer.headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content

    def say(self, answer: Answer, request_id: Optional[str] = None) -> None:
        # At once, since a second write would wait for the client's acknowledgement of the first.
        self.wfile.write(self.render(answer, request_id))
