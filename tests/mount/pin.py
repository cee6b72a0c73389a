#!/usr/bin/env python3
"""`gitfsctl pin`: complete, whatever else goes through the cache, without the server, and in the next process."""

import errno
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

MIB = 1 << 20
LIMIT = 24
CONFIG = f"[Mount]\nRequestTimeoutSec=10\n[Cache]\nDiskLimit={LIMIT}M\nMemoryLimit=4M\n[Network]\nRetries=1\n"


def noise(seed, size):
    return random.Random(seed).randbytes(size)


PINNED = {f"d{n % 7}/e{n % 3}/f{n}": noise(n, 3000 + 40 * n) for n in range(600)}
# Three times as much as the cache holds.
OTHERS = {f"o{n % 20}/f{n}": noise(10000 + n, 300000) for n in range(3 * LIMIT * 10 // 3)}


def start(t, poll=0):
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), PINNED)
    repo.clone(os.path.join(root, "r.git"), t.path("clone"))
    between = proxy.Proxy(t.serve(root).url).start()
    t.configure(CONFIG)
    t.org("o", "git", between.url, PollIntervalSec=poll)
    t.start()
    return between


def pins(t):
    return t.ctl_json("pins")


def wait_complete(t, n=1):
    def complete():
        states = [pin["state"] for pin in pins(t)]
        return len(states) == n and set(states) == {"complete"}

    harness.wait_until(complete, "the pins are complete", 60)


def read_others(t):
    """More than the cache holds, through the mount."""
    repo.simple_repo(os.path.join(t.path("repos"), "others.git"), OTHERS)
    for path, content in OTHERS.items():
        assert t.read(f"o/others/{path}") == content, path
    assert t.stats()["store-evicted"] > 0


def same_as_clone(t):
    return walk.compare(walk.scan(t.path("clone")), walk.scan(t.at("o/r")))


@harness.case(seconds=300)
def pinned_files_outlive_eviction_and_the_server(t):
    """Every byte, after three times the cache's limit, and in the next process without a server; not after unpin."""
    between = start(t)
    assert t.ctl("pin", "o/r", "--wait").stdout == "600 files\n"
    [pin] = pins(t)
    size = sum(len(content) for content in PINNED.values())
    assert (pin["path"], pin["state"], pin["done"], pin["total"]) == ("o/r", "complete", 600, 600), pin
    assert size <= pin["bytes"] <= size * 1.2, (pin, size)
    read_others(t)
    between.kill()
    t.ctl("flush", "--kernel", "--memory")
    assert same_as_clone(t) == []
    t.restart()
    assert same_as_clone(t) == []
    assert t.stats()["store-pinned-lost"] == 0
    between.start()
    wait_complete(t)
    t.ctl("unpin", "o/r")
    assert pins(t) == []
    read_others(t)
    between.kill()
    t.ctl("flush", "--kernel", "--memory")
    lost = sum(t.errno_of(t.read, f"o/r/{path}") != 0 for path in list(PINNED)[:5])
    assert lost > 0, "what is not pinned stays for ever"


@harness.case()
def a_pin_follows_its_branch(t):
    """What a commit brings is fetched before anybody looks."""
    between = start(t, poll=1)
    t.ctl("pin", "o/r/d1", "--wait")
    new = {"d1/new": noise(1, 50000), "d1/e0/deep": b"deep\n", "d2/not-pinned": noise(2, 5000)}
    repo.commit_files(os.path.join(t.path("repos"), "r.git"), new)

    def fetched():
        wait_complete(t)
        return pins(t)[0]["total"] == len([p for p in PINNED if p.startswith("d1/")]) + 2

    harness.wait_until(fetched, "the pin follows")
    between.kill()
    for path in "d1/new", "d1/e0/deep":
        assert t.read(f"o/r/{path}") == new[path]
    assert t.errno_of(t.read, "o/r/d2/not-pinned") == errno.EHOSTDOWN


