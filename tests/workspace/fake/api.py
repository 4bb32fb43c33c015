"""The workspace as its clients see it."""

from __future__ import annotations

import re
import urllib.parse
import uuid
from typing import Any

from fake.catalog import NODE_TYPES, SPARK_VERSIONS, ZONES
from fake.cluster import USER
from fake.common import Answer, Json, OAuthRefused, Refused, invalid, matches
from fake.server import Handler
from fake.spoiling import UNDONE, sent_status, spoil

WORKSPACE_ID = "1234567890123456"
CLUSTERS = "/api/2.1/clusters/"
ENTITLEMENTS = [{"value": "workspace-access"}, {"value": "allow-cluster-create"}]
NOTED = re.compile(r"x-request-|x-databricks-", re.IGNORECASE)  # headers that the journal has


class Api(Handler):
    """Answers one request after the other of a connection. Journals each before it answers."""

    def serve(self) -> None:
        request_id = str(uuid.uuid4())
        self.workspace.journal.begin_request(request_id)
        fault = self.workspace.faults.hit(self.command, self.address)
        is_done = fault is None or fault.does_work
        answer = self._answer() if is_done else UNDONE
        sent = self._sent()
        self.workspace.journal.note(
            "request", method=self.command, path=self.address, query=self.query,
            cluster_id=self._cluster_id(sent, answer), idempotency_token=sent.get("idempotency_token"),
            client="%s:%d" % self.client_address[:2], user_agent=self.headers.get("User-Agent", ""),
            authorization=self._worth(),
            headers={name.lower(): value for name, value in self.headers.items() if NOTED.match(name)},
            done=answer.status if is_done else None,
            status=answer.status if fault is None else sent_status(fault, answer),
            fault=None if fault is None else {"id": fault.id, "kind": fault.kind, "when": fault.when})
        if fault is None:
            self.say(answer, request_id)
        else:
            spoil(self, fault, answer, request_id)

    def _sent(self) -> Json:
        """The body of a call, or nothing if it is none."""
        try:
            return self.json() if self.address.startswith(CLUSTERS) else {}
        except Refused:
            return {}

    def _cluster_id(self, sent: Json, answer: Answer) -> Any:
        """The cluster that a request names, or that it made."""
        named = self.query.get("cluster_id", [""])[0] or sent.get("cluster_id")
        if named is None and isinstance(answer.body, dict) and answer is not UNDONE:
            return answer.body.get("cluster_id")
        return named

    def _worth(self) -> str:
        return self.workspace.credentials.judge(self.headers.get("Authorization", ""))

    def _answer(self) -> Answer:
        try:
            return Answer(200, self._open() or self._guarded())
        except Refused as refused:
            return refused.answer

    # ---- What needs no credentials of the workspace

    def _open(self) -> Json | None:
        base = self._base()
        called = self.command, self.address
        if called == ("GET", "/oidc/.well-known/oauth-authorization-server"):
            return {"issuer": f"{base}/oidc", "token_endpoint": f"{base}/oidc/v1/token",
                    "authorization_endpoint": f"{base}/oidc/v1/authorize",
                    "grant_types_supported": ["client_credentials"]}
        if called == ("GET", "/.well-known/databricks-config"):
            return {"oidc_endpoint": f"{base}/oidc", "workspace_id": WORKSPACE_ID, "cloud": "aws",
                    "account_id": "00000000-0000-4000-8000-000000000002", "host_type": "workspace"}
        if called == ("GET", "/github-oidc"):
            if not self.workspace.credentials.is_github(self.headers.get("Authorization", "")):
                raise Refused(401, "401", "The request token is wrong")
            audience = self.query.get("audience", [""])[0]
            return {"value": self.workspace.credentials.identity_token(audience)}
        if called == ("POST", "/oidc/v1/token"):
            return self._issue()
        return None

    def _base(self) -> str:
        """How this client names the workspace, so that what it is told is on the host that it knows."""
        host = self.headers.get("Host", "")
        port = self.workspace.ports["host"]
        return f"https://{host}" if host.endswith(f":{port}") else self.workspace.host

    def _issue(self) -> Json:
        try:
            form = dict(urllib.parse.parse_qsl(self.body.decode()))
        except ValueError:
            raise OAuthRefused("invalid_request", "the body must be a form", 400) from None
        granted = self.workspace.credentials.grant(form, self.headers.get("Authorization", ""),
                                                   self.workspace.clusters.settings)
        self.workspace.journal.note("issued", grant_type=form["grant_type"])
        return granted

    # ---- The rest

    def _guarded(self) -> Json:
        worth = self._worth()
        if worth not in ("pat right", "oauth right"):
            what = ("Credential was not sent or was of an unsupported type for this API."
                    if worth == "none" else "Invalid access token.")
            raise Refused(401, "401", f"{what} [ReqId: {uuid.uuid4()}]")
        if any(matches(self.address, path) for path in self.workspace.clusters.settings["forbidden_paths"]):
            raise Refused(403, "PERMISSION_DENIED", f"{USER} does not have permission for {self.address}")
        if (self.command, self.address) == ("GET", "/api/2.0/preview/scim/v2/Me"):
            return self._me()
        if self.address.startswith(CLUSTERS):
            call = self.address.removeprefix(CLUSTERS)
            found = self._read(call) if self.command == "GET" else None
            found = self._write(call) if self.command == "POST" else found
            if found is not None:
                return found
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {self.address}'")

    def _me(self) -> Json:
        may = self.workspace.clusters.settings["may_create"]
        return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "4242", "userName": USER,
                "displayName": "Tester", "active": True,
                "emails": [{"type": "work", "value": USER, "primary": True}],
                "entitlements": ENTITLEMENTS if may else ENTITLEMENTS[:1],
                "groups": [{"display": "users", "value": "1"}]}

    def _read(self, call: str) -> Json | None:
        clusters = self.workspace.clusters
        if call == "get":
            return clusters.get(self.query.get("cluster_id", [""])[0])
        if call == "list":
            return clusters.list(self.query)
        if call == "spark-versions":
            return {"versions": SPARK_VERSIONS}
        if call == "list-node-types":
            return {"node_types": NODE_TYPES}
        if call == "list-zones":
            return dict(ZONES)
        return None

    def _write(self, call: str) -> Json | None:
        clusters = self.workspace.clusters
        body = self.json()
        try:
            if call == "create":
                return clusters.create(body)
            if call in ("delete", "permanent-delete"):
                return clusters.delete(body.get("cluster_id"), call == "permanent-delete")
            if call == "start":
                return clusters.start(body.get("cluster_id"))
            if call in ("pin", "unpin"):
                return clusters.pin(body.get("cluster_id"), call == "pin")
            if call == "events":
                return clusters.events(body)
        except (TypeError, ValueError) as error:  # a value of a wrong type that nothing else noticed
            raise invalid(f"Invalid value: {error}") from None
        return None
