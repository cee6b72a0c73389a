#!/usr/bin/env python3
"""What a local process can make grow has a limit; those of calls that wait are shown by pending.py and options.py."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402

MAX_ORGS = 1000


@harness.case()
def orgs(t):
    """One too many is not added, and those that are there stay."""
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "f\n"})
    for n in range(MAX_ORGS - 1):
        t.org(f"o{n}", "local", root)
    t.start("--log-level", "info")
    t.ctl("org", "add", "last", "--forge", "local", "--url", root)
    refused = t.ctl("org", "add", "more", "--forge", "local", "--url", root, check=False)
    assert refused.returncode != 0 and str(MAX_ORGS) in refused.stderr, refused
    assert not os.path.exists(t.path("config/orgs.d/more.conf"))
    assert len(t.names()) == MAX_ORGS and "more" not in t.names()
    assert t.read("last/r/f") == t.read(f"o{MAX_ORGS - 2}/r/f") == b"f\n"
    t.ctl("org", "remove", "o0")
    t.ctl("org", "add", "more", "--forge", "local", "--url", root)
    assert t.read("more/r/f") == b"f\n"


if __name__ == "__main__":
    harness.main()
