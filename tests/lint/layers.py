#!/usr/bin/env python3
"""Include lines show the architecture, so they are where it is enforced.

A layer includes only itself and the layers before it. Some libraries have exactly one home."""

import re

import tree

LAYERS = [
    "util", "config", "object", "work", "store", "forge", "tree", "fuse", "manager", "bus",
]  # fmt: skip

# Header (as a prefix of what stands between the brackets) -> where it may be included.
HOMES = {
    "fuse": r"daemon/fuse/",
    "curl/": r"daemon/forge/http[^/]*\.[ch]$",
    "json-c/": r"ctl/|daemon/forge/json\.[ch]$",
    "git2": r"daemon/object/",
    "systemd/sd-bus": r"daemon/bus/|ctl/",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:<([^>]+)>|"([^"]+)")')


def allowed_folders(path):
    """The folders that may stand first in a quoted include of this file."""
    if path.startswith("include/"):
        return {"gitfs"}
    if path.startswith("ctl/"):
        return {"gitfs", "util", "ctl"}
    parts = path.split("/")
    if len(parts) == 2:  # daemon/main.c
        return {"gitfs", *LAYERS}
    return {"gitfs", *LAYERS[: LAYERS.index(parts[1]) + 1]}


def check_line(path, line):
    match = INCLUDE.match(line)
    if not match:
        return None
    system, own = match.groups()
    if system:
        for prefix, home in HOMES.items():
            if system.startswith(prefix) and not re.match(home, path):
                return f"<{system}> belongs to {home} only"
        return None
    if own == "version.h":
        return None
    if "/" not in own:
        return f'"{own}": the include path must carry its layer'
    if own.split("/")[0] not in allowed_folders(path):
        return f'"{own}": this file may include only {", ".join(sorted(allowed_folders(path)))}'
    return None


def main():
    problems = []
    checked = 0
    for path in tree.files(".c", ".h"):
        if not path.startswith(("daemon/", "ctl/", "include/")):
            continue
        layer = path.split("/")[1]
        if path.startswith("daemon/") and path.count("/") > 1 and layer not in LAYERS:
            problems.append(f"{path}: {layer} is not a layer")
            continue
        checked += 1
        for number, line in enumerate(tree.read(path).splitlines(), 1):
            problem = check_line(path, line)
            if problem:
                problems.append(f"{path}:{number}: {problem}")
    tree.finish(problems, f"{checked} files include only what their layer may")


main()
