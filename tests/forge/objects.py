"""Reads bare repositories with git's own plumbing; trees are remembered, for objects never change."""

import functools
import os
import subprocess
import threading


def environment():
    """git without the configuration of the machine or the user."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "XDG_"))}
    env.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0="*",
        LC_ALL="C.UTF-8",
    )
    return env


ENVIRONMENT = environment()


def git(directory, *arguments):
    """The output of git, or None when it fails."""
    done = subprocess.run(
        ["git", "--git-dir", directory, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def line(directory, *arguments):
    out = git(directory, *arguments)
    return None if out is None else out.decode("utf-8", "replace").strip()


def default_branch(directory):
    """The branch that HEAD names, whether it exists or not; read from the file, for listings ask for thousands."""
    with open(os.path.join(directory, "HEAD"), encoding="utf-8") as f:
        head = f.read().strip()
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else "HEAD"


def resolve(directory, name):
    """The id of anything git understands, None when there is no such thing."""
    if name.startswith("-") or not name:
        return None
    return line(directory, "rev-parse", "-q", "--verify", "--end-of-options", name)


def kind(directory, oid):
    return line(directory, "cat-file", "-t", oid)


def size(directory, oid):
    text = line(directory, "cat-file", "-s", oid)
    return None if text is None else int(text)


def head(directory):
    """The commit of the default branch; None in a repository without commits."""
    return resolve(directory, "HEAD^{commit}")


def is_empty(directory):
    """Whether there is no ref; from the files, like default_branch()."""
    try:
        if os.path.getsize(os.path.join(directory, "packed-refs")) > 100:  # more than the line that leads it
            return False
    except FileNotFoundError:
        pass
    return not any(files for _, _, files in os.walk(os.path.join(directory, "refs")))


def blob(directory, oid):
    return git(directory, "cat-file", "blob", oid)


class Entry:
    """One line of a tree: mode and kind as git says them, path as bytes, size None but for blobs."""

    __slots__ = ("mode", "kind", "oid", "size", "path")

    def __init__(self, mode, kind, oid, size, path):  # pylint: disable=redefined-outer-name
        self.mode, self.kind, self.oid, self.size, self.path = mode, kind, oid, size, path

    @property
    def name(self):
        return self.path.rpartition(b"/")[2]

    @property
    def text(self):
        """The path as a forge writes it into JSON, which has no room for other bytes."""
        return self.path.decode("utf-8", "replace")


@functools.lru_cache(maxsize=64)
def _tree(directory, oid, recursive):
    out = git(directory, "ls-tree", "-l", "-z", *(["-r", "-t"] if recursive else []), oid)
    if out is None:
        return None
    entries = []
    for row in out.split(b"\0")[:-1]:
        facts, _, path = row.partition(b"\t")
        mode, name, entry, length = facts.decode().split()
        entries.append(Entry(mode, name, entry, None if length == "-" else int(length), path))
    return entries


_lock = threading.Lock()


def tree(directory, oid, recursive=False):
    """The entries of a tree in git's order; None when it is none. Recursive ones name trees before their content."""
    with _lock:  # the second who asks for a large tree waits for the first instead of reading it again
        return _tree(directory, oid, recursive)
