#!/usr/bin/env python3
"""Scripts: shellcheck for those of the shell, a syntax check for Python."""

import ast
import os
import shutil
import subprocess

import tree


def interpreter(path):
    """"sh", "python" or None, from the first line."""
    with open(os.path.join(tree.ROOT, path), "rb") as file:
        first = file.readline(128)
    if not first.startswith(b"#!"):
        return None
    if b"python" in first:
        return "python"
    return "sh" if b"sh" in first.split(b"/")[-1] else None


def main():
    if not shutil.which("shellcheck"):
        tree.skip("shellcheck is not installed")
    shell, python = [], tree.files(".py")
    for path in tree.files():
        if os.path.islink(os.path.join(tree.ROOT, path)) or path in python:
            continue
        kind = interpreter(path)
        if kind == "python":
            python.append(path)
        elif kind == "sh" or path.endswith(".sh"):
            shell.append(path)
    problems = []
    for path in python:
        try:
            ast.parse(tree.read(path), path)
        except SyntaxError as error:
            problems.append(f"{path}: {error}")
    if shell and subprocess.run(["shellcheck", "-x", *shell], cwd=tree.ROOT, check=False).returncode != 0:
        problems.append("shellcheck found something")
    tree.finish(problems, f"{len(shell)} shell and {len(python)} Python scripts pass")


main()
