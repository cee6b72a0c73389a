#!/usr/bin/env python3
"""How many requests things cost: on the wire when cold, through FUSE when warm (R12, R13, R31)."""

import os
import platform
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402


PAGE_LOSS = {"fuse-read", "fuse-read-bytes", "fuse-readdir", "fuse-readdirplus", "store-hit"}


def wide(t):
    directory = harness.fixture("wide")
    server = t.start_org("git", os.path.join(directory, "repos"))
    return os.path.join(directory, "clones", "wide"), server


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, check=True).stdout


def show(requests):
    for request in requests:
        print(*request)


@harness.case()
def cold_listing_of_2000_directories(t):
    """Cold `ls -lR`: not more than 5 requests; the second none (R12, R13)."""
    clone, server = wide(t)
    listing = run("ls", "-lR", ".", cwd=t.at("o/wide"))
    requests = server.requests()
    show(requests)
    assert len(requests) <= 5, f"{len(requests)} requests"
    assert listing.count(b"\n-rw-r--r--") == 10000 == run("ls", "-lR", ".", cwd=clone).count(b"\n-rw-r--r--")
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    assert len(server.requests()) == len(requests)


@harness.case()
def cold_read_of_a_deep_file(t):
    """Cold `cat` of a file 20 directories deep: not more than 4 requests."""
    clone, server = wide(t)
    path = "deep/" + "/".join(f"l{i:02}" for i in range(1, 20)) + "/f3"
    content = run("cat", path, cwd=t.at("o/wide"))
    requests = server.requests()
    show(requests)
    assert len(requests) <= 4, f"{len(requests)} requests"
    with open(os.path.join(clone, path), "rb") as f:
        assert content == f.read()


@harness.case()
def attributes_come_with_the_listing(t):
    """`ls -l` after `ls` asks the server for nothing, once what the listing asked for has come (R5, R12)."""
    _, server = wide(t)
    names = t.names("o/wide/d00/s00")
    # refs, the branch, the trees, the sizes
    harness.wait_until(lambda: len(server.requests()) == 4, "the sizes")
    before = server.requests()
    sizes = [os.lstat(t.at(f"o/wide/d00/s00/{n}")).st_size for n in names]
    assert len(sizes) == 5 and all(sizes)
    after = server.requests()
    assert after == before, after[len(before) :]


@harness.case()
def cold_walk_of_names(t):
    """Cold `find`: the names do not wait for sizes, and nothing is asked for by directory (R13)."""
    clone, server = wide(t)
    found = run("find", ".", cwd=t.at("o/wide"))
    expected = run("find", ".", "-not", "-path", "./.git*", cwd=clone)
    assert sorted(found.splitlines()) == sorted(expected.splitlines())
    harness.wait_until(lambda: len(server.requests()) == 4, "the sizes")
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    assert len(server.requests()) == 4, server.requests()
    assert t.stats()["fetch-blobs"] == 0


@harness.case()
def second_pass_asks_nobody(t):
    """A warm `grep -r` reaches neither the server nor the daemon."""
    clone, server = wide(t)
    tree = t.at("o/wide")
    expected = sorted(run("grep", "-r", "needle", ".", "--exclude-dir=.git", cwd=clone).splitlines())
    # A drop during one pass is missed by the next, so drops are counted from before the pass that warms.
    drops = harness.cache_drops()
    assert sorted(run("grep", "-r", "needle", ".", cwd=tree).splitlines()) == expected
    requests = len(server.requests())
    first = t.stats()
    assert first["fuse-read"] + first["push-files"] >= 10000
    for _ in range(10):
        drops_before_warming, drops = drops, harness.cache_drops()
        before = t.stats()
        assert sorted(run("grep", "-r", "needle", ".", cwd=tree).splitlines()) == expected
        after = t.stats()
        changed = {k: v - before[k] for k, v in after.items() if v != before[k]}
        dropped = harness.cache_drops() != drops_before_warming
        # Lost pages alone: names and attributes are still there.
        paged_out = changed.keys() <= PAGE_LOSS and harness.pages_are_reclaimed()
        if changed == {} or not (dropped or paged_out):
            break
        print(f"this kernel has lost caches, and not by the daemon: {changed}, again")
    delta = {k: v for k, v in changed.items() if k.startswith("fuse-") and k not in harness.NOT_REQUESTS}
    release = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])
    if (6, 9) <= release <= (6, 12):
        print("this kernel's directory cache is broken: listings are not counted")
        for name in "fuse-readdir", "fuse-readdirplus", "fuse-open", "fuse-other":
            delta.pop(name, None)
    assert delta == {}, changed
    assert len(server.requests()) == requests


