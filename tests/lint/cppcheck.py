#!/usr/bin/env python3
"""cppcheck over the C files. A finding that is wrong is suppressed beside the line, with its reason."""

import glob
import os
import shutil
import subprocess
import sys

import tree

# System headers are not looked into, but these macros are loops and declarations.
QUEUE = next(iter(glob.glob("/usr/include/*/sys/queue.h")), "/usr/include/sys/queue.h")


def main():
    tree.step_aside()
    if not shutil.which("cppcheck"):
        tree.skip("cppcheck is not installed")
    sources = [p for p in tree.files(".c") if p.startswith(("daemon/", "ctl/", "tests/"))]
    command = [
        "cppcheck",
        "--quiet",
        "--enable=warning,performance,portability",
        "--inline-suppr",
        "--error-exitcode=1",
        "--std=c11",
        "--library=posix,gnu",
        # NULL is a pointer in C, also after "..."; and clang-tidy's concurrency-mt-unsafe watches the
        # functions that are not reentrant.
        "--suppress=varFuncNullUB",
        "--suppress=getpwuidCalled",
        "--suppress=readdirCalled",
        # Ownership is in the cleanup attribute, of which cppcheck knows nothing. ASan finds leaks.
        "--suppress=resourceLeak",
        "--suppress=memleak",
        "--suppress=leakNoVarFunctionCall",
        # Every mix of #ifdefs would be tried, among them those that meson never makes.
        "-D_GNU_SOURCE",
        "-DGITFS_DEVELOPER=1",
        "-D__linux__",
        "--include=" + QUEUE,
        f"-j{os.cpu_count()}",
        "-Idaemon",
        "-Iinclude",
        "-Itests",
        "-I.",
        *sources,
    ]
    result = subprocess.run(command, cwd=tree.ROOT, check=False)
    if result.returncode == 0:
        print(f"cppcheck has nothing to say about {len(sources)} files")
    sys.exit(result.returncode)


main()
