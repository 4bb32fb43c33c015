"""What the workers, the workspace and the driver journaled in a run of chaos."""
import collections
import glob
import json
import os

FOREVER = float("inf")
PATIENCE = 15e9  # nanoseconds
Span = collections.namedtuple("Span", "record begin end worker")


def read_journal(path):
    records = []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # the torn end of a killed process
                continue
            if isinstance(record, dict) and "at" in record:
                records.append(record)
    return records


class Journals:
    """What was journaled in a run's directory."""

    def __init__(self, directory):
        self.workers = {}
        for path in glob.glob(os.path.join(directory, "journals", "worker-*")):
            self.workers[int(path.rsplit("-", 1)[1])] = read_journal(path)
        self.killed = {}
        self.befell = []  # what the run met with beside the deaths of workers
        self.cut_off = {}  # host -> since when at the earliest
        self.surely_cut_off = {}  # host -> since when at the latest
        self.clock = 0  # what makes nanoseconds of the journals of the log's microseconds
        for record in read_journal(os.path.join(directory, "journals", "driver")):
            if record["what"] == "kill":
                self.killed.setdefault(record["worker"], record["at"])
            elif record["what"] == "clock":
                self.clock = record["at"] - record["microseconds_since_1970"] * 1000
            else:
                self.befell.append(record)
                if record["what"] == "unplugged":
                    self.cut_off[record["host"]] = record["since"]
                    self.surely_cut_off[record["host"]] = record["at"]
        self.workspace = read_journal(os.path.join(directory, "workspace", "journal"))
        running = os.path.join(directory, "workspace", "running")
        self.running = [os.readlink(os.path.join(running, name)) for name in os.listdir(running)]
        self.hosts = {worker: record["host"] for worker, records in self.workers.items()
                      for record in records if record["what"] == "hello"}
        self.processes = {self.name_of(record): worker
                          for worker, records in self.workers.items() for record in records
                          if record["what"] == "hello"}

    def seconds(self):
        """How long the run took."""
        times = [record["at"] for records in self.workers.values() for record in records]
        return (max(times) - min(times)) / 1e9 if times else 0

    @staticmethod
    def name_of(process):
        return process["pid"], process["start_time"], process["pid_namespace"]

    def worker_of(self, holder):
        return self.processes.get(self.name_of(holder["process"]))

    def was_cut_off(self, worker):
        return self.hosts.get(worker) in self.cut_off

    def may_be_dead(self, holder, at=FOREVER):
        """Whether nobody who lives is found dead where this one is."""
        worker = self.worker_of(holder)
        return (worker is None or self.was_cut_off(worker)
                or worker in self.killed and self.killed[worker] <= at)

    def span(self, record, end, worker):
        end = min(end, self.killed.get(worker, FOREVER))
        return Span(record, record["at"], max(record["at"], end), worker)

    def spans_of_workers(self, what):
        """From begin to end, or to the worker's death. Who is cut off may wait for the database in
        the midst of it, and for the others that ends with their patience."""
        for worker, records in self.workers.items():
            begun = None
            for record in records:
                if record["what"] != what:
                    continue
                if record["mark"] == "begin":
                    begun = record
                elif begun:
                    end = record["at"]
                    if self.was_cut_off(worker):
                        host = self.hosts[worker]
                        if begun["at"] < self.surely_cut_off[host] and self.cut_off[host] < end:
                            end = min(end, self.cut_off[host] + PATIENCE)
                    yield self.span(begun, end, worker)
                    begun = None
            if begun:
                yield self.span(begun, FOREVER, worker)

    def spans_of_workspace(self, what):
        """The calls. What stands in the record of the end is in the span's record too."""
        begun = {}
        for record in self.workspace:
            if record["what"] != what:
                continue
            call = record["caller"], record["call"]
            if record["mark"] == "begin":
                begun[call] = record
            elif call in begun:
                first = begun.pop(call)
                yield self.span({**record, "at": first["at"]}, record["at"], record["caller"])
        for record in begun.values():
            yield self.span(record, FOREVER, record["caller"])

    def holds(self, with_deadline):
        """From an acquire's return to just before the release, or to the deadline that was set."""
        for worker, records in self.workers.items():
            held, until = {}, {}
            for record in records:
                what, lease = record["what"], record.get("lease")
                if what == "acquired":
                    held[lease] = record
                elif what == "left_behind" and lease in with_deadline:
                    until[lease] = record["at"] + record["for"]
                elif what == "releasing" and lease in held:
                    end = min(record["at"], until.get(lease, FOREVER))
                    yield self.span(held.pop(lease), end, worker)
            for lease, record in held.items():
                if lease in until:
                    yield Span(record, record["at"], until[lease], worker)
                else:
                    yield self.span(record, FOREVER, worker)

    def doing_when_killed(self, worker):
        """What a worker was at when it was killed."""
        open_spans, holds = set(), False
        for record in self.workers.get(worker, []):
            if record["at"] > self.killed[worker]:
                break
            if record.get("mark") == "begin":
                open_spans.add(record["what"])
            elif record.get("mark") == "end":
                open_spans.discard(record["what"])
            elif record["what"] in ("acquired", "releasing", "left_behind"):
                holds = record["what"] == "acquired"
        for what, kind in (("terminate", "terminators"), ("create", "creators"),
                           ("acquire", "waiters")):
            if what in open_spans:
                return kind
        return "holders" if holds else "others"
