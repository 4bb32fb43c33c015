"""What a test tells the workspace. The package's description lists the calls."""

from __future__ import annotations

from typing import Any

from fake.common import Answer, Refused
from fake.server import Handler


class Control(Handler):
    """Answers a test, without credentials and by HTTP."""

    def serve(self) -> None:
        try:
            self.say(Answer(200, self._told()))
        except Refused as refused:
            self.say(refused.answer)
        except (KeyError, TypeError, ValueError) as error:
            self.say(Answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": repr(error)}))

    def _told(self) -> Any:
        workspace, clusters = self.workspace, self.workspace.clusters
        called = f"{self.command} {self.address}"
        if called == "GET /":
            return workspace.about()
        if called == "GET /settings":
            return clusters.settings
        if called == "POST /settings":
            return clusters.set(self.json())
        if called == "GET /faults":
            return workspace.faults.all()
        if called == "POST /faults":
            return {"id": workspace.faults.add(self.json())}
        if called == "DELETE /faults":
            workspace.faults.clear()
            return {}
        if called == "POST /clock":
            return {"now": clusters.advance(float(self.json()["advance_seconds"]))}
        if called == "GET /clusters":
            return clusters.all(self.query.get("state", [None])[0])
        if called == "POST /clusters":
            return {"cluster_id": clusters.make(self.json())}
        if self.command == "POST" and self.address.startswith("/clusters/"):
            return clusters.force(self.address.removeprefix("/clusters/"), self.json())
        if called == "GET /journal":
            return workspace.journal.read_from(int(self.query.get("from", ["0"])[0]))
        return self._told_rarely(called)

    def _told_rarely(self, called: str) -> Any:
        if called == "POST /reset":
            self.workspace.reset()
            return {}
        if called == "POST /certificate":
            self.workspace.use_certificate(self.json()["which"])
            return {}
        if called == "POST /tokens/expire":
            self.workspace.credentials.expire_tokens()
            return {}
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"there is no {called}")
