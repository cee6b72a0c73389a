#!/usr/bin/env python3
"""The mount against a real clone: the same walk over both must agree (R11, F5).

For the torture repository, two real source trees and the repositories without a commit, over both kinds of
org, cold and warm.
"""

import errno
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import foreign  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

BIG_MIB = os.environ.get("GITFS_TEST_BIG_MIB", "200")


def commit_time(clone):
    return int(repo.git_text("-C", clone, "log", "-1", "--format=%ct"))


def check_tree(clone, tree, mtime):
    """Everything there is to say about a tree in the mount, walked twice."""
    reference = walk.scan(clone)
    for temperature in "cold", "warm":
        got = walk.scan(tree)
        problems = walk.compare(reference, got) + walk.properties(got, mtime=mtime, uid=os.getuid())
        assert not problems, f"{temperature}: {len(problems)} differences:\n" + "\n".join(problems[:40])
    print(f"{len(reference)} paths agree")


def check_programs(clone, tree):
    status = foreign.git_status(clone, tree)
    assert status == "", f"git status prints:\n{status[:2000]}"
    assert foreign.differences(clone, tree) == []


@harness.both_kinds(seconds=600)
def torture(t, kind):
    directory = harness.fixture("torture", "--big-size", BIG_MIB)
    t.start_org(kind, os.path.join(directory, "repos"))
    clone, tree = os.path.join(directory, "clones", "torture"), t.at("o/torture")
    check_tree(clone, tree, commit_time(clone))
    check_programs(clone, tree)
    for path in "", "many", "names", "order", "empty":
        problems = walk.positions(os.path.join(tree, path))
        assert not problems, f"{path}: {problems}"
    root = os.fsencode(tree)
    got = walk.bad_calls(root + b"/exec", root + b"/exec/run.sh", root + b"/links/file")
    assert got == walk.READ_ONLY_TREE, foreign.table_difference(walk.READ_ONLY_TREE, got)


@harness.both_kinds(seconds=600)
def torture_status_first(t, kind):
    """git reads the whole tree first, before anything has listed it."""
    directory = harness.fixture("torture", "--big-size", BIG_MIB)
    t.start_org(kind, os.path.join(directory, "repos"))
    status = foreign.git_status(os.path.join(directory, "clones", "torture"), t.at("o/torture"))
    assert status == "", f"git status prints:\n{status[:2000]}"


def real(t, kind, name):
    directory = harness.fixture("real", name)
    t.start_org(kind, os.path.join(directory, "repos"))
    clone, tree = os.path.join(directory, "clones", name), t.at(f"o/{name}")
    check_tree(clone, tree, commit_time(clone))
    check_programs(clone, tree)


@harness.both_kinds()
def odd_heads(t, kind):
    """No commit, a HEAD that names no branch, a HEAD that is a commit."""
    directory = harness.fixture("torture", "--big-size", BIG_MIB)
    t.start_org(kind, os.path.join(directory, "repos"))
    for name in "empty", "unborn", "detached":
        clone = os.path.join(directory, "clones", name)
        tree = t.at(f"o/{name}")
        problems = walk.compare(walk.scan(clone), walk.scan(tree)) + walk.properties(walk.scan(tree))
        assert not problems, f"{name}: {problems}"
        assert foreign.git_status(clone, tree) == ""
    assert t.read("o/detached/a") == b"first\n"
    assert t.read("o/detached@main/a") == b"second\n"
    assert t.names("o/unborn@other") == ["other"]


@harness.both_kinds()
def other_refs(t, kind):
    """A branch and a tag, too, are what a clone of them is."""
    directory = harness.fixture("torture", "--big-size", BIG_MIB)
    source = os.path.join(directory, "repos", "torture.git")
    t.start_org(kind, os.path.join(directory, "repos"))
    for ref, name in ("moving", "torture@moving"), ("feature/x", "torture@feature%2Fx"), ("v1.0", "torture@v1.0"):
        clone = repo.clone(source, t.path(f"clone-{ref.replace('/', '-')}"), "-b", ref, "--shared")
        check_tree(clone, t.at(f"o/{name}"), commit_time(clone))


@harness.both_kinds(seconds=300)
def perl_modules(t, kind):
    real(t, kind, "perl")


@harness.both_kinds(seconds=300)
def python_library(t, kind):
    real(t, kind, "python")


@harness.case()
def upper_levels(t):
    """The directories above the repositories: types, unique inode numbers, read-only."""
    directory = harness.fixture("torture", "--big-size", BIG_MIB)
    t.start_org("local", os.path.join(directory, "repos"))
    assert "o" in t.names()
    assert t.names("o") == ["detached", "empty", "torture", "unborn"]
    seen = set()
    for path in "", "o", "o/detached", "o/empty", "o/unborn", "o/torture":
        s = os.lstat(t.at(path))
        assert stat.S_ISDIR(s.st_mode) and s.st_ino not in seen, path
        assert s.st_uid == os.getuid(), path
        seen.add(s.st_ino)
    for path in "", "o":
        assert walk.positions(t.at(path)) == []
        for name in "new", "o", "torture":
            # The name may be there or not.
            assert t.errno_of(os.mkdir, t.at(os.path.join(path, name))) in (errno.EEXIST, errno.EROFS)
    with os.scandir(t.at("o")) as entries:
        for entry in entries:
            assert entry.is_dir(follow_symlinks=False) and entry.inode() == entry.stat().st_ino, entry


@harness.both_kinds()
def many_open_files(t, kind):
    """Hundreds of descriptors read in turns each give their own file (F1)."""
    directory = harness.fixture("wide")
    clone = os.path.join(directory, "clones", "wide")
    t.start_org(kind, os.path.join(directory, "repos"))
    paths = [f"d{a:02}/s{b:02}/f{c}" for a in range(20) for b in range(0, 98, 14) for c in range(5)]
    files = {path: os.open(t.at("o/wide/" + path), os.O_RDONLY) for path in paths}
    for offset in 0, 7, 0:
        for path, fd in files.items():
            with open(os.path.join(clone, path), "rb") as f:
                assert os.pread(fd, 100, offset) == f.read()[offset : offset + 100], path
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    for fd in files.values():
        os.close(fd)


if __name__ == "__main__":
    harness.main()