@harness.case()
def a_pin_is_completed_again_after_a_loss(t):
    """Whatever dropped it: the files come back by themselves."""
    between = start(t)
    t.ctl("pin", "o/r@main", "--wait")
    between.requests.clear()
    t.ctl("flush", "--disk", "--memory", "--kernel")
    harness.wait_until(lambda: "fetch" in between.kinds(), "it is fetched again")
    wait_complete(t)
    between.kill()
    assert walk.compare(walk.scan(t.path("clone")), walk.scan(t.at("o/r@main"))) == []


@harness.case()
def a_pin_waits_for_its_server(t):
    """Pinned while the server is away: incomplete, with the reason; then complete, without being told."""
    between = start(t)
    assert t.names("o/r")
    between.kill()
    t.ctl("pin", "o/r")
    incomplete = harness.wait_until(lambda: [p for p in pins(t) if p["state"] == "incomplete"], "the failure")
    assert incomplete[0]["error_name"] == "org.gitfs1.Error.Offline", incomplete
    t.restart()
    assert pins(t)[0]["path"] == "o/r"
    between.start()
    wait_complete(t)
    between.kill()
    assert same_as_clone(t) == []


@harness.case()
def what_does_not_fit_is_refused(t):
    """With numbers; the cache goes on working, and other pins keep what they have."""
    between = start(t)
    repo.simple_repo(os.path.join(t.path("repos"), "large.git"), {f"f{n}": noise(n, MIB) for n in range(LIMIT * 3 // 4)})
    t.ctl("pin", "o/r/d0", "--wait")
    refused = t.ctl("pin", "o/large", "--wait", check=False).stderr
    assert "MiB" in refused and "DiskLimit=" in refused, refused
    assert [pin["path"] for pin in pins(t)] == ["o/r/d0"]
    for missing in "o/nothing", "o/r/nothing":
        t.ctl("pin", missing, "--wait", check=False)
        assert [pin["path"] for pin in pins(t)] == ["o/r/d0"]
    for n in range(LIMIT * 3 // 4):
        assert t.read(f"o/large/f{n}") == noise(n, MIB)
    between.kill()
    for path, content in PINNED.items():
        if path.startswith("d0/"):
            assert t.read(f"o/r/{path}") == content


@harness.case()
def a_lowered_limit_refuses_what_was_pinned(t):
    """A reload with a DiskLimit= below what is pinned: the pin is told so, and new files find room on disk."""
    lowered = 8
    between = start(t)
    t.ctl("pin", "o/r", "--wait")
    assert pins(t)[0]["bytes"] > lowered * MIB
    t.configure(CONFIG.replace(f"DiskLimit={LIMIT}M", f"DiskLimit={lowered}M"))
    t.ctl("reload")
    # One look: it is tried again, and is fetching then.
    [pin] = harness.wait_until(lambda: [p for p in pins(t) if p["state"] == "incomplete"], "the pin is refused")
    assert (pin["error_name"], pin["bytes"]) == ("org.gitfs1.Error.TooLarge", 0), pin
    harness.wait_until(lambda: t.stats()["store-disk-bytes"] <= lowered * MIB, "the limit holds")
    new = {f"f{n}": noise(n, 100000) for n in range(10)}
    repo.simple_repo(os.path.join(t.path("repos"), "new.git"), new)
    for path, content in new.items():
        assert t.read(f"o/new/{path}") == content
    t.ctl("flush", "--kernel", "--memory")
    between.kill()
    for path, content in new.items():
        assert t.read(f"o/new/{path}") == content, "it found no room on disk"


@harness.case()
def the_list_is_a_file(t):
    """One path a line in the configuration; edited, it counts after a reload."""
    start(t)
    t.ctl("pin", "o/r/d3", "--wait")
    name = os.path.join(t.config, "pins")
    with open(name, encoding="utf-8") as f:
        lines = [line for line in f.read().splitlines() if not line.startswith("#")]
    assert lines == ["o/r/d3"], lines
    with open(name, "w", encoding="utf-8") as f:
        f.write("# mine\n\no/r/d4\no/r/d5/e0\n../outside\n")
    t.ctl("reload")
    wait_complete(t, 2)
    assert [pin["path"] for pin in pins(t)] == ["o/r/d4", "o/r/d5/e0"]


if __name__ == "__main__":
    harness.main()
