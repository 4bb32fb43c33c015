"""A Databricks workspace for tests: the Clusters API over HTTPS, with faults that a test names.

    python3 tests/workspace/fake DIRECTORY [--die-with-parent]

prints one line of JSON when it listens: its `host`, the `ca` to trust (SSL_CERT_FILE), a `token`, and
the `control` address. Killed and started again in the same directory, it has the same addresses,
certificates, tokens and clusters. By curl:

    curl --cacert $ca -H "Authorization: Bearer $token" $host/api/2.1/clusters/list
    curl $control/faults -d '{"path": "/create", "status": 503, "when": "after"}'
"""

import argparse
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from clusters import Clusters  # noqa: E402
from faults import Faults  # noqa: E402
from server import Api, Control, Proxy, SecureServer, Server, context_of, new_secrets  # noqa: E402


class Fake:
    """The workspace, and what a test may change of it."""

    def __init__(self, directory, ports):
        self.directory = directory
        self.clusters = Clusters(directory)
        self.faults = Faults()
        self.secrets = self._kept("secrets.json", new_secrets)
        self._tokens = self._kept("tokens.json", dict)  # OAuth tokens, by when they end
        self._tokens_lock = threading.Lock()
        make_certificates(directory)
        self._certificate = "good"
        self._contexts = {}
        ports = self._kept("ports.json", lambda: ports)
        self.ports = {
            "host": SecureServer(ports["host"], Api, self).start(),
            "control": Server(ports["control"], Control, self).start(),
            "proxy": Server(ports["proxy"], Proxy, self).start(),
        }
        (directory / "ports.json").write_text(json.dumps(self.ports))
        self.host = f"https://127.0.0.1:{self.ports['host']}"

    def _kept(self, name, make):
        path = self.directory / name
        if not path.exists():
            path.write_text(json.dumps(make()))
        return json.loads(path.read_text())

    def about(self):
        return {
            "host": self.host,
            "control": f"http://127.0.0.1:{self.ports['control']}",
            "proxy": f"http://127.0.0.1:{self.ports['proxy']}",
            "github_oidc_url": f"{self.host}/github-oidc?version=1",
            "ca": str(self.directory / "ca.pem"),
            "pid": os.getpid(),
            **self.secrets,
        }

    def journal(self):
        lines = (self.directory / "journal.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    # ---- Certificates

    def use_certificate(self, which):
        if not (self.directory / f"{which}.pem").exists():
            raise KeyError(which)
        self._certificate = which

    def tls(self):
        which = self._certificate
        if which not in self._contexts:
            self._contexts[which] = context_of(self.directory / f"{which}.pem")
        return self._contexts[which]

    # ---- OAuth

    def issue(self):
        lifetime = self.clusters.settings["token_lifetime_seconds"]
        token = "oauth" + secrets.token_hex(16)
        with self._tokens_lock:
            self._tokens[token] = time.time() + lifetime
            (self.directory / "tokens.json").write_text(json.dumps(self._tokens))
        self.clusters.note("issued")
        return {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}

    def is_issued(self, token):
        return self._tokens.get(token, 0) > time.time()

    def expire_tokens(self):
        with self._tokens_lock:
            self._tokens.clear()


def openssl(directory, *arguments):
    run = ["openssl", *arguments]
    subprocess.run(run, cwd=directory, check=True, capture_output=True)


def make_certificates(directory):
    """An authority of its own, and what it signs: a good certificate, one for another name, and one
    that has expired. And one that nobody signs."""
    if (directory / "self-signed.pem").exists():
        return
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(directory, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650",
            "-subj", "/CN=Fake Authority")
    names = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost"
    other = "subjectAltName=DNS:other.example"
    for which, name, days in (("good", names, "3650"), ("wrong-name", other, "3650"),
                              ("expired", names, "0")):
        openssl(directory, "req", *new, "-keyout", f"{which}.key", "-out", f"{which}.csr", "-subj",
                "/CN=fake")
        (directory / "names").write_text(name)
        # One that ends at the moment it is made.
        openssl(directory, "x509", "-req", "-in", f"{which}.csr", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-days", days, "-extfile", "names", "-out",
                f"{which}.crt")
        (directory / f"{which}.pem").write_text(
            (directory / f"{which}.key").read_text() + (directory / f"{which}.crt").read_text())
    openssl(directory, "req", "-x509", *new, "-keyout", "self.key", "-out", "self.crt", "-days",
            "3650", "-subj", "/CN=127.0.0.1", "-addext", names)
    (directory / "self-signed.pem").write_text(
        (directory / "self.key").read_text() + (directory / "self.crt").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--die-with-parent", action="store_true",
                        help="end when standard input ends")
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    fake = Fake(given.directory.absolute(),
                {"host": given.port, "control": given.control_port, "proxy": 0})
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    line = json.dumps(fake.about())
    (given.directory / "address.json").write_text(line + "\n")
    print(line, flush=True)
    if given.die_with_parent:
        sys.stdin.buffer.read()
        return
    signal.pause()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
