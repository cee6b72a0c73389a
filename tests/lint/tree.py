"""What the lint checks share: walking the source tree and reporting."""

import contextlib
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SKIP = 77  # meson's exit status of a test that could not run


def files(*suffixes):
    """Paths relative to the top, sorted, of every file that belongs to the project. Suffixes narrow
    it down; none means all."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        top = folder == ROOT
        folders[:] = sorted(
            f
            for f in folders
            if f not in (".git", "__pycache__") and not (top and f.startswith("build"))
        )
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if path != ".git" and (not suffixes or name.endswith(suffixes)):
                found.append(path)
    return found


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def finish(problems, summary):
    """Prints one problem a line, or the summary, and ends the program with the matching status."""
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problem(s)")
    print(summary)
    sys.exit(0)


def step_aside():
    """For checks that would keep every processor busy: tests with deadlines run beside them."""
    os.nice(10)
    # meson starts each test as a session of its own, and the kernel groups by session before it looks at that.
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as f:
        f.write("10")


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIP)
