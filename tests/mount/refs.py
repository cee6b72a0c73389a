#!/usr/bin/env python3
"""Branches, tags and commits, and what happens when a branch moves (R6, R17)."""

import errno
import mmap
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

LISTED = 600  # names in the directory that is listed while it changes: many requests of the kernel


def git_dir(root):
    return os.path.join(root, "r.git")


def make_repo(t):
    """A repository "r" whose main is at version 0; returns the directory it is in."""
    root = t.path("repos")
    os.mkdir(root)
    repo.init_bare(git_dir(root))
    advance(root, 0)
    return root


def advance(root, version):
    """A commit that changes, adds and removes names and leaves others alone."""
    files = {
        "version": f"version {version}\n" * 1000,
        "constant": "constant\n",
        "kept/deep/file": "kept\n",
        f"only-{version}": f"{version}\n",
        # A file that becomes a directory, and the other way round.
        ("turn" if version % 2 else "turn/inside"): "turn\n",
    }
    files |= {f"list/{version}-{i:03}": f"{i}\n" for i in range(LISTED)}
    deleted = []
    if version:
        deleted = [f"only-{version - 1}", "turn"] + [f"list/{version - 1}-{i:03}" for i in range(LISTED)]
    return repo.commit_files(
        git_dir(root), files, deleted=deleted, message=f"version {version}", when=repo.EPOCH + version
    )


@harness.both_kinds()
def names_of_refs(t, kind):
    root = make_repo(t)
    first = repo.git_text("--git-dir", git_dir(root), "rev-parse", "main")
    advance(root, 1)
    second = repo.git_text("--git-dir", git_dir(root), "rev-parse", "main")
    for branch in "feature/x", "per%cent":
        repo.commit_files(git_dir(root), {"which": branch}, branch=branch)
    repo.git("--git-dir", git_dir(root), "tag", "-a", "-m", "one", "v1", first)
    repo.git("--git-dir", git_dir(root), "tag", "light", first)
    t.start_org(kind, root)

    assert t.read("o/r/version").startswith(b"version 1\n")
    assert t.read("o/r@main/version").startswith(b"version 1\n")
    assert t.read("o/r@feature%2Fx/which") == b"feature/x"
    assert t.read("o/r@per%25cent/which") == b"per%cent"
    for ref in "v1", "light", first:
        assert t.read(f"o/r@{ref}/version").startswith(b"version 0\n"), ref
    assert t.read(f"o/r@{second}/version").startswith(b"version 1\n")

    listed = t.names("o")
    assert "r" in listed and not [n for n in listed if "@" in n], listed
    for name in "r@no-such", "r@" + "0" * 40, "r@", "no-such", "no-such@main", "r@feature%2Fy", "r@..", "@main":
        assert t.errno_of(os.stat, t.at(f"o/{name}")) == errno.ENOENT, name
    assert os.getxattr(t.at(f"o/r@{first}/version"), "user.gitfs.commit").decode() == first
    assert os.getxattr(t.at("o/r/version"), "user.gitfs.commit").decode() == second
    oid = repo.git_text("--git-dir", git_dir(root), "rev-parse", "main:version")
    assert os.getxattr(t.at("o/r/version"), "user.gitfs.oid").decode() == oid
    names = os.listxattr(t.at("o/r/version"))
    for name in "oid", "commit", "ref", "org", "repo", "url":
        assert f"user.gitfs.{name}" in names, names


def heralds(t):
    """The processes that tell the kernel what changed, and push into its cache."""
    found = subprocess.run(["pgrep", "-P", str(t.pid), "gitfs-herald"], stdout=subprocess.PIPE, check=False).stdout
    return [int(pid) for pid in found.split()]


@harness.case()
def killed_heralds_are_replaced(t):
    """What the kernel is not told it shows for ever, so it is told whoever is killed (R6)."""
    root = make_repo(t)
    t.start_org("local", root)
    for version in 1, 2:
        assert t.read("o/r/version") == f"version {version - 1}\n".encode() * 1000
        # They get their name only when they run.
        harness.wait_until(lambda: len(heralds(t)) == 2, "two heralds")
        for pid in heralds(t):
            os.kill(pid, signal.SIGKILL)
        advance(root, version)
        t.ctl("refresh", t.at("o/r"))
        assert t.read("o/r/version") == f"version {version}\n".encode() * 1000
    assert "another takes over" in t.log()


