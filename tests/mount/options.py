#!/usr/bin/env python3
"""Every option does what gitfs.conf(5) says (R22), the limits among them hold (R1, R3, R35).

RequestTimeoutSec and NegativeTimeoutSec are shown by failure.py, GitCredential by auth.py, PollIntervalSec of
an org by refs.py.
"""

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import patience  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402


def many_repos(t, n, name="repos"):
    root = t.path(name)
    os.mkdir(root)
    for i in range(n):
        repo.simple_repo(os.path.join(root, f"r{i}.git"), {"f": f"{i}\n"})
    return root


def in_threads(function, arguments):
    results = {}

    def run(argument):
        try:
            results[argument] = function(argument)
        except OSError as e:
            results[argument] = e

    threads = [threading.Thread(target=run, args=(a,)) for a in arguments]
    for thread in threads:
        thread.start()
    return threads, results


def join(threads):
    for thread in threads:
        thread.join()


def tree_bytes(directory):
    total = 0
    for top, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
    return total


def threads_named(pid):
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
            names.append(f.read().strip())
    return sorted(names)


def cpu_of(pid, name):
    """Seconds of processor time of the thread of this name."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f, open(
            f"/proc/{pid}/task/{task}/schedstat", encoding="ascii"
        ) as g:
            if f.read().strip() == name:
                return int(g.read().split()[0]) / 1e9
    raise AssertionError(f"no thread {name}")


@harness.case()
def where_things_go(t):
    """MountPoint= and Directory=, and the defaults of the runtime directory and of ~/.config."""
    root = many_repos(t, 1)
    config = t.path("home/config/gitfs")
    t.write("home/config/gitfs/gitfs.conf", f"[Mount]\nMountPoint={t.path('elsewhere')}\n")
    t.write("home/config/gitfs/gitfs.conf.d/50-cache.conf", f"[Cache]\nDirectory={t.path('objects')}\n")
    t.write("home/config/gitfs/orgs.d/o.conf", f"[Org]\nForge=git\nUrl={t.serve(root).url}\n")
    t.start(defaults=True)
    with open(t.path("elsewhere/o/r0/f"), "rb") as f:
        assert f.read() == b"0\n"
    assert os.path.exists(os.path.join(t.runtime, "control"))
    assert t.ctl("path").stdout.strip() == t.path("elsewhere")
    assert os.listdir(t.path("objects")), "nothing in the cache"
    assert os.stat(t.path("objects")).st_mode & 0o077 == 0
    assert os.listdir(config + "/orgs.d") == ["o.conf"]


@harness.case()
def later_files_win(t):
    """Drop-ins are read in the order of their names, after the file itself."""
    t.configure(f"[Mount]\nMountPoint={t.path('first')}\n[Daemon]\nLogLevel=info\n")
    t.write("config/gitfs.conf.d/90-last.conf", f"[Mount]\nMountPoint={t.path('last')}\n")
    t.write("config/gitfs.conf.d/10-early.conf", f"[Mount]\nMountPoint={t.path('early')}\n")
    t.write("config/gitfs.conf.d/ignored.txt", "[Mount]\nNonsense\n")
    t.start(
        "--config-home", t.config, "--system-config", t.path("etc"), "--runtime-directory", t.runtime,
        "--cache-directory", t.cache, defaults=True,
    )  # fmt: skip
    assert t.ctl("path").stdout.strip() == t.path("last")


@harness.case()
def max_requests_per_second(t):
    """Requests beyond two seconds' worth are spread out, and nothing fails for it."""
    root = many_repos(t, 12)
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=60\n[Network]\nMaxRequestsPerSecond=10\n")
    t.org("o", "git", between.url)
    t.start()
    before = time.monotonic()
    threads, results = in_threads(lambda n: t.read(f"o/r{n}/f"), range(12))
    join(threads)
    seconds, n = time.monotonic() - before, len(between.requests)
    assert results == {i: f"{i}\n".encode() for i in range(12)}, results
    # At most 20 at once, and then 10 a second.
    assert n > 25 and seconds >= (n - 20) / 10 - 1, f"{n} requests in {seconds:.1f} s"


@harness.case()
def max_requests_per_host(t):
    """However many wait, no more than so many requests are under way to a host (R1)."""
    root = many_repos(t, 20)
    between = proxy.Proxy(t.serve(root).url).start()
    between.fault = lambda r: proxy.Stall(0)
    t.configure("[Mount]\nRequestTimeoutSec=60\n[Network]\nMaxRequestsPerHost=3\n")
    t.org("o", "git", between.url)
    t.start()
    threads, results = in_threads(lambda n: t.read(f"o/r{n}/f"), range(20))
    between.wait_stalled(3)
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= 20, "20 waiting lookups")
    assert between.peak == 3, between.peak
    between.release()
    join(threads)
    assert results == {n: b"%d\n" % n for n in range(20)}, results
    assert between.peak == 3, between.peak


