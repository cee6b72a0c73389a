#!/usr/bin/env python3
"""A process that waits for a slow server can be interrupted and killed, and harms nobody else by it (R25)."""

import errno
import os
import select
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

# The request timeout is far above it: who ends within this has not waited for the timeout.
AT_ONCE = 5


def start(t):
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": b"x" * 500000, "d/g": "g\n"})
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=100\n[Network]\nStallTimeoutSec=100\n")
    t.org("o", "git", between.url)
    t.start()
    return between


def child(function):
    """Runs a function in a process with default signal handling; returns its pid and a pidfd."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            function()
            os._exit(0)
        except InterruptedError:
            os._exit(3)
        except OSError as e:
            os._exit(100 + (e.errno == errno.EINTR))
    return pid, os.pidfd_open(pid)


def ends(pid, pidfd):
    assert select.select([pidfd], [], [], AT_ONCE)[0], f"the process is still there {AT_ONCE} seconds later"
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def parked(t, n):
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= n, f"{n} waiting requests")


def killed_reader(t, number):
    between = start(t)
    t.names("o/r")
    between.fault = lambda r: proxy.Stall(100) if r.kind == "fetch" else None
    results = []
    victim = child(lambda: t.read("o/r/f"))
    parked(t, 1)
    other = threading.Thread(target=lambda: results.append(t.read("o/r/f")))
    other.start()
    between.wait_stalled()
    os.kill(victim[0], number)
    assert ends(*victim) == -number
    # The fetch went on for the other reader.
    assert other.is_alive()
    between.release()
    other.join()
    assert results == [b"x" * 500000]


@harness.case()
def reader_gets_sigint(t):
    killed_reader(t, signal.SIGINT)


@harness.case()
def reader_gets_sigkill(t):
    killed_reader(t, signal.SIGKILL)


class Interrupted(Exception):
    pass


@harness.case()
def lookup_is_interrupted(t):
    """A handler runs at once: the call has ended with EINTR."""
    between = start(t)
    between.fault = lambda r: proxy.Stall(0)

    def look():
        def handler(*_):
            raise Interrupted

        signal.signal(signal.SIGUSR1, handler)
        try:
            os.stat(t.at("o/r"))
        except Interrupted:
            os._exit(42)

    victim = child(look)
    parked(t, 1)
    os.kill(victim[0], signal.SIGUSR1)
    assert ends(*victim) == 42
    assert t.stats()["fuse-interrupt"] >= 1
    between.release()
    assert t.read("o/r/d/g") == b"g\n"


@harness.case()
def stop_while_calls_wait(t):
    """A stop answers whoever waits, unmounts and ends within 5 seconds (R18, R25)."""
    between = start(t)
    t.names("o/r")
    # Not a byte: a small file is answered as soon as it has come, although its response goes on.
    between.fault = lambda r: proxy.Stall(0)
    results = []

    def reader(path):
        results.append(proxy.elapsed(t.read, path)[1])

    readers = [threading.Thread(target=reader, args=(p,)) for p in ("o/r/f", "o/r/d/g", "o/x/y")]
    for thread in readers:
        thread.start()
    parked(t, 2)
    seconds, _ = proxy.elapsed(t.stop)
    assert seconds < 5, f"{seconds:.1f} s"
    for thread in readers:
        thread.join(AT_ONCE)
        assert not thread.is_alive()
    assert all(isinstance(r, OSError) for r in results), results
    between.release()


if __name__ == "__main__":
    harness.main()
