#!/usr/bin/env python3
"""Kills gitfsd at a certain point of its work, on the machine of tests/faults/run. Prints one line of JSON.

    aim.py init MOUNT TRUTH USER CGROUP POINT:SECONDS... [--seed N]

As root: waits for the service to start, with callers that use the mount from the moment on that it is there. Kills the
first daemon when it has come to the first POINT (POINTS below) and so many seconds have passed, the next one at the
second, and so on. Says what the callers saw, as load.py does.

    aim.py move MOUNT CHECKOUT COMMIT PID POINT:SECONDS

As the user: has CHECKOUT refreshed and kills PID so long after it was asked for ("asked"), or after the daemon shows
COMMIT ("applied"): the kernel has not been told of most of it then. Says whether it showed it when it was killed.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pwd
import select
import signal
import subprocess
import time

import load

# Of a daemon that starts: it runs; it has a place for the first word of the kernel, and is about to store that; it has
# answered.
POINTS = ("started", "prepared", "answered")
N_CALLERS = 4
# More than anything here takes: what is waited for then does not come.
PATIENCE = 60


def points(text):
    name, _, seconds = text.partition(":")
    return name, float(seconds)


def read(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read()


def look_until(found, what):
    """For what the kernel announces to nobody, and for moments that are over before anybody could be told."""
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        if time.monotonic() > end:
            raise RuntimeError(f"never came true: {what}")
    return value


def linger(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


# --- INIT ---


def await_mount(mount):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        poller = select.poll()
        poller.register(f, select.POLLPRI | select.POLLERR)
        while f" {mount} " not in f.read():
            poller.poll(PATIENCE * 1000)
            f.seek(0)


def call_early(user, ready, mount, own):
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    ready.release()
    await_mount(mount)
    for use in own.status, own.list, own.read, own.read:
        use()


def is_daemon(pid):
    """Not what it has forked, nor what mounts for it."""
    parent = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1]
    return read(f"/proc/{pid}/comm") == "gitfsd\n" and read(f"/proc/{parent}/comm") == "systemd\n"


def find_daemon(cgroup, killed):
    with contextlib.suppress(OSError):
        for pid in map(int, read(os.path.join(cgroup, "cgroup.procs")).split()):
            if pid not in killed and is_daemon(pid):
                return pid
    return None


def has_come_to(pid, point):
    if point == "prepared":
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:gitfs-session"):
                    return True
        return False
    # Its heralds are the first that it starts.
    return point == "started" or read(f"/proc/{pid}/task/{pid}/children") != ""


def shoot_starting(cgroup, targets):
    killed = []
    for point, seconds in targets:
        pid = look_until(lambda: find_daemon(cgroup, killed), "a daemon that starts")
        look_until(lambda p=pid, at=point: has_come_to(p, at), f"a daemon that has {point}")
        linger(seconds)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def init(options):
    with open(options.truth, encoding="utf-8") as f:
        truth = json.load(f)
    user = pwd.getpwnam(options.user)
    ready, never = multiprocessing.Semaphore(0), multiprocessing.Event()
    tallies, processes = [], []
    for i in range(N_CALLERS):
        tally = load.Tally()
        own = load.Load(options.mount, truth, options.seed * 1000 + i, tally, never)
        process = multiprocessing.Process(
            target=call_early, args=(user, ready, options.mount, own), name=f"early {i}", daemon=True
        )
        process.start()
        tallies.append(tally)
        processes.append(process)
    for _ in processes:
        ready.acquire()
    print("ready", flush=True)
    shoot_starting(options.cgroup, options.targets)
    for process in processes:
        process.join(PATIENCE)
    return load.summary(tallies, processes)


# --- a move ---


def shows(checkout, commit):
    """A successor does not know before somebody needs it."""
    with contextlib.suppress(OSError):
        return os.getxattr(checkout, "user.gitfs.commit") == commit
    return False


def move(options):
    checkout = os.path.join(options.mount, options.checkout)
    commit = options.commit.encode()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    point, seconds = options.target
    with subprocess.Popen(["gitfsctl", "refresh", checkout], **quiet) as refresh:
        if point == "applied":
            look_until(lambda: shows(checkout, commit), "the move")
        linger(seconds)
        applied = shows(checkout, commit)
        os.kill(options.pid, signal.SIGKILL)
        refresh.wait()
    return {"applied": applied}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("init")
    verb.add_argument("mount")
    verb.add_argument("truth")
    verb.add_argument("user")
    verb.add_argument("cgroup")
    verb.add_argument("targets", nargs="+", type=points)
    verb.add_argument("--seed", type=int, default=1)
    verb.set_defaults(run=init)
    verb = verbs.add_parser("move")
    verb.add_argument("mount")
    verb.add_argument("checkout")
    verb.add_argument("commit")
    verb.add_argument("pid", type=int)
    verb.add_argument("target", type=points)
    verb.set_defaults(run=move)
    options = parser.parse_args()
    print(json.dumps(options.run(options)), flush=True)
    os._exit(0)  # one that hangs would be waited for


if __name__ == "__main__":
    main()