@harness.case()
def max_requests(t):
    """The same over all hosts together."""
    root = many_repos(t, 8)
    server = t.serve(root)
    proxies = [proxy.Proxy(server.url).start() for _ in range(3)]
    t.configure("[Mount]\nRequestTimeoutSec=60\n[Network]\nMaxRequests=4\n")
    for n, between in enumerate(proxies):
        between.fault = lambda r: proxy.Stall(0)
        t.org(f"o{n}", "git", between.url)
    t.start()
    threads, results = in_threads(lambda path: t.read(path), [f"o{o}/r{r}/f" for o in range(3) for r in range(8)])
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= 24, "24 waiting lookups")
    harness.wait_until(lambda: sum(p.active for p in proxies) == 4, "4 requests")
    for between in proxies:
        between.release()
    join(threads)
    assert not [r for r in results.values() if isinstance(r, OSError)], results
    assert all(p.peak <= 4 for p in proxies)


@harness.case()
def max_pending_requests(t):
    """One waiting call too many fails with EAGAIN, of one process half of them; the others wait on (R3)."""
    root = many_repos(t, 10)
    between = proxy.Proxy(t.serve(root).url).start()
    between.fault = lambda r: proxy.Stall(0)
    t.configure("[Mount]\nRequestTimeoutSec=60\nMaxPendingRequests=6\n")
    t.org("o", "git", between.url)
    t.start()
    threads, results = in_threads(lambda n: os.stat(t.at(f"o/r{n}")).st_nlink, range(3))
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 3, "3 waiting lookups")
    assert t.errno_of(os.stat, t.at("o/r8")) == errno.EAGAIN
    others = [subprocess.Popen(["test", "-d", t.at(f"o/r{n}")]) for n in range(3, 6)]
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 6, "6 waiting lookups")
    refused = subprocess.run(["ls", t.at("o/r9")], capture_output=True, check=False)
    assert os.strerror(errno.EAGAIN).encode() in refused.stderr, refused
    assert t.stats()["fuse-refused"] >= 2
    between.release()
    join(threads)
    assert results == {n: 1 for n in range(3)}, results
    assert [other.wait() for other in others] == [0, 0, 0]
    # A place is free a moment after the answer.
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 0, "no more waiting lookups")
    assert t.read("o/r8/f") == b"8\n"


@harness.case()
def max_object_size(t):
    """A larger file fails with EFBIG, its neighbours do not notice."""
    directory = harness.fixture("big50")
    t.start_org("git", os.path.join(directory, "repos"), config="[Network]\nMaxObjectSize=1M\n")
    assert t.errno_of(t.read, "o/big/blob") == errno.EFBIG
    assert t.read("o/big/small") == b"small\n"
    assert t.errno_of(t.read, "o/big/blob") == errno.EFBIG


@harness.case()
def max_bytes_in_flight(t):
    """What has arrived and is not unpacked stays below its limit, and the rest comes all the same (R3)."""
    root = t.path("repos")
    os.mkdir(root)
    contents = {f"f{n:02}": os.urandom(1 << 20) for n in range(24)}
    repo.simple_repo(os.path.join(root, "r.git"), contents)
    t.start_org("git", root, config="[Network]\nMaxBytesInFlight=1M\n")
    threads, results = in_threads(lambda name: t.read(f"o/r/{name}"), contents)
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, t.stats()["inbox-bytes-now"])
    join(threads)
    assert results == contents, "wrong bytes"
    # Each of six transfers may have one read of the socket more.
    assert most <= (1 << 20) + 6 * (128 << 10), most
    assert t.stats()["inbox-bytes-now"] == 0


@harness.case(seconds=300)
def disk_limit(t):
    """The cache stays below its limit, and no byte is wrong while it evicts (R35)."""
    limit = 16 << 20
    root = t.path("repos")
    os.mkdir(root)
    contents = {f"f{n:02}": os.urandom(1 << 20) for n in range(48)}
    repo.simple_repo(os.path.join(root, "r.git"), contents)
    t.start_org("git", root, config=f"[Cache]\nDiskLimit={limit}\nMemoryLimit=4M\n")
    for _ in range(2):
        for name, content in contents.items():
            assert t.read(f"o/r/{name}") == content, name
            used = tree_bytes(t.cache)
            assert used <= limit, f"{used} bytes on disk"
        t.ctl("flush", "--kernel", "--memory")
    assert t.stats()["store-evicted"] > 0
    # What was used last is still there.
    assert tree_bytes(t.cache) > limit / 4


