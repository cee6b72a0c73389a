"""One large file in a repository, made, served and read without holding it in memory."""

import hashlib
import os
import random
import subprocess

import repo
import stream

MIB = 1 << 20


def digest(file):
    """Of all that is left of an open file."""
    hashed = hashlib.sha256()
    while chunk := file.read(MIB):
        hashed.update(chunk)
    return hashed.digest()


def make(path, size):
    """A repository with a file of `size` bytes, whole MiB, that do not compress. Its first MiB and the digest of it."""
    repo.init_bare(path)
    # As a server has it: sent as it lies there.
    repo.git("-C", path, "config", "core.bigFileThreshold", "1m")
    generator, hashed, start = random.Random(size), hashlib.sha256(), None
    command = ["git", "--git-dir", path, "hash-object", "-w", "--stdin"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=repo.clean_environment()
    ) as git:
        for _ in range(size // MIB):
            chunk = generator.randbytes(MIB)
            start = start or chunk
            hashed.update(chunk)
            git.stdin.write(chunk)
        git.stdin.close()
        blob = git.stdout.read().decode().strip()
    repo.raw_commit(path, repo.raw_tree(path, [(b"100644", b"blob", blob)]))
    return start, hashed.digest()


def file_streams(t, size):
    """Reads such a file through a mount: the right bytes, sent once, and memory that does not depend on its size."""
    root = t.path("repos")
    os.mkdir(root)
    start, expected = make(os.path.join(root, "r.git"), size)
    server = t.serve(root)
    t.configure("[Mount]\nRequestTimeoutSec=3600\n[Cache]\nMemoryLimit=16M\n")
    t.org("o", "git", server.url, repos=["r"])
    t.start("--log-level", "info")
    assert t.names("o/r") == ["blob"]
    with stream.Watcher(t.cache, t.pid) as watcher:
        with open(t.at("o/r/blob"), "rb", buffering=0) as file:
            assert file.read(4096) == start[:4096]
            file.seek(0)
            assert digest(file) == expected
    sent = sum(r[4] for r in server.requests())
    print(f"{size >> 20} MiB, {sent >> 20} MiB sent, {watcher.memory >> 20} MiB private")
    assert os.stat(t.at("o/r/blob")).st_size == size
    assert sent < 1.02 * size + MIB, sent
    assert watcher.memory < 96 * MIB, watcher.memory
