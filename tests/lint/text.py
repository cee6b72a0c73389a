#!/usr/bin/env python3
"""Text is clean (no tabs, no trailing white space, one newline at the end), and nothing new appears
at the top of the tree without a decision."""

import os

import tree

TOP = {
    ".ci", ".clang-format", ".clang-tidy", ".editorconfig", ".git", ".gitignore", "ARCHITECTURE.md",
    "HACKING.md", "LICENSE", "README.md", "ctl", "daemon", "include", "meson.build",
    "meson_options.txt", "packaging", "tests", "units",
}  # fmt: skip

# make insists on tabs.
TABS_ALLOWED = {"packaging/debian/rules"}
# Inputs of fuzz harnesses and recorded bytes are what they are.
BINARY = ("tests/fuzz/corpus/", "tests/fuzz/corpora/", "tests/fixtures/data/")


def check(path):
    with open(os.path.join(tree.ROOT, path), "rb") as file:
        data = file.read()
    if b"\0" in data:
        yield f"{path}: binary file"
        return
    if data and (not data.endswith(b"\n") or data.endswith(b"\n\n")):
        yield f"{path}: must end with exactly one newline"
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.endswith((b" ", b"\t", b"\r")):
            yield f"{path}:{number}: trailing white space"
        if b"\t" in line and path not in TABS_ALLOWED:
            yield f"{path}:{number}: tab"


def main():
    problems = [
        f"{name}: not one of the files and folders that belong at the top"
        for name in sorted(os.listdir(tree.ROOT))
        if name not in TOP and not name.startswith("build")
    ]
    paths = [p for p in tree.files() if not p.startswith(BINARY)]
    for path in paths:
        if not os.path.islink(os.path.join(tree.ROOT, path)):
            problems += check(path)
    tree.finish(problems, f"{len(paths)} files are clean")


main()
