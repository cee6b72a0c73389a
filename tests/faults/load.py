#!/usr/bin/env python3
"""The load of tests/faults/run: readers that check every byte, and count every call that fails.

    load.py MOUNT TRUTH [--readers N] [--seed N]

TRUTH is a file of JSON: for each repository a map from path to [SHA-256, size], or null for a directory; with
"moving" the repository whose branch moves from one commit to the next (files_of() is what is in them), and with
"state" a file that says how far it is. Runs until its input ends, then prints one line of JSON: calls, failures by
errno, wrong answers, the longest call, and which processes did not end.
Every process uses the mount in its own way: readers and listers at random, one with its working directory inside,
one with a descriptor that stays open, one with a mapping; and the last three again where the branch moves.
"""

import argparse
import collections
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import random
import re
import sys
import time

# A call that takes longer than this when all else is over hangs.
HANGS_AFTER = 60

# The directory of the repository that moves which is there at all times.
SIDE = "in/side"


def version(n):
    return f"version {n}\n".encode() * 500


def large(n):
    return f"version {n}\n".encode() * 20_000


def files_of(n):
    """What commit n of the repository that moves has, counted from 0."""
    return {
        "version": version(n),
        f"{SIDE}/version": version(n),
        f"{SIDE}/large": large(n),
        f"{SIDE}/same": b"same\n",
        f"{SIDE}/only-{n}": b"",
    }


def names_of(n):
    """What SIDE lists."""
    return sorted(["version", "large", "same", f"only-{n}"])


def commit_of(content):
    """The number of the commit that a file says it is of; -1 for one that says nothing."""
    match = re.match(rb"version (\d+)\n", content)
    return int(match[1]) if match else -1


# pushed: the last commit that the server may have, finished: the last move to one that was waited for.
State = collections.namedtuple("State", ["pushed", "finished"])


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
        self.seen = {}  # of which commit a path was last

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

    # The same where the branch moves. Nothing may ever be of an older commit than what was seen before, or than the
    # last of which all were told.

    def state(self):
        with open(self.truth["state"], encoding="ascii") as f:
            return State(**json.load(f))

    def content(self, path):
        """All of a file; None where a call failed."""
        fd = self.tally.call(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        if fd is None:
            return None
        try:
            parts = []
            while parts[-1:] != [b""]:
                parts.append(self.tally.call(os.read, fd, 1 << 20))
                if parts[-1] is None:
                    return None
            return b"".join(parts)
        finally:
            os.close(fd)

    def moving(self, path=None):
        path = path or self.full(self.truth["moving"], "version")
        before = self.state()
        got = self.content(path)
        if got is None:
            return
        n = commit_of(got)
        self.tally.check(got == version(n), f"{path} is of no commit")
        oldest = max(before.finished, self.seen.get(path, 0))
        self.tally.check(oldest <= n <= self.state().pushed, f"{path} is of commit {n}, {oldest} is over")
        self.seen[path] = n

    def is_there(self, path):
        def look(path):
            try:
                os.stat(path)
            except FileNotFoundError:
                return False
            return True

        return self.tally.call(look, path)

    def side(self):
        """What the working directory has, in which there is a name that moves. While the branch does, one name may be
        of one commit and one of another."""
        before = self.state()
        names = self.tally.call(os.listdir, ".")
        came = self.is_there(f"only-{before.pushed}")
        went = self.is_there(f"only-{before.pushed - 1}")
        after = self.state()
        if names is None:
            return
        fits = any(sorted(names) == names_of(n) for n in range(before.finished, after.pushed + 1))
        self.tally.check(fits, f"{names} is no commit from {before.finished} to {after.pushed}")
        if before == after and before.pushed == before.finished:
            right = came is not False and not went  # None is a failure, and counted
            self.tally.check(right, f"names of commit {before.pushed}: {came}, of the last: {went}")

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

    def stander(self):
        """The same where the branch moves."""
        here = self.full(self.truth["moving"], SIDE)
        os.chdir(here)
        while not self.stop.is_set():
            got = self.tally.call(os.getcwd)
            self.tally.check(got in (here, None), f"{got} for the path of the working directory")
            self.moving("version")
            self.moving("../../version")
            self.side()

    def hold(self, path, whole):
        """One descriptor, opened once: whole(first bytes) is all that is to be read from it."""
        fd = os.open(path, os.O_RDONLY)
        whole = whole(os.pread(fd, os.fstat(fd).st_size, 0))
        while not self.stop.is_set():
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            at = self.rng.randrange(len(whole))
            part = self.tally.call(os.pread, fd, 8192, at)
            if part is not None:
                self.tally.check(part == whole[at : at + 8192], f"{path} at {at}")

    def map(self, path, whole):
        """A page that cannot be read is SIGBUS, which ends this process: a failure."""
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            whole = whole(bytes(m))
            while not self.stop.is_set():
                m.madvise(mmap.MADV_DONTNEED)
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                at = self.rng.randrange(len(whole))
                part = self.tally.call(m.__getitem__, slice(at, at + 8192))
                self.tally.check(part == whole[at : at + 8192], f"mapping of {path} at {at}")

    def resting(self, use):
        name, path, (digest, _) = self.pick(at_least=100_000)

        def whole(content):
            self.tally.check(hashlib.sha256(content).hexdigest() == digest, path)
            return content

        use(self.full(name, path), whole)

    def passing(self, use):
        """A file of which there is another one soon: who has it open goes on seeing the one that he opened."""

        def whole(content):
            n = commit_of(content)
            self.tally.check(content == large(n), "a file of no commit")
            return large(n)

        use(self.full(self.truth["moving"], f"{SIDE}/large"), whole)

    def holder(self):
        self.resting(self.hold)

    def mapper(self):
        self.resting(self.map)

    def holder_of_old(self):
        self.passing(self.hold)

    def mapper_of_old(self):
        self.passing(self.map)


ROLES = ["lister", "inside", "holder", "mapper", "stander", "holder_of_old", "mapper_of_old"]


def summary(tallies, processes):
    failures = {
        errno.errorcode.get(e, str(e)): n for e in range(256) if (n := sum(t.failures[e] for t in tallies))
    }
    return {
        "calls": sum(t.calls.value for t in tallies),
        "failures": failures,
        "wrong": sum(t.wrong.value for t in tallies),
        "longest": max(t.longest.value for t in tallies),
        "hung": [p.name for p in processes if p.is_alive()],
        "died": [p.name for p in processes if p.exitcode not in (0, None)],
    }


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
    for i, role in enumerate(["reader"] * options.readers + ROLES):
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
    print(json.dumps(summary(tallies, processes)), flush=True)
    os._exit(0)  # one that hangs would be waited for


if __name__ == "__main__":
    main()
