"""Tests of the fake workspace: python3 tests/workspace/fake_test.py."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import pathlib
import signal
import sys
import threading
import unittest
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from fake_client import API, SPEC, Fake, FakeTest, wait_for  # noqa: E402
from fake_wire_cases import AddressesTest, CredentialsTest, FaultsTest  # noqa: E402

__all__ = ["AddressesTest", "CredentialsTest", "FaultsTest"]  # run by this file, too
DAY = 86400
FORMS = {
    "does_not_exist": (400, "INVALID_PARAMETER_VALUE", "does not exist"),
    "404": (404, "RESOURCE_DOES_NOT_EXIST", "does not exist"),
    "more_than_30_days": (400, "INVALID_STATE", "more than 30 days ago"),
}


class StateMachineTest(FakeTest):
    def test_a_cluster_is_born_runs_and_is_terminated(self) -> None:
        cluster = self.fake.create(custom_tags={"a": "b"}, idempotency_token="t-1")
        first = self.fake.get(cluster).body
        self.assertEqual((first["state"], first["custom_tags"]), ("PENDING", {"a": "b"}))
        self.assertEqual(first["spec"]["num_workers"], 0)
        self.assertNotIn("idempotency_token", first)
        self.fake.advance(700)
        self.assertNotEqual(self.fake.get(cluster).body["state_message"], first["state_message"])
        self.fake.advance(300)
        self.assertEqual(self.fake.state(cluster), "RUNNING")
        self.assertEqual(self.fake.post("delete", {"cluster_id": cluster}).body, {})
        self.assertEqual(self.fake.state(cluster), "TERMINATING")
        self.fake.advance(1000)
        self.assertEqual(self.fake.post("delete", {"cluster_id": cluster}).status, 200)
        last = self.fake.get(cluster).body
        self.assertEqual((last["state"], last["termination_reason"]["code"]), ("TERMINATED", "USER_REQUEST"))
        self.assertIn("terminated_time", last)
        [born] = self.journal("born")
        self.assertEqual((born["tags"], born["idempotency_token"]), ({"a": "b"}, "t-1"))
        states = [(each["state"], each["by"], each["active"]) for each in self.journal("state")]
        self.assertEqual(states, [("RUNNING", "clock", True), ("TERMINATING", "request", False),
                                  ("TERMINATED", "clock", False)])
        types = [event["type"] for event in
                 self.fake.post("events", {"cluster_id": cluster, "order": "ASC"}).body["events"]]
        self.assertEqual(types, ["CREATING", "RUNNING", "TERMINATING"])

    def test_a_start_fails_as_it_is_told(self) -> None:
        self.fake.set(start_failure={"code": "AZURE_QUOTA_EXCEEDED", "type": "CLIENT_ERROR",
                                     "parameters": {"azure_error_code": "QuotaExceeded"}})
        failing, fine = self.fake.create(), self.fake.create()
        self.fake.advance(1000)
        self.assertEqual((self.fake.state(failing), self.fake.state(fine)), ("TERMINATING", "RUNNING"))
        self.fake.advance(1000)
        self.assertEqual(self.fake.state(failing), "TERMINATED")
        self.assertEqual(self.fake.get(failing).body["termination_reason"],
                         {"code": "AZURE_QUOTA_EXCEEDED", "type": "CLIENT_ERROR",
                          "parameters": {"azure_error_code": "QuotaExceeded"}})

    def test_an_idle_cluster_terminates_itself_and_starts_again(self) -> None:
        cluster = self.fake.create(autotermination_minutes=10)
        self.fake.advance(1000 + 599)
        self.assertEqual(self.fake.state(cluster), "RUNNING")
        self.assert_refused(self.fake.post("start", {"cluster_id": cluster}), 400, "INVALID_STATE",
                            "is in unexpected state Running")
        self.fake.advance(1001)
        told = self.fake.get(cluster).body
        self.assertEqual(told["state"], "TERMINATED")
        self.assertEqual(told["termination_reason"]["code"], "INACTIVITY")
        self.assertEqual(told["termination_reason"]["type"], "SUCCESS")
        self.assertEqual(self.fake.post("start", {"cluster_id": cluster}).status, 200)
        self.assertEqual(self.fake.state(cluster), "PENDING")

    def test_a_cluster_made_without_a_state_lives_by_the_rules(self) -> None:
        self.fake.set(start_failure={"code": "X", "times": 1})
        alive, held = self.running(autotermination_minutes=10), self.running(
            autotermination_minutes=10, state="RUNNING")
        self.fake.advance(601)
        self.assertEqual((self.fake.state(alive), self.fake.state(held)), ("TERMINATING", "RUNNING"))
        self.assertEqual(self.fake.tell("/settings", method="GET")["start_failure"]["times"], 1)

    def test_states_change_although_nobody_asks(self) -> None:
        self.fake.set(start_seconds=0.01)
        self.fake.create()
        wait_for(lambda: self.journal("state"))

    def test_a_forced_state_stays_until_it_is_let_go(self) -> None:
        cluster = self.fake.create()
        self.fake.tell(f"/clusters/{cluster}", {"state": "RESTARTING", "state_message": "by hand"})
        self.fake.advance(5000)
        told = self.fake.get(cluster).body
        self.assertEqual((told["state"], told["state_message"]), ("RESTARTING", "by hand"))
        self.fake.tell(f"/clusters/{cluster}", {"forced": False, "start_seconds": 1})
        self.assertEqual(self.fake.state(cluster), "RUNNING")

    def test_what_ended_a_month_ago_is_forgotten(self) -> None:
        self.fake.set(terminate_seconds=0)
        cluster, pinned = self.running(), self.running(pinned=True)
        for each in (cluster, pinned):
            self.fake.post("delete", {"cluster_id": each})
        self.fake.advance(29 * DAY)
        self.assertEqual(self.fake.state(cluster), "TERMINATED")
        self.fake.advance(2 * DAY)
        self.assert_refused(self.fake.get(cluster), 400, "INVALID_STATE", f"Cannot access cluster {cluster}")
        self.assertEqual(self.fake.state(pinned), "TERMINATED")
        [listed] = self.fake.clusters().body["clusters"]
        self.assertEqual(listed["cluster_id"], pinned)

    def test_a_permanent_deletion_leaves_nothing_and_spares_what_is_pinned(self) -> None:
        cluster = self.running()
        self.fake.post("pin", {"cluster_id": cluster})
        got = self.fake.post("permanent-delete", {"cluster_id": cluster})
        self.assertIn("unpin the cluster first", got.body["message"])
        self.fake.post("unpin", {"cluster_id": cluster})
        self.assertEqual(self.fake.post("permanent-delete", {"cluster_id": cluster}).status, 200)
        self.assertEqual(self.fake.clusters().body, {})
        self.assertEqual([each["cluster_id"] for each in self.journal("removed")], [cluster])
        for form, refusal in FORMS.items():
            self.fake.set(gone_form=form)
            self.assert_refused(self.fake.get(cluster), *refusal)
            self.assert_refused(self.fake.post("delete", {"cluster_id": "no-such"}), *refusal)
        self.fake.set(gone_form="bare_not_found")
        self.assertEqual(self.fake.get(cluster)[:2], (404, ""))


class CreateTest(FakeTest):
    def test_what_databricks_refuses_is_refused(self) -> None:
        wrong: list[dict[str, Any]] = [
            {"spark_version": None}, {"node_type_id": 7}, {"autotermination_minutes": 9},
            {"autotermination_minutes": 10001}, {"num_workers": -1},
            {"autoscale": {"min_workers": 1, "max_workers": 2}},
            {"custom_tags": {str(number): "" for number in range(46)}}, {"custom_tags": {"Name": "x"}},
            {"custom_tags": ["a"]}, {"idempotency_token": "x" * 65}]
        for fields in wrong:
            got = self.fake.post("create", {**SPEC, **fields})
            self.assertEqual((got.status, got.body["error_code"]), (400, "INVALID_PARAMETER_VALUE"), fields)
        self.assertEqual(self.fake.post("create", "[").body["error_code"], "MALFORMED_REQUEST")
        bare = {"spark_version": SPEC["spark_version"]}
        self.assertEqual(self.fake.post("create", bare).status, 400)
        self.assertEqual(
            self.fake.post("create", {**bare, "autoscale": {"min_workers": 1, "max_workers": 2}}).status, 200)
        self.assertEqual(len(self.journal("born")), 1)

    def test_unknown_types_are_refused_where_they_are_looked_at(self) -> None:
        for fields in ({"spark_version": "99.1.x-scala2.12"}, {"node_type_id": "i9.huge"}):
            self.fake.set(strict_types=False)
            self.fake.create(**fields)
            self.fake.set(strict_types=True)
            self.assertEqual(self.fake.post("create", {**SPEC, **fields}).status, 400)
        self.fake.create()

    def test_a_token_is_honoured_or_ignored(self) -> None:
        one = self.fake.create(idempotency_token="t-1")
        self.assertEqual(self.fake.create(idempotency_token="t-1"), one)
        self.assertNotEqual(self.fake.create(idempotency_token="t-2"), one)
        self.fake.post("delete", {"cluster_id": one})
        self.assertEqual(self.fake.create(idempotency_token="t-1"), one)  # while it is TERMINATING
        self.fake.advance(1000)
        self.assertNotEqual(self.fake.create(idempotency_token="t-1"), one)
        self.fake.set(token_mode="ignored")
        self.assertNotEqual(self.fake.create(idempotency_token="t-2"),
                            self.fake.create(idempotency_token="t-2"))

    def test_a_quota_counts_what_is_active(self) -> None:
        self.fake.set(quota=1)
        cluster = self.fake.create()
        self.assert_refused(self.fake.post("create", SPEC), 400, "QUOTA_EXCEEDED", "quota of 1")
        self.fake.post("delete", {"cluster_id": cluster})
        self.fake.create()

    def test_a_wrong_setting_is_refused(self) -> None:
        for wrong in ({"start_second": 1}, {"quota": "many"}, {"token_mode": "maybe"}):
            self.assertRaises(AssertionError, self.fake.tell, "/settings", wrong)


class ListTest(FakeTest):
    def listed(self, **query: Any) -> tuple[list[str], int]:
        """The clusters of all pages, and how many pages there were."""
        found, pages, token = [], 0, ""
        while True:
            page = self.fake.clusters(**query, **({"page_token": token} if token else {})).body
            self.assertNotEqual(page.get("clusters"), [])
            found += [cluster["cluster_id"] for cluster in page.get("clusters", [])]
            pages, token = pages + 1, page.get("next_page_token", "")
            if not token:
                return found, pages

    def test_pages_show_each_cluster_once_and_empty_pages_hide_none(self) -> None:
        made = [self.running(start_time=1000 * (number // 2)) for number in range(7)]
        found, pages = self.listed(page_size=3)
        self.assertEqual((sorted(found), pages), (sorted(made), 3))
        self.fake.set(empty_pages=True)
        self.assertEqual(self.listed(page_size=3), (found, 6))
        self.assertEqual(self.listed(), (found, 2))
        self.assertEqual(self.fake.clusters(page_size=101).status, 400)
        self.assertEqual(self.fake.clusters(page_token="what").status, 400)

    def test_clusters_that_appear_between_pages_repeat_none(self) -> None:
        made = [self.running(start_time=1000 * number) for number in range(4)]
        first = self.fake.clusters(page_size=2).body
        self.running(start_time=9000)
        second = self.fake.clusters(page_size=2, page_token=first["next_page_token"]).body
        found = [cluster["cluster_id"] for page in (first, second) for cluster in page["clusters"]]
        self.assertEqual(found, made[::-1])

    def test_filters_are_by_state_and_source(self) -> None:
        self.assertEqual(self.fake.clusters().body, {})
        running, pending = self.running(), self.fake.create()
        self.running(state="TERMINATED")
        states = {"filter_by.cluster_states": ["RUNNING", "PENDING"]}
        self.assertEqual(sorted(self.listed(**states)[0]), sorted([running, pending]))
        self.assertEqual(self.listed(**states, **{"filter_by.cluster_sources": "JOB"})[0], [])
        self.assertEqual(len(self.listed(**{"filter_by.cluster_sources": "API"})[0]), 3)
        self.assertEqual(self.fake.clusters(**{"filter_by.cluster_states": "ASLEEP"}).status, 400)

    def test_the_list_is_late_with_clusters_and_states(self) -> None:
        self.fake.set(list_lag_seconds=5000, list_state_lag_seconds=5000)
        cluster = self.fake.create()
        self.assertEqual(self.fake.clusters().body, {})
        self.fake.advance(5001)
        self.assertEqual(self.fake.state(cluster), "RUNNING")
        self.assertEqual(self.fake.clusters().body["clusters"][0]["state"], "PENDING")
        self.fake.post("delete", {"cluster_id": cluster})
        self.fake.advance(4000)
        [listed] = self.fake.clusters().body["clusters"]
        self.assertEqual(listed["state"], "RUNNING")
        self.assertNotIn("termination_reason", listed)
        self.fake.advance(5001)
        self.assertEqual(self.fake.clusters().body["clusters"][0]["state"], "TERMINATED")

    def test_get_is_late_with_new_clusters(self) -> None:
        self.fake.set(get_lag_seconds=100)
        cluster = self.fake.create()
        self.assert_refused(self.fake.get(cluster), *FORMS["does_not_exist"])
        self.fake.advance(101)
        self.assertEqual(self.fake.state(cluster), "PENDING")

    def test_azure_changes_tags(self) -> None:
        self.fake.set(azure_tags=True)
        cluster = self.fake.create(custom_tags={"a": "b"})
        self.assertEqual(self.fake.get(cluster).body["custom_tags"], {"x_a": "b"})
        self.assertEqual(self.fake.clusters().body["clusters"][0]["custom_tags"], {"x_a": "b"})

    def test_the_catalog(self) -> None:
        keys = {"spark-versions": "versions", "list-node-types": "node_types", "list-zones": "zones"}
        for call, key in keys.items():
            self.assertTrue(self.fake.ask("GET", API + call).body[key])
        self.assertEqual(self.fake.ask("GET", API + "create").body["error_code"], "ENDPOINT_NOT_FOUND")


class LifeTest(unittest.TestCase):
    """Tests that end the workspace, each its own."""

    def setUp(self) -> None:
        self.fake = Fake()
        self.addCleanup(self.fake.close)

    def test_a_killed_workspace_goes_on(self) -> None:
        fake = self.fake
        fake.set(start_seconds=1000)
        fake.fault(path="/list", skip=1, times=2)
        self.assertEqual([fake.clusters().status for _ in range(2)], [200, 503])
        cluster = fake.create(custom_tags={"a": "b"})
        fake.advance(1000)
        told, about = fake.get(cluster).body, fake.about
        granted = fake.token_for({"grant_type": "client_credentials", "scope": "all-apis"}, "Basic " + (
            base64.b64encode(f"{about['client_id']}:{about['client_secret']}".encode()).decode())).body
        fake.end()
        for name in ("journal.jsonl", "state.jsonl"):
            with (fake.directory / name).open("a") as lines:
                lines.write('{"what": "born", "clus')  # as a kill leaves a line
        fake.start()
        self.assertEqual({**fake.about, "pid": 0}, {**about, "pid": 0})
        self.assertEqual(json.loads((fake.directory / "address.json").read_text()), fake.about)
        self.assertEqual(fake.get(cluster, token=granted["access_token"]).body, told)
        self.assertEqual(fake.tell("/settings", method="GET")["start_seconds"], 1000)
        self.assertEqual([fake.clusters().status for _ in range(2)], [503, 200])
        numbers = [record["n"] for record in fake.tell("/journal", method="GET")]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(len(fake.journal("started")), 2)

    def test_a_kill_between_state_and_journal_loses_no_record(self) -> None:
        fake = self.fake
        born = fake.create()
        fake.end()
        path = fake.directory / "journal.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        [at] = [number for number, line in enumerate(lines) if json.loads(line)["what"] == "born"]
        path.write_text("".join(lines[:at]))
        (fake.directory / "state.jsonl").write_text("".join(
            line for line in (fake.directory / "state.jsonl").read_text().splitlines(keepends=True)
            if json.loads(line)["n"] <= at))
        fake.start()
        [record] = fake.journal("born")
        self.assertEqual((record["cluster_id"], record["n"]), (born, at))
        self.assertNotIn("kept", record)
        self.assertIn(fake.state(born), ("PENDING", "RUNNING"))

    def test_what_was_answered_survives_any_kill(self) -> None:
        answered: list[str] = []

        def create() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    answered.append(self.fake.create())

        for _ in range(3):
            before = len(answered)
            crowd = [threading.Thread(target=create) for _ in range(4)]
            for thread in crowd:
                thread.start()
            wait_for(lambda: len(answered) > before + 8)  # noqa: B023
            self.fake.end()
            for thread in crowd:
                thread.join()
            self.fake.start()
        known = {cluster["cluster_id"] for cluster in self.fake.tell("/clusters", method="GET")}
        self.assertLessEqual(set(answered), known)
        born = [record["cluster_id"] for record in self.fake.journal("born")]
        self.assertEqual((len(born), set(born)), (len(known), known))

    def test_it_ends_when_it_is_asked_to(self) -> None:
        self.assertEqual(self.fake.end(signal.SIGTERM), 0)
        self.fake.start()
        assert self.fake.process.stdin is not None
        self.fake.process.stdin.close()
        self.assertEqual(self.fake.wait(), 0)


if __name__ == "__main__":
    unittest.main()
