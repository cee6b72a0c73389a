#!/usr/bin/env python3
"""Many at once, slow servers, and walkers that do not finish: nobody waits for, or pays for, another's trouble."""

import collections
import concurrent.futures
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402


def content(n):
    return b"file %d\n" % n * (n % 50 + 1)


def name(n):
    return f"d{n // 100:02}/f{n:05}"


def walked(t, n, config=""):
    """A repository of n files, with a proxy before its server."""
    root = t.path("repos")
    os.mkdir(root)
    path = repo.init_bare(os.path.join(root, "r.git"))
    with repo.Importer(path) as out:
        out.commit("refs/heads/main", "all", [(name(i).encode(), repo.FILE, content(i)) for i in range(n)])
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=100\n[Network]\nStallTimeoutSec=100\nMaxRequestsPerSecond=0\n" + config)
    t.org("o", "git", between.url)
    t.start("--log-level", "info")
    return path, between


def fetches(between):
    return [r for r in between.requests if r.kind == "fetch"]


def quiet(t, between):
    """Waits until nothing is asked, and nobody waits."""
    harness.wait_until(lambda: between.active == 0 and t.stats()["http-active-now"] == 0, "no request")
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 0, "nobody waits")


@harness.case(seconds=300)
def walker_is_killed(t):
    """What is asked for ahead ends within one window, and nothing is left of the walk (R25)."""
    n = 12000
    # So that a window is one request.
    _, between = walked(t, n, "[Prefetch]\nWalkLimit=400K\n")
    assert len(t.names("o/r")) == n // 100
    quiet(t, between)
    start_nodes = t.stats()["nodes-now"]
    # The answers of its third fetch and of all later ones stop half way.
    seen = len(fetches(between))
    between.fault = lambda r: proxy.Stall(1000) if len(fetches(between)) >= seen + 3 else None
    walker = subprocess.Popen(
        ["tar", "-cf", "-", t.at("o/r")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=os.setsid
    )  # fmt: skip
    reader = threading.Thread(target=walker.stdout.read)
    reader.start()
    between.wait_stalled()
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= 1, "the walker waits")
    before = len(fetches(between))
    os.killpg(walker.pid, signal.SIGKILL)
    assert walker.wait() == -signal.SIGKILL
    reader.join()
    # What the kernel reads ahead it does not take back: that is answered when the answer is there.
    between.release()
    quiet(t, between)
    late = len(fetches(between)) - before
    stats = t.stats()
    print(f"{before} fetches, {late} after the end; {stats['fetch-objects-in']} objects of {n} files")
    assert late <= 1, late
    t.ctl("flush", "--kernel")
    harness.wait_until(lambda: t.stats()["nodes-now"] <= start_nodes, "no more nodes than before")
    assert t.read("o/r/" + name(n - 1)) == content(n - 1)


@harness.case(seconds=300)
def two_walkers_in_one_repository(t):
    """One forward, one backward: all right, and every blob comes once, but for who would wait too long (R32)."""
    n = 6000
    path, between = walked(t, n)
    order = list(range(n))

    def walk(numbers):
        return [i for i in numbers if t.read("o/r/" + name(i)) != content(i)]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        walkers = [pool.submit(walk, order), pool.submit(walk, order[::-1])]
        wrong = [walker.result() for walker in walkers]
    assert wrong == [[], []]
    quiet(t, between)
    wants = [want for request in fetches(between) for want in request.wants]
    twice = [want for want, count in collections.Counter(wants).items() if count > 1]
    known = len(repo.git("--git-dir", path, "rev-list", "--objects", "main").splitlines())
    stats = t.stats()
    got, repeated = stats["fetch-objects-in"], stats["fetch-repeated"]
    print(f"{len(fetches(between))} fetches, {len(wants)} wants, {got} objects came, {known} there are")
    # A reader far behind in a large answer asks again, of 4,000 files once. How far he is depends on the machine.
    assert repeated <= n / 4000, repeated
    assert len(twice) <= repeated, f"{len(twice)} wanted twice, {repeated} asked for again on purpose"
    assert got <= known * 1.01, (got, known)


