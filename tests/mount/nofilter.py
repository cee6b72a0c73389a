#!/usr/bin/env python3
"""Servers that can do less: the tree is the same, it only costs more (R11)."""

import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

SECONDS = 300


def small_torture():
    return harness.fixture("torture", "--big-size", "1")


def agrees(t, directory, name="torture"):
    reference = walk.scan(os.path.join(directory, "clones", name))
    got = walk.scan(t.at(f"o/{name}"))
    problems = walk.compare(reference, got) + walk.properties(got)
    assert not problems, f"{len(problems)} differences:\n" + "\n".join(problems[:40])


def lesser_server(t, *missing, options=()):
    directory = small_torture()
    server = t.serve(os.path.join(directory, "repos"), *options)
    between = proxy.Proxy(server.url).start()

    def fault(request):
        if request.kind != "info" or not missing:
            return None
        functions = [proxy.strip_capability(name).function for name in missing]

        def edit(body):
            for function in functions:
                body = function(body)
            return body

        return proxy.Edit(edit)

    between.fault = fault
    t.configure("[Mount]\nRequestTimeoutSec=60\n")
    t.org("o", "git", between.url)
    t.start()
    return directory, between


@harness.case(seconds=SECONDS)
def without_filter(t):
    directory, between = lesser_server(t, b"filter")
    agrees(t, directory)
    assert not any(b"filter" in r.body for r in between.requests), "a filter was asked for all the same"


@harness.case(seconds=SECONDS)
def without_object_info(t):
    directory, between = lesser_server(t, b"object-info")
    agrees(t, directory)
    assert "object-info" not in between.kinds()


@harness.case(seconds=SECONDS)
def without_either(t):
    directory, between = lesser_server(t, b"filter", b"object-info")
    agrees(t, directory)
    assert "object-info" not in between.kinds()


@harness.case(seconds=SECONDS)
def protocol_v0(t):
    """A proxy that drops the Git-Protocol header leaves the old protocol."""
    directory, between = lesser_server(t, options=["--no-v2"])
    agrees(t, directory)
    # The head is asked for beside the capabilities, once, in the hope of the new one.
    kinds = between.kinds()
    assert kinds.count("ls-refs") <= 1, kinds
    assert set(kinds) - {"ls-refs"} == {"info", "v0"}, kinds
    assert t.read("o/torture@feature%2Fx/feature") == b"x\n"
    assert t.read("o/torture@v1.0/README.md") == b"# first\n"
    for name in "empty", "detached":
        agrees(t, directory, name)


@harness.case(seconds=SECONDS)
def filter_forbidden_by_the_server(t):
    """The repository's own configuration says no, as a plain http-backend does."""
    root = t.own_repos(small_torture(), "torture")
    repo.git("--git-dir", os.path.join(root, "torture.git"), "config", "uploadpack.allowFilter", "false")
    t.start_org("git", root)
    agrees(t, small_torture())


@harness.case(seconds=SECONDS)
def small_request_bodies(t):
    """A server that takes no more than 16 kB in a request: batches are cut to what it takes."""
    directory, _ = lesser_server(t, b"object-info", options=["--body-limit", "16384"])
    agrees(t, directory)


DIRECTORIES, FILES = 100, 30  # below each of DIRECTORIES / 10 others


def plain_server(t, config="[Prefetch]\nWalkLimit=64M\n"):
    """3,000 small files at a server that tells sizes with content only; returns them, and the proxy before it."""
    numbers = random.Random(1)
    files = {
        f"d{d // 10}/e{d:02}/f{f:02}": numbers.randbytes(50 + 7 * f) for d in range(DIRECTORIES) for f in range(FILES)
    }
    files |= {f"top{i}": numbers.randbytes(200 + i) for i in range(20)}
    root = t.path("repos")
    os.makedirs(root)
    repo.simple_repo(os.path.join(root, "own.git"), files)
    between = proxy.Proxy(t.serve(root).url).start()
    strip = proxy.strip_capability(b"object-info")
    between.fault = lambda request: strip if request.kind == "info" else None
    t.configure("[Mount]\nRequestTimeoutSec=100\n" + config)
    t.org("o", "git", between.url)
    t.start()
    return files, between


