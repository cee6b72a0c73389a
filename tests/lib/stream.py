"""Streams far more through the cache than it may hold, with somebody watching the disk and the memory.

flow() has a git server serve one repository after the other, reads each through the mount with several readers at
once, every byte compared, and removes it again: the disk of the test holds one of them at a time. Each file is read
by two readers, in an order of their own, so that what one still needs is evicted for the other.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import random
import shutil
import threading
import time

import patience
import repo

# From what shares a segment of the store with others to what gets one of its own.
SIZES = (300, 5000, 40_000, 200_000, 1_000_000, 3_000_000, 12_000_000)
READERS = 4


def disk_use(directory):
    """Bytes that the files and directories at and below `directory` occupy."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        total += os.lstat(directory).st_blocks * 512
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += disk_use(entry.path)
                else:
                    with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def private_memory(pid):
    """Bytes that belong to a process alone: not those of mapped files, but those of its memfds."""
    total, memfd = 0, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if not line.split()[0].endswith(":"):
                memfd = "/memfd:" in line
            elif line.startswith("Rss:" if memfd else "Anonymous:"):
                total += int(line.split()[1]) << 10
    return total


class Watcher:
    """Looks at a cache directory again and again, in a thread of its own, and at the memory of the process: none
    where that is not its own. A context manager."""

    def __init__(self, directory, pid):
        self.directory, self.pid = directory, pid
        self.disk = self.memory = self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        memory_at = 0
        while not self._stop.is_set():
            self.disk = max(self.disk, disk_use(self.directory))
            self.samples += 1
            if patience.memory_is_ours() and time.monotonic() >= memory_at:  # costs a walk over all mappings
                memory_at = time.monotonic() + 0.1
                self.memory = max(self.memory, private_memory(self.pid))
            self._stop.wait(0.002)


def content(seed, size):
    """Incompressible, but for every fourth, which is text."""
    generator = random.Random(seed)
    if seed % 4:
        return generator.randbytes(size)
    return (b"%d " % generator.getrandbits(64) * (size // 2 + 1))[:size]


def make(path, seed, size):
    """A repository of about `size` bytes: {path: digest} of its files."""
    generator, digests, left = random.Random(seed), {}, size
    # As a server has them: nothing is packed again for a request.
    repo.init_bare(path)
    repo.git("-C", path, "config", "pack.window", "0")
    with repo.Importer(path) as out:
        files = []
        while left > 0:
            n = len(digests)
            data = content(seed * 1_000_000 + n, int(generator.choice(SIZES) * (0.5 + generator.random())))
            name = f"d{n % 17}/f{n}"
            digests[name] = hashlib.sha256(data).digest()
            files.append((name.encode(), b"100644", out.blob(data)))
            left -= len(data)
        out.commit_marks("refs/heads/main", "all", files)
    return digests


def digest_of(path):
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY)
    try:
        while chunk := os.read(fd, 1 << 20):
            digest.update(chunk)
    finally:
        os.close(fd)
    return digest.digest()


def read_all(directory, digests, reader):
    """One reader's share of a repository: (bytes, wrong files)."""
    names = [name for i, name in enumerate(digests) if (i - reader) % READERS < 2]
    random.Random(reader).shuffle(names)
    wrong = [name for name in names if digest_of(os.path.join(directory, name)) != digests[name]]
    return sum(os.stat(os.path.join(directory, name)).st_size for name in names), wrong


def flow(t, root, names, size):
    """Streams all repositories through the mount of org "o": (bytes read, wrong files)."""
    total, wrong = 0, []
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        for seed, name in enumerate(names, 1):
            path = os.path.join(root, name + ".git")
            digests = make(path, seed, size)
            shares = [pool.submit(read_all, t.at(f"o/{name}"), digests, reader) for reader in range(READERS)]
            for share in shares:
                read, bad = share.result()
                total += read
                wrong += bad
            shutil.rmtree(path)
    return total, wrong
