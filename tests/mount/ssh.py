#!/usr/bin/env python3
"""Git orgs over ssh, with a real sshd: they read like any other, with one connection or two, and recover."""

import errno
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import foreign  # noqa: E402
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", "ssh-server")
FILTER = "uploadpack.allowFilter=true"
BIG_MIB = os.environ.get("GITFS_TEST_BIG_MIB", "200")
DEADLINE = 10
SLACK = 4
CONFIG = f"[Mount]\nRequestTimeoutSec={DEADLINE}\nNegativeTimeoutSec=3600\n[Network]\nRetries=1\n"
UNREACHABLE = {errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EIO}


class SshServer:
    """tests/lib/ssh-server in a directory of the case."""

    def __init__(self, t, *options):
        self.directory = t.path("sshd")
        self.options = options
        self.port = None

    def start(self):
        """The same port again when it was started before."""
        port = ["--port", self.port] if self.port else []
        command = [PROGRAM, "start", self.directory, *port, *self.options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 77:
            raise harness.Skip(done.stdout.strip().removeprefix("SKIP: "))
        assert done.returncode == 0, "sshd could not be started"
        self.port = done.stdout.strip()
        return self

    def kill(self):
        subprocess.run([PROGRAM, "stop", self.directory], check=True)

    def sessions(self):
        """The command of every session there was."""
        try:
            with open(os.path.join(self.directory, "sessions"), encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def use_key(self, name):
        """The user's key is this one from now on."""
        path = os.path.join(self.directory, "ssh_config")
        with open(path, encoding="utf-8") as f:
            config = f.read().replace(f"{self.directory}/id\n", f"{self.directory}/{name}\n")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)

    def command(self, options=""):
        return f"ssh -F {self.directory}/ssh_config {options}"


def serve(t, *options):
    server = SshServer(t, "--config", FILTER, *options).start()
    t.environment["GIT_SSH_COMMAND"] = server.command()
    return server


def content(n):
    return f"file {n}\n".encode() * 1000


def start(t, server=None, options=""):
    """A daemon with the org o, and in it the repository r."""
    server = server or serve(t)
    root = t.path("repos")
    if not os.path.exists(root):
        os.mkdir(root)
        files = {f"f{n}": content(n).decode() for n in range(8)} | {"d/g": "g\n"}
        repo.simple_repo(os.path.join(root, "r.git"), files)
    t.environment["GIT_SSH_COMMAND"] = server.command(options)
    t.configure(CONFIG)
    t.org("o", "git", f"ssh://host{root}", repos=["r"])
    t.start()
    return server


def walk_case(spelling):
    def run(t):
        directory = harness.fixture("torture", "--big-size", BIG_MIB)
        server = serve(t)
        root = os.path.join(directory, "repos")
        t.configure("[Mount]\nRequestTimeoutSec=60\n")
        t.org("o", "git", spelling.format(root=root), repos=["torture"])
        t.start()
        clone, tree = os.path.join(directory, "clones", "torture"), t.at("o/torture")
        reference = walk.scan(clone)
        for temperature in "cold", "warm":
            problems = walk.compare(reference, walk.scan(tree))
            assert not problems, f"{temperature}: {len(problems)} differences:\n" + "\n".join(problems[:40])
        status = foreign.git_status(clone, tree)
        assert status == "", f"git status prints:\n{status[:2000]}"
        stats, sessions = t.stats(), server.sessions()
        print(f"{len(reference)} paths agree; {stats['ssh-requests']} requests on {len(sessions)} connections")
        assert 1 <= len(sessions) <= 2, sessions
        assert stats["ssh-requests"] > 3 and stats["http-requests"] == 0

    run.__name__ = "walk_" + ("url" if "://" in spelling else "short")
    run.__doc__ = "Everything reads as in a clone, over one connection or two."
    harness.case(seconds=600)(run)


walk_case("ssh://host{root}")
walk_case("host:{root}")


@harness.case()
def added_by_gitfsctl(t):
    """Both spellings are taken, kept in the org's file, and shown."""
    server = start(t)
    root = t.path("repos")
    for name, url in ("a", f"ssh://host{root}"), ("b", f"host:{root}"):
        t.ctl("org", "add", name, "--forge", "git", "--url", url)
        assert t.ctl_json("org", "show", name)["url"] == url
        assert t.read(f"{name}/r/d/g") == b"g\n"
    assert t.ctl("org", "add", "c", "--forge", "git", "--url", "-oProxyCommand=x:y", check=False).returncode != 0
    t.restart()
    assert t.read("b/r/d/g") == b"g\n"
    assert server.sessions()


@harness.case()
def old_protocol(t):
    """A server that drops GIT_PROTOCOL, as sshd does unless it is told otherwise."""
    server = start(t, serve(t, "--no-v2"))
    assert t.names("o/r") == ["d"] + [f"f{n}" for n in range(8)]
    assert t.read("o/r/f3") == content(3) and t.read("o/r/d/g") == b"g\n"
    assert len(server.sessions()) >= 2


@harness.case()
def server_killed_under_readers(t):
    """Readers get an errno by their deadline; when the server is back, the bytes (R9)."""
    server = start(t)
    assert len(t.names("o/r")) == 9
    server.kill()
    results = {}

    def reader(n):
        results[n] = proxy.elapsed(t.read, f"o/r/f{n}")

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, (seconds, result) in sorted(results.items()):
        assert isinstance(result, OSError) and result.errno in UNREACHABLE, (n, result)
        assert seconds < DEADLINE + SLACK, (n, seconds)
    org = t.ctl_json("org", "show", "o")
    print(f"state: {org['state']}: {org['state_text']}")
    server.start()
    for n in range(8):
        harness.wait_until(lambda n=n: t.errno_of(t.read, f"o/r/f{n}") == 0, "readable again")
        assert t.read(f"o/r/f{n}") == content(n)


@harness.case()
def idle_connection_lost(t):
    """A server that was restarted meanwhile is no error at all."""
    server = start(t)
    assert t.read("o/r/f0") == content(0)
    server.kill()
    server.start()
    assert t.read("o/r/f1") == content(1)


@harness.case()
def another_network(t):
    """A connection of the network that was is not used again, and nobody waits for it."""
    harness.private_network()
    server = start(t)
    assert t.read("o/r/f0") == content(0)
    old = len(server.sessions())
    assert 1 <= old <= 2, server.sessions()
    before = t.stats()["network-changes"]
    harness.add_address("127.7.7.7")
    harness.wait_until(lambda: t.stats()["network-changes"] > before, "the address is noticed")
    assert t.read("o/r/f1") == content(1)
    assert len(server.sessions()) > old, server.sessions()


def refused_case(name, options, expected, word):
    def run(t):
        start(t, options=options)
        refused(t, expected, word)

    run.__name__ = name
    harness.case()(run)


def refused(t, expected, word):
    """An errno by the deadline, and the reason in words."""
    seconds, error = proxy.elapsed(t.read, "o/r/f0")
    assert isinstance(error, OSError) and error.errno == expected, error
    assert seconds < DEADLINE + SLACK, seconds
    org = t.ctl_json("org", "show", "o")
    print(f"state: {org['state']}: {org['state_text']}")
    assert word in org["state_text"], org


refused_case("unknown_host_key", "-o UserKnownHostsFile=/dev/null", errno.EACCES, "host key")
refused_case("hanging_connection", "-o ProxyCommand='sleep 600'", errno.ETIMEDOUT, "no answer")


@harness.case()
def key_refused(t):
    server = serve(t)
    server.use_key("other")
    start(t, server)
    refused(t, errno.EACCES, "keys")


@harness.case()
def locked_key(t):
    """A key with a passphrase and no agent: nobody is asked, not even by a program on a display."""
    server = serve(t, "--passphrase")
    asked = t.path("asked")
    script = t.write("askpass", f"#!/bin/sh\ntouch {asked}\necho 'a long passphrase'\n")
    os.chmod(script, 0o755)
    t.environment |= {"SSH_ASKPASS": script, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    server.use_key("locked")
    start(t, server)
    refused(t, errno.EACCES, "keys")
    assert not os.path.exists(asked)


@harness.case()
def stop_with_a_hanging_connection(t):
    """A daemon that is told to stop does not wait for ssh (stop() allows ten seconds)."""
    start(t, options="-o ProxyCommand='sleep 600'")
    thread = threading.Thread(target=lambda: proxy.elapsed(t.read, "o/r/f0"))
    thread.start()
    harness.wait_until(lambda: t.stats()["ssh-connections-now"] == 1, "a connection")
    seconds, result = proxy.elapsed(t.stop)
    assert not isinstance(result, Exception), result
    assert seconds < 5, seconds
    thread.join()


if __name__ == "__main__":
    harness.main()
