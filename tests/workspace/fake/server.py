"""The addresses of the fake workspace: the API by HTTPS, the control by HTTP, and a proxy."""

import base64
import contextlib
import http.server
import json
import secrets
import select
import socket
import ssl
import threading
import time
import urllib.parse

from clusters import Refused

HOOKS = "/api/2.1/clusters/"


class Server(http.server.ThreadingHTTPServer):
    """With room for many clients, and silent about those that go away."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, port, handler, fake):
        super().__init__(("127.0.0.1", port), handler)
        self.fake = fake

    def handle_error(self, request, client_address):
        pass

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self.server_address[1]


class SecureServer(Server):
    """Makes the handshake in the connection's own thread, with the certificate of the moment."""

    def finish_request(self, request, client_address):
        request.settimeout(60)
        with self.fake.tls().wrap_socket(request, server_side=True) as secure:
            self.RequestHandlerClass(secure, client_address, self)


class Handler(http.server.BaseHTTPRequestHandler):
    """What the API and the control have in common."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._begin({})

    def do_DELETE(self):
        self._begin({})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length).decode()
        if self.path.startswith("/oidc/"):
            self._begin(dict(urllib.parse.parse_qsl(text)))
        else:
            self._begin(json.loads(text or "{}"))

    def _begin(self, body):
        address = urllib.parse.urlparse(self.path)
        self.fake = self.server.fake
        self.serve(address.path, urllib.parse.parse_qs(address.query), body)

    def say(self, status, body, headers=None):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if not any(key.lower() == "content-type" for key in headers or {}):
            self.send_header("Content-Type", "application/json")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)


class Api(Handler):
    """The workspace as its clients see it."""

    def serve(self, path, query, body):
        fault = self.fake.faults.hit(self.command, path)
        status, answer = 0, ""
        if fault is None or fault["when"] == "after":
            status, answer = self._answer(path, query, body)
        self.fake.clusters.note(
            "request", method=self.command, path=path, query=query, status=status,
            user_agent=self.headers.get("User-Agent", ""), authorization=self._authorization(),
            fault=fault["kind"] if fault else None,
            cluster_id=body.get("cluster_id") or query.get("cluster_id", [None])[0])
        if fault is None:
            self.say(status, answer)
        else:
            self._break(fault, answer)

    def _break(self, fault, answer):
        kind = fault["kind"]
        content = json.dumps(answer)
        if kind == "status":
            self.say(fault["status"], fault["body"], fault["headers"])
        elif kind == "redirect":
            self.say(302, "", fault["headers"])
        elif kind == "garbage":
            self.say(200, fault["body"] or "<html>Log in</html>", {"Content-Type": "text/html"})
        elif kind == "hang":
            time.sleep(fault["seconds"])
            self.close_connection = True
        elif kind == "close":
            self.close_connection = True
        else:  # cut, slow
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + 10))
            self.end_headers()
            until = time.time() + (fault["seconds"] if kind == "slow" else 0)
            self.wfile.write(content[:1].encode())
            while time.time() < until:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(1)
            self.close_connection = True

    def _authorization(self):
        kind, _, value = self.headers.get("Authorization", "none").partition(" ")
        if kind == "Bearer":
            if value == self.fake.secrets["token"]:
                return "pat right"
            return "oauth right" if self.fake.is_issued(value) else "wrong"
        return kind.lower()

    def _answer(self, path, query, body):
        try:
            return 200, self._route(path, query, body)
        except Refused as refused:
            return refused.status, refused.body

    def _route(self, path, query, body):
        fake = self.fake
        if path == "/oidc/.well-known/oauth-authorization-server":
            return {"token_endpoint": f"{fake.host}/oidc/v1/token"}
        if path == "/oidc/v1/token":
            return self._issue(body)
        if path == "/github-oidc":
            if self.headers.get("Authorization") != f"Bearer {fake.secrets['github_oidc_token']}":
                raise Refused(401, "401", "no")
            return {"value": fake.secrets["oidc_token"]}
        if not self._authorization().endswith("right"):
            raise Refused(401, "401", "Credential was not sent or was of an unsupported type")
        if path == "/api/2.0/preview/scim/v2/Me":
            may = fake.clusters.settings["may_create"]
            return {"userName": "tester@example.com",
                    "entitlements": [{"value": "allow-cluster-create"}] if may else []}
        if not path.startswith(HOOKS):
            raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {path}'")
        return self._clusters(path.removeprefix(HOOKS), query, body)

    def _clusters(self, call, query, body):
        clusters = self.fake.clusters
        if call == "create":
            return clusters.create(body)
        if call == "get":
            return clusters.get(query.get("cluster_id", [""])[0])
        if call == "list":
            return clusters.list(query.get("filter_by.cluster_states"),
                                 int(query.get("page_size", ["20"])[0]),
                                 query.get("page_token", [""])[0])
        if call in ("delete", "permanent-delete"):
            return clusters.delete(body.get("cluster_id"), call == "permanent-delete")
        if call in ("pin", "unpin"):
            return clusters.pin(body.get("cluster_id"), call == "pin")
        if call == "spark-versions":
            return {"versions": [{"key": key, "name": name} for key, name in SPARK_VERSIONS]}
        if call == "list-node-types":
            return {"node_types": NODE_TYPES}
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {call}'")

    def _issue(self, body):
        fake = self.fake
        if body.get("grant_type") == "client_credentials":
            kind, _, value = self.headers.get("Authorization", "").partition(" ")
            known = f"{fake.secrets['client_id']}:{fake.secrets['client_secret']}"
            right = kind == "Basic" and base64.b64decode(value).decode() == known
        else:
            right = body.get("subject_token") == fake.secrets["oidc_token"]
        if not right:
            raise Refused(401, "invalid_client", "Client authentication failed")
        return fake.issue()


class Control(Handler):
    """What a test tells the fake."""

    def serve(self, path, query, body):
        try:
            self.say(200, self._control(path, query, body))
        except Refused as refused:
            self.say(refused.status, refused.body)
        except (KeyError, ValueError) as error:
            self.say(400, {"message": repr(error)})

    def _control(self, path, query, body):
        fake, clusters = self.fake, self.fake.clusters
        if path == "/faults":
            if self.command == "POST":
                return {"id": fake.faults.add(body)}
            if self.command == "DELETE":
                fake.faults.clear()
            return fake.faults.all()
        if path == "/settings":
            clusters.set(body)
            return clusters.settings
        if path == "/clock":
            clusters.advance(body["advance_seconds"])
            return {"now": clusters.now()}
        if path == "/clusters":
            if self.command == "POST":
                return {"cluster_id": clusters.make({"state": "RUNNING", **body})}
            return clusters.all()
        if path.startswith("/clusters/"):
            clusters.force(path.removeprefix("/clusters/"), body)
            return {}
        if path == "/journal":
            return fake.journal()
        if path == "/reset":
            fake.faults.clear()
            clusters.reset()
            fake.use_certificate("good")
            return {}
        if path == "/certificate":
            fake.use_certificate(body["which"])
            return {}
        if path == "/tokens/expire":
            fake.expire_tokens()
            return {}
        raise Refused(404, "NOT_FOUND", path)


class Proxy(Handler):
    """Passes on connections, by CONNECT."""

    def do_CONNECT(self):
        fake = self.server.fake
        fake.clusters.note("proxy", target=self.path)
        name, _, port = self.path.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((name, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            here = self.connection
            while True:
                for one in select.select([here, there], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    (there if one is here else here).sendall(data)


SPARK_VERSIONS = (
    ("15.4.x-scala2.12", "15.4 LTS (includes Apache Spark 3.5.0, Scala 2.12)"),
    ("16.4.x-scala2.12", "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.12)"),
    ("16.4.x-scala2.13", "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.13)"),
    ("16.4.x-cpu-ml-scala2.12", "16.4 LTS ML (includes Apache Spark 3.5.2, Scala 2.12)"),
    ("16.4.x-photon-scala2.12", "16.4 LTS Photon (includes Apache Spark 3.5.2, Scala 2.12)"),
    ("17.1.x-scala2.13", "17.1 (includes Apache Spark 4.0.0, Scala 2.13)"),
    ("18.0.x-scala2.13", "18.0 Beta (includes Apache Spark 4.0.0, Scala 2.13)"),
    ("apache-spark-2.4.x-scala2.11", "Light 2.4 (includes Apache Spark 2.4, Scala 2.11)"),
)
NODE_TYPES = [
    {"node_type_id": "i3.xlarge", "memory_mb": 31232, "num_cores": 4.0, "num_gpus": 0},
    {"node_type_id": "m5.large", "memory_mb": 8192, "num_cores": 2.0, "num_gpus": 0},
    {"node_type_id": "m3.large", "memory_mb": 7680, "num_cores": 2.0, "is_deprecated": True},
    {"node_type_id": "m6g.large", "memory_mb": 8000, "num_cores": 2.0, "is_graviton": True},
    {"node_type_id": "g4dn.xlarge", "memory_mb": 1024, "num_cores": 1.0, "num_gpus": 1},
]


def new_secrets():
    """What clients prove themselves by."""
    return {
        "token": "dapi" + secrets.token_hex(16),
        "client_id": "5a6b1c2d-0000-4000-8000-000000000001",
        "client_secret": "dose" + secrets.token_hex(16),
        "oidc_token": "eyJ." + secrets.token_hex(16),
        "github_oidc_token": "gh" + secrets.token_hex(16),
    }


def context_of(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
