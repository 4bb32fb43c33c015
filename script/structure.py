#!/usr/bin/env python3
"""What script/check asks of the tree's structure: `layers` and `tidy`. Prints each breach; exits 1 on any."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Every arrow that there may be: a folder, and the folders whose headers its files may include. Arrows point
# down only; docs/architecture.md draws them.
BENEATH = "system text"
ARROWS = {
    "face": "coordination workspace commands store input rows events",
    "coordination": "commands store input rows events",
    "workspace": "events input",
    "commands": "events input rows",
    "store": "projections events input rows",
    "store/sql": "rows",
    "store/sqlite": "store store/sql events rows",
    "store/postgres": "store store/sql events rows",
    "projections": "events rows",
    "events": "rows",
    "input": "rows",
    "rows": "",
    "system": "",
    "text": "",
}
# One file chooses the engine.
CHOOSES_THE_ENGINE = "lib/src/store/open_engine.cpp"
DATABASE = re.compile(r"sqlite3|SQLiteCpp|libpq|pqxx|sqlite3ext")

LONGEST_FILE = 500
LONGEST_FUNCTION = 70
BANNED = re.compile(
    r"\bWhoever\b|\bwhoever\b|\bis told so\b|\bhas to see to\b|\bcomes of\b|\bis to be\b"
    r"|(?:^|[.!?] +|// +|\* +)Who [a-z]+ (?!is\b|are\b|was\b|may\b|can\b|does\b)|\b[Hh]e\b|\b[Hh]is\b"
)


def tracked(*patterns):
    """Paths that git tracks or would."""
    run = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({path for path in listed.splitlines() if (ROOT / path).is_file()})


def lines_of(path):
    return (ROOT / path).read_text(encoding="utf-8").split("\n")[:-1]


def folder_of(path):
    return path.removeprefix("lib/src/").rpartition("/")[0]


def includes_of(path):
    for number, line in enumerate(lines_of(path), 1):
        if found := re.match(r'#include *(?:"([^"]+)"|<([^>]+)>)', line):
            yield number, found[1], found[2]


def check_layers():
    for path in tracked("lib/src/*.?pp", "projections/*.?pp"):
        folder = folder_of(path)
        if folder not in ARROWS:
            yield f"{path}: script/structure.py knows no folder '{folder}': say there what it may include"
            continue
        allowed = {folder, *ARROWS[folder].split(), *BENEATH.split()}
        if path == CHOOSES_THE_ENGINE:
            allowed |= {"store/sqlite", "store/postgres"}
        for number, own, other in includes_of(path):
            if own and folder_of(own) not in allowed:
                yield f"{path}:{number}: '{folder}' may not include '{folder_of(own)}' ({own})"
            if other and DATABASE.match(other) and not folder.startswith("store/"):
                yield f"{path}:{number}: '{folder}' may not include a database's header ({other})"
    for path in tracked("cli/*.?pp", "lib/include/*.?pp", "python/*.?pp"):
        top = path.partition("/")[0]
        for number, own, other in includes_of(path):
            if own and not (top == "cli" and own.startswith("cli/")) and not (top == "python" and "/" not in own):
                yield f"{path}:{number}: faces use the public headers only ({own})"
            if other and DATABASE.match(other):
                yield f"{path}:{number}: faces may not include a database's header ({other})"


def functions_of(path):
    """(line, length) of every function body of a file that clang-format or black would leave alone."""
    lines = lines_of(path)
    if path.endswith(".py"):
        for at, line in enumerate(lines):
            if not (found := re.match(r"( *)(?:async )?def ", line)):
                continue
            end = at + 1
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith(found[1] + " ")
                                        or lines[end].startswith(found[1] + ")")):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            yield at + 1, end - at
        return
    for at, line in enumerate(lines):
        found = re.match(r"((?:  )?)(?![ }#/]|namespace|class|struct|enum|union|extern).*\{$", line)
        if not found or (found[1] and not re.search(r"\)[^;]*\{$", line)):
            continue
        if not re.search(r"\)[^;]*\{$", line):
            continue
        end = at + 1
        while end < len(lines) and not re.match(found[1] + r"\}", lines[end]):
            end += 1
        yield at + 1, end - at + 1


def check_tidy():
    sources = tracked("*.cpp", "*.hpp", "*.py", "*.sql")
    prose = tracked("*.md")
    for path in sources:
        if (length := len(lines_of(path))) > LONGEST_FILE:
            yield f"{path}: {length} lines; a file has at most {LONGEST_FILE}: one idea a file"
        if path.endswith(".sql"):
            continue
        for number, length in functions_of(path):
            if length > LONGEST_FUNCTION:
                yield f"{path}:{number}: a function of {length} lines; at most {LONGEST_FUNCTION}"
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path in sources:
        if not path.startswith(("lib/", "projections/", "cli/", "python/", "migrations/")):
            continue
        if path.startswith("python/tests/") or path.endswith("__init__.py"):
            continue
        name = pathlib.PurePath(path)
        if not re.search(rf"(?<![\w]){re.escape(name.stem)}(?![\w])", architecture):
            yield f"{path}: docs/architecture.md gives it no place"
    for path in [*prose, *tracked("lib/*.?pp", "projections/*.?pp", "cli/*.?pp", "python/*.py", "python/*.?pp",
                                  "bench/*.?pp", "script/*")]:
        if path in ("script/structure.py", "CHANGELOG.md"):
            continue
        for number, line in enumerate(lines_of(path), 1):
            if found := BANNED.search(line):
                yield f"{path}:{number}: '{found[0].strip()}' is not plain English here: {line.strip()[:90]}"


def main():
    checks = {"layers": check_layers, "tidy": check_tidy}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit("usage: script/structure.py layers|tidy")
    breaches = list(checks[sys.argv[1]]())
    print(*breaches, sep="\n", end="\n" if breaches else "")
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
