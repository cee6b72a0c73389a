#!/usr/bin/env python3
"""Reads a mount without pause and compares it with a clone, until its input ends.

load.py MOUNT CLONE: prints one line of JSON: calls that went well, those that did not, and the longest.
Every reader is a process: those that list and read at random, past the page cache or not; one that stands in a
directory, with a descriptor open and a file mapped.
"""

import json
import mmap
import multiprocessing
import os
import random
import sys
import time

READERS = 8


def files_of(clone):
    found = []
    for top, names, files in os.walk(clone):
        names[:] = [name for name in names if name != ".git"]
        found += [os.path.relpath(os.path.join(top, name), clone) for name in files]
    return sorted(found)


def content(path, flags=0):
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        data = b""
        while more := os.read(fd, 1 << 20):
            data += more
        return data
    finally:
        os.close(fd)


def reader(mount, clone, files, seed):
    chance = random.Random(seed)
    while True:
        name = chance.choice(files)
        if chance.random() < 0.3:
            directory = os.path.dirname(name)
            names = set(os.listdir(os.path.join(clone, directory))) - {".git"}
            yield set(os.listdir(os.path.join(mount, directory))) == names, directory
        else:
            flags = os.O_DIRECT if chance.random() < 0.7 else 0
            yield content(os.path.join(mount, name), flags) == content(os.path.join(clone, name)), name


def holder(mount, clone, files):
    name = files[0]
    expected = content(os.path.join(clone, name))
    os.chdir(os.path.join(mount, os.path.dirname(name)))
    here = os.getcwd()
    fd = os.open(os.path.basename(name), os.O_RDONLY | os.O_DIRECT)
    mapped = os.open(os.path.basename(name), os.O_RDONLY)
    with mmap.mmap(mapped, len(expected), prot=mmap.PROT_READ) as memory:
        while True:
            memory.madvise(mmap.MADV_DONTNEED)
            yield os.pread(fd, len(expected), 0) == expected, "a descriptor that was open"
            yield memory[:] == expected, "a mapping"
            yield os.path.basename(name) in os.listdir("."), "the working directory"
            yield os.getcwd() == here, "getcwd()"
            time.sleep(0.01)  # one that waits more than it works


def work(calls, stop, results):
    good, bad, longest = 0, [], 0.0
    while not stop.is_set():
        began = time.monotonic()
        try:
            ok, what = next(calls)
            error = None if ok else f"wrong: {what}"
        except OSError as e:
            error = str(e)
        longest = max(longest, time.monotonic() - began)
        if error is None:
            good += 1
        else:
            bad.append(error)
            break
    results.put((good, bad, longest))


def main():
    mount, clone = sys.argv[1:]
    files = files_of(clone)
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    sources = [reader(mount, clone, files, seed) for seed in range(READERS)] + [holder(mount, clone, files)]
    workers = [multiprocessing.Process(target=work, args=(calls, stop, results)) for calls in sources]
    for worker in workers:
        worker.start()
    print("started", flush=True)
    sys.stdin.read()  # until whoever started this closes it
    stop.set()
    parts = [results.get(timeout=100) for _ in workers]
    for worker in workers:
        worker.join()
    print(
        json.dumps(
            {
                "good": sum(part[0] for part in parts),
                "bad": sum((part[1] for part in parts), []),
                "longest": round(max(part[2] for part in parts), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
