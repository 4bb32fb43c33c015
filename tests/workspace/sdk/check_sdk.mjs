// Drives the fake workspace by Databricks' own SDK for JavaScript: what both take for create, get, list
// and delete must agree. script/soak runs it, with what the fake says of itself in FAKE_WORKSPACE, and
// NODE_EXTRA_CA_CERTS for the fake's authority.
import assert from "node:assert";
import {readFileSync} from "node:fs";
import https from "node:https";
import sdk from "@databricks/sdk-experimental";

const COUNT = 7;
const about = JSON.parse(readFileSync(process.env.FAKE_WORKSPACE, "utf8"));

// The SDK leaves the port of a host out.
const agent = new https.Agent();
agent.defaultPort = Number(new URL(about.host).port);
const options = {product: "check-sdk", productVersion: "0.1.0", agent};
const {clusters, currentUser} = new sdk.WorkspaceClient({host: about.host, token: about.token}, options);

async function control(path, body) {
  const answer = await fetch(about.control + path, body && {method: "POST", body: JSON.stringify(body)});
  assert.equal(answer.status, 200);
  return answer.json();
}

const requests = async (call, begin) => (await control(`/journal?from=${begin}`))
  .filter(each => each.what === "request" && each.path === `/api/2.1/clusters/${call}`);

const refused = (asked, code, text) => assert.rejects(asked, error => {
  assert.equal(error.errorCode, code);
  assert.match(error.message, text);
  return true;
});

async function listed(query) {
  const found = [];
  for await (const cluster of clusters.list(query)) found.push(cluster.cluster_id);
  return found;
}

await control("/reset", {});
await control("/settings", {start_seconds: 0.3});
const begin = (await control("/journal")).length;
assert.equal((await currentUser.me()).userName, "tester@example.com");

// Create: pending, then running, with what was asked for.
const waiters = [];
for (let number = 0; number < COUNT; ++number) {
  waiters.push(await clusters.create({
    cluster_name: `sdk-${number}`,
    spark_version: "15.4.x-scala2.12",
    node_type_id: "m5.large",
    num_workers: 0,
    autotermination_minutes: 10,
    custom_tags: {sdk: String(number)},
  }));
}
const made = [];
for (const waiter of waiters) {
  const cluster = await waiter.wait();
  assert.equal(cluster.state, "RUNNING");
  made.push(cluster.cluster_id);
}
assert.deepEqual(new Set((await control("/clusters")).map(each => each.cluster_id)), new Set(made));
console.log(`create: ${COUNT} clusters run, and the workspace made ${COUNT}`);

// Get.
for (const [number, cluster_id] of made.entries()) {
  const got = await clusters.get({cluster_id});
  assert.equal(got.cluster_name, `sdk-${number}`);
  assert.deepEqual(got.custom_tags, {sdk: String(number)});
  assert.equal(got.spec.autotermination_minutes, 10);
}
console.log(`get: each of ${COUNT} is as it was asked for`);

// List, over several pages and filtered. The SDK ends a list at an empty page, so there are none here.
const pages = async query => {
  const before = (await control("/journal")).length;
  const found = await listed(query);
  return {found, pages: (await requests("list", before)).length};
};
const all = await pages({page_size: 2});
assert.deepEqual(new Set(all.found), new Set(made));
assert.equal(all.found.length, COUNT);
assert.equal(all.pages, Math.ceil(COUNT / 2));
console.log(`list: ${all.found.length} clusters on ${all.pages} pages of 2, each once`);

// Delete, twice, and permanently.
await (await clusters.delete({cluster_id: made[0]})).wait();
const ended = await clusters.get({cluster_id: made[0]});
assert.equal(ended.state, "TERMINATED");
assert.deepEqual(ended.termination_reason.code, "USER_REQUEST");
await (await clusters.delete({cluster_id: made[0]})).wait();
await clusters.permanentDelete({cluster_id: made[1]});
await refused(clusters.get({cluster_id: made[1]}), "INVALID_PARAMETER_VALUE", /does not exist/);
const left = await pages({page_size: 2, filter_by: {cluster_states: ["RUNNING", "PENDING"]}});
assert.deepEqual(new Set(left.found), new Set(made.slice(2)));
console.log(`delete: 1 is terminated, 1 is gone, ${left.found.length} are listed as running`);

// Refusals, and a start that fails.
await refused(clusters.get({cluster_id: "no-such"}), "INVALID_PARAMETER_VALUE", /does not exist/);
await refused(clusters.create({num_workers: 0}), "INVALID_PARAMETER_VALUE", /spark_version/);
await control("/settings", {start_failure: {code: "SELF_BOOTSTRAP_FAILURE", type: "CLOUD_FAILURE"}});
const failing = await clusters.create({spark_version: "15.4.x-scala2.12", num_workers: 0});
await assert.rejects(failing.wait(), /TERMINATED/);
await control("/faults", {path: "/get", status: 429, error_code: "REQUEST_LIMIT_EXCEEDED", message: "later"});
assert.equal((await clusters.get({cluster_id: made[2]})).state, "RUNNING");
assert.equal((await control("/faults"))[0].hits, 1);
console.log("refusals: unknown ids, wrong configurations, failed starts and a 429 are understood");

// A service principal, whose token the SDK fetches by itself.
const principal = new sdk.WorkspaceClient(
  {host: about.host, clientId: about.client_id, clientSecret: about.client_secret, authType: "oauth-m2m"},
  options,
);
assert.equal((await principal.clusters.get({cluster_id: made[2]})).state, "RUNNING");
assert.equal((await requests("get", begin)).at(-1).authorization, "oauth right");
console.log("oauth-m2m: a service principal gets its cluster");

assert.ok((await requests("create", begin)).every(each => each.user_agent.startsWith("check-sdk/0.1.0 ")));
console.log(`the SDK and the workspace agree on ${COUNT} clusters`);
process.exit(0);