@harness.case(seconds=120)
def server_slower_than_the_deadline(t):
    """ETIMEDOUT for who waits, not for others; what comes after all is not asked for again (R9)."""
    root = t.path("repos")
    os.mkdir(root)
    for r in "slow", "other":
        repo.simple_repo(os.path.join(root, r + ".git"), {"f": content(7), "g": content(8)})
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=4\n[Network]\nMaxRequestsPerHost=4\n")
    t.org("o", "git", between.url)
    t.start()
    assert t.names("o/slow") == ["f", "g"]
    between.fault = lambda r: proxy.Stall(0) if r.kind == "fetch" and "/slow" in r.path else None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(t.errno_of, t.read, "o/slow/f")
        between.wait_stalled()
        assert t.read("o/other/g") == content(8)
        assert not waiting.done(), "it did not wait"
        assert waiting.result() == errno.ETIMEDOUT
    before = len(between.requests)
    between.release()
    harness.wait_until(lambda: between.active == 0 and t.stats()["http-active-now"] == 0, "the answer")
    assert t.read("o/slow/f") == content(7)
    assert len(between.requests) == before, between.kinds()
    assert t.read("o/slow/g") == content(8)


@harness.case(seconds=300)
def readers_of_sizes(t):
    """40 at once, in a repository of more files than one answer tells: each size is asked for once (R12)."""
    n, readers = 24000, 40
    _, between = walked(t, n)
    tops = t.names("o/r")

    def list_long(i):
        top = t.at(f"o/r/{tops[i * len(tops) // readers]}")
        return sum(os.lstat(os.path.join(top, f)).st_size > 0 for f in os.listdir(top))

    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        right = list(pool.map(list_long, range(readers)))
    assert right == [100] * readers, right
    quiet(t, between)
    questions = [r.body.count(b"oid ") for r in between.requests if r.kind == "object-info"]
    print(f"sizes asked for: {questions}")
    assert sum(questions) <= n
    assert t.stats()["fetch-blobs"] == 0


def many_repositories(root, n):
    """Copies of an empty one, each with a file of its own."""
    os.mkdir(root)
    empty = repo.init_bare(os.path.join(os.path.dirname(root), "empty.git"))
    names = [f"r{i:03}" for i in range(n)]
    for i, r in enumerate(names):
        path = os.path.join(root, r + ".git")
        shutil.copytree(empty, path)
        with repo.Importer(path) as out:
            files = [(b"README", repo.FILE, b"r\n"), (b"src/main", repo.FILE, content(i))]
            out.commit("refs/heads/main", "all", files)
    return names


@harness.case(seconds=600)
def walk_over_500_repositories(t):
    """One `ls`, then 16 readers over all of them: the server never sees more than MaxRequestsPerHost= (R2)."""
    n, limit = 500, 4
    root = t.path("repos")
    names = many_repositories(root, n)
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure(
        "[Mount]\nRequestTimeoutSec=500\n"
        f"[Network]\nMaxRequestsPerHost={limit}\nMaxRequestsPerSecond=0\nStallTimeoutSec=500\n"
    )
    t.org("o", "git", between.url, repos=names)
    t.start("--log-level", "info")
    listing = subprocess.run(
        ["sh", "-c", "ls o/*/"], cwd=t.mount, stdout=subprocess.PIPE, check=True, text=True
    ).stdout  # fmt: skip
    assert listing == "\n".join(f"o/{r}/:\nREADME\nsrc\n" for r in names), listing[:1000]

    def read(i):
        return t.read(f"o/{names[i]}/src/main") == content(i)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        right = list(pool.map(read, range(n)))
    print(f"{len(between.requests)} requests, {between.peak} at a time")
    assert all(right), f"{right.count(False)} wrong"
    assert between.peak <= limit, between.peak
    # Is it there, where is its branch, the trees, the sizes, and a file.
    assert len(between.requests) <= 5 * n, len(between.requests)


if __name__ == "__main__":
    harness.main()
