#!/usr/bin/env python3
"""Memory follows what the kernel holds: every FORGET counts (R21)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import walk  # noqa: E402

# What may stay when the kernel holds nothing but the root: the mount, its org, the repository.
ROOTS = 8


@harness.both_kinds()
def nodes_fall_back_to_the_roots(t, kind):
    """After walks by listing and by name, and a drop of the caches, the roots are left (R21)."""
    directory = harness.fixture("wide")
    t.start_org(kind, os.path.join(directory, "repos"))
    for round_ in range(3):
        tree = walk.scan(t.at(""), contents=round_ == 0)
        for path in sorted(tree)[::50]:
            os.stat(os.path.join(os.fsencode(t.mount), path))
        assert t.stats()["nodes-now"] >= 12000
        del tree

        def at_the_roots():
            # Again and again: inodes go in a later pass than their names, and a drop passes over what somebody
            # else's drop is busy with.
            harness.drop_caches()
            return t.stats()["nodes-now"] <= ROOTS

        harness.wait_until(at_the_roots, f"round {round_}: nodes fall back to the roots")
    assert walk.scan(t.at("o/wide/d00"))


@harness.case()
def open_files_are_kept(t):
    """An open descriptor and a working directory hold their nodes through a drop of the caches."""
    directory = harness.fixture("wide")
    t.start_org("local", os.path.join(directory, "repos"))
    fd = os.open(t.at("o/wide/d00/s00/f0"), os.O_RDONLY)
    first = os.read(fd, 5)
    os.chdir(t.at("o/wide/deep/l01"))
    walk.scan(t.at(""), contents=False)
    harness.drop_caches()
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, 5, 0) == first
    assert os.path.exists("l02/f0")
    os.chdir("/")
    os.close(fd)


if __name__ == "__main__":
    harness.main()
