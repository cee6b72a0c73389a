"""gitfs next to the floor, a FUSE server that does as little as one can: what of a request's cost is gitfs' own.

Processor time counts here, not the clock. For this neither program looks for its next request before it sleeps, which
would use up any time there is, and all share one processor with who asks them.
"""

import contextlib
import glob
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import contenders  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402
import warm  # noqa: E402

MIB = 1 << 20
LARGE = 512 * MIB
BLOCK = 4096
CONFIG = "[Prefetch]\nPushLimit=0\n[Daemon]\nSpinSec=0\n"
COMMANDS = {"find -printf %s": contenders.SIZES, "tar": contenders.TAR}


class Floor:
    """A running floor server for a directory."""

    def __init__(self, tree, mount, spin_usec=0):
        program = os.path.join(harness.BUILD, "tests", "bench", "floor")
        os.makedirs(mount, exist_ok=True)
        self.tree = mount
        self._process = subprocess.Popen(
            [program, tree, mount, str(spin_usec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = self._process.pid
        assert self._process.stdout.readline() == "ready\n", "the floor server did not start"

    def requests(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Gitfs:
    """The same of a running gitfsd."""

    def __init__(self, env, tree):
        self.env, self.tree, self.pid = env, tree, env.pid

    def requests(self):
        return sum(self.env.fuse_requests().values())


def threads(pid):
    return [int(t) for t in os.listdir(f"/proc/{pid}/task")]


def cpu_seconds(pid):
    """Processor time of all threads of a process."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


@contextlib.contextmanager
def one_processor(pid):
    """This process, what it starts, and all threads of another."""
    everywhere = os.sched_getaffinity(0)
    whom = [0, *threads(pid)]
    for thread in whom:
        os.sched_setaffinity(thread, {min(everywhere)})
    try:
        yield
    finally:
        for thread in whom:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, everywhere)


def cost(server, command):
    """Processor time of the server for each request of a walk by a kernel that has forgotten everything."""
    warm.drop_everything()
    with one_processor(server.pid):
        requests, cpu = server.requests(), cpu_seconds(server.pid)
        contenders.timed(command, server.tree)
        cpu = cpu_seconds(server.pid) - cpu
        return cpu / (server.requests() - requests)


def measure(env, workload, tree, times=3):
    """Yields (what, microseconds of gitfs, of the floor) for each request. Starts the daemon anew, as it must not
    push either: that saves requests, and costs time."""
    env.stop()
    env.configure(CONFIG)
    env.start("--log-level", "info")
    contenders.timed(contenders.TAR, tree)
    bottom, ours = Floor(workload.clone, env.path("floor")), Gitfs(env, tree)
    try:
        for what, command in COMMANDS.items():
            best = [float("inf"), float("inf")]
            for _ in range(times):
                for i, server in enumerate((ours, bottom)):
                    best[i] = min(best[i], cost(server, command))
            yield what, best[0] * 1e6, best[1] * 1e6
    finally:
        bottom.close()


# --- one large file ---


def read_sequentially(path):
    """Seconds."""
    fd = os.open(path, os.O_RDONLY)
    started = time.monotonic()
    while os.read(fd, MIB):
        pass
    os.close(fd)
    return time.monotonic() - started


def read_randomly(path):
    """Seconds for one block of 4 KiB each in random order."""
    offsets = [block * BLOCK for block in range(LARGE // BLOCK)]
    random.Random(1).shuffle(offsets)
    fd = os.open(path, os.O_RDONLY)
    started = time.monotonic()
    for offset in offsets[:20_000]:
        os.pread(fd, BLOCK, offset)
    os.close(fd)
    return time.monotonic() - started


class LargeWorkload:
    """What a table says of it."""

    name, files, directories = "large", ("file",), 1


def large_repository(directory):
    """A repository with one file, and a directory with the same file on the disk."""
    plain = os.path.join(directory, "plain")
    os.makedirs(plain)
    block = random.Random(2).randbytes(64 << 10)
    with open(os.path.join(plain, "file"), "wb") as f:
        for i in range(LARGE // len(block)):
            f.write(i.to_bytes(8, "big") + block[8:])
    bare = os.path.join(directory, "repos", "large.git")
    repo.git("init", "-q", "--bare", "-b", "main", bare)
    config = ["-c", "core.bigFileThreshold=1m", "-c", "core.compression=0", "--work-tree", plain]
    repo.git("-C", bare, *config, "add", "file")
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    repo.git("-C", bare, *identity, *config, "commit", "-q", "-m", "one large file")
    return os.path.dirname(bare), plain


def measure_large(env):
    """Yields (goal, what, value)."""
    repositories, plain = large_repository(env.path("large"))
    env.org("large", "local", repositories)
    env.start("--log-level", "info")
    path, on_disk = env.at("large/large/file"), os.path.join(plain, "file")
    bottom = Floor(plain, env.path("floor"), spin_usec=50)
    at_bottom = os.path.join(bottom.tree, "file")
    read_sequentially(path)
    try:

        def cold(which):
            warm.drop_everything()
            return read_sequentially(which)

        best = {p: min(cold(p) for _ in range(3)) for p in (path, at_bottom)}
        yield "K4", f"{LARGE / best[path] / 1e9:.1f} GB/s", 2e9 / (LARGE / best[path])
        yield "K4f", f"floor {LARGE / best[at_bottom] / 1e9:.1f} GB/s", best[path] / best[at_bottom]
        for goal, read in ("W5a", read_sequentially), ("W5b", read_randomly):
            for which in path, on_disk:
                read(which)
            best = {p: min(read(p) for _ in range(3)) for p in (path, on_disk)}
            yield goal, "", best[path] / best[on_disk]
    finally:
        bottom.close()
        env.stop()
