#!/usr/bin/env python3
"""The load of tests/faults/run: readers that check every byte, and count every call that fails.

    load.py MOUNT TRUTH [--readers N] [--seed N]

TRUTH is a file of JSON: for each repository a map from path to [SHA-256, size], or null for a directory, and with
"moving" the name of a file whose lines are equal at every moment. Runs until its input ends, then prints one line
of JSON: calls, failures by errno, wrong answers, the longest call, and which processes did not end.
Every process uses the mount in its own way: readers and listers at random, one with its working directory inside,
one with a descriptor that stays open, one with a mapping.
"""

import argparse
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import random
import sys
import time

# A call that takes longer than this when all else is over hangs.
HANGS_AFTER = 60


class Tally:
    """What one process saw. Shared: the parent reads it also when the process hangs."""

    def __init__(self):
        self.calls = multiprocessing.Value("q", 0)
        self.wrong = multiprocessing.Value("q", 0)
        self.longest = multiprocessing.Value("d", 0.0)
        self.failures = multiprocessing.Array("q", 256)  # by errno

    def call(self, function, *args):
        start = time.monotonic()
        try:
            return function(*args)
        except OSError as e:
            self.failures[e.errno] += 1
            print(f"load: {function.__name__} {args}: {e}", file=sys.stderr, flush=True)
            return None
        finally:
            self.calls.value += 1
            self.longest.value = max(self.longest.value, time.monotonic() - start)

    def check(self, right, what):
        if not right:
            self.wrong.value += 1
            print(f"load: WRONG {what}", file=sys.stderr, flush=True)


class Load:
    def __init__(self, mount, truth, seed, tally, stop):
        self.mount, self.truth, self.tally, self.stop = mount, truth, tally, stop
        self.rng = random.Random(seed)
        self.repos = sorted(truth["repos"])

    def pick(self, directory=False, at_least=0):
        """A repository and a path in it."""
        while True:
            name = self.rng.choice(self.repos)
            tree = self.truth["repos"][name]
            path = self.rng.choice(list(tree))
            entry = tree[path]
            if directory if entry is None else not directory and entry[1] >= at_least:
                return name, path, entry

    def full(self, name, path):
        return os.path.join(self.mount, name, path)

    # Each of these is one or a few system calls on the mount, checked.

    def read(self):
        name, path, (digest, size) = self.pick()
        fd = self.tally.call(os.open, self.full(name, path), os.O_RDONLY | os.O_CLOEXEC)
        if fd is None:
            return
        try:
            content = b""
            while len(content) <= size:
                part = self.tally.call(os.read, fd, self.rng.choice((4096, 65536, 1 << 20)))
                if part is None:
                    return
                if not part:
                    break
                content += part
            self.tally.check(hashlib.sha256(content).hexdigest() == digest, f"{name}/{path}")
            # So that the next reader asks the daemon, and not the kernel.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def list(self):
        name, path, _ = self.pick(directory=True)
        names = self.tally.call(os.listdir, self.full(name, path))
        if names is not None:
            self.tally.check(sorted(names) == self.truth["listings"][name][path], f"listing {name}/{path}")

    def status(self):
        name, path, (_, size) = self.pick()
        st = self.tally.call(os.stat, self.full(name, path))
        if st is not None:
            self.tally.check(st.st_size == size, f"size of {name}/{path}")

    def moving(self):
        def lines(path):
            with open(path, "rb") as f:
                return f.read().splitlines()

        got = self.tally.call(lines, os.path.join(self.mount, self.truth["moving"]))
        if got is not None:
            self.tally.check(len(got) > 1 and len(set(got)) == 1, "a file of two commits")

    # The processes.

    def reader(self):
        while not self.stop.is_set():
            self.rng.choice((self.read, self.read, self.read, self.read, self.status, self.list, self.moving))()

    def lister(self):
        while not self.stop.is_set():
            self.list()

    def inside(self):
        """Its working directory is below a directory of the mount all the time."""
        name, path, _ = self.pick(directory=True)
        os.chdir(self.full(name, path))
        while not self.stop.is_set():
            names = self.tally.call(os.listdir, ".")
            if names is not None:
                self.tally.check(sorted(names) == self.truth["listings"][name][path], f"working directory {path}")
            self.tally.call(os.getcwd)
            self.tally.call(os.stat, "..")

    def holder(self):
        """One descriptor, opened once."""
        name, path, (digest, size) = self.pick(at_least=100_000)
        fd = os.open(self.full(name, path), os.O_RDONLY)
        whole = os.pread(fd, size, 0)
        self.tally.check(hashlib.sha256(whole).hexdigest() == digest, path)
        while not self.stop.is_set():
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            at = self.rng.randrange(size)
            part = self.tally.call(os.pread, fd, 8192, at)
            if part is not None:
                self.tally.check(part == whole[at : at + 8192], f"{path} at {at}")

    def mapper(self):
        """A page that cannot be read is SIGBUS, which ends this process: a failure."""
        name, path, (digest, size) = self.pick(at_least=100_000)
        with open(self.full(name, path), "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            whole = bytes(m)
            self.tally.check(hashlib.sha256(whole).hexdigest() == digest, path)
            while not self.stop.is_set():
                m.madvise(mmap.MADV_DONTNEED)
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                at = self.rng.randrange(size)
                part = self.tally.call(m.__getitem__, slice(at, at + 8192))
                self.tally.check(part == whole[at : at + 8192], f"mapping of {path} at {at}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mount")
    parser.add_argument("truth")
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.truth, encoding="utf-8") as f:
        truth = json.load(f)

    stop = multiprocessing.Event()
    tallies, processes = [], []
    roles = ["reader"] * options.readers + ["lister", "inside", "holder", "mapper"]
    for i, role in enumerate(roles):
        tally = Tally()
        load = Load(options.mount, truth, options.seed * 1000 + i, tally, stop)
        process = multiprocessing.Process(target=getattr(load, role), name=f"{role} {i}", daemon=True)
        process.start()
        tallies.append(tally)
        processes.append(process)
    print("running", flush=True)
    sys.stdin.read()
    stop.set()
    for process in processes:
        process.join(HANGS_AFTER)
    failures = {
        errno.errorcode.get(e, str(e)): n for e in range(256) if (n := sum(t.failures[e] for t in tallies))
    }
    print(
        json.dumps({
            "calls": sum(t.calls.value for t in tallies),
            "failures": failures,
            "wrong": sum(t.wrong.value for t in tallies),
            "longest": max(t.longest.value for t in tallies),
            "hung": [p.name for p in processes if p.is_alive()],
            "died": [p.name for p in processes if p.exitcode not in (0, None)],
        }),
        flush=True,
    )  # fmt: skip
    os._exit(0)  # one that hangs would be waited for


if __name__ == "__main__":
    main()
