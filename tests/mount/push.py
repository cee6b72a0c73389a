#!/usr/bin/env python3
"""Small files are in the page cache before a walk reads them, and only then."""

import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

# push.c: what may be pushed in vain.
CREDIT_DIRS = 16


def repository(t, n_dirs, n_files):
    """A repository with many directories, all of it on this machine; `content` is what a file should hold."""
    root = t.path("repos")
    os.mkdir(root)
    files = {f"d{d:02}/f{f}": content(d, f) for d in range(n_dirs) for f in range(n_files)}
    repo.simple_repo(os.path.join(root, "r.git"), files)
    t.start_org("git", root)
    t.ctl("prefetch", "o/r", "--contents", "--wait")


def content(d, f):
    return f"{d} {f}\n" * (1 + 700 * f)


@harness.case()
def a_walk_that_reads_is_pushed(t):
    """After two reads in a directory the others make no request, nor do most of the next directories."""
    repository(t, 20, 6)
    names = t.names("o/r")
    for d, name in enumerate(names):
        files = t.names(f"o/r/{name}")
        if d == 0:
            for f in files[:2]:
                t.read(f"o/r/{name}/{f}")
        expected = 4 + min(d, CREDIT_DIRS // 2) * 6 + max(0, d - CREDIT_DIRS // 2) * 5
        if d <= CREDIT_DIRS // 2 + 1:
            harness.wait_until(lambda n=expected: t.stats()["push-files"] == n, f"{expected} files")
        reads = t.stats()["fuse-read"]
        for f, file in enumerate(files):
            assert t.read(f"o/r/{name}/{file}") == content(d, f).encode()
        if d <= CREDIT_DIRS // 2:
            assert t.stats()["fuse-read"] == reads, f"reads in {name}"
    # One file of a directory was left out: its READ says that the walk goes on.
    assert 2 <= t.stats()["fuse-read"] < 2 + 20 * 3
    assert t.stats()["prefetch-push-dropped"] == 0
    assert t.stats()["prefetch-push-useful"] > 20


@harness.case()
def a_walk_for_names_is_not(t):
    """`find` and `ls -lR` push nothing."""
    repository(t, 20, 3)
    for command in ["find", ".", "-printf", "%s\n"], ["ls", "-lR", "."]:
        subprocess.run(command, cwd=t.at("o/r"), stdout=subprocess.DEVNULL, check=True)
    # The queue is served in order: what was pushed of the others would be there by now.
    for f in t.names("o/r/d19")[:2]:
        t.read(f"o/r/d19/{f}")
    harness.wait_until(lambda: t.stats()["push-files"] == 1, "one file")


@harness.case()
def it_ends_when_the_reading_ends(t):
    """A reader who only lists from here on has a few more directories pushed in vain."""
    repository(t, 60, 3)
    for f in t.names("o/r/d00")[:2]:
        t.read(f"o/r/d00/{f}")
    for d in range(1, 60):
        t.names(f"o/r/d{d:02}")
    for f in sorted(t.names("o/r/d59"))[:2]:
        t.read(f"o/r/d59/{f}")
    most = 1 + CREDIT_DIRS * 3 + 1
    least = 1 + CREDIT_DIRS * 2 + 1
    harness.wait_until(lambda: t.stats()["push-files"] >= least, "what the credit allows")
    assert t.stats()["push-files"] <= most, t.stats()["push-files"]
    assert t.stats()["prefetch-push-wasted"] >= least - 2


@harness.case(seconds=240)
def contents_are_right_while_caches_are_dropped(t):
    """Walkers, a kernel that forgets everything again and again, and a branch that moves: right bytes always."""
    directory = harness.fixture("wide")
    root = t.own_repos(directory, "wide")
    t.start_org("git", root)
    expected = walk.scan(os.path.join(directory, "clones", "wide"))
    tree, results = t.at("o/wide"), []

    def walker():
        for _ in range(2):
            results.append(walk.compare(expected, walk.scan(tree)))

    t.ctl("prefetch", "o/wide", "--contents", "--wait")
    threads = [threading.Thread(target=walker) for _ in range(2)]
    for thread in threads:
        thread.start()
    moves = 0
    while any(thread.is_alive() for thread in threads):
        harness.drop_caches()
        # The same content under another commit: nodes stay, listings change.
        repo.commit_files(os.path.join(root, "wide.git"), {}, message=f"move {moves}")
        t.ctl("refresh", "o/wide")
        moves += 1
    assert len(results) == 4 and not any(results), results
    assert t.stats()["push-files"] > 0


if __name__ == "__main__":
    harness.main()
