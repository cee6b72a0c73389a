"""What is compared: gitfs, and the ways of git that people would use instead. All fetch over the same kind of link.

A contender's cold() returns a Cold: seconds from nothing until the deepest file, all names, all sizes and all
contents have been read, each from nothing again where the contender allows it. None: it cannot do this.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402

NAMES = ["find", ".", "-name", ".git", "-prune", "-o", "-print"]
SIZES = ["find", ".", "-name", ".git", "-prune", "-o", "-printf", "%s %p\\n"]
TAR = ["tar", "--exclude=./.git", "-cf", "-", "."]


def timed(command, cwd=None):
    """Seconds of a command, and the bytes it printed; through a pipe, as tar does not read for /dev/null."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, env=repo.clean_environment())
    n = 0
    while data := process.stdout.read(1 << 20):
        n += len(data)
    if process.wait() > (1 if command[0] == "grep" else 0):
        raise AssertionError(f"{command} failed")
    return time.monotonic() - started, n


@dataclass
class Cold:
    seconds: dict = field(default_factory=dict)  # by "first", "names", "sizes", "read"
    traffic: dict = field(default_factory=dict)  # the same keys: what the link counted
    requests: dict = field(default_factory=dict)


class Contender:
    def __init__(self, workload, env, server):
        self.workload, self.env, self.server = workload, env, server

    def measure(self, cold, what, link, command, cwd=None, started=None, before=None):
        """One step. With `started` and `before` it counts from there: what came earlier was part of it."""
        if before is None:
            before = self.mark(link)
        begin = time.monotonic() if started is None else started
        timed(command, cwd)
        cold.seconds[what] = time.monotonic() - begin
        cold.traffic[what], cold.requests[what] = self.since(link, before)
        return cold

    def mark(self, link):
        return link.counters(), len(self.server.requests())

    def since(self, link, before):
        now = link.counters()
        return {k: now[k] - before[0][k] for k in now}, len(self.server.requests()) - before[1]


class Gitfs(Contender):
    name = "gitfs"

    def cold(self, link):
        cold = Cold()
        self.env.org("o", "git", link.url, repos=[self.workload.name])
        tree = self.env.at(f"o/{self.workload.name}")
        steps = {"first": ["cat", self.workload.deep], "names": NAMES, "sizes": SIZES, "read": TAR}
        for what, command in steps.items():
            shutil.rmtree(self.env.cache, ignore_errors=True)
            self.env.start("--log-level", "info")
            # To mount is not part of it, to find the repository is.
            os.listdir(self.env.at("o"))
            harness.drop_caches()
            before, started = self.mark(link), time.monotonic()
            # A shell, because the change of directory is the first access.
            self.measure(cold, what, link, ["sh", "-c", 'cd "$0" && exec "$@"', tree, *command], None, started, before)
            self.env.stop()
        return cold


class Clone(Contender):
    """git clone --depth 1, and then the same in the clone."""

    name = "clone --depth 1"

    def cold(self, link):
        cold, target = Cold(), self.env.path(f"clone-{time.monotonic_ns()}")
        before, started = self.mark(link), time.monotonic()
        url = f"{link.url}/{self.workload.name}.git"
        repo.git("-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1", url, target)
        cloned = time.monotonic()
        steps = {"first": ["cat", self.workload.deep], "names": NAMES, "sizes": SIZES, "read": TAR}
        for what, command in steps.items():
            # Each counts the clone and itself, not what was measured before it.
            begin = started + (time.monotonic() - cloned)
            self.measure(cold, what, link, command, target, begin, before)
        self.directory = target
        return cold


class Blobless(Contender):
    """git clone --depth 1 --filter=blob:none --no-checkout: the fast way to one file, and to names."""

    name = "clone --filter=blob:none"

    def cold(self, link):
        cold = Cold()
        url = f"{link.url}/{self.workload.name}.git"
        steps = {
            "first": ["git", "show", f"HEAD:{self.workload.deep}"],
            "names": ["git", "ls-tree", "-r", "-t", "--name-only", "HEAD"],
            "read": ["sh", "-c", "git checkout -q -f HEAD && exec " + " ".join(TAR)],
        }
        for what, command in steps.items():
            target = self.env.path(f"blobless-{time.monotonic_ns()}")
            before, started = self.mark(link), time.monotonic()
            options = ["--depth", "1", "--filter=blob:none", "--no-checkout"]
            repo.git("-c", "advice.detachedHead=false", "clone", "-q", *options, url, target)
            self.measure(cold, what, link, command, target, started, before)
        return cold


class Sparse(Contender):
    """git clone --filter=blob:none --sparse, the directory of the file added to the checkout."""

    name = "clone --sparse"

    def cold(self, link):
        cold, target = Cold(), self.env.path(f"sparse-{time.monotonic_ns()}")
        before, started = self.mark(link), time.monotonic()
        url = f"{link.url}/{self.workload.name}.git"
        options = ["--depth", "1", "--filter=blob:none", "--sparse"]
        repo.git("-c", "advice.detachedHead=false", "clone", "-q", *options, url, target)
        repo.git("-C", target, "sparse-checkout", "add", os.path.dirname(self.workload.deep) or ".")
        self.measure(cold, "first", link, ["cat", self.workload.deep], target, started, before)
        repo.git("-C", target, "sparse-checkout", "disable")
        return self.measure(cold, "read", link, TAR, target, started, before)


ALL = (Gitfs, Clone, Blobless, Sparse)
