"""A certificate authority of the workspace's own, and what it signs."""

from __future__ import annotations

import pathlib
import ssl
import subprocess
import threading

LOOPBACK = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost"
OTHER = "subjectAltName=DNS:other.example"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
# Each: its names, and for how many days from now it is valid.
SIGNED = {"good": (LOOPBACK, "3650"), "wrong-name": (OTHER, "3650"), "expired": (LOOPBACK, "-1")}
WHICH = (*SIGNED, "self-signed")


def _openssl(directory: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _join(directory: pathlib.Path, which: str) -> None:
    parts = [(directory / f"{which}.{end}").read_text() for end in ("key", "crt")]
    (directory / f"{which}.pem").write_text("".join(parts))


def make(directory: pathlib.Path) -> None:
    """Makes ca.pem and WHICH.pem (the key and the certificate of each), unless they are there."""
    if (directory / "self-signed.pem").exists():  # the last that is made
        return
    _openssl(directory, "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650",
             "-subj", "/CN=Authority of a fake workspace")
    for which, (names, days) in SIGNED.items():
        _openssl(directory, "req", *NEW_KEY, "-keyout", f"{which}.key", "-out", f"{which}.csr", "-subj",
                 "/CN=fake workspace")
        (directory / "names").write_text(names)
        _openssl(directory, "x509", "-req", "-in", f"{which}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-CAcreateserial", "-days", days, "-extfile", "names", "-out", f"{which}.crt")
        _join(directory, which)
    _openssl(directory, "req", "-x509", *NEW_KEY, "-keyout", "self-signed.key", "-out", "self-signed.crt",
             "-days", "3650", "-subj", "/CN=127.0.0.1", "-addext", LOOPBACK)
    _join(directory, "self-signed")


class Certificates:
    """The certificate that new connections get. Safe between threads."""

    def __init__(self, directory: pathlib.Path) -> None:
        make(directory)
        self._lock = threading.Lock()
        self._which = "good"
        self._contexts = {}
        for which in WHICH:
            self._contexts[which] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._contexts[which].load_cert_chain(directory / f"{which}.pem")

    def use(self, which: str) -> None:
        if which not in WHICH:
            raise ValueError(f"which is one of {', '.join(WHICH)}")
        with self._lock:
            self._which = which

    def context(self) -> ssl.SSLContext:
        with self._lock:
            return self._contexts[self._which]
