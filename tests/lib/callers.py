"""Processes that make very many calls at once, one thread for each.

    crowd = callers.Crowd([("stat", path), ("list", path), ("read", path)], processes=4)
    crowd.go()
    for result in crowd.results(): ...

All threads are there before the first one calls. What one call waits for, no other waits for.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

STACK = 128 << 10


@dataclass
class Result:
    kind: str
    path: str
    errno: int  # 0: it went well
    value: object  # the names in a directory, the content of a file
    ended: float  # on the monotonic clock


class Crowd:
    def __init__(self, calls, processes=1):
        self.calls = calls
        self._shares = [calls[n::processes] for n in range(processes)]
        self._children = []
        for share in self._shares:
            child = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            child.stdin.write(json.dumps(share) + "\n")
            child.stdin.flush()
            self._children.append(child)
        for child in self._children:
            assert child.stdout.readline() == "ready\n"

    def go(self):
        for child in self._children:
            child.stdin.write("go\n")
            child.stdin.flush()

    def kill(self):
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()

    def results(self, seconds):
        """Those of all calls, as soon as the last one has ended; none may take longer than that from now."""
        results, deadline = [], time.monotonic() + seconds
        for share, child in zip(self._shares, self._children):
            left = max(deadline - time.monotonic(), 0)
            assert select.select([child.stdout], [], [], left)[0], f"calls that have not ended after {seconds} seconds"
            for (kind, path), answer in zip(share, json.loads(child.stdout.read())):
                results.append(Result(kind, path, *answer))
            assert child.wait() == 0
        return results


def _read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(fd, 1 << 20), b"")).decode("latin-1")
    finally:
        os.close(fd)


CALLS = {"stat": lambda path: os.stat(path) and None, "list": lambda path: sorted(os.listdir(path)), "read": _read}


def _main():
    calls = json.loads(sys.stdin.readline())
    answers = [None] * len(calls)
    start = threading.Event()

    def run(i):
        kind, path = calls[i]
        start.wait()
        try:
            error, value = 0, CALLS[kind](path)
        except OSError as e:
            error, value = e.errno, None
        answers[i] = error, value, time.monotonic()

    threading.stack_size(STACK)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    start.set()
    for thread in threads:
        thread.join()
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    _main()
