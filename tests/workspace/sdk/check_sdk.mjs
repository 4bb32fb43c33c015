// Drives the fake workspace by Databricks' own SDK for JavaScript: what both take for create, get, list
// and delete must agree. script/soak runs it, with DATABRICKS_HOST, DATABRICKS_TOKEN, and
// NODE_EXTRA_CA_CERTS for the fake's authority.
import assert from "node:assert";
import https from "node:https";
import sdk from "@databricks/sdk-experimental";

// The SDK leaves the port of a host out.
const agent = new https.Agent();
agent.defaultPort = Number(new URL(process.env.DATABRICKS_HOST).port);
const client = new sdk.WorkspaceClient(
  {host: process.env.DATABRICKS_HOST, token: process.env.DATABRICKS_TOKEN},
  {product: "check-sdk", productVersion: "0.1.0", agent},
);
const {clusters} = client;

const made = [];
for (let number = 0; number < 5; ++number) {
  const waiter = await clusters.create({
    cluster_name: `sdk-${number}`,
    spark_version: "15.4.x-scala2.12",
    num_workers: 0,
    custom_tags: {sdk: String(number)},
  });
  const cluster = await waiter.wait();
  assert.equal(cluster.state, "RUNNING");
  made.push(cluster.cluster_id);
}
const got = await clusters.get({cluster_id: made[0]});
assert.equal(got.cluster_name, "sdk-0");
assert.equal(got.custom_tags.sdk, "0");

const listed = [];
for await (const cluster of clusters.list({page_size: 2})) listed.push(cluster.cluster_id);
assert.deepEqual(new Set(listed), new Set(made));

await (await clusters.delete({cluster_id: made[0]})).wait();
assert.equal((await clusters.get({cluster_id: made[0]})).state, "TERMINATED");
await assert.rejects(clusters.get({cluster_id: "no-such"}), /does not exist/);
await assert.rejects(clusters.create({num_workers: 0}), /spark_version/);
console.log(`the SDK and the workspace agree on ${made.length} clusters`);
process.exit(0);
