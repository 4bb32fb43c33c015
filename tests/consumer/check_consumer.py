"""Installs the package, builds the README's fixture against it with CMake and with pkg-config, and
runs four of it at once: exactly one starts the cluster."""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def fixture_of(readme):
    """The README's first C++ block."""
    block = re.search(r"```cpp\n(.*?)```", readme.read_text(), re.DOTALL)
    if not block:
        sys.exit(f"{readme} shows no C++ fixture")
    return block.group(1)


def run(*command, **options):
    print("+", *command, flush=True)
    return subprocess.run([str(part) for part in command], check=True, **options)


def check_runs(fixture, directory, environment):
    """Four workers of one database share one cluster."""
    environment = dict(environment, DBCACHE_DATABASE=str(directory / "cache.db"))
    workers = [
        subprocess.Popen([fixture], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    lines = "".join(worker.communicate()[0] for worker in workers).splitlines()
    print(*lines, sep="\n", flush=True)
    if any(worker.returncode != 0 for worker in workers):
        sys.exit(f"{fixture} failed")
    started = [line for line in lines if line.startswith("starting")]
    used = {line for line in lines if line.startswith("testing on")}
    if len(started) != 1 or len(used) != 1:
        sys.exit(f"{len(started)} clusters were started, {len(used)} used; one was to be shared")


def main():
    parser = argparse.ArgumentParser()
    for option in ("build", "readme", "project"):
        parser.add_argument(f"--{option}", type=pathlib.Path, required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--sanitize", default="")
    arguments = parser.parse_args()
    sanitize = [f"-fsanitize={arguments.sanitize}"] if arguments.sanitize else []
    if arguments.sanitize == "thread":
        sanitize.append("-DBOOST_ASIO_DISABLE_FENCED_BLOCK")  # as in the project itself

    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        prefix = directory / "prefix"
        run("cmake", "--install", arguments.build, "--prefix", prefix, stdout=subprocess.DEVNULL)
        config = next(prefix.rglob("dbcacheConfig.cmake"))
        libdir = config.parent.parent.parent
        environment = dict(
            os.environ,
            LD_LIBRARY_PATH=str(libdir),
            PKG_CONFIG_PATH=str(libdir / "pkgconfig"),
        )
        source = directory / "fixture.cpp"
        source.write_text(fixture_of(arguments.readme))

        run(
            "cmake", "-S", arguments.project, "-B", directory / "build", "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={arguments.compiler}",
            f"-DCMAKE_CXX_FLAGS={' '.join(sanitize)}", f"-DFIXTURE={source}",
            f"-DDBCACHE_INCLUDE_DIR={prefix / 'include'}",
            stdout=subprocess.DEVNULL,
        )
        run("cmake", "--build", directory / "build")
        check_runs(directory / "build" / "fixture", directory, environment)

        flags = subprocess.check_output(
            ["pkg-config", "--cflags", "--libs", "dbcache"], env=environment, text=True
        ).split()
        by_pkg_config = directory / "by-pkg-config"
        by_pkg_config.mkdir()
        run(
            arguments.compiler, "-std=c++20", *sanitize, source, *flags,
            "-o", by_pkg_config / "fixture",
        )
        check_runs(by_pkg_config / "fixture", by_pkg_config, environment)

        run(prefix / "bin" / "dbcache", "--version", env=environment)


if __name__ == "__main__":
    main()
