#!/usr/bin/env python3
"""Servers that want a login: credentials come from `git credential`, and go back to it."""

import errno
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

USER, PASSWORD = "alice", "correct horse"


def start(t, password, helper=True, config=""):
    """A server that wants USER and PASSWORD, and a helper that writes down what it is asked."""
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "secret content\n"})
    script = t.write(
        "helper",
        f'#!/bin/sh\necho "$1" >>{t.path("verbs")}\n[ "$1" = get ] || exit 0\n'
        f'cat >>{t.path("asked")}\necho username={USER}\necho "password=$(cat {t.path("password")})"\n',
    )
    os.chmod(script, 0o755)
    t.write("password", password)
    if helper:
        t.write("gitconfig", f"[credential]\n\thelper = {script}\n")
    server = t.serve(root, "--auth", f"{USER}:{PASSWORD}")
    t.configure("[Mount]\nRequestTimeoutSec=20\n" + config)
    t.org("o", "git", server.url)
    t.start()
    return server


def verbs(t):
    with open(t.path("verbs"), encoding="ascii") as f:
        return f.read().split()


@harness.case()
def good_password(t):
    """The helper is asked once, and told that the password was good."""
    start(t, PASSWORD)
    assert t.read("o/r/f") == b"secret content\n"
    harness.wait_until(lambda: "store" in verbs(t), "the helper is told")
    assert verbs(t).count("get") == 1 and "erase" not in verbs(t), verbs(t)
    with open(t.path("asked"), encoding="utf-8") as f:
        asked = f.read().split()
    assert "protocol=http" in asked and any(line.startswith("host=127.0.0.1:") for line in asked), asked
    assert t.stats()["credential-fills"] == 1


@harness.case()
def bad_password(t):
    """EACCES; the helper is told to forget it; nobody is asked on a terminal."""
    start(t, "wrong")
    assert t.errno_of(t.read, "o/r/f") == errno.EACCES
    harness.wait_until(lambda: "erase" in verbs(t), "the helper is told")
    # The user changes the password: what was refused is not remembered for ever.
    t.write("password", PASSWORD)
    t.restart()
    assert t.read("o/r/f") == b"secret content\n"


@harness.case()
def no_helper(t):
    start(t, PASSWORD, helper=False)
    seconds, error = proxy.elapsed(t.read, "o/r/f")
    assert isinstance(error, OSError) and error.errno == errno.EACCES, error
    assert seconds < 15, seconds
    org = t.ctl_json("org", "show", "o")
    assert org["failing"] and org["state"] in ("token-missing", "forbidden") and org["state_text"], org


@harness.case()
def helper_switched_off(t):
    """GitCredential=no: the helper is never run."""
    start(t, PASSWORD, config="[Network]\nGitCredential=no\n")
    assert t.errno_of(t.read, "o/r/f") == errno.EACCES
    assert not os.path.exists(t.path("verbs"))


@harness.case()
def helper_that_hangs(t):
    """A helper that does not answer delays nobody else, and its callers only to the deadline (R9)."""
    start(t, PASSWORD, config="[Mount]\nRequestTimeoutSec=3\n")
    fifo = t.path("fifo")
    os.mkfifo(fifo)
    t.write("helper", f"#!/bin/sh\nread -r line <{fifo}\n")
    root = t.path("open")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "open\n"})
    t.ctl("org", "add", "public", "--forge", "git", "--url", t.serve(root).url)
    seconds, error = proxy.elapsed(t.read, "o/r/f")
    assert isinstance(error, OSError) and seconds < 6, (seconds, error)
    assert t.read("public/r/f") == b"open\n"


@harness.case()
def gh_that_hangs(t):
    """Programs that hang hold no worker: with a single one, another org is read meanwhile (R9)."""
    os.mkfifo(t.path("hold"))
    program = t.write("bin/gh", f"#!/bin/sh\necho >>{t.path('verbs')}\ncat {t.path('hold')}\n")
    os.chmod(program, 0o755)
    t.environment["PATH"] = f"{t.path('bin')}:{t.environment['PATH']}"
    root = t.path("open")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "open\n"})
    t.configure("[Mount]\nRequestTimeoutSec=60\n[Daemon]\nWorkers=1\n")
    t.org("public", "git", t.serve(root).url)
    # Nobody listens there, and nobody is asked before there is a token.
    for n in range(6):
        t.org(f"o{n}", "github", "https://127.0.0.1:1", Owner="acme")
    t.start()
    readers = [threading.Thread(target=t.errno_of, args=(t.read, f"o{n}/r/f")) for n in range(6)]
    for reader in readers:
        reader.start()
    harness.wait_until(lambda: os.path.exists(t.path("verbs")), "gh")
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] == 6, "all wait")
    assert t.read("public/r/f") == b"open\n"
    assert all(reader.is_alive() for reader in readers), "gh did not hang"
    t.stop()
    for reader in readers:
        reader.join()


@harness.case()
def stop_with_a_hanging_helper(t):
    """A daemon that is told to stop does not wait for a helper (R18, R25)."""
    start(t, PASSWORD)
    os.mkfifo(t.path("hold"))
    hangs = f"!echo >>{t.path('verbs')}; cat {t.path('hold')}; :"
    t.write("gitconfig", f'[credential]\n\thelper = "{hangs}"\n')
    thread = threading.Thread(target=lambda: proxy.elapsed(t.read, "o/r/f"))
    thread.start()
    harness.wait_until(lambda: os.path.exists(t.path("verbs")), "the helper")
    seconds, result = proxy.elapsed(t.stop)
    assert not isinstance(result, Exception), result
    assert seconds < 5, seconds
    thread.join()


if __name__ == "__main__":
    harness.main()
