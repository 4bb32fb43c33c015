"""Faults that a test names, and what they do to an answer."""

import random
import threading


class Faults:
    """The faults in force. Safe between threads."""

    KEYS = {"method": "", "path": "", "skip": 0, "times": 1, "probability": 1.0, "when": "before",
            "kind": "status", "status": 503, "body": "", "headers": {}, "seconds": 60.0}

    def __init__(self):
        self._lock = threading.Lock()
        self._faults = []

    def add(self, given):
        unknown = given.keys() - self.KEYS.keys()
        if unknown:
            raise ValueError(f"a fault has no {sorted(unknown)}")
        with self._lock:
            fault = {**self.KEYS, **given, "id": len(self._faults) + 1, "seen": 0, "hits": 0}
            self._faults.append(fault)
            return fault["id"]

    def all(self):
        with self._lock:
            return [dict(fault) for fault in self._faults]

    def clear(self):
        with self._lock:
            self._faults.clear()

    def hit(self, method, path):
        """The fault of this request, or None."""
        with self._lock:
            for fault in self._faults:
                if fault["method"] not in ("", method) or not path.endswith(fault["path"]):
                    continue
                fault["seen"] += 1
                spent = fault["times"] >= 0 and fault["hits"] >= fault["times"]
                if fault["seen"] <= fault["skip"] or spent:
                    continue
                if random.random() >= fault["probability"]:
                    continue
                fault["hits"] += 1
                return dict(fault)
        return None