def long_listing(t, *options, at=""):
    command = ["ls", "-lA", *options, "."]
    output = subprocess.run(command, cwd=t.at("o/own/" + at), stdout=subprocess.PIPE, check=True).stdout.decode()
    rows = [line.split() for line in output.splitlines() if line.startswith("-")]
    return {row[-1]: int(row[4]) for row in rows}, sum(int(row[4]) for row in rows)


def fetched(between):
    return [r for r in between.requests if r.kind == "fetch"]


def settled(t, between):
    harness.wait_until(lambda: between.active == 0 and t.stats()["http-active-now"] == 0, "no request")
    return t.stats()


@harness.case(seconds=SECONDS)
def sizes_of_one_directory(t):
    """A lone `ls -l` has the files of that directory fetched, at once, and no other (R12, R13)."""
    files, between = plain_server(t)
    t.names("o/own")
    t.names("o/own/d3")
    before = len(fetched(between))
    sizes, _ = long_listing(t, at="d3/e35")
    assert sizes == {n[-3:]: len(c) for n, c in files.items() if n.startswith("d3/e35/")}
    settled(t, between)
    assert len(fetched(between)) - before == 1
    assert t.stats()["fetch-blobs"] == 1
    assert len(fetched(between)[-1].wants) == FILES


@harness.case(seconds=SECONDS)
def sizes_of_everything(t):
    """`ls -lR`: its first directory, its second, and all of the rest; the next one asks for nothing."""
    files, between = plain_server(t)
    expected = sum(map(len, files.values()))
    assert long_listing(t, "-R")[1] == expected
    stats = settled(t, between)
    kinds = [r.kind for r in between.requests]
    print(kinds, stats["prefetch-children-useful"])
    # The trees, and files three or four times: of two directories, and the rest in batches.
    assert kinds.count("fetch") <= 6, kinds
    assert stats["prefetch-children-useful"] >= DIRECTORIES // 2, stats
    # Sizes are kept with the trees: they stay known where the files have made room for others.
    t.ctl("flush", "--kernel")
    assert long_listing(t, "-R")[1] == expected
    assert [r.kind for r in between.requests] == kinds


@harness.case(seconds=SECONDS)
def reading_of_everything(t):
    files, between = plain_server(t)
    output = subprocess.run(["tar", "cf", "-", "."], cwd=t.at("o/own"), stdout=subprocess.PIPE, check=True).stdout
    assert len(output) > sum(map(len, files.values()))
    settled(t, between)
    kinds = [r.kind for r in between.requests]
    assert kinds.count("fetch") <= 6, kinds


@harness.case(seconds=SECONDS)
def walk_over_sizes_in_windows(t):
    """WalkLimit= holds for sizes as well: windows of about 500 files, each asked for in the middle of the last."""
    files, between = plain_server(t, "[Prefetch]\nWalkLimit=4M\n")
    assert long_listing(t, "-R")[1] == sum(map(len, files.values()))
    settled(t, between)
    wants = [len(r.wants) for r in fetched(between)]
    print(wants)
    assert len(wants) <= 16, wants
    assert max(wants) <= 600, wants


@harness.case(seconds=SECONDS)
def sizes_of_one_directory_after_the_other(t):
    """Where nothing may be fetched ahead each directory costs a request, and none costs one for each file."""
    files, between = plain_server(t, "[Prefetch]\nWalkLimit=0\n")
    assert long_listing(t, "-R")[1] == sum(map(len, files.values()))
    assert len(fetched(between)) <= DIRECTORIES + 10


if __name__ == "__main__":
    harness.main()
