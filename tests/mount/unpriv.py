#!/usr/bin/env python3
"""The basics as an ordinary user, who mounts through the set-uid fusermount3."""

import errno
import os
import pwd
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import repo  # noqa: E402


def become_user(t):
    """Makes the daemon and gitfsctl run as nobody when the test runs as root."""
    if not shutil.which("fusermount3"):
        raise harness.Skip("fusermount3 is not installed")
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "f\n", "x": (repo.EXEC, "#!/bin/sh\n"), "d/g": "g\n"})
    repo.clone(os.path.join(root, "r.git"), t.path("clone"))
    if os.geteuid() != 0:
        return os.getuid()
    harness.open_dev_fuse()
    user = pwd.getpwnam("nobody")
    t.as_user = (user.pw_uid, user.pw_gid)
    for name in "mnt", "run", "config", "config/orgs.d", "var", "home":
        os.chown(t.path(name), *t.as_user)
    return user.pw_uid


def as_user(t, *command):
    return subprocess.run(
        [*t.user_prefix(), *command], capture_output=True, text=True, check=False, env=t.environment
    )


@harness.case()
def basics(t):
    """Mount, list, read, refresh, add an org, stop; files belong to the user."""
    uid = become_user(t)
    root = t.path("repos")
    server = t.serve(root)
    t.org("o", "git", server.url, repos=["r"])
    t.start()
    t.ctl("org", "add", "l", "--forge", "local", "--url", root)
    for org in "o", "l":
        listing = as_user(t, "ls", "-ln", t.at(f"{org}/r"))
        assert listing.returncode == 0, listing.stderr
        rows = {line.split()[-1]: line.split() for line in listing.stdout.splitlines()[1:]}
        assert rows["f"][0].startswith("-rw-r--r--") and rows["x"][0].startswith("-rwxr-xr-x"), rows
        assert {row[2] for row in rows.values()} == {str(uid)}, rows
        diff = as_user(t, "diff", "-r", "--exclude=.git", t.path("clone"), t.at(f"{org}/r"))
        assert diff.returncode == 0, diff.stdout + diff.stderr
    repo.commit_files(os.path.join(root, "r.git"), {"f": "moved\n"})
    t.ctl("refresh")
    for org in "o", "l":
        assert as_user(t, "cat", t.at(f"{org}/r/f")).stdout == "moved\n"
    t.stop()


@harness.case()
def nobody_elses_business(t):
    """Another user, root included, does not see into the mount."""
    become_user(t)
    harness.need_root()
    t.org("o", "local", t.path("repos"))
    t.start()
    assert t.errno_of(os.listdir, t.mount) == errno.EACCES
    for top in t.runtime, t.cache:
        assert os.stat(top).st_mode & 0o077 == 0, top
        for directory, _, files in os.walk(top):
            for name in files:
                mode = os.lstat(os.path.join(directory, name)).st_mode
                assert mode & 0o007 == 0 or os.stat(directory).st_mode & 0o077 == 0, name


@harness.case()
def other_users_are_kept_out(t):
    """By each directory alone, and by the daemon itself where a directory was opened to all."""
    become_user(t)
    harness.need_root()
    t.org("o", "git", t.serve(t.path("repos")).url)
    t.start()
    assert as_user(t, "cat", t.at("o/r/f")).stdout == "f\n"
    control = os.path.join(t.runtime, "control")
    stranger = pwd.getpwnam("daemon")
    # The way to all of them is open, as in a home directory that others may enter.
    for name in "run", "var", "config":
        os.chmod(t.path(name), 0o755)

    def as_stranger(*command):
        prefix = ["setpriv", f"--reuid={stranger.pw_uid}", f"--regid={stranger.pw_gid}", "--clear-groups", "--"]
        return subprocess.run([*prefix, *command], capture_output=True, text=True, check=False)

    for path in t.mount, t.at("o"), t.at("o/r/f"), t.runtime, control, t.cache:
        done = as_stranger("ls", "-l", path + ("/" if os.path.isdir(path) else ""))
        assert done.returncode != 0 and "Permission denied" in done.stderr, (path, done)
    with open(f"/proc/{t.pid}/status", encoding="ascii") as f:
        assert f"Uid:\t{t.as_user[0]}\t" in f.read(), "not the user's process"
    for command, name in ("ls", "fd"), ("ls", "map_files"), ("cat", "environ"), ("cat", "mem"):
        done = as_stranger(command, f"/proc/{t.pid}/{name}")
        assert "Permission denied" in done.stderr, (name, done)

    ask = [harness.GITFSCTL, "--runtime-directory", t.runtime, "status"]
    assert as_stranger(*ask).returncode != 0
    os.chmod(t.runtime, 0o755)
    os.chmod(control, 0o666)
    refused = as_stranger(*ask)
    assert refused.returncode != 0 and not refused.stdout, refused
    assert t.ctl("status").stdout


@harness.case()
def dead_mount_is_replaced(t):
    """Without root, too (F9)."""
    become_user(t)
    t.org("o", "local", t.path("repos"))
    t.start()
    t.kill()
    t.start()
    assert as_user(t, "cat", t.at("o/r/f")).stdout == "f\n"
    assert len(harness.mounts_below(t.dir)) == 1


if __name__ == "__main__":
    harness.main()
