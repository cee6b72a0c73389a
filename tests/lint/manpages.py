#!/usr/bin/env python3
"""The manual pages are well formed, by mandoc's strictest rules."""

import os
import shutil
import subprocess

import tree

# Pages of other packages, and our own before they are installed.
IGNORED = ("referenced manual not found", "outdated mandoc.db")


def main():
    if not shutil.which("mandoc"):
        tree.skip("mandoc is not installed")
    pages = [p for p in tree.files() if p.startswith("packaging/man/")]
    command = ["mandoc", "-Tlint", "-W", "style", *pages]
    result = subprocess.run(command, cwd=tree.ROOT, text=True, capture_output=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    problems = [line for line in lines if not any(text in line for text in IGNORED)]
    tree.finish(problems, f"{len(pages)} pages are well formed: {', '.join(map(os.path.basename, pages))}")


main()
