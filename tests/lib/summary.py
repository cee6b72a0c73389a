#!/usr/bin/env python3
"""Sums up meson's test logs: what failed, what was skipped and why, and the totals on the last line.

Usage: summary.py [--broken BUILD]... TESTLOG.json..."""

import argparse
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}


def results(path):
    """Yields (name, result, stdout) of every test in a log; a missing log is a failure of its own."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                entry = json.loads(line)
                yield entry["name"], entry["result"], entry.get("stdout", "")
    except OSError as error:
        yield f"{path}: {error.strerror}", "ERROR", ""


def reason(stdout):
    lines = [line for line in stdout.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broken", action="append", default=[])
    parser.add_argument("logs", nargs="*")
    arguments = parser.parse_args()

    passed, failed, skipped = 0, [f"{build}: does not build" for build in arguments.broken], []
    for path in arguments.logs:
        build = path.split("/")[0]
        for name, result, stdout in results(path):
            if result in PASSED:
                passed += 1
            elif result == "SKIP":
                skipped.append(f"{build}: {name}: {reason(stdout)}")
            else:
                failed.append(f"{build}: {name}: {result}")
    print()
    for line in skipped:
        print(f"skipped: {line}")
    for line in failed:
        print(f"FAILED:  {line}")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    sys.exit(1 if failed or passed == 0 else 0)


main()