@harness.case()
def second_long_listing_asks_nothing_per_file(t):
    """`ls -l` wants security labels and access control lists, which no file here has."""
    wide(t)
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    before = t.fuse_requests()["fuse-xattr"]
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    asked = t.fuse_requests()["fuse-xattr"] - before
    assert asked <= 10, f"{asked} requests for 10,000 files"


@harness.case()
def cold_listing_of_many_links(t):
    """`ls -l` reads all links; their targets come together, and the files' contents do not come."""
    root = t.path("repos")
    files = {f"d{i % 10}/file{i}": "x" * 1000 for i in range(300)}
    links = {f"d{i % 10}/link{i}": (repo.LINK, f"file{i}".encode()) for i in range(300)}
    os.makedirs(root)
    repo.simple_repo(os.path.join(root, "links.git"), {**files, **links})
    server = t.start_org("git", root)
    listing = run("ls", "-lR", ".", cwd=t.at("o/links"))
    requests = server.requests()
    show(requests)
    assert listing.count(b" -> file") == 300
    assert len(requests) <= 7, f"{len(requests)} requests"
    # The commit, 11 trees and 300 links.
    objects = t.stats()["fetch-objects-in"]
    assert objects <= 312, f"{objects} objects"


@harness.case()
def walk_is_fetched_in_batches(t):
    """Reading all of a tree costs a few requests, not one for each file."""
    _, server = wide(t)
    run("grep", "-rc", "needle", ".", cwd=t.at("o/wide"))
    requests = server.requests()
    show(requests)
    assert len(requests) <= 15, f"{len(requests)} requests for 10,000 files"
    stats = t.stats()
    assert stats["prefetch-walk-useful"] >= 9000, stats
    assert stats["prefetch-children-useful"] >= 1900, stats


@harness.case()
def archive_is_fetched_in_batches(t):
    _, server = wide(t)
    run("sh", "-c", "tar cf - . | wc -c", cwd=t.at("o/wide"))
    requests = server.requests()
    show(requests)
    assert len(requests) <= 15, f"{len(requests)} requests for 10,000 files"


TINY = {f"d{n // 1000:02}/e{n // 50 % 20:02}/f{n % 50:02}": (b"%d\n" % n) * (1 + n % 40) for n in range(18000)}


@harness.case(seconds=200)
def archive_of_tiny_files(t):
    """To be told the sizes of tiny files costs as much as to have them: a few are, and then all come at once (R8)."""
    server = own(t, TINY)
    output = run("tar", "cf", "-", ".", cwd=t.at("o/own"))
    assert len(output) > sum(map(len, TINY.values()))
    requests = server.requests()
    show(requests)
    # A busy server is asked again for what a reader waits for, a few times.
    assert len(requests) <= 20, f"{len(requests)} requests for 18,000 files"
    stats = quiet(t)
    assert stats["fetch-sizes"] == 1, stats
    assert stats["fetch-closures"] >= 1, stats
    told = 50 * 512  # of the sample
    assert requests[3][4] <= told, requests[3]


def own(t, files, config=""):
    root = t.path("repos")
    os.makedirs(root)
    repo.simple_repo(os.path.join(root, "own.git"), files)
    return t.start_org("git", root, config=config)


# 6 MB that do not get smaller.
LARGE = {f"d{d}/f{f:02}": random.Random(100 * d + f).randbytes(20000) for d in range(10) for f in range(30)}


