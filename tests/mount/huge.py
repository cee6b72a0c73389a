#!/usr/bin/env python3
"""A directory and a file of a size that nobody expects."""

import hashlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import large  # noqa: E402
import repo  # noqa: E402
import stream  # noqa: E402

MIB = 1 << 20


def run(*command, cwd):
    """The lines that a program writes, as bytes."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, check=True).stdout.splitlines()


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@harness.case(seconds=600)
def directory_of_200000_entries(t):
    """Names, sizes and one of them, with memory that 200,000 files explain (M1)."""
    root, n = t.path("repos"), 200_000
    os.mkdir(root)
    # Not by a commit of fast-import, which looks through the whole directory for each new entry.
    path = repo.init_bare(os.path.join(root, "r.git"))
    with repo.Importer(path) as out:
        for i in range(n):
            out.blob(b"%d\n" % i)
    many = repo.raw_tree(path, [(repo.FILE, b"f%06d" % i, blob_id(b"%d\n" % i)) for i in range(n)])
    repo.raw_commit(path, repo.raw_tree(path, [(b"40000", b"many", many)]))
    server = t.serve(root)
    t.configure("[Mount]\nRequestTimeoutSec=300\n")
    t.org("o", "git", server.url, repos=["r"])
    t.start("--log-level", "info")
    many = t.at("o/r/many")
    with stream.Watcher(t.cache, t.pid) as watcher:
        assert os.stat(os.path.join(many, "f123456")).st_size == len("123456\n")
        names = run("ls", "-U", cwd=many)
        assert sorted(names) == [b"f%06d" % i for i in range(n)]
        sizes = {line.split()[8]: int(line.split()[4]) for line in run("ls", "-lU", cwd=many)[1:]}
        assert sizes == {b"f%06d" % i: len(b"%d\n" % i) for i in range(n)}
        assert len(run("find", ".", "-type", "f", cwd=many)) == n
        assert t.read("o/r/many/f199999") == b"199999\n"
    stats, requests = t.stats(), server.requests()
    print(f"{watcher.memory >> 20} MiB private, {len(requests)} requests, {stats['nodes-now']} nodes")
    assert len(requests) <= 5 + n // 1000, len(requests)
    assert watcher.memory < 160 * MIB, watcher.memory


@harness.case(seconds=600)
def large_file(t):
    """600 MB go through the daemon, and never through its memory (R3)."""
    large.file_streams(t, 600 * MIB)


if __name__ == "__main__":
    harness.main()
