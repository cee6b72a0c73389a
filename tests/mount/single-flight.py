#!/usr/bin/env python3
"""Many readers of one object cause one request (R32, R33), and a file is fetched whole, once (F2)."""

import errno
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

BIG = 50 << 20
ALONE = "[Mount]\nRequestTimeoutSec=60\n[Prefetch]\nSiblingLimit=0\n"


def blob_digest(directory):
    content = repo.git("--git-dir", os.path.join(directory, "repos", "big.git"), "cat-file", "blob", "main:blob")
    assert len(content) == BIG
    return hashlib.sha256(content).digest()


def in_parallel(n, function):
    """Runs function() in n processes that start at once; returns their exit statuses."""
    gate_read, gate_write = os.pipe()
    pids = []
    for _ in range(n):
        pid = os.fork()
        if pid == 0:
            os.close(gate_write)
            os.read(gate_read, 1)  # ends when the parent closes the gate
            try:
                status = function()
            except OSError as e:
                status = e.errno
            except BaseException as e:
                print(f"reader: {e!r}", flush=True)
                status = 255
            os._exit(status)
        pids.append(pid)
    os.close(gate_read)
    os.close(gate_write)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def sizes(t):
    """Lists the directory: the sizes come without the contents."""
    with os.scandir(t.at("o/big")) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}


def sixty_four_readers(t, server, expected):
    def reader():
        digest = hashlib.sha256()
        with open(t.at("o/big/blob"), "rb", buffering=0) as f:
            while chunk := f.read(1 << 20):
                digest.update(chunk)
        return 0 if digest.digest() == expected else 254

    before = len(server.requests())
    statuses = in_parallel(64, reader)
    assert statuses == [0] * 64, statuses
    requests = server.requests()
    for request in requests:
        print(*request)
    assert len([r for r in requests if r[4] > BIG // 100]) == 1, "the content was sent more than once"
    return requests[before:]


@harness.case(seconds=300)
def many_readers_of_a_listed_file(t):
    """64 processes open one uncached 50 MB file at once: one request, and all get all of it (R32)."""
    directory = harness.fixture("big50")
    # Its small neighbours would be read ahead.
    server = t.start_org("git", os.path.join(directory, "repos"), config=ALONE)
    assert sizes(t)["blob"] == BIG
    requests = sixty_four_readers(t, server, blob_digest(directory))
    assert len(requests) == 1, requests


@harness.case(seconds=300)
def many_readers_of_an_unknown_file(t):
    """The same when nothing of the repository is known yet: what leads to the file is asked for once, too."""
    directory = harness.fixture("big50")
    server = t.start_org("git", os.path.join(directory, "repos"))
    requests = sixty_four_readers(t, server, blob_digest(directory))
    assert len(requests) <= 4, requests


@harness.case(seconds=300)
def small_reads_of_a_large_file(t):
    """Reading in pieces, from the end, out of order: still one request (F2)."""
    directory = harness.fixture("big50")
    server = t.start_org("git", os.path.join(directory, "repos"))
    fd = os.open(t.at("o/big/blob"), os.O_RDONLY)
    digest = hashlib.sha256()
    tail = os.pread(fd, 4096, BIG - 4096)
    for at in range(0, BIG, 131072):
        digest.update(os.pread(fd, 131072, at))
    os.close(fd)
    assert digest.digest() == blob_digest(directory)
    assert len(tail) == 4096
    requests = server.requests()
    assert len([r for r in requests if r[4] > 1 << 20]) == 1, requests
    assert sum(r[4] for r in requests) < 1.05 * BIG, requests


@harness.case()
def failure_is_shared_and_not_kept(t):
    """All waiters of one fetch get its error; the next reader asks again (R32)."""
    directory = harness.fixture("big50")
    server = t.serve(os.path.join(directory, "repos"))
    between = proxy.Proxy(server.url).start()
    t.configure("[Mount]\nRequestTimeoutSec=30\n[Network]\nRetries=0\n")
    t.org("o", "git", between.url)
    t.start()
    path = t.at("o/big/blob")
    assert sizes(t)["blob"] == BIG
    between.fault = lambda r: proxy.Status(500) if r.kind == "fetch" else None

    def reader():
        with open(path, "rb", buffering=0) as f:
            return 0 if f.read(10) else 254

    statuses = in_parallel(16, reader)
    assert set(statuses) == {errno.EIO}, statuses
    between.fault = lambda r: None
    harness.wait_until(lambda: t.errno_of(t.read, "o/big/blob") == 0, "readable again")


@harness.case()
def one_name_looked_up_by_many(t):
    """64 processes that look up one new name get one inode, which works afterwards (R27)."""
    directory = harness.fixture("wide")
    server = t.start_org("git", os.path.join(directory, "repos"))
    results = t.path("results")
    os.mkdir(results)

    def look(path):
        ino = os.stat(t.at(path)).st_ino
        open(os.path.join(results, f"{ino}-{os.getpid()}"), "w", encoding="ascii").close()
        return 0

    for path in "o/wide", "o/wide@main", "o/wide/d00", "o/wide/d00/s00/f0":
        before = len(server.requests())
        assert in_parallel(64, lambda path=path: look(path)) == [0] * 64
        inodes = {name.split("-")[0] for name in os.listdir(results)}
        assert len(inodes) == 1, f"{path}: {inodes}"
        assert os.stat(t.at(path)).st_ino == int(inodes.pop())
        print(f"{path}: {len(server.requests()) - before} requests")
        for name in os.listdir(results):
            os.unlink(os.path.join(results, name))
    assert len(server.requests()) <= 6, server.requests()


if __name__ == "__main__":
    harness.main()
