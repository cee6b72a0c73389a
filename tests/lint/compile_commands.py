"""Reading the compilation database that meson leaves in the build directory."""

import json
import os
import shlex

import tree


def load(build):
    """Yields (path relative to the top, command as a list, directory), each source file once."""
    seen = set()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    for entry in entries:
        absolute = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        path = os.path.relpath(absolute, tree.ROOT)
        if path.startswith("..") or path.startswith("build") or path in seen:
            continue
        seen.add(path)
        yield path, shlex.split(entry["command"]), entry["directory"]
