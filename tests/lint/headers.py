#!/usr/bin/env python3
"""Every header compiles alone: it includes what it needs (R16).

Usage: headers.py BUILD-DIRECTORY COMPILER..."""

import concurrent.futures
import os
import subprocess
import sys

import compile_commands
import tree


def flags(build):
    """The options that decide what a header means, taken from the files that are compiled anyway."""
    found = []
    for _, command, directory in compile_commands.load(build):
        for option in command:
            if option.startswith("-I"):
                option = "-I" + os.path.normpath(os.path.join(directory, option[2:]))
            if option.startswith(("-I", "-D", "-std=", "-W")) and option not in found:
                found.append(option)
    return found


def check(path, compiler, options):
    source = f'#include "{os.path.join(tree.ROOT, path)}"\n'
    command = [*compiler, *options, "-Werror", "-fsyntax-only", "-x", "c", "-"]
    result = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        return f"{path}: does not compile alone\n{result.stderr.rstrip()}"
    if not any(line.strip() == "#pragma once" for line in tree.read(path).splitlines()):
        return f"{path}: #pragma once is missing"
    return None


def main():
    tree.step_aside()
    build, compiler = sys.argv[1], sys.argv[2:]
    options = flags(build)
    headers = tree.files(".h")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda path: check(path, compiler, options), headers)
        problems = [problem for problem in results if problem]
    tree.finish(problems, f"{len(headers)} headers compile alone")


main()
