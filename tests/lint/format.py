#!/usr/bin/env python3
"""The whole tree is formatted by clang-format. Its output differs between major versions, so one
decides: the one Debian 12 ships."""

import os
import re
import shutil
import subprocess

import tree

VERSION = 14


def find():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        program = shutil.which(name)
        if not program:
            continue
        text = subprocess.run([program, "--version"], text=True, capture_output=True, check=True).stdout
        match = re.search(r"version (\d+)\.", text)
        if match and int(match.group(1)) == VERSION:
            return program
    return None


def main():
    program = find()
    if not program:
        tree.skip(f"clang-format {VERSION} is not installed, and another version would disagree")
    sources = tree.files(".c", ".h")
    command = [program, "--dry-run", "-Werror", "--style=file", *sources]
    result = subprocess.run(command, cwd=tree.ROOT, check=False)
    if result.returncode != 0:
        tree.finish([f"run: {os.path.basename(program)} -i FILE"], "")
    tree.finish([], f"{len(sources)} files are formatted")


main()