@harness.both_kinds()
def moving_branch(t, kind):
    """`gitfsctl refresh` shows the new commit at once, and only what changed is new."""
    root = make_repo(t)
    t.start_org(kind, root)
    tree = t.at("o/r")
    here = os.getcwd()
    os.chdir(tree)

    before = walk.scan(tree)
    assert t.errno_of(os.stat, "only-1") == errno.ENOENT
    fd = os.open("version", os.O_RDONLY)
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    old = os.read(fd, 10)
    advance(root, 1)
    t.ctl("refresh", tree)

    # What the kernel had cached is gone: content, the negative entry, the removed name, the listing.
    assert t.read("o/r/version") == b"version 1\n" * 1000
    assert t.errno_of(os.stat, "only-1") == 0
    assert t.errno_of(os.stat, "only-0") == errno.ENOENT
    assert os.path.isfile("turn"), "the directory that became a file"
    after = walk.scan(tree)
    assert {p for p in after if p.startswith(b"list/")} == {b"list/1-%03d" % i for i in range(LISTED)}
    assert not walk.properties(after)

    # Unchanged files and all directories keep their inodes, a changed file gets a new one.
    for path in b"", b"constant", b"kept", b"kept/deep", b"kept/deep/file", b"list":
        assert before[path].status.st_ino == after[path].status.st_ino, path
    assert before[b"version"].status.st_ino != after[b"version"].status.st_ino

    # The open descriptor keeps the old content, even when its pages have to be read again.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert old == b"version 0\n" and os.pread(fd, 20000, 0) == b"version 0\n" * 1000
    assert mapped[:] == b"version 0\n" * 1000
    assert os.fstat(fd).st_ino == before[b"version"].status.st_ino

    # And back: the same content under the same name again.
    repo.git("--git-dir", git_dir(root), "update-ref", "refs/heads/main", "main~1")
    t.ctl("refresh")
    assert walk.compare(before, walk.scan(tree)) == []
    mapped.close()
    os.close(fd)
    os.chdir(here)


@harness.both_kinds()
def kept_pages_are_not_read_again(t, kind):
    """What did not change stays in the kernel when the branch moves."""
    root = make_repo(t)
    t.start_org(kind, root)
    # A move that costs pages costs them each time; a kernel that drops them by itself does not.
    for version in range(1, 11):
        drops = harness.cache_drops()
        t.read("o/r/kept/deep/file")
        advance(root, version)
        t.ctl("refresh", t.at("o/r"))
        before = t.stats()["fuse-read"]
        assert t.read("o/r/kept/deep/file") == b"kept\n"
        read = t.stats()["fuse-read"] - before
        if read == 0 or not (harness.pages_are_reclaimed() or harness.cache_drops() != drops):
            break
        print("this kernel has lost pages, and perhaps not by the daemon: again")
    assert read == 0


@harness.both_kinds()
def listing_in_progress(t, kind):
    """A listing that was begun before the branch moved shows one commit, never a mix."""
    root = make_repo(t)
    t.start_org(kind, root)
    for version in 1, 2, 3:
        fd = os.open(t.at("o/r/list"), os.O_RDONLY | os.O_DIRECTORY)
        entries = walk.getdents(fd, size=2000)
        names = [next(entries)[0] for _ in range(20)]
        advance(root, version)
        t.ctl("refresh", t.at("o/r"))
        names += [e[0] for e in entries]
        os.close(fd)
        versions = {n.split(b"-")[0] for n in names if n not in (b".", b"..")}
        assert len(versions) == 1, f"a mix of the versions {versions}"
        assert len(names) == len(set(names)), "a name came twice"
        assert t.names("o/r/list") == [f"{version}-{i:03}" for i in range(LISTED)]


def read_until_told(tree, stop):
    """A reader that checks what must hold at every moment; returns how often it looked."""
    rounds = 0
    while not os.path.exists(stop) or rounds < 3:
        with open(os.path.join(tree, "version"), "rb") as f:
            content = f.read()
        lines = content.splitlines()
        assert len(lines) == 1000 and len(set(lines)) == 1, f"{len(lines)} lines, {set(lines)}"
        versions = {n.split("-")[0] for n in os.listdir(os.path.join(tree, "list"))}
        assert len(versions) == 1, f"a listing of the versions {versions}"
        with open(os.path.join(tree, "kept/deep/file"), "rb") as f:
            assert f.read() == b"kept\n"
        rounds += 1
    return rounds


