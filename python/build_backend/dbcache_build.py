"""The build backend of the Python package (PEP 517): CMake builds the package, and this module packs
the wheel. It uses only Python's standard library, so `pip install .` works without a network.

Environment variables: `CMAKE_ARGS` is passed on to CMake, and CMake itself reads
`CMAKE_BUILD_PARALLEL_LEVEL`. `DBCACHE_BUILT_IN` names a directory in which the project is built
already (`build`, after `script/build release all`); the wheel is then made from it, and nothing is built.
"""

import base64
import csv
import hashlib
import io
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "dbcache"
SUMMARY = "Shares one Databricks cluster per configuration between test workers"


def version():
    text = (ROOT / "CMakeLists.txt").read_text()
    return re.search(r"project\(dbcache VERSION ([0-9.]+)", text).group(1)


def wheel_tag():
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"{tag}-{tag}-{platform}"


def metadata():
    return (
        "Metadata-Version: 2.1\n"
        f"Name: {NAME}\n"
        f"Version: {version()}\n"
        f"Summary: {SUMMARY}\n"
        "Requires-Python: >=3.9\n"
    )


def dist_info():
    return f"{NAME}-{version()}.dist-info"


def dist_info_files():
    return {
        "METADATA": metadata(),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: dbcache_build\nRoot-Is-Purelib: false\n"
        f"Tag: {wheel_tag()}\n",
        "entry_points.txt": f"[console_scripts]\n{NAME} = {NAME}.__main__:main\n"
        f"\n[pytest11]\n{NAME} = {NAME}.pytest_plugin\n",
    }


def run(*command):
    command = [str(part) for part in command]
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdout=sys.stderr)


def built(scratch):
    """The directory in which the package is built; builds it for this interpreter if necessary."""
    if before := os.environ.get("DBCACHE_BUILT_IN"):
        return pathlib.Path(before)
    build = scratch / "build"
    run(
        "cmake", "-S", ROOT, "-B", build, "-G", "Ninja",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1 -DNDEBUG",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        "-DDBCACHE_TESTS=OFF", "-DDBCACHE_BENCH=OFF",
        "-DDBCACHE_PYTHON=ON", "-DDBCACHE_PYTHON_REQUIRED=ON",
        f"-DDBCACHE_PYTHON_EXECUTABLE={sys.executable}",
        *shlex.split(os.environ.get("CMAKE_ARGS", "")),
    )  # fmt: skip
    run("cmake", "--build", build, "--target", "dbcache_python_package")
    return build


def write_wheel(directory, metadata_files, tree):
    """Writes a wheel with the files below `tree` and the metadata files. Returns its name."""
    name = f"{NAME}-{version()}-{wheel_tag()}.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(path, content, mode):
            info = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(info, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            rows.writerow([path, f"sha256={digest.decode()}", len(content)])

        # A wheel holds no links. The file that a link leads to goes in under the name of the link,
        # which is the SONAME.
        files = sorted(path for path in tree.rglob("*") if path.is_file())
        led_to = {path.resolve() for path in files if path.is_symlink()}
        for path in files:
            if not path.is_symlink() and path.resolve() in led_to:
                continue
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            add(path.relative_to(tree).as_posix(), path.read_bytes(), mode)
        for path, text in metadata_files.items():
            add(f"{dist_info()}/{path}", text.encode(), 0o644)
        rows.writerow([f"{dist_info()}/RECORD", "", ""])
        info = zipfile.ZipInfo(f"{dist_info()}/RECORD", date_time=(1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o100644 << 16
        wheel.writestr(info, record.getvalue())
    return name


# ---- PEP 517


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    directory = pathlib.Path(metadata_directory) / dist_info()
    directory.mkdir(exist_ok=True)
    for path, text in dist_info_files().items():
        (directory / path).write_text(text)
    return directory.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        tree = scratch / "tree"
        run(
            "cmake", "--install", built(scratch), "--component", "python", "--prefix", tree,
            "--strip",
        )  # fmt: skip
        if not any((tree / NAME).glob("_dbcache*.so")):
            sys.exit(
                "dbcache_build: CMake did not build the Python module; see its messages that begin "
                "with 'Python module'"
            )
        return write_wheel(wheel_directory, dist_info_files(), tree)


def build_sdist(sdist_directory, config_settings=None):
    base = f"{NAME}-{version()}"
    skipped = re.compile(r"(^|/)(\.git|build(-[^/]*)?|__pycache__)(/|$)")
    path = pathlib.Path(sdist_directory) / f"{base}.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:

        def keep(member):
            inside = member.name[len(base) + 1 :]
            return None if skipped.search(inside) else member

        archive.add(ROOT, base, filter=keep)
        information = tarfile.TarInfo(f"{base}/PKG-INFO")
        content = metadata().encode()
        information.size = len(content)
        archive.addfile(information, io.BytesIO(content))
    return path.name
