#!/usr/bin/env python3
"""Without a network: what is here answers, what is not fails in time and says so, and what comes back is noticed.

Nothing here waits for a time to pass; the one figure of time is that of the deadline, with room for a busy machine.
"""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

DEADLINE = 4
SLACK = 8
CONFIG = f"[Mount]\nRequestTimeoutSec={DEADLINE}\nNegativeTimeoutSec=3600\n[Network]\nRetries=1\n"
FILES = {f"d{n % 4}/f{n}": b"file %d\n" % n * (100 + n) for n in range(40)}


def start(t, config=CONFIG, files=None):
    """A daemon that reaches its server through a proxy: the proxy. Repository "r"; a clone of it is at t.path("clone")."""
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), files or FILES)
    repo.clone(os.path.join(root, "r.git"), t.path("clone"))
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure(config)
    t.org("o", "git", between.url)
    t.start()
    return between


def same_as_clone(t, path="o/r", clone="clone"):
    expected = walk.scan(t.path(clone))
    return walk.compare(expected, walk.scan(t.at(path)))


def fails(t, call, *arguments):
    """The errno of a call that must fail, and in time."""
    seconds, result = proxy.elapsed(call, *arguments)
    assert isinstance(result, OSError), f"{arguments}: no error"
    assert seconds < DEADLINE + SLACK, f"{arguments}: {seconds:.1f} s"
    return result.errno


@harness.case()
def what_was_seen_is_there_after_a_restart_without_the_server(t):
    """Names, listings, sizes and contents, and the branch; what was never seen is EHOSTDOWN, not ENOENT."""
    between = start(t)
    assert same_as_clone(t) == []
    assert t.read("o/r@main/d0/f0") == FILES["d0/f0"]
    between.kill()
    t.restart()
    assert same_as_clone(t) == []
    assert t.read("o/r@main/d0/f0") == FILES["d0/f0"]
    assert t.stats()["recalled"] == 3, "the repository, its default branch, and main"
    assert fails(t, os.stat, t.at("o/never")) == errno.EHOSTDOWN
    assert fails(t, os.stat, t.at("o/r@never")) == errno.EHOSTDOWN
    between.start()
    # Nothing of it was taken for absence.
    harness.wait_until(lambda: t.errno_of(os.stat, t.at("o/r@never")) == errno.ENOENT, "the server is asked again")


@harness.case()
def what_was_seen_is_there_while_the_server_is_silent(t):
    """Connections are accepted, and nothing is answered: nobody waits for the deadline to see what is here."""
    between = start(t, CONFIG.replace(f"Sec={DEADLINE}", "Sec=300"))
    assert same_as_clone(t) == []
    t.stop()
    between.fault = lambda r: proxy.Stall(0)
    between.hold()
    t.start()
    assert same_as_clone(t) == []
    assert t.stats()["fuse-timed-out"] == 0 and t.stats()["recalled"] == 2
    between.release()


@harness.case()
def what_moved_meanwhile_is_followed(t):
    """A branch that moved while nobody looked: shown as it was, and then as it is, without being asked."""
    between = start(t)
    assert same_as_clone(t) == []
    t.stop()
    between.fault = lambda r: proxy.Stall(0)
    between.hold()
    repo.commit_files(os.path.join(t.path("repos"), "r.git"), {"d0/f0": b"new\n"})
    t.start()
    assert t.read("o/r/d0/f0") == FILES["d0/f0"]
    between.fault = lambda r: None
    between.release()
    harness.wait_until(lambda: t.read("o/r/d0/f0") == b"new\n", "the move")


if __name__ == "__main__":
    harness.main()
