#!/usr/bin/env python3
"""Sums up meson's test logs: what was skipped and why, what failed and what it said last, and the totals on the
last line.

Usage: summary.py [--broken BUILD]... TESTLOG.json..."""

import argparse
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
# Of what failed: so many tests, so many lines of each, none longer than that.
TESTS_SHOWN, LINES_SHOWN, LINE_LENGTH = 5, 40, 300


def results(path):
    """Yields (name, result, output) of every test in a log; a missing log is a failure of its own."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                entry = json.loads(line)
                yield entry["name"], entry["result"], entry.get("stdout", "") + entry.get("stderr", "")
    except OSError as error:
        yield f"{path}: {error.strerror}", "ERROR", ""


def last_lines(output):
    return [line.rstrip() for line in output.splitlines() if line.strip()][-LINES_SHOWN:]


def reason(output):
    lines = last_lines(output)
    return lines[-1].strip() if lines else "no reason given"


def print_outputs(failed):
    """What stands in a log far above, where whoever reads only the end does not see it."""
    for title, output in failed[:TESTS_SHOWN]:
        print(f"\n-- {title}, at its end:")
        for line in last_lines(output) or ["(it printed nothing)"]:
            print(line[:LINE_LENGTH])
    if len(failed) > TESTS_SHOWN:
        print(f"\n-- and {len(failed) - TESTS_SHOWN} more")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broken", action="append", default=[])
    parser.add_argument("logs", nargs="*")
    arguments = parser.parse_args()

    broken, passed, failed, skipped = [f"{build}: does not build" for build in arguments.broken], 0, [], []
    for path in arguments.logs:
        build = path.split("/")[0]
        for name, result, output in results(path):
            if result in PASSED:
                passed += 1
            elif result == "SKIP":
                skipped.append(f"{build}: {name}: {reason(output)}")
            else:
                failed.append((f"{build}: {name}: {result}", output))
    print()
    for line in skipped:
        print(f"skipped: {line}")
    for line in broken + [title for title, _ in failed]:
        print(f"FAILED:  {line}")
    print_outputs(failed)
    if failed:
        print()
    print(f"{passed} passed, {len(broken) + len(failed)} failed, {len(skipped)} skipped")
    sys.exit(1 if broken or failed or passed == 0 else 0)


main()
