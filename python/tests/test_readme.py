"""The Python examples of the README and of docs/python.md run as shown."""

import os
import pathlib
import re
import subprocess
import sys

from conftest import only_sqlite

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@only_sqlite
def test_workers_with_the_fixture_of_the_python_page_share_one_cluster(tmp_path):
    [fixture] = blocks("docs/python.md")
    environment = {**os.environ, "DBCACHE_DATABASE": str(tmp_path / "cache.db")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", fixture], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    lines = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    assert len(set(lines)) == 1
    assert lines[0].startswith("testing on cluster-")


@only_sqlite
def test_the_files_of_the_readme_share_clusters_under_xdist(tmp_path):
    for block in blocks("README.md"):
        name = re.match(r"# (\S+)", block).group(1)
        (tmp_path / name).write_text(block)
    (tmp_path / "pytest.ini").touch()

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"],
        cwd=tmp_path,
        env={**os.environ, "DBCACHE_DATABASE": str(tmp_path / "cache.db")},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stdout
    summary = "2 clusters created, 0 joined, 0.0 minutes of start-up saved, 0 still held, 0 owed"
    assert f"\n{summary}\n" in run.stdout
