#!/usr/bin/env python3
"""The disk below the cache fails: files that are damaged, cut, swapped, lost, or something else altogether, before a
start and under a running daemon. Everything read is compared with a clone. tests/stress/faults does it at length.
"""

import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402
import store_faults  # noqa: E402
import walk  # noqa: E402

# Segments of a megabyte, so that there are several, and a file that gets one of its own.
CONFIG = "[Mount]\nRequestTimeoutSec=60\n[Cache]\nDiskLimit=14M\nKeepFree=0\n"
FAULTS = int(os.environ.get("GITFS_FAULTS", "40"))
SEED = int(os.environ.get("GITFS_SEED", "1"))


def build(t):
    """A repository of 250 files, its clone, and its name on a server."""
    rng = random.Random(7)
    files = {f"d{n % 10}/f{n:03}": rng.randbytes(rng.randrange(20000)) for n in range(240)}
    files |= {"empty": b"", "d0/large": rng.randbytes(1500000), "d1/large": b"large " * 200000}
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), files)
    clone = t.path("clone")
    subprocess.run(["git", "clone", "-q", os.path.join(root, "r.git"), clone], env=repo.clean_environment(), check=True)
    return t.serve(root), walk.scan(clone)


def start(t):
    server, expected = build(t)
    t.configure(CONFIG)
    t.org("o", "git", server.url, repos=["r"])
    t.start()
    assert walk.compare(expected, walk.scan(t.at("o/r"))) == []
    return server, expected


def check(t, expected, what):
    """Everything can be read and is right."""
    wrong = walk.compare(expected, walk.scan(t.at("o/r")))
    assert wrong == [], f"after {what}: {wrong[:3]}"


def check_running(t, expected, what):
    """The same, but whoever reads at the moment when pages turn out to be gone may have to read again."""
    try:
        check(t, expected, what)
    except OSError as e:
        assert e.errno == errno.EIO, (what, e)
        check(t, expected, what)


@harness.case(seconds=60 + 10 * FAULTS)
def random_faults(t):
    """Faults by a seed: nothing is ever wrong, no start fails, and damage is counted and fetched again (R35)."""
    _, expected = start(t)
    rng = random.Random(SEED)
    counted = scanned = 0
    for n in range(FAULTS):
        if rng.randrange(4) == 0:
            what = "running, " + store_faults.inject(rng, t.cache, store_faults.RUNNING)
            t.ctl("flush", "--kernel", "--memory")
            check_running(t, expected, what)
        elif rng.randrange(3) == 0:
            t.kill()
            what = "killed, " + store_faults.inject(rng, t.cache, store_faults.STOPPED)
            t.start()
        else:
            t.stop()
            what = "stopped, " + store_faults.inject(rng, t.cache, store_faults.STOPPED)
            t.start()
        print(f"{n}: {what}", flush=True)
        if rng.randrange(4) == 0:
            t.ctl("verify", check=False)
        check(t, expected, what)
        stats = t.stats()
        counted += stats["store-corrupt"] if "running" not in what else 0
        scanned = max(scanned, stats["store-scanned"])
        if "is a file" in what:
            t.stop()
            store_faults.mend(t.cache)
            t.start()
    print(f"seed {SEED}: {FAULTS} faults, wrong bytes 0, starts that failed 0; {counted} damages counted,")
    print(f"at most {scanned} bytes scanned by a start")
    assert counted > 0


@harness.case()
def a_cache_that_cannot_be_used(t):
    """gitfsd serves from memory, says so in its status, and uses the directory again when it can."""
    server, expected = build(t)
    os.makedirs(os.path.dirname(t.cache), exist_ok=True)
    t.write("var/cache", "no directory\n")
    t.configure(CONFIG)
    t.org("o", "git", server.url, repos=["r"])
    t.start()
    check(t, expected, "a start without a cache")
    status = t.ctl("status").stdout
    assert f'as "{t.cache}" takes nothing: ' in status, status
    assert t.ctl_json("status")["cache_error"]
    t.stop()
    os.unlink(t.cache)
    t.start()
    check(t, expected, "a start with one")
    assert t.ctl_json("status")["cache_error"] == "" and t.stats()["store-disk-bytes"] > 0


@contextlib.contextmanager
def disk_of_its_own(t):
    """The cache on a file system of 16 MB, which can be made read-only and taken away."""
    harness.need_root()
    directory = tempfile.mkdtemp(prefix="gitfs-cache-")  # not where the harness looks for mounts of gitfsd
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", directory], check=True)
    t.cache = os.path.join(directory, "cache")
    try:
        yield directory
        t.stop()
    finally:
        subprocess.run(["umount", "-l", directory], capture_output=True, check=False)
        shutil.rmtree(directory)


@harness.case()
def a_read_only_cache(t):
    """What is there is used, what is not is kept in memory, and nothing fails."""
    with disk_of_its_own(t) as disk:
        _, expected = start(t)
        t.stop()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        t.start()
        before = t.stats()["fetch-objects-in"]
        check(t, expected, "a start on a read-only cache")
        assert t.stats()["fetch-objects-in"] == before, "what was there was fetched again"
        t.ctl("flush", "--kernel", "--memory", "--disk", check=False)
        check(t, expected, "a flush on a read-only cache")
        assert t.ctl_json("status")["cache_error"] == "Read-only file system"


@harness.case()
def a_full_disk(t):
    """Others have filled the disk: memory takes over, status tells, and the disk is used again when it has room."""
    with disk_of_its_own(t) as disk:
        server, expected = build(t)
        hog = os.path.join(disk, "hog")
        with open(hog, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 15800 << 10)
        t.configure(CONFIG)
        t.org("o", "git", server.url, repos=["r"])
        t.start()
        check(t, expected, "a start on a full disk")
        assert t.ctl_json("status")["cache_error"] == "No space left on device"
        assert t.stats()["store-disk-refused"] > 0
        os.unlink(hog)
        t.ctl("flush", "--kernel", "--memory")
        check(t, expected, "the disk has room again")
        assert t.ctl_json("status")["cache_error"] == ""
        assert t.stats()["store-disk-bytes"] > 0


@harness.case()
def the_disk_goes_away(t):
    """What was there is still mapped; what comes goes to what is there now."""
    with disk_of_its_own(t) as disk:
        _, expected = start(t)
        subprocess.run(["umount", "-l", disk], check=True)
        t.ctl("flush", "--kernel", "--memory")
        check(t, expected, "the disk has gone")
        t.ctl("flush", "--kernel", "--memory", "--disk")
        check(t, expected, "a flush")
        assert os.path.exists(os.path.join(t.cache, "lock")), "the directory was not made again"
        t.restart()
        check(t, expected, "a restart")


@harness.case()
def a_second_daemon(t):
    """It refuses to share the cache, and says what to do; the first is not disturbed."""
    _, expected = start(t)
    for name in "mnt-2", "run-2", "config-2":
        os.mkdir(t.path(name), 0o700)
    done = subprocess.run(
        [harness.GITFSD, "--mount", t.path("mnt-2"), "--runtime-directory", t.path("run-2"), "--config-home",
         t.path("config-2"), "--system-config", t.path("etc"), "--cache-directory", t.cache, "--no-session-bus"],
        capture_output=True, env=t.environment, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert b"Another gitfsd uses the cache" in done.stderr and b"--cache-directory" in done.stderr, done.stderr
    t.ctl("flush", "--kernel", "--memory")
    check(t, expected, "a second daemon")


if __name__ == "__main__":
    harness.main()
