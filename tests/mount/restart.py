#!/usr/bin/env python3
"""What survives the daemon: objects (F3), inode numbers (F7); what it leaves behind: nothing (F9)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import walk  # noqa: E402


def inodes(tree):
    return {path: entry.status.st_ino for path, entry in tree.items()}


@harness.both_kinds()
def objects_and_inode_numbers_survive(t, kind):
    """After a restart nothing is fetched twice (F3), and every inode number is what it was (F7)."""
    directory = harness.fixture("wide")
    root = os.path.join(directory, "repos")
    between = None
    if kind == "git":
        between = proxy.Proxy(t.serve(root).url).start()
    t.org("o", kind, between.url if between else root, repos=["wide"] if between else ())
    t.start()
    before = walk.scan(t.at(""))
    assert len(before) > 12000
    if between:
        assert "fetch" in between.kinds()
        between.requests.clear()
    t.restart()
    after = walk.scan(t.at(""))
    assert walk.compare(before, after) == []
    assert inodes(before) == inodes(after)
    if between:
        print("requests after the restart:", between.kinds())
        assert "fetch" not in between.kinds(), "objects were fetched again"


@harness.case()
def inode_numbers_survive_forget(t):
    """The kernel forgets the inodes; the numbers are the same when it asks again (F7)."""
    directory = harness.fixture("wide")
    t.start_org("local", os.path.join(directory, "repos"))
    before = inodes(walk.scan(t.at(""), contents=False))
    forgotten = t.stats()["fuse-forget"]

    def forgets():
        # Again and again: a drop passes over what somebody else's drop is busy with.
        harness.drop_caches()
        return t.stats()["fuse-forget"] >= forgotten + 10000

    harness.wait_until(forgets, "the kernel forgets")
    assert inodes(walk.scan(t.at(""), contents=False)) == before


@harness.case()
def a_stop_while_it_starts(t):
    """Told to end when it has just mounted, before or while it asks the mount whether it answers, it ends as always."""
    for _ in range(8):
        t.start(wait=False)
        harness.wait_until(lambda: harness.mounts_below(t.dir), "the mount")
        t.stop()


@harness.case()
def objects_survive_a_crash(t):
    """Killed in the middle of work, the daemon starts again on the same mount with what it had (F3, F9)."""
    directory = harness.fixture("wide")
    between = proxy.Proxy(t.serve(os.path.join(directory, "repos")).url).start()
    t.org("o", "git", between.url)
    t.start()
    before = walk.scan(t.at("o/wide/d00"))
    t.kill()
    assert harness.mounts_below(t.dir), "no dead mount to be replaced"
    between.requests.clear()
    t.start()
    assert walk.compare(before, walk.scan(t.at("o/wide/d00"))) == []
    assert len(harness.mounts_below(t.dir)) == 1
    # What was stored before the crash may lack the last moment, not more.
    assert between.kinds().count("fetch") <= 1, between.kinds()


@harness.case()
def cache_deleted_while_running(t):
    """The cache may be deleted at any time: what is needed is fetched again."""
    directory = harness.fixture("wide")
    clone = os.path.join(directory, "clones", "wide", "d01")
    server = t.start_org("git", os.path.join(directory, "repos"))
    assert walk.compare(walk.scan(clone), walk.scan(t.at("o/wide/d01"))) == []
    for top, names, files in os.walk(t.cache, topdown=False):
        for name in files:
            os.unlink(os.path.join(top, name))
        for name in names:
            os.rmdir(os.path.join(top, name))
    t.ctl("flush", "--kernel", "--memory")
    assert walk.compare(walk.scan(clone), walk.scan(t.at("o/wide/d01"))) == []
    t.restart()
    assert walk.compare(walk.scan(clone), walk.scan(t.at("o/wide/d01"))) == []
    assert server.requests()


if __name__ == "__main__":
    harness.main()
