"""`pip install .` in a virtual environment, with no network. It installs the files of an existing
build, since a new build would take too long."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

USE = """
import sqlite3
import dbcache, dbcache._dbcache
manager = dbcache.CacheManager()
manager.cache_new_cluster("cluster-123", {})
with sqlite3.connect(manager.db_path) as connection:
    print(connection.execute("SELECT cluster_id FROM clusters").fetchone()[0])
loaded = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
print(sorted(path for path in loaded if "libsqlite3" in path or "libdbcache" in path))
print(dbcache.__file__)
"""


@pytest.fixture(params=[[], ["--no-build-isolation"]], ids=["isolated", "not isolated"])
def environment(tmp_path, request):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [environment / "bin" / "pip", "install", "--no-index", *request.param, ROOT],
        check=True,
        env={**variables, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return environment / "bin", variables


@pytest.mark.skipif(
    "DBCACHE_BUILT_IN" not in os.environ, reason="DBCACHE_BUILT_IN must name a build; ctest sets it"
)
def test_an_installed_package_needs_no_build_directory(environment, tmp_path):
    programs, variables = environment

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        ).stdout

    cluster, loaded, where = run(programs / "python", "-c", USE).splitlines()
    assert cluster == "cluster-123"
    assert where.startswith(str(programs.parent))
    # The process has one libsqlite3, which Python's own sqlite3 also uses, and no library of the
    # build.
    libraries = [pathlib.Path(path) for path in eval(loaded)]
    assert [path.name.split(".so")[0] for path in libraries].count("libsqlite3") == 1
    [library] = [path for path in libraries if path.name.startswith("libdbcache")]
    assert programs.parent in library.parents

    assert "cluster-123" in run(programs / "dbcache", "list")
    assert "cluster-123" in run(programs / "python", "-m", "dbcache", "list")
    package = pathlib.Path(where).parent
    assert (package / "py.typed").exists()
    assert (package / "_dbcache.pyi").exists()
    run(programs / "pip", "uninstall", "-y", "dbcache")
    assert not package.exists() or not any(package.glob("*.py"))
