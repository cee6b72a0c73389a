#!/usr/bin/env python3
"""Servers that can do less: the tree is the same, it only costs more (R11)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

SECONDS = 300


def small_torture():
    return harness.fixture("torture", "--big-size", "1")


def agrees(t, directory, name="torture"):
    reference = walk.scan(os.path.join(directory, "clones", name))
    got = walk.scan(t.at(f"o/{name}"))
    problems = walk.compare(reference, got) + walk.properties(got)
    assert not problems, f"{len(problems)} differences:\n" + "\n".join(problems[:40])


def lesser_server(t, *missing, options=()):
    directory = small_torture()
    server = t.serve(os.path.join(directory, "repos"), *options)
    between = proxy.Proxy(server.url).start()

    def fault(request):
        if request.kind != "info" or not missing:
            return None
        functions = [proxy.strip_capability(name).function for name in missing]

        def edit(body):
            for function in functions:
                body = function(body)
            return body

        return proxy.Edit(edit)

    between.fault = fault
    t.configure("[Mount]\nRequestTimeoutSec=60\n")
    t.org("o", "git", between.url)
    t.start()
    return directory, between


@harness.case(seconds=SECONDS)
def without_filter(t):
    directory, between = lesser_server(t, b"filter")
    agrees(t, directory)
    assert not any(b"filter" in r.body for r in between.requests), "a filter was asked for all the same"


@harness.case(seconds=SECONDS)
def without_object_info(t):
    directory, between = lesser_server(t, b"object-info")
    agrees(t, directory)
    assert "object-info" not in between.kinds()


@harness.case(seconds=SECONDS)
def without_either(t):
    directory, between = lesser_server(t, b"filter", b"object-info")
    agrees(t, directory)
    assert "object-info" not in between.kinds()


@harness.case(seconds=SECONDS)
def protocol_v0(t):
    """A proxy that drops the Git-Protocol header leaves the old protocol."""
    directory, between = lesser_server(t, options=["--no-v2"])
    agrees(t, directory)
    # The head is asked for beside the capabilities, once, in the hope of the new one.
    kinds = between.kinds()
    assert kinds.count("ls-refs") <= 1, kinds
    assert set(kinds) - {"ls-refs"} == {"info", "v0"}, kinds
    assert t.read("o/torture@feature%2Fx/feature") == b"x\n"
    assert t.read("o/torture@v1.0/README.md") == b"# first\n"
    for name in "empty", "detached":
        agrees(t, directory, name)


@harness.case(seconds=SECONDS)
def filter_forbidden_by_the_server(t):
    """The repository's own configuration says no, as a plain http-backend does."""
    root = t.own_repos(small_torture(), "torture")
    repo.git("--git-dir", os.path.join(root, "torture.git"), "config", "uploadpack.allowFilter", "false")
    t.start_org("git", root)
    agrees(t, small_torture())


@harness.case(seconds=SECONDS)
def small_request_bodies(t):
    """A server that takes no more than 16 kB in a request: batches are cut to what it takes."""
    directory, _ = lesser_server(t, b"object-info", options=["--body-limit", "16384"])
    agrees(t, directory)


if __name__ == "__main__":
    harness.main()
