"""The repositories that are measured: two real source trees, one of them large, and one of tiny files."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402

FIXTURES = {"perl": ("real", "perl"), "python": ("real", "python"), "linux": ("real", "linux"), "tiny": ("tiny",)}
DEFAULT = ("perl", "linux", "tiny")


def packed(fixture, name):
    """A copy of a fixture's repository as a server would keep it: compressed, in one pack. Made once."""
    target = os.path.join(fixture, "packed")
    if not os.path.exists(target):
        building = target + ".new"
        shutil.rmtree(building, ignore_errors=True)
        path = os.path.join(building, name + ".git")
        repo.copy_bare(os.path.join(fixture, "repos", name + ".git"), path)
        repo.git("-C", path, "config", "core.compression", "-1")
        repo.git("-C", path, "repack", "-q", "-a", "-d", "-F")
        os.rename(building, target)
    return target


def directories_of(files):
    """All above these files, those without a file of their own included; the top is ""."""
    found = {""}
    for path in files:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return found


class Workload:
    """A repository with a clone on the local disk. `deep` is its deepest file, `other` one far from it."""

    def __init__(self, name):
        self.name = name
        fixture = harness.fixture(*FIXTURES[name])
        self.root = packed(fixture, name)
        self.bare = os.path.join(self.root, name + ".git")
        self.clone = os.path.join(fixture, "clones", name)
        listed = repo.git("-C", self.clone, "ls-files", "-z").decode(errors="surrogateescape")
        self.files = listed.rstrip("\0").split("\0")
        self.deep = max(self.files, key=lambda path: (path.count("/"), path))
        elsewhere = [f for f in self.files if "/" in f and f.split("/")[0] != self.deep.split("/")[0]]
        self.other = min(elsewhere or [f for f in self.files if f != self.deep])
        self.directories = len(directories_of(self.files))

    def pack_bytes(self, *options):
        """The size of the pack that a server makes of the newest commit: all of it, or with a filter."""
        objects = repo.git("-C", self.bare, "rev-list", "--objects", "--max-count=1", *options, "HEAD")
        ids = b"".join(line.split(b" ")[0] + b"\n" for line in objects.splitlines())
        return len(repo.git("-C", self.bare, "pack-objects", "--stdout", "-q", stdin=ids))
