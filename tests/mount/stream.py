#!/usr/bin/env python3
"""More goes through the cache than it may hold: its limits hold at every moment, and no byte is wrong.

tests/bench/stream does the same with 10 GB and prints figures.
"""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402
import stream  # noqa: E402

MIB = 1 << 20


@harness.case(seconds=300)
def limit_holds_while_streaming(t):
    """300 MB through 64 MB, four readers: the disk is never over the limit, memory stays flat (R3, R35)."""
    root, limit, names = t.path("repos"), 64 * MIB, ["a", "b", "c"]
    os.mkdir(root)
    t.configure(f"[Mount]\nRequestTimeoutSec=120\n[Cache]\nDiskLimit={limit}\nMemoryLimit=64M\n")
    t.org("o", "git", t.serve(root).url, repos=names)
    t.start("--log-level", "info")
    with stream.Watcher(t.cache, t.pid) as watcher:
        total, wrong = stream.flow(t, root, names, 100 * MIB)
    print(f"{total >> 20} MiB read, at most {watcher.disk} bytes on disk, {watcher.memory >> 20} MiB private")
    assert wrong == []
    assert watcher.samples > 10
    assert watcher.disk <= limit, watcher.disk
    # The limit, and with it what is on its way: none of it grows with what was read.
    assert watcher.memory < 150 * MIB, watcher.memory
    stats = t.stats()
    assert stats["store-evicted"] > 0 and stats["store-corrupt"] == 0, stats


@harness.case()
def larger_than_the_limit(t):
    """A file that the cache can never hold is EFBIG, and the disk is not filled to find that out (R35)."""
    root, limit = t.path("repos"), 32 * MIB
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"big": os.urandom(80 * MIB), "small": b"small\n"})
    t.configure(f"[Cache]\nDiskLimit={limit}\nMemoryLimit=8M\n")
    t.org("o", "git", t.serve(root).url, repos=["r"])
    t.start()
    assert t.read("o/r/small") == b"small\n"
    with stream.Watcher(t.cache, t.pid) as watcher:
        assert t.errno_of(t.read, "o/r/big") == errno.EFBIG
    assert watcher.disk <= limit, watcher.disk
    assert "DiskLimit=" in t.log(), "the log does not say which limit it is"
    assert t.read("o/r/small") == b"small\n"


if __name__ == "__main__":
    harness.main()
