#!/usr/bin/env python3
"""The first file of a repository on a server that nobody has talked to: few round trips, and the truth (R1)."""

import errno
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

FILES = {"f": "here it is\n", "d/g": "g\n"}


def begin(t, *options, names=("r",)):
    """A daemon, and a proxy in front of a git server."""
    root = t.path("repos")
    os.mkdir(root)
    for name in names:
        repo.simple_repo(os.path.join(root, f"{name}.git"), {**FILES, "name": name})
    between = proxy.Proxy(t.serve(root, *options).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=20\n")
    t.org("o", "git", between.url)
    t.start()
    return between


def in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


@harness.case()
def capabilities_and_head_in_one_round_trip(t):
    """Neither question waits for the answer to the other, and no other question is asked."""
    between = begin(t, "--config", "uploadpack.allowFilter=true")
    between.fault = lambda r: proxy.Stall(0) if r.kind in ("info", "ls-refs") else None
    got = []
    reader = in_background(lambda: got.append(t.read("o/r/f")))
    between.wait_stalled(2)
    assert sorted(between.kinds()) == ["info", "ls-refs"], between.kinds()
    between.release()
    reader.join()
    assert got == [b"here it is\n"]
    assert sorted(between.kinds()) == ["fetch", "fetch", "info", "ls-refs"], between.kinds()


@harness.case()
def a_listing_connects_and_asks_nothing(t):
    """The look-up that follows finds its connections, so it costs a round trip less."""
    between = begin(t, "--config", "uploadpack.allowFilter=true")
    assert t.names("o") == []
    harness.wait_until(lambda: t.stats()["http-connected-ahead"] == 2, "two connections")
    assert not between.requests and t.stats()["http-requests"] == 0
    assert t.read("o/r/f") == b"here it is\n"
    # Two where the second question does not come so late that the first was answered.
    assert t.stats()["http-connected-ahead-used"] >= 1, t.stats()


@harness.case()
def no_connection_ahead_where_that_is_off(t):
    begin(t)
    t.stop()
    t.configure("[Mount]\nRequestTimeoutSec=20\n[Prefetch]\nChildren=no\n")
    t.start()
    assert t.names("o") == []
    assert t.read("o/r/f") == b"here it is\n"
    assert t.stats()["http-connected-ahead"] == 0


@harness.case()
def a_known_host_is_asked_for_the_head_alone(t):
    between = begin(t, "--config", "uploadpack.allowFilter=true", names=("r", "s"))
    assert t.read("o/r/f") == b"here it is\n"
    before = len(between.requests)
    assert t.read("o/s/name") == b"s"
    assert between.kinds()[before:] == ["ls-refs", "fetch", "fetch"], between.kinds()
    assert t.errno_of(t.read, "o/nowhere/f") == errno.ENOENT


@harness.case()
def the_old_protocol(t):
    """A server that knows v0 only has no idea what it is asked, and says so in its own way."""
    between = begin(t, "--no-v2", names=("r", "s"))
    assert t.read("o/r/f") == b"here it is\n"
    before = len(between.requests)
    assert t.read("o/s/f") == b"here it is\n"
    assert "ls-refs" not in between.kinds()[before:], "a host that was found to be old is asked as such"


@harness.case()
def renamed(t):
    """Behind a redirect, on a host that is new and on one that is known."""
    between = begin(t, names=("r", "s"))

    def moved(request):
        for old, new in ("/old", "/r"), ("/older", "/s"):
            if request.path.startswith(old + "/"):
                where = between.url + new + request.path.removeprefix(old)
                return proxy.Status(301, headers={"Location": where})
        return None

    between.fault = moved
    assert t.read("o/old/f") == b"here it is\n"
    assert t.read("o/older/d/g") == b"g\n"


@harness.case()
def with_a_suffix_only(t):
    """Some servers know a repository by NAME.git only."""
    between = begin(t, names=("r", "s"))
    between.fault = lambda r: None if ".git/" in r.path else proxy.Status(404)
    assert t.read("o/r/f") == b"here it is\n"
    assert t.read("o/s/f") == b"here it is\n"
    assert t.errno_of(t.read, "o/nowhere/f") == errno.ENOENT


@harness.case()
def a_server_of_plain_files(t):
    """What `git update-server-info` was for: a clear failure, and no harm done to others."""
    root = t.path("plain")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), FILES)
    subprocess.run(["git", "-C", os.path.join(root, "r.git"), "update-server-info"], check=True)
    shutil.copytree(os.path.join(root, "r.git"), os.path.join(root, "r"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=root)
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    in_background(plain.serve_forever)
    t.org("plain", "git", f"http://127.0.0.1:{plain.server_port}")
    begin(t)
    assert t.errno_of(t.read, "plain/r/f") == errno.EIO
    assert t.read("o/r/f") == b"here it is\n"
    plain.shutdown()


if __name__ == "__main__":
    harness.main()