def quiet(t):
    """When nothing is on its way any more: the counters."""

    def is_quiet():
        before = t.stats()
        return before["http-active-now"] == 0 and before["fetch-blobs"] == t.stats()["fetch-blobs"]

    harness.wait_until(is_quiet, "the last request")
    return t.stats()


@harness.case()
def one_file_brings_its_small_neighbours(t):
    """`ls; cat FILE` costs little more than the file."""
    own(t, LARGE)
    assert len(t.names("o/own")) == 10
    assert len(t.names("o/own/d3")) == 30
    assert t.read("o/own/d3/f07") == LARGE["d3/f07"]
    stats = quiet(t)
    assert stats["fetch-blobs"] == 1, stats
    assert stats["http-bytes-in"] < 400000, stats
    for name in "f08", "f09", "f10":
        assert t.read(f"o/own/d3/{name}") == LARGE[f"d3/{name}"]
    assert quiet(t)["prefetch-siblings-useful"] == 3


@harness.case()
def walker_that_stops(t):
    """Who reads three files has the next ones fetched, and not all; names alone bring no content (R13)."""
    own(t, LARGE, config="[Prefetch]\nWalkLimit=8M\n")
    run("ls", "-lR", ".", cwd=t.at("o/own"))
    for name in sorted(LARGE)[:3]:
        assert t.read(f"o/own/{name}") == LARGE[name]
    stopped = quiet(t)
    assert stopped["http-bytes-in"] < 3 << 20, stopped
    run("ls", "-lR", ".", cwd=t.at("o/own"))
    assert quiet(t)["fetch-blobs"] == stopped["fetch-blobs"]


def cold_archive(t, config=""):
    """What was asked for by `tar` of 150 files of 6 MB that nothing is known of: counters, and how many requests."""
    files = {f"d{d}/f{f:02}": random.Random(100 * d + f).randbytes(40000) for d in range(10) for f in range(15)}
    server = own(t, files, config)
    assert len(run("tar", "cf", "-", ".", cwd=t.at("o/own"))) > sum(map(len, files.values()))
    stats, requests = quiet(t), server.requests()
    show(requests)
    assert stats["fetch-sizes"] == 1, stats
    # The commit, 11 trees, the files; the trees that stand for the files of nine directories come again.
    assert stats["fetch-objects-in"] <= 1 + 11 + len(files) + 9, stats
    return stats, len(requests)


@harness.case()
def cold_archive_of_a_small_repository(t):
    """A full read costs one request for contents where the sizes say that it is small (R7, R8)."""
    stats, requests = cold_archive(t)
    # info/refs, the branch, the trees, the sizes
    assert requests <= 5, f"{requests} requests"
    assert stats["fetch-blobs"] == 1 and stats["fetch-closures"] == 1, stats
    assert stats["prefetch-walk-useful"] == 149 and stats["prefetch-walk-wasted"] == 0, stats


@harness.case()
def cold_archive_of_more_than_a_third(t):
    """Where it is more than a third of WalkLimit= it costs two: the first two files', and the rest (R8)."""
    stats, requests = cold_archive(t, "[Prefetch]\nWalkLimit=16M\n")
    assert requests <= 6, f"{requests} requests"
    assert stats["fetch-blobs"] == 2, stats


@harness.case()
def first_of_one_directory(t):
    """Who reads the first file of one directory that he listed is not taken for a walker."""
    own(t, LARGE)
    assert len(t.names("o/own/d3")) == 30
    assert t.read("o/own/d3/f00") == LARGE["d3/f00"]
    stats = quiet(t)
    assert stats["fetch-blobs"] == 1 and stats["fetch-closures"] == 0, stats
    assert stats["http-bytes-in"] < 200000, stats


