"""What the workspace offers, and what it asks of a new cluster's configuration."""

from __future__ import annotations

from typing import Any

from fake.common import Json, invalid


def _runtime(version: str, spark: str, scala: str, kind: str, label: str) -> Json:
    key = f"{version}.x-{kind}scala{scala}"
    return {"key": key, "name": f"{version} {label} (includes Apache Spark {spark}, Scala {scala})"}


def _lts(version: str, spark: str, *scalas: str) -> list[Json]:
    found = [_runtime(version, spark, scala, "", "LTS") for scala in scalas]
    found.append(_runtime(version, spark, scalas[0], "cpu-ml-", "LTS ML"))
    found.append(_runtime(version, spark, scalas[0], "photon-", "LTS Photon"))
    return found


SPARK_VERSIONS = [
    *_lts("12.2", "3.3.2", "2.12"),
    *_lts("13.3", "3.4.1", "2.12"),
    *_lts("14.3", "3.5.0", "2.12"),
    *_lts("15.4", "3.5.0", "2.12"),
    *_lts("16.4", "3.5.2", "2.12", "2.13"),
    _runtime("17.1", "4.0.0", "2.13", "", ""),
    _runtime("18.0", "4.0.0", "2.13", "", "Beta"),
    {"key": "apache-spark-2.4.x-scala2.11", "name": "Light 2.4 (includes Apache Spark 2.4, Scala 2.11)"},
]
NODE_TYPES: list[Json] = [
    {"node_type_id": "i3.xlarge", "memory_mb": 31232, "num_cores": 4.0, "num_gpus": 0},
    {"node_type_id": "m5.large", "memory_mb": 8192, "num_cores": 2.0, "num_gpus": 0},
    {"node_type_id": "m3.large", "memory_mb": 7680, "num_cores": 2.0, "is_deprecated": True},
    {"node_type_id": "m6g.large", "memory_mb": 8000, "num_cores": 2.0, "is_graviton": True},
    {"node_type_id": "g4dn.xlarge", "memory_mb": 1024, "num_cores": 1.0, "num_gpus": 1},
    {"node_type_id": "Standard_DS3_v2", "memory_mb": 14336, "num_cores": 4.0, "num_gpus": 0},
    {"node_type_id": "n1-standard-4", "memory_mb": 15360, "num_cores": 4.0, "num_gpus": 0},
]
ZONES = {"zones": ["us-west-2a", "us-west-2b", "us-west-2c"], "default_zone": "us-west-2a"}
VERSION_KEYS = {version["key"] for version in SPARK_VERSIONS}
NODE_TYPE_IDS = {node_type["node_type_id"] for node_type in NODE_TYPES}
MOST_TAGS = 45
LONGEST_TOKEN = 64


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_spec(spec: Json) -> None:
    """Refuses a configuration as Databricks does."""
    for key in ("spark_version", "node_type_id", "driver_node_type_id"):
        if not isinstance(spec.get(key) or "", str):
            raise invalid(f"{key} must be a string")
    if not spec.get("spark_version"):
        raise invalid("Missing required field: spark_version")
    _check_size(spec)
    minutes = spec.get("autotermination_minutes", 0)
    if not _is_count(minutes) or minutes != 0 and not 10 <= minutes <= 10000:
        raise invalid("The field 'autotermination_minutes' must be 0 or from 10 to 10000")
    _check_tags(spec.get("custom_tags", {}))
    token = spec.get("idempotency_token", "")
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise invalid(f"The idempotency token must have at most {LONGEST_TOKEN} characters")


def check_known(spec: Json) -> None:
    """Refuses versions and node types that the workspace does not have."""
    version = spec["spark_version"]
    if version not in VERSION_KEYS:
        raise invalid(f"Invalid spark version {version}. Please use the spark-versions API to list them.")
    for key in ("node_type_id", "driver_node_type_id"):
        if key in spec and spec[key] not in NODE_TYPE_IDS:
            raise invalid(f"Node type {spec[key]} is not supported. Supported node types: "
                          + ", ".join(sorted(NODE_TYPE_IDS)))


def _check_size(spec: Json) -> None:
    if "num_workers" in spec and "autoscale" in spec:
        raise invalid("Exactly one of num_workers, autoscale must be specified: both are")
    if "autoscale" in spec:
        bounds = spec["autoscale"] if isinstance(spec["autoscale"], dict) else {}
        least, most = bounds.get("min_workers", -1), bounds.get("max_workers", -1)
        if not _is_count(least) or not _is_count(most) or least > most:
            raise invalid("autoscale needs min_workers and max_workers, the first at most the second")
    elif "num_workers" in spec:
        if not _is_count(spec["num_workers"]):
            raise invalid("num_workers must be a number that is not negative")
    elif not spec.get("is_single_node"):
        raise invalid("Exactly one of num_workers, autoscale must be specified: neither is")


def _check_tags(tags: object) -> None:
    if not isinstance(tags, dict):
        raise invalid("custom_tags must be an object")
    if len(tags) > MOST_TAGS:
        raise invalid(f"At most {MOST_TAGS} custom tags are allowed; there are {len(tags)}")
    if "Name" in tags:
        raise invalid("Invalid tags: the key Name is reserved")
    if not all(isinstance(value, str) for value in tags.values()):
        raise invalid("The values of custom_tags must be strings")
