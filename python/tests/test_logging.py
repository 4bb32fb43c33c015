"""The lines that the library and the package log reach Python's logging."""

import logging
import time


def test_lines_of_the_library_go_to_pythons_logging(manager, caplog):
    caplog.set_level(logging.DEBUG, "dbcache")
    before = time.time()
    manager.cache_new_cluster("c")

    records = [record for record in caplog.records if record.name == "dbcache"]
    assert [record.levelname for record in records] == ["DEBUG", "INFO"]
    assert "committed 1 events" in records[0].getMessage()
    assert before - 0.01 <= records[0].created <= time.time() + 0.01


def test_the_package_prints_nothing(manager, capfd):
    manager.cache_new_cluster("c")
    manager.clear_cluster_cache()
    manager.optimize_database()
    assert capfd.readouterr() == ("", "")


def test_a_logging_handler_that_raises_fails_no_call(run_python, place):
    run = run_python(
        """
import logging, sys
import dbcache
manager = dbcache.CacheManager(**dict(zip(("database", "schema"), sys.argv[1:])))
class Handler(logging.Handler):
    def emit(self, record):
        manager.load_cluster_cache()
        raise OSError("disk full")
logging.getLogger("dbcache").addHandler(Handler())
logging.getLogger("dbcache").setLevel(logging.DEBUG)
manager.register_shared_cluster_creation("hash", 1)
print(manager.increment_shared_cluster_usage("hash"))
""",
        *place.values(),
    )
    assert (run.returncode, run.stdout) == (0, "2\n")
    assert "disk full" in run.stderr