@harness.case()
def two_walkers(t):
    """Two that read different directories each get batches of their own."""
    server = own(t, LARGE)
    run("ls", "-lR", ".", cwd=t.at("o/own"))
    before = len(server.requests())
    for pair in zip(*[[n for n in sorted(LARGE) if n < "d5"], [n for n in sorted(LARGE) if n >= "d5"]]):
        for name in pair:
            assert t.read(f"o/own/{name}") == LARGE[name]
    requests = len(server.requests()) - before
    assert requests <= 10, f"{requests} requests for 300 files"


def many_repos(t, n):
    root = t.path("repos")
    os.makedirs(root)
    for i in range(n):
        repo.simple_repo(os.path.join(root, f"r{i:02}.git"), {"f": f"{i}\n"})
    return root


@harness.case()
def walk_over_repositories(t):
    """Who enters one repository after the other finds the next ones here (R5)."""
    root = many_repos(t, 40)
    t.org("o", "git", t.serve(root).url, repos=[f"r{i:02}" for i in range(40)])
    t.start()
    for name in t.names("o"):
        assert t.names(f"o/{name}") == ["f"]
    stats = quiet(t)
    # The first has none before it, and the second is what shows that it is a walk.
    assert stats["prefetch-repos-useful"] >= 30, stats
    assert stats["fetch-trees"] == 40, stats


@harness.case()
def walk_over_repositories_that_stops(t):
    root = many_repos(t, 40)
    t.org("o", "git", t.serve(root).url, repos=[f"r{i:02}" for i in range(40)])
    t.start()
    assert len(t.names("o")) == 40
    assert quiet(t)["fetch-trees"] == 0, "a listing alone enters nothing (R13)"
    for name in "r07", "r30", "r19":
        t.names(f"o/{name}")
    assert quiet(t)["fetch-trees"] == 3, "no walk"
    for name in "r20", "r21", "r22":
        t.names(f"o/{name}")
    assert 6 <= quiet(t)["fetch-trees"] <= 12, "a short one"


def read_in_order(t, order):
    """2,000 files of wide in some order, after a listing; returns how many requests that took."""
    _, server = wide(t)
    paths = [os.path.join(top, name) for top, _, names in os.walk(t.at("o/wide")) for name in names]
    assert len(paths) == 10000
    before = len(server.requests())
    for path in order(sorted(paths))[:2000]:
        with open(path, "rb") as f:
            assert f.read()
    requests = len(server.requests()) - before
    print(f"{requests} requests")
    return requests


@harness.case()
def walk_backwards(t):
    """Whoever reads everything from the end is a walker, too."""
    assert read_in_order(t, lambda paths: paths[::-1]) <= 20


@harness.case()
def walk_in_random_order(t):
    def shuffled(paths):
        random.Random(1).shuffle(paths)
        return paths

    assert read_in_order(t, shuffled) <= 40


@harness.case()
def listing_counts_as_background_work(t):
    """The counters show what the daemon did (R15)."""
    _, server = wide(t)
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    stats = t.stats()
    # The counter rises when a request is started: none can be missing from it.
    assert stats["http-requests"] >= len(server.requests()) > 0
    assert stats["fetch-objects-in"] >= 2000, stats
    assert stats["nodes-created"] >= 12000, stats


@harness.case()
def moved_branch_costs_little(t):
    """After a small commit, `gitfsctl refresh` and a look at the changed file bring only the changes."""
    directory = harness.fixture("wide")
    root = t.own_repos(directory, "wide")
    server = t.serve(root)
    between = proxy.Proxy(server.url).start()
    t.org("o", "git", between.url)
    t.start()
    run("ls", "-lR", ".", cwd=t.at("o/wide"))
    before = len(server.requests())
    repo.commit_files(os.path.join(root, "wide.git"), {"d03/s07/f2": "moved\n"})
    t.ctl("refresh", t.at("o/wide"))
    assert t.read("o/wide/d03/s07/f2") == b"moved\n"
    requests = server.requests()[before:]
    show(requests)
    assert len(requests) <= 5, f"{len(requests)} requests"
    assert sum(r[4] for r in requests) < 100000, "more than the changed trees"


if __name__ == "__main__":
    harness.main()
