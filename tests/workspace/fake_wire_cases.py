"""How the fake workspace behaves on the wire: credentials, faults, certificates, the proxy and crowds. For
fake_test.py, which runs these."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import urllib.parse
from typing import Any

from fake_client import API, PATIENCE_SECONDS, SPEC, FakeTest, Got, has_ipv6


class CredentialsTest(FakeTest):
    def basic(self, secret: str) -> str:
        return "Basic " + base64.b64encode(f"{self.fake.about['client_id']}:{secret}".encode()).decode()

    def test_a_wrong_token_is_refused(self) -> None:
        for token in ("", "dapi-wrong", "oauth-wrong"):
            got = self.fake.ask("GET", API + "list", token=token)
            self.assertEqual((got.status, got.body["error_code"]), (401, "401"))
        self.assertEqual(self.fake.ask("GET", "/api/2.0/preview/scim/v2/Me").body["userName"],
                         "tester@example.com")
        worth = [each["authorization"] for each in self.journal("request")]
        self.assertEqual(worth, ["none", "wrong", "wrong", "pat right"])

    def test_a_principal_gets_a_token_that_ends(self) -> None:
        found = self.fake.ask("GET", "/oidc/.well-known/oauth-authorization-server", token="").body
        self.assertEqual(found["token_endpoint"], self.fake.about["host"] + "/oidc/v1/token")
        self.assertIn("oidc_endpoint", self.fake.ask("GET", "/.well-known/databricks-config", token="").body)
        form = {"grant_type": "client_credentials", "scope": "all-apis"}
        wrong = self.fake.token_for(form, self.basic("wrong"))
        self.assertEqual((wrong.status, wrong.body["error"]), (401, "invalid_client"))
        right = self.basic(self.fake.about["client_secret"])
        self.assertEqual(self.fake.token_for({**form, "scope": ""}, right).body["error"], "invalid_scope")
        granted = self.fake.token_for(form, right).body
        self.assertEqual(granted["expires_in"], 3600)
        self.assertEqual(self.fake.ask("GET", API + "list", token=granted["access_token"]).status, 200)
        self.fake.tell("/tokens/expire")
        self.assertEqual(self.fake.ask("GET", API + "list", token=granted["access_token"]).status, 401)
        self.fake.set(token_lifetime_seconds=0)
        granted = self.fake.token_for(form, right).body
        self.assertEqual(self.fake.ask("GET", API + "list", token=granted["access_token"]).status, 401)

    def test_a_token_of_github_is_exchanged(self) -> None:
        where = urllib.parse.urlsplit(self.fake.about["github_oidc_url"])
        path = f"{where.path}?{where.query}&audience=databricks"
        self.assertEqual(self.fake.ask("GET", path, token="wrong").status, 401)
        identity = self.fake.ask("GET", path, token=self.fake.about["github_oidc_token"]).body["value"]
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "scope": "all-apis",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "subject_token": identity,
                "client_id": self.fake.about["client_id"]}
        token = self.fake.token_for(form).body["access_token"]
        self.assertEqual(self.fake.ask("GET", API + "list", token=token).status, 200)
        self.assertEqual(self.fake.token_for({**form, "subject_token": identity + "x"}).body["error"],
                         "invalid_grant")
        self.assertIn("access_token",
                      self.fake.token_for({**form, "subject_token": self.fake.about["oidc_token"]}).body)
        self.fake.set(oidc_audience="another")
        self.assertEqual(self.fake.token_for(form).body["error"], "invalid_grant")
        self.assertEqual({each["grant_type"] for each in self.journal("issued")}, {form["grant_type"]})

    def test_chosen_paths_are_forbidden(self) -> None:
        self.fake.set(forbidden_paths=["/create"])
        self.assert_refused(self.fake.post("create", SPEC), 403, "PERMISSION_DENIED", "/create")
        self.assertEqual(self.fake.clusters().status, 200)

    def test_no_secret_is_in_the_journal(self) -> None:
        granted = self.fake.token_for({"grant_type": "client_credentials", "scope": "all-apis"},
                                      self.basic(self.fake.about["client_secret"])).body
        self.fake.ask("GET", API + "list", token=granted["access_token"])
        self.fake.set(proxy_credentials="user:proxy-secret")
        text = (self.fake.directory / "journal.jsonl").read_text()
        self.assertEqual(self.journal("request")[-1]["authorization"], "oauth right")
        for secret in (granted["access_token"], "proxy-secret", *(self.fake.about[key] for key in (
                "token", "client_secret", "oidc_token", "github_oidc_token"))):
            self.assertNotIn(secret, text)


class FaultsTest(FakeTest):
    def test_a_fault_hits_the_requests_that_it_names(self) -> None:
        number = self.fake.fault(method="GET", path="/list", skip=1, times=2, status=429, error_code="SLOW",
                                 message="later", headers={"Retry-After": "7"})
        cluster = self.fake.create()
        self.assertEqual(self.fake.state(cluster), "PENDING")
        got = [self.fake.clusters() for _ in range(4)]
        self.assertEqual([each.status for each in got], [200, 429, 429, 200])
        self.assertEqual(got[1].body, {"error_code": "SLOW", "message": "later"})
        self.assertEqual(got[1].headers["Retry-After"], "7")
        [fault] = self.fake.tell("/faults", method="GET")
        self.assertEqual((fault["id"], fault["seen"], fault["hits"]), (number, 3, 2))
        self.fake.fault(times=-1, probability=0.0)
        self.assertEqual(self.fake.clusters().status, 200)
        self.fake.fault(times=-1)
        self.assertEqual([self.fake.clusters().status for _ in range(3)], [503] * 3)
        self.fake.tell("/faults", method="DELETE")
        self.assertEqual(self.fake.clusters().status, 200)
        self.assertRaises(AssertionError, self.fake.tell, "/faults", {"kind": "odd"})
        self.assertRaises(AssertionError, self.fake.tell, "/faults", {"statuss": 1})

    def test_the_work_is_done_before_the_fault_or_not_at_all(self) -> None:
        for when, made in (("before", 0), ("after", 1)):
            self.fake.fault(path="/create", when=when)
            self.assertEqual(self.fake.post("create", SPEC)[:2], (503, ""))
            self.assertEqual(len(self.journal("born")), made)
        told = [(each["done"], each["status"], each["fault"]["when"]) for each in self.journal("request")]
        self.assertEqual(told, [(None, 503, "before"), (200, 503, "after")])
        [born], request = self.journal("born"), self.journal("request")[1]
        self.assertEqual((born["request_id"], born["cluster_id"]),
                         (request["request_id"], request["cluster_id"]))
        self.assertEqual([each["when"] for each in self.journal("fault")], ["before", "after"])

    def test_each_body_can_be_told(self) -> None:
        bodies: list[tuple[dict[str, Any], str]] = [
            ({"error_code": "A", "message": "b"}, '{"error_code": "A", "message": "b"}'),
            ({"error_code": 17}, '{"error_code": 17}'), ({"body": {"error": "x"}}, '{"error": "x"}'),
            ({"body": "CODE: text"}, "CODE: text"), ({"kind": "empty", "status": 500}, "")]
        for given, text in bodies:
            self.fake.fault(**given)
            self.assertEqual(self.fake.clusters().text, text)
        self.fake.fault(kind="html")
        self.assertIn("<pre>", self.fake.clusters().text)
        self.fake.fault(kind="garbage")
        self.assertRaises(ValueError, json.loads, self.fake.clusters().text)
        self.fake.fault(kind="redirect")
        self.assertIn("/login.html?error=private-link", self.fake.clusters().headers["Location"])

    def test_connections_break(self) -> None:
        self.fake.fault(kind="cut", when="after")
        with self.assertRaises((http.client.IncompleteRead, ssl.SSLError)):
            self.fake.clusters()
        self.fake.fault(kind="close")
        with self.assertRaises((http.client.RemoteDisconnected, ssl.SSLError)):
            self.fake.clusters()
        self.fake.fault(kind="reset")
        with self.assertRaises((ConnectionResetError, ssl.SSLError)):
            self.fake.clusters()
        self.fake.fault(kind="hang", seconds=0.1)
        with self.assertRaises((http.client.RemoteDisconnected, ssl.SSLError)):
            self.fake.clusters()
        self.fake.fault(kind="hang")
        with self.assertRaises(TimeoutError):
            self.fake.ask("GET", API + "list", connection=self.fake.connection(timeout=0.2))
        self.fake.fault(kind="delay", seconds=0.1)
        self.assertEqual(self.fake.clusters().status, 200)
        self.fake.fault(kind="slow")
        one = self.fake.connection(timeout=0.5)
        with self.assertRaises(TimeoutError):
            self.fake.ask("GET", API + "list", connection=one)
        told = [(each["status"], each["done"]) for each in self.journal("request")]
        self.assertEqual(told, [(None, 200)] + [(None, None)] * 4 + [(200, 200), (None, 200)])


class AddressesTest(FakeTest):
    def test_certificates_are_right_or_wrong(self) -> None:
        for which, reason in (("wrong-name", "mismatch"), ("expired", "expired"), ("self-signed", "self")):
            self.fake.tell("/certificate", {"which": which})
            with self.assertRaisesRegex(ssl.SSLCertVerificationError, reason):
                self.fake.clusters()
        self.fake.tell("/certificate", {"which": "good"})
        for host in ("127.0.0.1", "localhost", *(["::1"] if has_ipv6() else [])):
            got = self.fake.ask("GET", API + "list", connection=self.fake.connection(host))
            self.assertEqual(got.status, 200)

    def test_the_proxy_passes_on_and_asks_for_its_password(self) -> None:
        def through(who: str) -> Got:
            return self.fake.ask("GET", API + "list", connection=self.fake.connection(proxy=who))

        self.assertEqual(through("").status, 200)
        self.fake.set(proxy_credentials="user:secret")
        self.assertEqual(through("user:secret").status, 200)
        for who in ("", "user:wrong"):
            with self.assertRaisesRegex(OSError, "407"):
                through(who)
        self.fake.fault(method="CONNECT", status=503)
        with self.assertRaisesRegex(OSError, "503"):
            through("user:secret")
        passes = [(each["authorization"], each["status"]) for each in self.journal("proxy")]
        self.assertEqual(passes, [("none", 200), ("basic right", 200), ("none", 407), ("wrong", 407),
                                  ("basic right", 503)])
        self.assertEqual(len(self.journal("request")), 2)

    def test_a_body_may_come_in_chunks(self) -> None:
        one = self.fake.connection()
        for _ in range(2):  # on one connection, so that nothing of the first is left for the second
            chunks = iter([b'{"spark_version": "15.4.x-scala2.12",', b'"num_workers": 0}'])
            one.request("POST", API + "create", chunks,
                        {"Authorization": f"Bearer {self.fake.about['token']}"}, encode_chunked=True)
            with one.getresponse() as answer:
                self.assertIn("cluster_id", json.loads(answer.read()))
        one.close()
        self.assertEqual(len(self.journal("born")), 2)

    def test_three_hundred_clients_are_served_at_once(self) -> None:
        trust = ssl.create_default_context(cafile=self.fake.about["ca"])
        request = (f"GET {API}list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   f"Authorization: Bearer {self.fake.about['token']}\r\n\r\n").encode()
        connected = asyncio.Semaphore(0)

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.fake.port("host"), ssl=trust)
            connected.release()
            await everybody.wait()
            writer.write(request)
            line = await reader.readline()
            writer.close()
            return line

        async def crowd() -> list[bytes]:
            asked = [asyncio.ensure_future(ask()) for _ in range(300)]
            for _ in asked:
                await connected.acquire()
            everybody.set()
            return await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_SECONDS)

        everybody = asyncio.Event()
        self.assertEqual(set(asyncio.run(crowd())), {b"HTTP/1.1 200 OK\r\n"})