@harness.both_kinds()
def moves_while_being_read(t, kind):
    root = make_repo(t)
    t.start_org(kind, root)
    stop = t.path("stop")
    readers = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                print(f"{read_until_told(t.at('o/r'), stop)} rounds", flush=True)
                os._exit(0)
            except BaseException as e:
                print(f"reader: {e!r}", flush=True)
                os._exit(1)
        readers.append(pid)
    for version in range(1, 13):
        advance(root, version)
        t.ctl("refresh", t.at("o/r"))
        assert t.read("o/r/version").startswith(b"version %d\n" % version)
    open(stop, "w", encoding="ascii").close()
    assert [os.waitpid(pid, 0)[1] for pid in readers] == [0] * 4


@harness.both_kinds()
def polling_follows_the_branch(t, kind):
    root = make_repo(t)
    t.start_org(kind, root, PollIntervalSec=1)
    commit = repo.git_text("--git-dir", git_dir(root), "rev-parse", "main")
    assert t.read("o/r/version").startswith(b"version 0\n")
    assert t.read(f"o/r@{commit}/version").startswith(b"version 0\n")
    advance(root, 1)
    harness.wait_until(lambda: t.read("o/r/version").startswith(b"version 1\n"), "the new commit")
    # A path that names a commit never changes.
    assert t.read(f"o/r@{commit}/version").startswith(b"version 0\n")


@harness.both_kinds()
def deleted_and_rewritten_branches(t, kind):
    """A branch that goes away, comes back elsewhere, or is rewritten without common history."""
    root = make_repo(t)
    repo.commit_files(git_dir(root), {"f": "one\n"}, branch="b")
    t.start_org(kind, root, config="[Mount]\nRequestTimeoutSec=60\nNegativeTimeoutSec=1\n")
    assert t.read("o/r@b/f") == b"one\n"
    repo.git("--git-dir", git_dir(root), "update-ref", "-d", "refs/heads/b")
    repo.commit_files(git_dir(root), {"f": "two\n"}, branch="b", when=repo.EPOCH + 5)
    t.ctl("refresh")
    assert t.read("o/r@b/f") == b"two\n"
    repo.git("--git-dir", git_dir(root), "update-ref", "-d", "refs/heads/b")
    done = t.ctl("refresh", check=False)
    assert done.returncode in (0, 1)
    # The other branch is not harmed by the one that is gone.
    assert t.read("o/r/version").startswith(b"version 0\n")
    repo.commit_files(git_dir(root), {"f": "three\n"}, branch="b", when=repo.EPOCH + 6)
    t.ctl("refresh")
    harness.wait_until(lambda: t.errno_of(t.read, "o/r@b/f") == 0, "the branch is back")
    assert t.read("o/r@b/f") == b"three\n"


@harness.both_kinds()
def rewritten_and_pruned(t, kind):
    """A branch is rewritten, and neither its server nor the cache has the old trees any more."""
    root = make_repo(t)
    repo.commit_files(git_dir(root), {"d/e/f": "one\n", "d/gone": "x\n"}, branch="b")
    t.start_org(kind, root)
    assert t.read("o/r@b/d/e/f") == b"one\n"
    assert t.names("o/r@b/d") == ["e", "gone"]
    repo.git("--git-dir", git_dir(root), "update-ref", "-d", "refs/heads/b")
    repo.commit_files(git_dir(root), {"d/e/f": "two\n", "d/new": "y\n"}, branch="b", when=repo.EPOCH + 5)
    repo.git("--git-dir", git_dir(root), "reflog", "expire", "--expire=now", "--all")
    repo.git("--git-dir", git_dir(root), "-c", "gc.pruneExpire=now", "gc", "--quiet")
    t.ctl("flush", "--memory", "--disk")
    t.ctl("refresh")
    assert t.read("o/r@b/d/e/f") == b"two\n"
    assert t.names("o/r@b/d") == ["e", "new"]


@harness.both_kinds()
def programs_in_a_moving_tree(t, kind):
    """A process whose directory is in the tree sees the new commit through relative names."""
    root = make_repo(t)
    t.start_org(kind, root)
    shell = subprocess.Popen(
        ["sh", "-c", 'while read -r name; do cat "$name" 2>&1 || echo; echo end; done'],
        cwd=t.at("o/r"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def ask(name):
        shell.stdin.write(name + "\n")
        lines = []
        while (line := shell.stdout.readline()) != "end\n":
            lines.append(line)
        return "".join(lines)

    assert ask("only-0") == "0\n"
    assert "No such file" in ask("only-1")
    advance(root, 1)
    t.ctl("refresh", t.at("o/r"))
    assert ask("only-1") == "1\n"
    assert "No such file" in ask("only-0")
    shell.send_signal(signal.SIGTERM)
    shell.wait()


if __name__ == "__main__":
    harness.main()
