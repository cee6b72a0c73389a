#!/usr/bin/env python3
"""Trees that git would never write: refused, counted and logged, never shown."""

import errno
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402

REFUSED = "dotdot", "dot", "slash", "dotgit", "empty", "duplicate", "badmode", "truncated"
BROKEN = {errno.EIO, errno.EBADMSG}


@harness.both_kinds()
def hostile_entries(t, kind):
    """The directory with the hostile entry fails as a whole; its siblings work."""
    directory = harness.fixture("hostile")
    t.start_org(kind, os.path.join(directory, "repos"))
    for name in REFUSED:
        got = t.errno_of(os.listdir, t.at(f"o/{name}/bad"))
        assert got in BROKEN, f"{name}: listing: {errno.errorcode.get(got, got)}"
        got = t.errno_of(os.stat, t.at(f"o/{name}/bad/innocent"))
        assert got in BROKEN, f"{name}: lookup: {errno.errorcode.get(got, got)}"
        for below in ".git/config", ".git", "a/b", "twice", "device", "fifo":
            assert t.errno_of(os.lstat, t.at(f"o/{name}/bad/{below}")) != 0, f"{name}: {below} is there"
        # git's own server cannot walk the trees that it cannot parse, so nothing of these arrives.
        if kind == "local" or name not in ("empty", "truncated"):
            assert t.read(f"o/{name}/good") == b"good\n", name
    assert t.errno_of(os.listdir, t.at("o/root-dotdot")) in BROKEN
    assert t.running
    stats = t.stats()
    assert stats["tree-refused"] + stats["fetch-corrupt"] > 0, stats
    assert "tree" in t.log().lower()


@harness.both_kinds()
def duplicate_is_not_shown_twice(t, kind):
    directory = harness.fixture("hostile")
    t.start_org(kind, os.path.join(directory, "repos"))
    try:
        names = t.names("o/duplicate/bad")
    except OSError as e:
        assert e.errno in BROKEN, e
        return
    assert len(names) == len(set(names)), names


@harness.both_kinds()
def name_that_the_kernel_cannot_hold(t, kind):
    """A name of 300 bytes is left out, or the directory refused; what is listed can be opened."""
    directory = harness.fixture("hostile")
    t.start_org(kind, os.path.join(directory, "repos"))
    try:
        names = t.names("o/long/bad")
    except OSError as e:
        assert e.errno in BROKEN, e
    else:
        assert names == ["innocent"] and t.read("o/long/bad/innocent") == b"innocent\n"
    assert t.errno_of(os.stat, t.at("o/long/bad/" + "l" * 300)) == errno.ENAMETOOLONG


@harness.both_kinds()
def unsorted_and_legacy_trees(t, kind):
    """A wrong order and the modes of old versions of git do no harm: what is listed can be opened."""
    directory = harness.fixture("hostile")
    t.start_org(kind, os.path.join(directory, "repos"))
    assert t.names("o/unsorted/bad") == ["innocent", "z"]
    for name in "innocent", "z":
        assert t.read(f"o/unsorted/bad/{name}") == b"innocent\n"
    assert t.names("o/legacy/bad") == ["directory", "innocent"]
    assert t.read("o/legacy/bad/directory/config") == b"innocent\n"
    assert stat.S_IMODE(os.stat(t.at("o/legacy/bad/innocent")).st_mode) == 0o644


@harness.both_kinds()
def sha256_repository(t, kind):
    """Not supported yet: a clear error, and the reason in the log."""
    directory = harness.fixture("hostile")
    t.start_org(kind, os.path.join(directory, "repos"))
    got = t.errno_of(os.listdir, t.at("o/sha256"))
    assert got == errno.EOPNOTSUPP, errno.errorcode.get(got, got)
    assert "SHA-256" in t.log() or "sha256" in t.log()
    # The others in the same org are not concerned.
    assert t.read("o/legacy/good") == b"good\n"


if __name__ == "__main__":
    harness.main()
