#!/usr/bin/env python3
"""What takes minutes: the differential test on Linux's source, as the package linux-source installs it (about 79,000
files), and a file of 5 GB."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import foreign  # noqa: E402
import harness  # noqa: E402
import large  # noqa: E402
import walk  # noqa: E402


@harness.both_kinds(seconds=3600)
def linux(t, kind):
    """All of R11 for a tree that does not fit into any cache by chance."""
    directory = harness.fixture("real", "linux")
    clone, tree = os.path.join(directory, "clones", "linux"), t.at("o/linux")
    t.start_org(kind, os.path.join(directory, "repos"))
    reference = walk.scan(clone)
    for temperature in "cold", "warm":
        got = walk.scan(tree)
        problems = walk.compare(reference, got) + walk.properties(got)
        assert not problems, f"{temperature}: {len(problems)} differences:\n" + "\n".join(problems[:40])
    print(f"{len(reference)} paths agree")
    assert foreign.git_status(clone, tree) == ""
    assert foreign.differences(clone, tree) == []


@harness.case(seconds=3600)
def file_of_5_gb(t):
    """As mount/huge.py has it for 600 MB."""
    large.file_streams(t, 5 << 30)


if __name__ == "__main__":
    harness.main()
