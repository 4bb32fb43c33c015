"""A Databricks workspace for tests: the Clusters API over HTTPS, with faults that a test names.

By hand, from the root of the repository:

    python3 tests/workspace/fake /tmp/workspace &        # prints one line of JSON when it listens
    field() { python3 -c "import json; print(json.load(open('/tmp/workspace/address.json'))['$1'])"; }
    export DATABRICKS_HOST=$(field host) DATABRICKS_TOKEN=$(field token) SSL_CERT_FILE=$(field ca)
    dbcache workspace
    curl --cacert $SSL_CERT_FILE -H "Authorization: Bearer $DATABRICKS_TOKEN" \\
        $DATABRICKS_HOST/api/2.1/clusters/list
    curl $(field control)/faults -d '{"path": "/list", "kind": "cut", "when": "after"}'

Everything is in its directory: `ca.pem` and the certificates, `secrets.json`, `tokens.json`,
`ports.json`, `address.json` (the line that it printed), `state.jsonl` and `journal.jsonl`. Killed and
started again in the same directory it has the same addresses, authority, credentials, clusters, settings
and faults.

The control address takes JSON without credentials:

    GET  /                                    the line that it printed
    GET  /settings, POST /settings            what it does by itself; POST merges (settings.py lists them)
    POST /faults {"path": "/create", "status": 503, "when": "after"}     (faults.py lists the keys)
    GET  /faults, DELETE /faults              each with how often it was seen and how often it hit
    POST /clock {"advance_seconds": 86400}    moves the workspace's clock
    GET  /clusters                            all clusters with everything; ?state=RUNNING, those
    POST /clusters {"state": "RUNNING", ...}  makes a cluster without the API's rules, in a state that stays;
                                              without a state it runs, and may terminate itself
    POST /clusters/ID {"state": "ERROR", "state_message": ..., "termination_reason": ...}
                                              forces a state that stays; {"forced": false} lets it go on;
                                              {"start_seconds": 5}, {"terminate_seconds": 5},
                                              {"failure": {"code": ...}} and {"pinned": true} are its own;
                                              other fields are shown as they are
    GET  /journal?from=N                      the journal from the record with this `n` on
    POST /certificate {"which": "expired"}    or good, wrong-name, self-signed: for new connections
    POST /tokens/expire                       forgets the OAuth tokens that it issued
    POST /reset                               forgets clusters, faults, settings and the clock's lead

`journal.jsonl` has one object a line: its number `n`, the machine's `time`, `what` happened, `monotonic`,
the workspace's `clock`, and the `request_id` of the request in which it happened.

    started, reset, settings, clock, certificate, fault-added, faults-cleared
    fault      one hit: id, kind, when, seen, hits ("fault-skipped": it let a request pass, by `skip`)
    request    method, path, query, cluster_id (that it names, or made), idempotency_token, client,
               user_agent, headers, authorization ("pat right", "oauth right", "basic right",
               "github right", "wrong" or "none"), done (the status of the work; null: none was done),
               status (what was sent; null: no whole answer), fault
    issued     an OAuth token, by which grant
    proxy      a CONNECT: target, status, authorization ("basic right", "wrong" or "none")
    born       cluster_id, tags, idempotency_token
    state      cluster_id, tags, idempotency_token, was, state, active, at, reason, by
    changed    pinned, unpinned or forced: cluster_id
    removed    by permanent-delete: cluster_id

`by` is "request", "clock" (nobody asked) or "control"; `at` is the workspace's time of the change.
Passwords, secrets and tokens are never in it.
"""
