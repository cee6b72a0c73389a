#!/usr/bin/env python3
"""A repository is entered before all of its trees are here: they are used as they arrive (R9, R11).

What an answer left out is asked for by whoever needs it: no later look-up is spoilt (R7).
"""

import os
import stat
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

# Enough for several packets of the answer, each of which is worked on as a whole.
TOP, BELOW = 40, 100
HALF = 130_000
CONFIG = "[Mount]\nRequestTimeoutSec=60\n"


def start(t, fault):
    """A daemon whose first answer with trees has a fault. Repository "r": d00/e00/f ... d39/e99/f."""
    root = t.path("repos")
    os.mkdir(root)
    files = {f"d{d:02}/e{e:02}/f": f"{d} {e}\n" for d in range(TOP) for e in range(BELOW)}
    repo.simple_repo(os.path.join(root, "r.git"), files)
    server = t.serve(root)
    between = proxy.Proxy(server.url).start()
    faults = [fault]
    between.fault = lambda r: faults.pop() if r.kind == "fetch" and faults else None
    t.configure(CONFIG)
    t.org("o", "git", between.url)
    t.start()
    return between


def is_directory(t, path):
    return stat.S_ISDIR(os.lstat(t.at(path)).st_mode)


def list_all(t):
    for d in range(TOP):
        for e in range(BELOW):
            assert os.listdir(t.at(f"o/r/d{d:02}/e{e:02}")) == ["f"]


@harness.case()
def first_directory_before_the_last(t):
    between = start(t, proxy.Stall(HALF))
    # Returns while most of the answer is held back.
    assert is_directory(t, "o/r/d00/e00")
    between.wait_stalled()
    assert between.stalled == 1
    last = threading.Thread(target=list_all, args=(t,))
    last.start()
    between.release()
    last.join()
    # What came was not asked for again, and one question told all sizes or one file brought them.
    fetches = [r for r in between.requests if r.kind == "fetch"]
    trees = [r for r in fetches if b"filter blob:none" in r.body]
    assert len(trees) == 1, between.kinds()


@harness.case()
def what_did_not_come_is_asked_for(t):
    start(t, proxy.Truncate(HALF))
    assert is_directory(t, "o/r/d00/e00")
    list_all(t)
    assert t.read("o/r/d39/e99/f") == b"39 99\n"


if __name__ == "__main__":
    harness.main()
