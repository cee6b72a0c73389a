#!/usr/bin/env python3
"""clang-tidy over everything that is compiled, with the checks of .clang-tidy.

Usage: tidy.py BUILD-DIRECTORY [PATH-PREFIX]..."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile

import compile_commands
import tree

# Options of gcc that clang does not know; they say nothing about the code.
GCC_ONLY = ("-Wno-maybe-uninitialized", "-fanalyzer", "-Wformat-signedness", "-fcf-protection")


def database(build, folder):
    """Writes a compilation database that clang understands; returns the source files in it."""
    entries = []
    for path, command, directory in compile_commands.load(build):
        arguments = [a for a in command if not a.startswith(GCC_ONLY)]
        entries.append({"file": os.path.join(tree.ROOT, path), "directory": directory, "arguments": arguments})
    with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as file:
        json.dump(entries, file)
    return [entry["file"] for entry in entries]


def check(program, folder, source):
    command = [program, "--quiet", "-p", folder, "--extra-arg=-Wno-unknown-warning-option", source]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode == 0:
        return None
    return (result.stdout or result.stderr).replace(tree.ROOT + os.sep, "").rstrip()


def main():
    tree.step_aside()
    build, prefixes = sys.argv[1], tuple(sys.argv[2:])
    program = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if not program:
        tree.skip("clang-tidy is not installed")
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            s for s in database(build, folder) if not prefixes or os.path.relpath(s, tree.ROOT).startswith(prefixes)
        ]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda source: check(program, folder, source), sources)
            problems = [problem for problem in results if problem]
    tree.finish(problems, f"clang-tidy has nothing to say about {len(sources)} files")


main()
