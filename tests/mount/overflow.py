#!/usr/bin/env python3
"""A repository that is larger than the cache may be."""

import hashlib
import os
import random
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import large  # noqa: E402
import repo  # noqa: E402
import stream  # noqa: E402

MIB = 1 << 20


def tar(directory):
    """{path: digest} of all files, as tar reads them."""
    digests = {}
    with subprocess.Popen(["tar", "-C", directory, "-cf", "-", "."], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    digests[os.path.normpath(member.name)] = large.digest(archive.extractfile(member))
    assert process.returncode == 0, f"tar ended with {process.returncode}"
    return digests


@harness.case(seconds=600)
def repository_larger_than_the_cache(t):
    """100 MB twice through 24 MB: right, within the limit, and hardly anything comes more than twice (R3, R35)."""
    root, limit, content = t.path("repos"), 24 * MIB, 100 * MIB
    os.mkdir(root)
    generator, expected, files, left = random.Random(1), {}, [], content
    while left > 0:
        data = generator.randbytes(generator.choice((500, 9000, 60_000, 400_000)))
        path = f"d{len(files) % 23}/s{len(files) % 7}/f{len(files)}"
        files.append((path.encode(), repo.FILE, data))
        expected[path] = hashlib.sha256(data).digest()
        left -= len(data)
    path = repo.init_bare(os.path.join(root, "r.git"))
    with repo.Importer(path) as out:
        out.commit("refs/heads/main", "all", files)
    server = t.serve(root)
    t.configure(f"[Mount]\nRequestTimeoutSec=300\n[Cache]\nDiskLimit={limit}\nMemoryLimit=8M\n")
    t.org("o", "git", server.url, repos=["r"])
    t.start("--log-level", "info")
    with stream.Watcher(t.cache, t.pid) as watcher:
        for _ in range(2):
            assert tar(t.at("o/r")) == expected
            t.ctl("flush", "--kernel")
    requests = server.requests()
    sent = sum(r[4] for r in requests)
    print(f"{len(files)} files, {len(requests)} requests, {sent >> 20} MiB sent, {watcher.disk >> 10} KiB on disk")
    assert watcher.disk <= limit, watcher.disk
    # What is read ahead is evicted before it is read, and comes again, if the two work against each other.
    assert sent < 2.2 * content, sent
    assert len(requests) < len(files) / 4, len(requests)
    assert t.stats()["store-corrupt"] == 0


if __name__ == "__main__":
    harness.main()
