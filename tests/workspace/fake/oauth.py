"""Credentials: the personal token, OAuth tokens that end, and the identity tokens of a CI."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import threading
import time
from typing import Optional

from fake.common import Json, OAuthRefused

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ISSUER = "https://token.actions.githubusercontent.com"
TEN_YEARS = 10 * 365 * 86400


def kept(path: pathlib.Path, value: Json) -> Json:
    """What a file holds, which is made with this value if there is none. A kill leaves no half of one."""
    if not path.exists():
        write(path, value)
    found: Json = json.loads(path.read_text())
    return found


def write(path: pathlib.Path, value: Json) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(value))
    os.replace(draft, path)


def _coded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Credentials:
    """What clients prove themselves by. Survives a kill. Safe between threads."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._lock = threading.Lock()
        self._tokens_path = directory / "tokens.json"
        self._tokens = kept(self._tokens_path, {})  # OAuth tokens, by when they end
        path = directory / "secrets.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        made = {
            "token": "dapi" + secrets.token_hex(16),
            "client_id": "5a6b1c2d-0000-4000-8000-000000000001",
            "client_secret": "dose" + secrets.token_hex(16),
            "github_oidc_token": "gh" + secrets.token_hex(16),
            "signing_key": secrets.token_hex(16),
            **found,
        }
        self._key = str(made["signing_key"]).encode()
        made.setdefault("oidc_token", self.identity_token("", TEN_YEARS))
        write(path, made)
        self.public = {key: str(value) for key, value in made.items() if key != "signing_key"}

    # ---- Identity tokens: JWT, but for their signature, which only this workspace can check

    def identity_token(self, audience: str, lifetime: float = 300) -> str:
        claims = {"iss": ISSUER, "aud": audience, "sub": "repo:example/tests:ref:refs/heads/main",
                  "exp": int(time.time() + lifetime), "jti": secrets.token_hex(8)}
        head = _coded(b'{"alg":"HS256","typ":"JWT"}') + "." + _coded(json.dumps(claims).encode())
        return head + "." + self._signature(head)

    def _signature(self, head: str) -> str:
        return _coded(hmac.new(self._key, head.encode(), hashlib.sha256).digest())

    def _claims(self, token: str) -> Optional[Json]:
        head, _, signature = token.rpartition(".")
        if not head or not hmac.compare_digest(signature.encode(), self._signature(head).encode()):
            return None
        claims: Json = json.loads(_decoded(head.partition(".")[2]))
        return claims

    # ---- OAuth

    def grant(self, form: dict[str, str], authorization: str, settings: Json) -> Json:
        """The answer of the token endpoint."""
        kind = form.get("grant_type")
        if kind == "client_credentials":
            self._check_client(form, authorization)
        elif kind == EXCHANGE:
            self._check_identity(form, settings["oidc_audience"])
        else:
            raise OAuthRefused("unsupported_grant_type", f"grant_type {kind} is not supported", 400)
        if "all-apis" not in form.get("scope", "").split():
            raise OAuthRefused("invalid_scope", "the scope all-apis is missing", 400)
        return self._issue(settings["token_lifetime_seconds"])

    def _check_client(self, form: dict[str, str], authorization: str) -> None:
        given = f"{form.get('client_id')}:{form.get('client_secret')}"
        if authorization.lower().startswith("basic "):
            is_right = self._is_principal(authorization)
        else:
            is_right = given == self._principal()
        if not is_right:
            raise OAuthRefused("invalid_client", "Client authentication failed")

    def _principal(self) -> str:
        return f"{self.public['client_id']}:{self.public['client_secret']}"

    def _is_principal(self, authorization: str) -> bool:
        try:
            given = base64.b64decode(authorization.partition(" ")[2], validate=True).decode()
        except ValueError:
            return False
        return given == self._principal()

    def _check_identity(self, form: dict[str, str], audience: Optional[str]) -> None:
        if form.get("subject_token_type") != JWT:
            raise OAuthRefused("invalid_request", f"subject_token_type must be {JWT}", 400)
        if form.get("client_id") not in (None, self.public["client_id"]):
            raise OAuthRefused("invalid_client", "Client authentication failed")
        claims = self._claims(form.get("subject_token", ""))
        if claims is None or claims["exp"] <= time.time():
            raise OAuthRefused("invalid_grant", "the subject token is not valid", 400)
        if audience is not None and claims["aud"] != audience:
            raise OAuthRefused("invalid_grant", f"the audience of the subject token is not {audience}", 400)

    def _issue(self, lifetime: float) -> Json:
        token, now = "oauth" + secrets.token_hex(16), time.time()
        with self._lock:
            self._tokens = {each: end for each, end in self._tokens.items() if end > now}
            self._tokens[token] = now + lifetime
            write(self._tokens_path, self._tokens)
        return {"access_token": token, "token_type": "Bearer", "scope": "all-apis",
                "expires_in": int(lifetime)}

    def expire_tokens(self) -> None:
        with self._lock:
            self._tokens = {}
            write(self._tokens_path, self._tokens)

    def judge(self, authorization: str) -> str:
        """What an Authorization header is worth. Of all but "wrong" and "none", the first two open the
        workspace, and the others what they are for."""
        scheme, _, value = authorization.partition(" ")
        if not scheme:
            return "none"
        if scheme.lower() == "basic":
            return "basic right" if self._is_principal(authorization) else "wrong"
        if scheme.lower() != "bearer":
            return "wrong"
        if value == self.public["token"]:
            return "pat right"
        if self._tokens.get(value, 0) > time.time():
            return "oauth right"
        return "github right" if self.is_github(authorization) else "wrong"

    def is_github(self, authorization: str) -> bool:
        return authorization.lower() == f"bearer {self.public['github_oidc_token']}"
