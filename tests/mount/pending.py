#!/usr/bin/env python3
"""Very many calls that wait for a server that does not answer (R3, R9, R25).

GITFS_PENDING says how many; tests/stress/pending runs these cases with 10,000 and the default configuration, for the
figures that they print.
"""

import collections
import errno
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import callers  # noqa: E402
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import stream  # noqa: E402

MANY = "GITFS_PENDING" in os.environ
CALLS = int(os.environ.get("GITFS_PENDING", "300"))
# What gitfs.conf(5) says where nothing is configured.
DEADLINE = 60 if MANY else 12
CONFIG = "" if MANY else f"[Mount]\nRequestTimeoutSec={DEADLINE}\n"
# By so much a call may be late.
SLACK = 10
PER_REPOSITORY = 25
KINDS = 5
UNREACHABLE = {errno.ETIMEDOUT, errno.EHOSTDOWN}


def content(n):
    return f"file {n}\n" * 3


class Setting:
    """A daemon whose server is behind a proxy, and which knows repositories of which nothing is here any more."""

    def __init__(self, t):
        self.t = t
        self.each = CALLS // KINDS
        self.repositories = -(-self.each // PER_REPOSITORY)
        root = t.path("repos")
        os.mkdir(root)
        one = [(f"d{n}/inner".encode(), repo.FILE, b"inner\n") for n in range(self.each)]
        one += [(f"files/f{n}".encode(), repo.FILE, content(n).encode()) for n in range(self.each)]
        with repo.Importer(repo.init_bare(os.path.join(root, "one.git"))) as out:
            out.commit("refs/heads/main", "all", one)
        for r in range(self.repositories):
            files = [(b"f%d" % n, repo.FILE, content(1000 * r + n).encode()) for n in range(PER_REPOSITORY)]
            with repo.Importer(repo.init_bare(os.path.join(root, f"m{r}.git"))) as out:
                out.commit("refs/heads/main", "all", files)
        self.cached = {f"o/cached/f{n}": random.Random(n).randbytes(8192) for n in range(20)}
        repo.simple_repo(os.path.join(root, "cached.git"), {os.path.basename(p): c for p, c in self.cached.items()})
        self.between = proxy.Proxy(t.serve(root).url).start()
        t.configure(CONFIG)
        t.org("o", "git", self.between.url)
        t.start("--log-level", "info")
        self.learn()

    def learn(self):
        """The kernel and the daemon know all names and sizes, and the content of nothing but one repository."""
        for path in ["one", "one/files"] + [f"m{r}" for r in range(self.repositories)]:
            with os.scandir(self.t.at("o/" + path)) as entries:
                for entry in entries:
                    entry.stat()
        self.t.ctl("flush", "--memory", "--disk")
        for path, expected in self.cached.items():
            assert self.t.read(path) == expected
        harness.wait_until(lambda: self.t.stats()["http-active-now"] == 0, "no request")
        harness.wait_until(lambda: self.t.stats()["fuse-parked-now"] == 0, "nobody waits")

    def expected(self):
        """{(kind, path): (errno, value)} when the server answers: a fifth of the calls of each kind."""
        one, calls = "o/one", {}
        for n in range(self.each):
            r, i = divmod(n, PER_REPOSITORY)
            calls["stat", f"o/new{n}"] = errno.ENOENT, None
            calls["stat", f"{one}@branch{n}"] = errno.ENOENT, None
            calls["list", f"{one}/d{n}"] = 0, ["inner"]
            calls["read", f"{one}/files/f{n}"] = 0, content(n)
            calls["read", f"o/m{r}/f{i}"] = 0, content(1000 * r + i)
        return {(kind, self.t.at(path)): value for (kind, path), value in calls.items()}

    def cached_reads(self):
        """Seconds that reads of what is here take, each of which reaches the daemon: (median, longest)."""
        seconds = []
        for path, expected in list(self.cached.items()) * 20:
            fd = os.open(self.t.at(path), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            started = time.monotonic()
            got = os.pread(fd, len(expected), 0)
            seconds.append(time.monotonic() - started)
            os.close(fd)
            assert got == expected, path
        return statistics.median(seconds), max(seconds)

    def memory(self):
        return stream.private_memory(self.t.pid) / 2**20

    def answers(self):
        """Milliseconds until gitfsctl has an answer."""
        return proxy.elapsed(self.t.stats)[0] * 1000


class Crowd:
    """All calls, which wait when this is made."""

    def __init__(self, setting):
        self.setting = setting
        expected = list(setting.expected())
        n = len(expected)
        random.Random(1).shuffle(expected)
        self.memory = setting.memory()
        self.before = setting.cached_reads()
        self.crowd = callers.Crowd(expected, processes=4)
        self.cpu = cpu_seconds(setting.t.pid)
        self.started = time.monotonic()
        self.crowd.go()
        harness.wait_until(lambda: setting.t.stats()["fuse-parked-now"] == n, "all calls wait", DEADLINE)
        self.all_wait = time.monotonic() - self.started
        self.peak = setting.memory()
        self.during = setting.cached_reads()
        self.control = setting.answers()

    def end(self):
        """Waits for the last one; returns the results."""
        results = self.crowd.results(DEADLINE + SLACK)
        self.ended = max(r.ended for r in results)
        harness.wait_until(lambda: self.setting.t.stats()["fuse-parked-now"] == 0, "nobody waits")
        self.errors = collections.Counter(r.errno for r in results)
        self.cpu = cpu_seconds(self.setting.t.pid) - self.cpu
        return results

    def report(self, what, since):
        n = len(self.crowd.calls)
        names = {errno.errorcode.get(e, "0"): count for e, count in sorted(self.errors.items())}
        (was, _), (median, longest) = self.before, self.during
        print(f"{n} calls, {what}")
        print(f"  all waiting after    {self.all_wait:.2f} s")
        print(f"  last one ended after {self.ended - since:.2f} s: {names}")
        print(f"  memory of the daemon {self.memory:.1f} MiB before, {self.peak:.1f} while they wait "
              f"({(self.peak - self.memory) * 1024 / n:.1f} KiB each), {self.setting.memory():.1f} after")  # fmt: skip
        print(f"  processor time       {self.cpu:.2f} s")
        print(f"  reads of what is here {median * 1e6:.0f} us while they wait, {median / was:.2f} x before; "
              f"longest {longest * 1e3:.1f} ms; gitfsctl {self.control:.0f} ms")  # fmt: skip
        sys.stdout.flush()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def all_wait(t):
    """(the setting, the crowd): the server accepts connections and answers nobody, and all calls wait for it."""
    setting = Setting(t)
    setting.between.fault = lambda r: proxy.Stall(0)
    return setting, Crowd(setting)


def serves_again(setting):
    """The server answers again: and so does the mount, soon, for every call that had failed."""
    t, started = setting.t, time.monotonic()
    between, before = setting.between, len(setting.between.requests)
    harness.wait_until(lambda: t.errno_of(t.read, "o/one/files/f0") == 0, "it is served again", 60)
    print(f"  served again after   {time.monotonic() - started:.2f} s")
    expected = setting.expected()
    # Names that nobody knows are a request each, and a server gets so many in a second and no more.
    names = [call for call in expected if call[0] == "stat"]
    calls = [call for call in expected if call[0] != "stat"] + names[:40]
    started = time.monotonic()

    def all_right():
        crowd = callers.Crowd(calls, 4)
        crowd.go()
        results = crowd.results(DEADLINE + SLACK)
        wrong = [r for r in results if not r.errno and r.value != expected[r.kind, r.path][1]]
        assert not wrong, wrong[:3]
        return all(r.errno == expected[r.kind, r.path][0] for r in results)

    # What has failed a moment ago may fail once more.
    harness.wait_until(all_right, "all of it is served", DEADLINE)
    print(f"  and all of it in     {time.monotonic() - started:.2f} s, {len(between.requests) - before} requests")


@harness.case(seconds=600)
def server_falls_silent(t):
    """It accepts connections and answers nobody: each call has its errno in time, and nothing else suffers."""
    s, crowd = all_wait(t)
    late = [r for r in crowd.end() if r.ended - crowd.started > crowd.all_wait + DEADLINE + SLACK]
    crowd.report("a server that is silent", crowd.started)
    assert not late, late[:3]
    assert set(crowd.errors) <= UNREACHABLE, crowd.errors
    s.between.fault = lambda r: None
    s.between.release()
    serves_again(s)


@harness.case(seconds=600)
def server_vanishes(t):
    """Its connections are reset while all wait, and new ones are refused: they need not wait for the deadline."""
    s, crowd = all_wait(t)
    vanished = time.monotonic()
    s.between.kill()
    crowd.end()
    crowd.report("a server that vanishes", vanished)
    assert set(crowd.errors) <= UNREACHABLE, crowd.errors
    s.between.fault = lambda r: None
    s.between.start()
    serves_again(s)


@harness.case(seconds=600)
def callers_are_killed(t):
    """All calls end at once, but for what the kernel reads ahead and does not take back: that ends in time (R25)."""
    s, crowd = all_wait(t)
    started = time.monotonic()
    crowd.crowd.kill()
    reads = 2 * s.each
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] <= reads, "only what is read ahead waits", SLACK)
    print(f"{len(s.expected())} calls of processes that are killed\n  ended after          {time.monotonic() - started:.2f} s")
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 0, "nobody waits", DEADLINE + SLACK)
    s.between.fault = lambda r: None
    s.between.release()
    serves_again(s)


if __name__ == "__main__":
    harness.main()
