#!/usr/bin/env python3
"""Where gitfsd mounts, and where it refuses to, with the reason (F9)."""

import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402


def org(t):
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "f\n"})
    t.org("o", "local", root)


def refused(t, *words, **options):
    """gitfsd must end with status 1 and say one of the words."""
    t.start(wait=False, **options)
    status = t.wait_exit()
    assert status == 1, f"status {status}"
    assert any(word in t.log().lower() for word in words), t.log()[-500:]


@harness.case()
def not_empty(t):
    org(t)
    t.write("mnt/precious", "data")
    refused(t, "not empty")
    assert os.listdir(t.mount) == ["precious"]
    assert not harness.mounts_below(t.dir)


@harness.case()
def not_a_directory(t):
    org(t)
    t.write("file", "")
    refused(t, "not a directory", mount=t.path("file"))


@harness.case()
def made_when_missing(t):
    org(t)
    t.start(mount=t.path("new/mount"))
    with open(t.path("new/mount/o/r/f"), "rb") as f:
        assert f.read() == b"f\n"
    t.stop()


@harness.case()
def somebody_else_is_mounted_there(t):
    harness.need_root()
    org(t)
    subprocess.run(["mount", "-t", "tmpfs", "none", t.mount], check=True)
    try:
        refused(t, "busy", "mounted", "in use", "mount point")
        assert len(harness.mounts_below(t.dir)) == 1
    finally:
        subprocess.run(["umount", t.mount], check=True)


@harness.case()
def second_daemon(t):
    """A second gitfsd on the same mount is refused, and the first one is not disturbed."""
    org(t)
    t.start()
    other = harness.Env(t.path("other"))
    other.start(wait=False, mount=t.mount)
    assert other.wait_exit() == 1
    assert t.mount in other.log(), other.log()
    assert t.read("o/r/f") == b"f\n"
    assert len(harness.mounts_below(t.dir)) == 1


@harness.case()
def second_daemon_with_the_same_runtime_directory(t):
    org(t)
    t.start()
    other = harness.Env(t.path("other"))
    other.runtime = t.runtime
    other.start(wait=False)
    assert other.wait_exit() == 1
    assert t.read("o/r/f") == b"f\n"
    assert t.ctl("path").stdout.strip() == t.mount


@harness.case()
def dead_mount_is_replaced(t):
    """After kill -9 the mount is dead; the next start detaches it and mounts anew (F9)."""
    org(t)
    for _ in range(3):
        t.start()
        assert t.read("o/r/f") == b"f\n"
        t.kill()
        assert t.errno_of(os.statvfs, t.mount) == errno.ENOTCONN
    t.start()
    assert t.read("o/r/f") == b"f\n"
    assert len(harness.mounts_below(t.dir)) == 1


@harness.case()
def dead_mount_in_use(t):
    """The same while a shell still stands in the dead mount."""
    org(t)
    t.start()
    shell = subprocess.Popen(["cat"], cwd=t.at("o/r"), stdin=subprocess.PIPE)
    t.kill()
    t.start()
    assert t.read("o/r/f") == b"f\n"
    shell.communicate()


@harness.case()
def stop_while_in_use(t):
    """A stop unmounts although a process has a file open and stands in the mount."""
    org(t)
    t.start()
    shell = subprocess.Popen(["cat"], cwd=t.at("o/r"), stdin=subprocess.PIPE)
    fd = os.open(t.at("o/r/f"), os.O_RDONLY)
    assert os.read(fd, 1) == b"f"
    t.stop()
    t.errno_of(os.close, fd)  # ENOTCONN or not: the mount is gone
    shell.communicate()
    t.start()
    assert t.read("o/r/f") == b"f\n"


@harness.case()
def unmounted_by_somebody_else(t):
    """`fusermount3 -u` ends the daemon, which says why: nothing is left to serve."""
    org(t)
    t.start()
    subprocess.run(["fusermount3", "-u", t.mount], check=True)
    assert t.wait_exit() in (0, 1)
    assert "unmounted" in t.log()


@harness.case()
def mount_options(t):
    """Read-only, nosuid, nodev, and nobody else's."""
    org(t)
    t.start()
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        (line,) = [line for line in f if line.split()[4] == os.path.realpath(t.mount)]
    options = line.split()[5].split(",")
    assert {"ro", "nosuid", "nodev"} <= set(options), options
    assert "allow_other" not in line
    kind = line.split(" - ")[1].split()[0]
    assert kind.startswith("fuse"), kind


if __name__ == "__main__":
    harness.main()
