#!/usr/bin/env python3
"""What a crash in the middle of a branch's move costs those who are in the repository: nothing."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import keeper  # noqa: E402
import repo  # noqa: E402


def make_repo(t):
    """A repository "r"; returns the directory it is in."""
    root = t.path("repos")
    os.mkdir(root)
    repo.init_bare(os.path.join(root, "r.git"))
    advance(root, 0)
    return root


def version(n):
    return f"version {n}\n".encode() * 1000


def advance(root, n):
    """A commit that changes, adds and removes names, and leaves every directory where it is."""
    files = {"version": version(n), "in/side/version": version(n), "in/side/same": "same", f"in/side/only-{n}": ""}
    return repo.commit_files(
        os.path.join(root, "r.git"), files, when=repo.EPOCH + n, deleted=[f"in/side/only-{n - 1}"] if n else []
    )


def heralds(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(child) for child in f.read().split()]


def crash_before_the_kernel_is_told(t, root, n):
    """The branch is at commit n, which everybody who asks the daemon is shown; the kernel still knows commit n - 1."""
    silent = heralds(t.pid)
    assert silent, "nobody to tell the kernel"
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    commit = advance(root, n).encode()
    # It ends when the kernel has been told, and so with the daemon.
    refresh = subprocess.Popen(
        [harness.GITFSCTL, "--runtime-directory", t.runtime, "refresh", t.at("o/r")],
        env=t.environment,
        stderr=subprocess.DEVNULL,
    )
    harness.wait_until(lambda: os.getxattr(t.at("o/r"), "user.gitfs.commit") == commit, "the branch moves")
    t.crash()
    for pid in silent:
        os.kill(pid, signal.SIGKILL)
    assert refresh.wait(30) != 0


def read(path):
    with open(path, "rb") as f:
        return f.read()


@harness.both_kinds()
def who_stands_in_a_branch_that_moves_stays_there(t, kind):
    t.keeper = keeper.Keeper()
    root = make_repo(t)
    t.start_org(kind, root)
    inside = t.at("o/r/in/side")
    os.chdir(inside)
    opened = os.open("version", os.O_RDONLY)
    for n in 1, 2, 3:
        # So that the kernel knows all there is, and what is not.
        assert read("version") == read("../../version") == version(n - 1)
        assert sorted(os.listdir(".")) == [f"only-{n - 1}", "same", "version"]
        assert not os.path.exists(f"only-{n}") and os.path.exists("same")

        crash_before_the_kernel_is_told(t, root, n)
        t.start()
        t.ctl("refresh", t.at("o/r"))
        assert os.getcwd() == inside
        assert read("version") == read("../../version") == version(n)
        assert sorted(os.listdir(".")) == [f"only-{n}", "same", "version"]
        assert os.path.exists(f"only-{n}") and not os.path.exists(f"only-{n - 1}")
        # What is open is what it was.
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(opened, 1 << 20, 0) == version(0)
    assert t.log().count("Took over") == 3
    os.close(opened)
    os.chdir("/")


if __name__ == "__main__":
    harness.main()
