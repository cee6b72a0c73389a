#!/usr/bin/env python3
"""What tests/run prints at its end: the failures with what they said, and the totals where CI looks for them."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "summary.py")


def entry(name, result, stdout=""):
    return {"name": f"gitfs:unit / {name}", "result": result, "stdout": stdout}


class SummaryTest(unittest.TestCase):
    def summarise(self, entries, *options):
        with tempfile.TemporaryDirectory() as directory:
            log = os.path.join(directory, "testlog.json")
            with open(log, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(e) + "\n" for e in entries)
            done = subprocess.run(
                [sys.executable, SUMMARY, *options, log], capture_output=True, text=True, check=False
            )
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def test_success(self):
        status, lines = self.summarise(
            [entry("a", "OK", "noise\n"), entry("b", "EXPECTEDFAIL"), entry("c", "SKIP", "x\nno fuse\n\n")]
        )
        self.assertEqual(status, 0)
        self.assertEqual(lines[-1], "2 passed, 0 failed, 1 skipped")
        self.assertIn("c: no fuse", "\n".join(lines))
        self.assertNotIn("noise", lines)

    def test_failure_says_why(self):
        output = "".join(f"line {i}\n" for i in range(100)) + "\n" + "x" * 5000 + "\n"
        status, lines = self.summarise([entry("a", "OK"), entry("b", "FAIL", output), entry("c", "TIMEOUT")])
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "1 passed, 2 failed, 0 skipped")
        self.assertEqual(sum(line.startswith("FAILED:") for line in lines), 2)
        self.assertNotIn("line 60", lines)
        self.assertIn("line 61", lines)
        self.assertIn("line 99", lines)
        self.assertIn("(it printed nothing)", lines)
        self.assertTrue(all(len(line) <= 300 for line in lines))

    def test_many_failures_are_bounded(self):
        status, lines = self.summarise([entry(f"t{i}", "FAIL", f"said {i}\n") for i in range(9)])
        self.assertEqual(status, 1)
        self.assertEqual(sum(line.startswith("FAILED:") for line in lines), 9)
        self.assertEqual(sum(line.startswith("said ") for line in lines), 5)
        self.assertIn("-- and 4 more", lines)
        self.assertEqual(lines[-1], "0 passed, 9 failed, 0 skipped")

    def test_stderr_is_shown(self):
        failed = {**entry("a", "FAIL", "out\n"), "stderr": "err\n"}
        _, lines = self.summarise([failed])
        self.assertLess(lines.index("out"), lines.index("err"))

    def test_a_build_or_a_log_that_is_missing_fails(self):
        status, lines = self.summarise([entry("a", "OK")], "--broken", "clang")
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("FAILED:  clang: does not build", lines)
        status, lines = self.summarise([entry("a", "OK")], "build-test-x/missing.json")
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_nothing_passed_is_a_failure(self):
        status, lines = self.summarise([])
        self.assertEqual((status, lines[-1]), (1, "0 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
