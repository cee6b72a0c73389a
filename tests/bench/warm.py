"""The local side: a walk over what is here already, next to the same walk over a clone on this machine's disk."""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import contenders  # noqa: E402
import harness  # noqa: E402

LIST = ["ls", "-lR", "."]
GREP = ["grep", "-rc", "--exclude-dir=.git", "EXPORT_SYMBOL", "."]
THREADS = 4


def command(arguments):
    return lambda tree, files: contenders.timed(arguments, tree)[0]


def read_all(tree, files):
    """open, read, close of every file by name, in one thread."""
    started = time.monotonic()
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in files:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root)
            while os.read(fd, 1 << 20):
                pass
            os.close(fd)
    finally:
        os.close(root)
    return time.monotonic() - started


def stat_all(tree, files):
    """lstat of every file in random order, by several threads."""
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)

    def work(part):
        for name in part:
            os.stat(name, dir_fd=root, follow_symlinks=False)

    names = list(files)
    random.Random(1).shuffle(names)
    threads = [threading.Thread(target=work, args=(names[i::THREADS],)) for i in range(THREADS)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(root)
    return time.monotonic() - started


# What is measured, and the goal it is for.
PASSES = {
    "find": ("W1", command(contenders.NAMES)),
    "find -printf %s": ("W1", command(contenders.SIZES)),
    "ls -lR": ("W1", command(LIST)),
    "grep -r": ("W2", command(GREP)),
    "tar": ("W3a", command(contenders.TAR)),
    "open+read+close": ("W3b", read_all),
    "lstat, 4 threads": ("W4", stat_all),
}
COLD = {"find -printf %s": "K1", "tar": "K2"}


def pairs(first, second, times):
    """The best of several runs of each, in turn, so that what the machine does meanwhile hits both."""
    best = [float("inf"), float("inf")]
    for _ in range(times):
        for i, run in enumerate((first, second)):
            best[i] = min(best[i], run())
    return best


def drop_everything():
    """Inodes first, so that their pages go as well; before that what is dirty, as it would stay."""
    os.sync()
    harness.drop_caches()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3\n")


def requests(env):
    return sum(env.fuse_requests().values())


def measure(env, workload, tree, times=3):
    """Yields (what, goal, seconds of gitfs, seconds of ext4); everything is in the store before, and then warm."""
    regular = [f for f in workload.files if not os.path.islink(os.path.join(workload.clone, f))]
    contenders.timed(contenders.TAR, tree)
    for what, goal in COLD.items():
        run = PASSES[what][1]

        def cold(where, run=run):
            drop_everything()
            return run(where, regular)

        ours, ext4 = pairs(lambda: cold(tree), lambda: cold(workload.clone), 2)
        yield f"cold kernel: {what}", goal, ours, ext4
    for what, (goal, run) in PASSES.items():
        files = regular if run is read_all else workload.files
        for where in tree, workload.clone:
            run(where, files)
        ours, ext4 = pairs(lambda: run(tree, files), lambda: run(workload.clone, files), times)
        yield f"warm {what}", goal, ours, ext4


def cold_requests(env, workload, tree):
    """Requests for a directory of find, and READs for a file of tar, by a kernel that has forgotten everything."""

    def counted(arguments):
        drop_everything()
        before = env.fuse_requests()
        contenders.timed(arguments, tree)
        return {name: n - before[name] for name, n in env.fuse_requests().items()}

    find, tar = counted(contenders.SIZES), counted(contenders.TAR)
    return sum(find.values()) / workload.directories, tar["fuse-read"] / len(workload.files)


def warm_requests(env, workload, tree):
    """Requests that reach the daemon in a warm pass over everything: the fewest of three."""
    fewest = None
    for _ in range(3):
        before = requests(env)
        for run in command(contenders.SIZES), command(contenders.TAR):
            run(tree, workload.files)
        n = requests(env) - before
        fewest = n if fewest is None else min(fewest, n)
    return fewest
