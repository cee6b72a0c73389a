#!/usr/bin/env python3
"""Proves that the comparison finds what it is there to find: a test that cannot fail is none.

A clone stands in for the mount: bound read-only it must agree with the reference in everything, and each kind
of damage done to a copy must be reported.
"""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import foreign  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402


def small_clone(t):
    source = repo.init_bare(t.path("r.git"))
    files = {
        "file": "content\n",
        "other": "content\n",
        "exec": (repo.EXEC, "#!/bin/sh\n"),
        "link": (repo.LINK, "file"),
        "dir/a": "a",
        "dir/b": "b" * 9000,
        b"odd-\xff\n": "odd",
    }
    repo.commit_files(source, files)
    clone = repo.clone(source, t.path("clone"))
    for top, directories, names in os.walk(clone):
        for name in [*directories, *names, "."]:
            os.utime(os.path.join(top, name), (repo.EPOCH, repo.EPOCH), follow_symlinks=False)
    return clone


def damage(name):
    """One function for each kind of damage, applied to a copy of the clone."""

    def path(root, *names):
        return os.path.join(root, *names)

    def rewrite(root, text):
        with open(path(root, "file"), "w", encoding="ascii") as f:
            f.write(text)

    def replace_link(root, target):
        os.unlink(path(root, "link"))
        os.symlink(target, path(root, "link"))

    def empty_directory(root):
        os.mkdir(path(root, "dir", "extra"))

    def link_to_file(root):
        os.unlink(path(root, "link"))
        shutil.copy(path(root, "file"), path(root, "link"))

    return {
        "missing file": lambda root: os.unlink(path(root, "dir", "a")),
        "more files": lambda root: shutil.copy(path(root, "file"), path(root, "file2")),
        "other content": lambda root: rewrite(root, "Content\n"),
        "shorter": lambda root: rewrite(root, "content"),
        "mode": lambda root: os.chmod(path(root, "exec"), 0o644),
        "directory mode": lambda root: os.chmod(path(root, "dir"), 0o700),
        "link target": lambda root: replace_link(root, "other"),
        "link became a file": link_to_file,
        "more directories": empty_directory,
        "renamed": lambda root: os.rename(path(root, "file"), path(root, "File")),
        "odd name": lambda root: os.rename(os.fsencode(root) + b"/odd-\xff\n", os.fsencode(root) + b"/odd-\xfe\n"),
    }[name]


DAMAGES = (
    "missing file", "more files", "other content", "shorter", "mode", "directory mode", "link target",
    "link became a file", "more directories", "renamed", "odd name",
)  # fmt: skip


@harness.case(needs_fuse=False)
def agreement_with_a_second_clone(t):
    clone = small_clone(t)
    copy = shutil.copytree(clone, t.path("copy"), symlinks=True)
    tree = walk.scan(copy)
    assert len(tree) == 9, sorted(tree)
    assert walk.compare(walk.scan(clone), tree) == []
    assert walk.properties(tree, mtime=repo.EPOCH, uid=os.getuid()) == []
    assert walk.positions(copy) == []
    assert foreign.differences(clone, copy) == []


@harness.case(needs_fuse=False)
def every_damage_is_found(t):
    clone = small_clone(t)
    reference = walk.scan(clone)
    for name in DAMAGES:
        copy = shutil.copytree(clone, t.path("copy"), symlinks=True)
        damage(name)(copy)
        assert walk.compare(reference, walk.scan(copy)), f"not found by compare(): {name}"
        tools = foreign.differences(clone, copy)
        assert tools, f"not found by any program: {name}"
        print(f'{name}: {", ".join(tools)}')
        shutil.rmtree(copy)


@harness.case(needs_fuse=False)
def every_wrong_property_is_found(t):
    clone = small_clone(t)

    def found(word, **expected):
        lines = walk.properties(walk.scan(clone), **expected)
        assert any(word in line for line in lines), f"{word}: {lines}"

    found("belongs to", uid=os.getuid() + 1)
    found("mtime", mtime=repo.EPOCH + 1)
    os.utime(os.path.join(clone, "link"), (1, 1), follow_symlinks=False)
    found("mtime", mtime=repo.EPOCH)
    os.link(os.path.join(clone, "file"), os.path.join(clone, "hard"))
    found("is that of")
    found("2 links")
    with open(os.path.join(clone, "sparse"), "w", encoding="ascii") as f:
        f.truncate(1 << 20)
    found("blocks do not hold")
    tree = walk.scan(clone)
    tree[b"file"].d_type = 0
    tree[b"other"].d_ino += 1
    lines = " ".join(walk.properties(tree))
    assert "d_type 0" in lines and "d_ino" in lines, lines


