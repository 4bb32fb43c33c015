"""Computes the hashes of hash_vectors.json from docs/log-format.md's words, and writes them back."""
import hashlib, json, pathlib, struct

path = pathlib.Path(__file__).with_name("hash_vectors.json")
vectors = json.loads(path.read_text(encoding="utf-8"))
number = lambda value: struct.pack(">q", value)
field = lambda data: number(len(data)) + data
for event in vectors:
    fields = [number(event["position"]), event["stream"].encode(), number(event["version"]),
              event["type"].encode(), event["payload"].encode(), event["metadata"].encode(),
              number(event["recorded_at"]), bytes.fromhex(event["command_id"]),
              bytes.fromhex(event["previous_hash"])]
    event["hash"] = hashlib.sha256(number(1) + b"".join(map(field, fields))).hexdigest()
path.write_text(json.dumps(vectors, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