@harness.case()
def keep_free(t):
    """Nothing is stored when that would leave less of the disk free; reading works all the same."""
    directory = harness.fixture("big50")
    t.start_org("git", os.path.join(directory, "repos"), config="[Cache]\nKeepFree=8000T\n")
    assert len(t.read("o/big/blob")) == 50 << 20
    assert tree_bytes(t.cache) < 8 << 20


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS:"))


@harness.case(seconds=300)
def memory_limits(t):
    """MemoryLimit= and ListingMemoryLimit= bound what objects and listings take (R3)."""
    directory = harness.fixture("wide")
    config = "[Cache]\nMemoryLimit=1M\nListingMemoryLimit=1M\n"
    t.start_org("git", os.path.join(directory, "repos"), config=config)
    reference = walk.scan(os.path.join(directory, "clones", "wide"))
    assert walk.compare(reference, walk.scan(t.at("o/wide"))) == []
    t.ctl("flush", "--kernel")
    assert walk.compare(reference, walk.scan(t.at("o/wide"))) == []
    stats = t.stats()
    assert stats["store-memory-bytes"] <= 1 << 20, stats
    assert memory(t.pid) < 200 << 20 or not patience.memory_is_ours(), memory(t.pid)


@harness.case()
def kernel_directory_cache(t):
    """With it a second listing costs nothing, without it the daemon is asked each time."""
    root = many_repos(t, 1)

    def listings(setting):
        t.start_org("local", root, config=f"[Mount]\nKernelDirectoryCache={setting}\n")
        t.names("o/r0")
        before = t.stats()
        t.names("o/r0")
        after = t.stats()
        t.stop()
        return sum(after[k] - before[k] for k in ("fuse-readdir", "fuse-readdirplus"))

    assert listings("no") > 0
    assert listings("yes") == 0


@harness.case()
def retries(t):
    """A passing fault is not seen when the request may be tried again, and counted."""
    root = many_repos(t, 1)
    for n in 0, 2:
        between = proxy.Proxy(t.serve(root).url).start()
        faults = [proxy.Status(503), proxy.Drop()]
        between.fault = lambda r, faults=faults: faults.pop() if r.kind == "fetch" and faults else None
        t.configure(f"[Mount]\nRequestTimeoutSec=60\n[Network]\nRetries={n}\n")
        t.org("o", "git", between.url)
        t.start()
        got = t.errno_of(t.read, "o/r0/f")
        assert (got == 0) == (n == 2), (n, got)
        if n == 2:
            # One of the two may be seen by libcurl alone, which tries a reused connection again.
            assert t.stats()["http-retries"] >= 1
        t.stop()
        t.ctl("flush", check=False)
        for top, _, files in os.walk(t.cache):
            for name in files:
                os.unlink(os.path.join(top, name))


@harness.case()
def stall_timeout(t):
    """A transfer in which nothing moves is given up long before the deadline of the call."""
    root = many_repos(t, 1)
    between = proxy.Proxy(t.serve(root).url).start()
    between.fault = lambda r: proxy.Stall(50) if r.kind == "fetch" else None
    t.configure("[Mount]\nRequestTimeoutSec=100\n[Network]\nStallTimeoutSec=2\nRetries=0\n")
    t.org("o", "git", between.url)
    t.start()
    seconds, error = proxy.elapsed(t.read, "o/r0/f")
    assert isinstance(error, OSError) and error.errno in (errno.ETIMEDOUT, errno.EIO), error
    assert seconds < 20, seconds
    between.release()


@harness.case()
def ca_file(t):
    """HTTPS is verified: with the CA it works, without it nothing is read."""
    root = many_repos(t, 1)
    server = t.serve(root, "--tls")
    t.configure("[Mount]\nRequestTimeoutSec=20\n")
    t.org("o", "git", server.url)
    t.start()
    assert t.errno_of(t.read, "o/r0/f") in (errno.EIO, errno.EACCES, errno.EHOSTDOWN)
    t.stop()
    t.configure(f"[Network]\nCAFile={server.directory}/ca.pem\n")
    t.start()
    assert t.read("o/r0/f") == b"0\n"


@harness.case()
def numbers_of_threads(t):
    """Workers= and FuseThreads= are the numbers of threads."""
    root = many_repos(t, 1)
    counts = {}
    for workers, readers in (2, 1), (5, 1), (2, 4):
        t.start_org("local", root, config=f"[Daemon]\nWorkers={workers}\nFuseThreads={readers}\n")
        assert t.read("o/r0/f") == b"0\n"
        counts[workers, readers] = len(threads_named(t.pid))
        t.stop()
    assert counts[5, 1] - counts[2, 1] == 3, counts
    assert counts[2, 4] - counts[2, 1] == 3, counts


