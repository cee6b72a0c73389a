"""What is compared: gitfs, and the ways of git that people would use instead. All fetch over the same kind of link.

A contender's cold() returns a Cold: seconds from nothing until the deepest file, all names, all sizes and all
contents have been read, each from nothing again where the contender allows it. What it cannot do is missing.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import disk  # noqa: E402
import harness  # noqa: E402
import link as links  # noqa: E402
import repo  # noqa: E402

NAMES = ["find", ".", "-name", ".git", "-prune", "-o", "-print"]
SIZES = ["find", ".", "-name", ".git", "-prune", "-o", "-printf", "%s %p\\n"]
TAR = ["tar", "--exclude=./.git", "-cf", "-", "."]
STEPS = {
    "first": lambda workload: ["cat", workload.deep],
    "names": lambda workload: NAMES,
    "sizes": lambda workload: SIZES,
    "read": lambda workload: TAR,
}


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
    cpu: dict = field(default_factory=dict)  # seconds of the processor, without those of the server
    memory: dict = field(default_factory=dict)  # bytes that belong to the daemon alone, at the end


def own_memory(pid):
    """Bytes that belong to a process alone."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f if line.count(":") == 1)
    return int(fields["Anonymous"].split()[0]) * 1024


def daemon_cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Mark:
    """Where a step began. Of the link and the server, what they had counted by then."""

    started: float
    cpu: float
    link: dict
    requests: int


class Contender:
    def __init__(self, workload, env, server):
        self.workload, self.env, self.server = workload, env, server

    def cpu(self):
        """Of the programs that this contender runs; they have ended when a step is over."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def mark(self, link):
        counted = link.counters(), len(self.server.requests())  # takes a moment: the clock comes last
        return Mark(time.monotonic(), self.cpu(), *counted)

    def measure(self, cold, what, link, command, cwd=None, mark=None):
        """One step. With a mark it counts from there: what came since then was part of it."""
        mark = mark or self.mark(link)
        timed(command, cwd)
        cold.seconds[what] = time.monotonic() - mark.started
        cold.cpu[what] = self.cpu() - mark.cpu
        now = link.counters()
        cold.traffic[what] = {k: now[k] - mark.link[k] for k in now}
        cold.requests[what] = len(self.server.requests()) - mark.requests
        return cold


class Gitfs(Contender):
    name = "gitfs"
    steps = tuple(STEPS)

    def cpu(self):
        return daemon_cpu(self.env.pid)

    def start(self):
        for entry in os.scandir(self.env.cache):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
        self.env.start("--log-level", "info")
        # To mount is not part of a step, to find the repository is; so is to connect, which a listing would do.
        os.stat(self.env.at("o"))
        harness.drop_caches()

    def step(self, cold, what, link, command):
        # A shell, because the change of directory is the first access.
        self.measure(cold, what, link, ["sh", "-c", 'cd "$0" && exec "$@"', self.tree, *command])
        cold.memory[what] = own_memory(self.env.pid)

    def cold(self, link):
        cold = Cold()
        self.env.org("o", "git", link.url, repos=[self.workload.name])
        self.tree = self.env.at(f"o/{self.workload.name}")
        with disk.fresh() as self.env.cache:
            for what in self.steps:
                self.start()
                self.step(cold, what, link, STEPS[what](self.workload))
                if what == "first":
                    self.step(cold, "next", link, ["cat", self.workload.other])
                self.env.stop()
        return cold


class GitfsPlain(Gitfs):
    """The same at a server that tells no sizes without contents."""

    name = "gitfs, no object-info"
    steps = ("names", "sizes", "read")

    def cold(self, link):
        program = links.program(harness.BUILD)
        lesser = links.Link(program, self.server.url, link.kind, "--no-object-info")
        try:
            return super().cold(lesser)
        finally:
            lesser.close()


class Git(Contender):
    """What it clones goes to a disk that was empty before."""

    def cold(self, link):
        with disk.fresh() as directory:
            return self.clone(link, directory)


class Clone(Git):
    """git clone --depth 1, and then the same in the clone."""

    name = "clone --depth 1"

    def clone(self, link, directory):
        cold, target = Cold(), os.path.join(directory, "clone")
        before = self.mark(link)
        url = f"{link.url}/{self.workload.name}.git"
        repo.git("-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1", url, target)
        cloned, cpu = time.monotonic(), self.cpu()
        for what, command in STEPS.items():
            # Each counts the clone and itself, not what was measured before it.
            started = before.started + (time.monotonic() - cloned)
            mark = Mark(started, before.cpu + (self.cpu() - cpu), before.link, before.requests)
            self.measure(cold, what, link, command(self.workload), target, mark)
        return cold


class Blobless(Git):
    """git clone --depth 1 --filter=blob:none --no-checkout: the fast way to one file, and to names."""

    name = "clone --filter=blob:none"

    def clone(self, link, directory):
        cold = Cold()
        url = f"{link.url}/{self.workload.name}.git"
        steps = {
            "first": ["git", "show", f"HEAD:{self.workload.deep}"],
            "names": ["git", "ls-tree", "-r", "-t", "--name-only", "HEAD"],
            "read": ["sh", "-c", "git checkout -q -f HEAD && exec " + " ".join(TAR)],
        }
        for what, command in steps.items():
            target = os.path.join(directory, what)
            before = self.mark(link)
            options = ["--depth", "1", "--filter=blob:none", "--no-checkout"]
            repo.git("-c", "advice.detachedHead=false", "clone", "-q", *options, url, target)
            self.measure(cold, what, link, command, target, before)
        return cold


class Sparse(Git):
    """git clone --filter=blob:none --sparse, the directory of the file added to the checkout."""

    name = "clone --sparse"

    def clone(self, link, directory):
        cold, target = Cold(), os.path.join(directory, "sparse")
        before = self.mark(link)
        url = f"{link.url}/{self.workload.name}.git"
        options = ["--filter=blob:none", "--sparse"]
        repo.git("-c", "advice.detachedHead=false", "clone", "-q", *options, url, target)
        repo.git("-C", target, "sparse-checkout", "add", os.path.dirname(self.workload.deep) or ".")
        self.measure(cold, "first", link, ["cat", self.workload.deep], target, before)
        repo.git("-C", target, "sparse-checkout", "disable")
        return self.measure(cold, "read", link, TAR, target, before)


ALL = (Gitfs, GitfsPlain, Clone, Blobless, Sparse)
