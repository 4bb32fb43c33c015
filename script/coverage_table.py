#!/usr/bin/env python3
"""Prints gcovr's JSON as a table: coverage_table.py folder|file COVERAGE.json"""

import collections
import json
import sys


def main():
    by, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        measured = json.load(file)["files"]
    counts = collections.defaultdict(lambda: [0, 0, 0, 0])
    for source in measured:
        name = source["file"]
        row = name if by == "file" else name.rpartition("/")[0]
        for line in source["lines"]:
            if line.get("gcovr/noncode"):
                continue
            for total in (counts[row], counts["all of it"]):
                total[0] += line["count"] > 0
                total[1] += 1
                total[2] += sum(branch["count"] > 0 for branch in line["branches"])
                total[3] += len(line["branches"])
    width = max(map(len, counts))
    print(f"{'':{width}}  {'lines':>12} {'':>6}  {'branches':>13}")
    for row, (lines, of_lines, branches, of_branches) in sorted(counts.items()):
        print(
            f"{row:{width}}  {lines:5} /{of_lines:6} {100 * lines / max(of_lines, 1):5.1f}%"
            f"  {branches:5} /{of_branches:6} {100 * branches / max(of_branches, 1):5.1f}%"
        )


if __name__ == "__main__":
    main()