@harness.case()
def looking_for_the_next_request(t):
    """[Daemon] SpinSec= is how long a thread looks for the next request: processor time without requests."""
    root = many_repos(t, 1)
    t.start_org("local", root, config="[Daemon]\nSpinSec=1s\nFuseThreads=1\n")
    before = cpu_of(t.pid, "gitfs-fuse")

    def has_looked():
        # Several have to come soon after each other before it pays to look for more.
        for _ in range(100):
            os.listxattr(t.at("o"))
        return cpu_of(t.pid, "gitfs-fuse") - before > 0.1

    harness.wait_until(has_looked, "a tenth of a second of looking")


@harness.case()
def sizes_after_a_listing(t):
    """[Prefetch] Children= is whether a listing asks for sizes, also after a reload (R5, R13)."""
    root = many_repos(t, 2)
    t.start_org("git", root, config="[Prefetch]\nChildren=no\n")
    assert t.names("o/r0") == ["f"]
    assert t.stats()["fetch-sizes"] == 0
    assert os.lstat(t.at("o/r0/f")).st_size == 2
    assert t.stats()["fetch-sizes"] == 1
    t.configure("[Prefetch]\nChildren=yes\n")
    t.ctl("reload")
    assert t.names("o/r1") == ["f"]
    harness.wait_until(lambda: t.stats()["fetch-sizes"] == 2, "the sizes")


@harness.case()
def files_that_are_pushed(t):
    """[Prefetch] PushLimit= is the largest file that is put into the page cache before it is read."""
    sizes = {"f0": 10, "f1": 10, "f2": 4096, "f3": 4097}
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {name: name[1] * size for name, size in sizes.items()})
    for limit, pushed in ("0", 0), ("4K", 1), ("64K", 2):
        t.start_org("git", root, config=f"[Prefetch]\nPushLimit={limit}\n")
        t.ctl("prefetch", "o/r", "--contents", "--wait")
        assert [len(t.read(f"o/r/{name}")) for name in t.names("o/r")[:2]] == [10, 10]
        harness.wait_until(lambda n=pushed: t.stats()["push-files"] == n, f"{pushed} files")
        assert {name: len(t.read(f"o/r/{name}")) for name in sizes} == sizes
        assert t.stats()["fuse-read"] == len(sizes) - pushed
        t.stop()


@harness.case()
def how_far_ahead(t):
    """[Prefetch] SiblingLimit= and WalkLimit= bound what is fetched ahead of reads; 0 is nothing."""
    files = {f"f{i:02}": bytes([i]) * 1000 for i in range(20)}
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), files)

    def fetches(sibling_limit, walk_limit):
        t.start_org("git", root, config=f"[Prefetch]\nSiblingLimit={sibling_limit}\nWalkLimit={walk_limit}\n")
        assert len(t.names("o/r")) == len(files)
        for name in files:
            assert t.read(f"o/r/{name}") == files[name]
        stats = t.stats()
        t.stop()
        t.ctl("flush", check=False)
        for top, _, names in os.walk(t.cache):
            for name in names:
                os.unlink(os.path.join(top, name))
        return stats["fetch-blobs"]

    assert fetches(0, 0) == 20
    assert fetches("1M", 0) == 1
    assert 1 < fetches("6K", 0) < 20
    assert 1 < fetches(0, "64M") <= 3


@harness.case()
def log_level(t):
    root = many_repos(t, 1)
    sizes = {}
    for level in "debug", "warning":
        t.configure(f"[Mount]\nMountPoint={t.mount}\n[Daemon]\nLogLevel={level}\n")
        t.org("o", "local", root)
        t.start(
            "--config-home", t.config, "--system-config", t.path("etc"), "--runtime-directory", t.runtime,
            "--cache-directory", t.cache, defaults=True,
        )  # fmt: skip
        assert t.read("o/r0/f") == b"0\n"
        t.stop()
        sizes[level] = len(t.log())
        os.unlink(t.log_path)
    assert sizes["warning"] == 0 < sizes["debug"], sizes


@harness.case()
def poll_interval_of_the_daemon(t):
    """[Daemon] PollIntervalSec= is what orgs have that say nothing."""
    root = many_repos(t, 1)
    t.configure("[Daemon]\nPollIntervalSec=1\n")
    t.write("config/orgs.d/o.conf", f"[Org]\nForge=local\nUrl={root}\n")
    t.start()
    assert t.read("o/r0/f") == b"0\n"
    repo.commit_files(os.path.join(root, "r0.git"), {"f": "moved\n"})
    harness.wait_until(lambda: t.read("o/r0/f") == b"moved\n", "the poll")


@harness.case()
def repositories_in_the_org_file(t):
    """Repo= makes a name listed; others are found all the same."""
    root = many_repos(t, 3)
    t.org("o", "git", t.serve(root).url, repos=["r0", "r2"])
    t.start()
    assert t.names("o") == ["r0", "r2"]
    assert t.read("o/r1/f") == b"1\n"


if __name__ == "__main__":
    harness.main()
