"""Lets other people's programs compare a tree with a clone: git, tar, diff, rsync."""

import os
import shutil
import subprocess
import tempfile

import repo


def git_status(clone, tree):
    """`git status` of a tree as if it were the clone's work tree; '' when git sees no difference.

    The index is fresh: it knows no times and sizes, so git reads and hashes every file."""
    with tempfile.TemporaryDirectory() as directory:
        env = {"GIT_INDEX_FILE": os.path.join(directory, "index")}
        git_dir = os.path.join(clone, ".git")
        head = subprocess.run(
            ["git", "--git-dir", git_dir, "rev-parse", "-q", "--verify", "HEAD^{tree}"],
            stdout=subprocess.PIPE,
            env=repo.clean_environment(),
            check=False,
        )
        if head.returncode == 0:  # else there is no commit yet
            repo.git("--git-dir", git_dir, "read-tree", "HEAD", env=env)
        out = repo.git(
            "--git-dir", git_dir, "--work-tree", tree, "status", "--porcelain", "--ignored", cwd=tree, env=env
        )  # fmt: skip
        return out.decode(errors="backslashreplace")


def tar_digest(tree):
    """A digest of the archive of a tree, apart from owners and times."""
    tar = subprocess.Popen(
        ["tar", "--sort=name", "--owner=0", "--group=0", "--mtime=@0", "--exclude=./.git", "-C", tree, "-cf", "-", "."],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    digest = subprocess.run(["sha256sum"], stdin=tar.stdout, stdout=subprocess.PIPE, check=True).stdout
    tar.stdout.close()
    if tar.wait() != 0:
        raise AssertionError(f"tar of {tree} failed")
    return digest


def diff(a, b):
    done = subprocess.run(
        ["diff", "-r", "-q", "--no-dereference", "--exclude=.git", a, b],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode(errors="backslashreplace")


def rsync(a, b):
    """What rsync would transfer from a to b, by checksum; None where rsync is not installed."""
    if not shutil.which("rsync"):
        return None
    done = subprocess.run(
        ["rsync", "-rlnci", "--delete", "--executability", "--exclude=/.git", a + "/", b + "/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode(errors="backslashreplace")


def differences(clone, tree):
    """The names of the programs that see a difference."""
    found = []
    if git_status(clone, tree):
        found.append("git status")
    if tar_digest(clone) != tar_digest(tree):
        found.append("tar")
    if diff(clone, tree):
        found.append("diff")
    changes = rsync(clone, tree)
    if changes is None:
        print("rsync is not installed: not compared with it")
    elif changes:
        found.append("rsync")
    return found


def table_difference(expected, got):
    """The rows in which two tables differ, for the text of an assertion."""
    return {k: (expected.get(k), got.get(k)) for k in expected | got if expected.get(k) != got.get(k)}