@harness.case(needs_fuse=False)
def bad_calls_match_a_read_only_bind_mount(t):
    """The table of errnos is that of a real read-only file system."""
    harness.need_root()
    clone = small_clone(t)
    bound = t.path("bound")
    os.mkdir(bound)
    subprocess.run(["mount", "--bind", clone, bound], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", bound], check=True)
    try:
        root = os.fsencode(bound)
        got = walk.bad_calls(root + b"/dir", root + b"/file", root + b"/link")
        assert got == walk.READ_ONLY_TREE, foreign.table_difference(walk.READ_ONLY_TREE, got)
        assert walk.compare(walk.scan(clone), walk.scan(bound)) == []
        assert foreign.git_status(clone, bound) == ""
    finally:
        subprocess.run(["umount", bound], check=True)


@harness.case(needs_fuse=False)
def fixtures_are_the_same_everywhere(t):
    """Built from the same arguments, a fixture has the same ids on every machine."""
    script = os.path.join(harness.TESTS, "fixtures", "torture")
    subprocess.run([script, t.path("torture"), "--big-size", "1"], check=True)
    head = repo.git_text("--git-dir", t.path("torture/repos/torture.git"), "rev-parse", "main")
    assert head == "58abcf987a3c531f443de492a4066e09bfe2d639", head


STAND_IN = """#!/usr/bin/env python3
import os, signal, socket, sys
if os.environ.get("SAYS"):
    print(os.environ["SAYS"], flush=True)
if os.environ.get("ENDS"):
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"STATUS=up\\nREADY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
"""

CASES = """
import os, subprocess, sys, time
sys.path.insert(0, "@LIB@")
import harness

@harness.case(needs_fuse=False)
def passes(t):
    t.start()

@harness.case(needs_fuse=False)
def skips(t):
    raise harness.Skip("no reason")

@harness.case(needs_fuse=False)
def fails(t):
    assert t.dir == "", "on purpose"

@harness.case(seconds=1, needs_fuse=False)
def hangs(t):
    t.start()
    subprocess.Popen(["setsid", "sleep", "98765"])
    while True:
        time.sleep(10)

@harness.case(needs_fuse=False)
def daemon_has_died(t):
    t.start()
    t.kill()
    t.stop()

harness.main()
"""


@harness.case(needs_fuse=False)
def the_harness_notices(t):
    """Failures, hangs, a daemon that ends early or whose log shows an alarm; and nothing is left running."""
    stand_in = t.write("gitfsd", STAND_IN)
    os.chmod(stand_in, 0o755)
    script = t.write("cases.py", CASES.replace("@LIB@", os.path.dirname(harness.__file__)))
    t.write("tmp/.keep", "")

    def run(case, **environment):
        done = subprocess.run(
            [sys.executable, script, case],
            env={**os.environ, "GITFSD": stand_in, "TMPDIR": t.path("tmp"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert os.listdir(t.path("tmp")) == [".keep"], "a directory was left"
        return done.returncode, done.stdout

    assert run("passes")[0] == 0
    status, text = run("skips")
    assert status == 77 and "no reason" in text
    status, text = run("fails")
    assert status == 1 and "on purpose" in text
    status, text = run("hangs")
    assert status == 1 and "not done after 1 seconds" in text, text
    left = subprocess.run(["pgrep", "-f", "sleep 98765"], stdout=subprocess.PIPE, check=False).stdout
    assert left == b"", left
    assert run("daemon_has_died")[0] == 1
    status, text = run("passes", SAYS="==1==ERROR: AddressSanitizer: heap-use-after-free")
    assert status == 1 and "AddressSanitizer" in text
    status, text = run("passes", ENDS="1")
    assert status == 1 and "before it was ready" in text


if __name__ == "__main__":
    harness.main()
