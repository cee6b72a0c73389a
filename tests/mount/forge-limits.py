#!/usr/bin/env python3
"""Limits and credentials of forges: who waits, who does not, and in which words it is told."""

import errno
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import forges  # noqa: E402
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

TOKEN, EXPIRED, WRONG = "gitfs-test-token", "gitfs-expired-token", "gitfs-wrong-token"
# Transfers may take twenty times the first: longer than the limits below last.
CONFIG_PATIENT = "[Mount]\nRequestTimeoutSec=60\n[Cache]\nKeepFree=0\n"
CONFIG = "[Mount]\nRequestTimeoutSec=20\n[Cache]\nKeepFree=0\n"


def start(t, orgs, config=CONFIG, count=0, **knobs):
    """A forge with one owner; orgs: {name: (token, options)}."""
    app = t.path("app.git")
    repo.simple_repo(app, {f"d{i}/f": f"{i}\n" for i in range(20)})
    names = [{"name": n, "git": app, "private": n == "secret"} for n in ("app", "lib", "secret")]
    owner = {"name": "acme", "repos": names, "many": {"count": count, "git": app}}
    knobs.setdefault("tokens", {TOKEN: {"user": "me"}, EXPIRED: {"state": "expired"}})
    forge = t.forges({"github": {"owners": [owner], "knobs": knobs}})
    for name, (token, more) in orgs.items():
        forges.org(t, forge, name, "github", "acme", token, **more)
    t.configure(config)
    t.start()
    return forge


def state(t, org):
    """What people are told."""
    shown = t.ctl_json("org", "show", org)
    print(f"{org}: {shown['state']}: {shown['state_text']}")
    return shown


def limited(forge):
    """Requests that came although the limit was known to be used up."""
    return [line for line in forge.log("github") if line.get("limited")]


def listed(t, org):
    """How many repositories an org shows; None while it cannot be listed."""
    try:
        return len(os.listdir(t.at(org)))
    except OSError:
        return None


@harness.case()
def budget_ends_in_a_listing(t):
    """In the middle of a long listing: nothing is sent until the reset, then it goes on."""
    forge = start(t, {"acme": (TOKEN, {})}, count=1000, budget={"limit": 5, "reset": 4})
    began = time.monotonic()
    outcome = t.errno_of(os.listdir, t.at("acme"))
    print(f"the reader sees {errno.errorcode.get(outcome, 'the list')} after {time.monotonic() - began:.1f} s")
    assert outcome in (0, errno.EAGAIN), outcome
    if outcome:
        shown = state(t, "acme")
        assert shown["state"] == "rate-limited", shown
        status = t.ctl("status").stdout
        print(status)
        assert "limit" in status
        # Content does not go through the API, and is there all the same.
        assert t.read("acme/app/d7/f") == b"7\n"
    assert not limited(forge), forges.show(limited(forge))
    harness.wait_until(lambda: listed(t, "acme") == 1000, "the whole list", 60)
    assert len(limited(forge)) == 0, forges.show(limited(forge))


@harness.case()
def budget_ends_in_a_prefetch(t):
    """What is read meanwhile and does not need the API is served; what was cached stays."""
    forge = start(t, {"acme": (TOKEN, {})})
    assert t.read("acme/app/d3/f") == b"3\n"
    names = t.names("acme")
    forge.turn("github", budget={"limit": 60, "remaining": 0, "reset": 600})
    t.ctl("prefetch", t.at("acme/lib"), "--contents", "--wait", check=False)
    assert t.read("acme/app/d3/f") == b"3\n" and t.read("acme/app/d5/f") == b"5\n"
    assert t.names("acme") == names
    assert t.read("acme/lib/d3/f") == b"3\n"
    t.ctl("refresh", check=False)
    # REST and GraphQL have budgets of their own, and each has to be told once.
    assert max(forges.count(limited(forge)).values()) <= 1, forges.show(limited(forge))


@harness.case()
def nothing_left_for_long(t):
    """Nobody waits ten minutes: EAGAIN at once, until when is told, and nothing is sent."""
    forge = start(t, {"acme": (TOKEN, {})}, CONFIG_PATIENT, budget={"limit": 60, "remaining": 0, "reset": 600})
    for _ in range(3):
        seconds, outcome = proxy.elapsed(os.listdir, t.at("acme"))
        assert isinstance(outcome, OSError) and outcome.errno == errno.EAGAIN and seconds < 5, (seconds, outcome)
    shown = state(t, "acme")
    assert shown["state"] == "rate-limited", shown
    print(t.ctl("status").stdout)
    assert len(limited(forge)) == 1, forges.show(limited(forge))
    # git has limits of its own, and sizes, which the API tells, come with the content as well.
    began = time.monotonic()
    assert t.read("acme/app/d7/f") == b"7\n"
    assert [os.stat(t.at(f"acme/app/d{i}/f")).st_size for i in range(20)] == [2] * 10 + [3] * 10
    assert time.monotonic() - began < 15, "held back by the API"


@harness.case()
def git_is_limited(t):
    """A read that would have to wait for longer than anybody does: EAGAIN; what is there is served."""
    forge = start(t, {"acme": (TOKEN, {})})
    assert t.read("acme/app/d7/f") == b"7\n"
    forge.turn("github", faults=[{"on": "acme/lib.git", "status": 429, "headers": {"Retry-After": "600"}}])
    outcome = t.errno_of(t.read, "acme/lib/d1/f")
    assert outcome == errno.EAGAIN, outcome
    before = len(forge.log("github"))
    assert t.errno_of(t.read, "acme/lib/d2/f") == errno.EAGAIN
    assert t.read("acme/app/d7/f") == b"7\n"
    new = forge.log("github")[before:]
    assert not [line for line in new if line["class"] == "git"], forges.show(new)


@harness.case()
def told_to_wait(t):
    """A second limit with Retry-After: obeyed, and the listing comes afterwards."""
    forge = start(t, {"acme": (TOKEN, {})}, secondary={"after": 0, "seconds": 3})
    outcome = t.errno_of(os.listdir, t.at("acme"))
    assert outcome in (0, errno.EAGAIN), outcome
    if outcome:
        assert state(t, "acme")["state"] == "rate-limited"
    harness.wait_until(lambda: t.errno_of(os.listdir, t.at("acme")) == 0, "the list", 30)
    assert len(limited(forge)) == 1, forges.show(limited(forge))
    assert state(t, "acme")["state"] == "ok"


@harness.case()
def clocks_that_disagree(t):
    """A forge whose clock is an hour ahead, or behind, does not make us wait for an hour, nor not at all."""
    app = t.path("app.git")
    repo.simple_repo(app, {"f": "x\n"})
    owners = [{"name": "acme", "repos": [{"name": "app", "git": app}]}]
    world = {}
    for name, clock in ("ahead", 3600), ("behind", -3600):
        knobs = {"clock": clock, "budget": {"limit": 10, "remaining": 0, "reset": 3}}
        world[name] = {"kind": "github", "owners": owners, "knobs": knobs}
    forge = t.forges(world)
    for name in world:
        forges.org(t, forge, name, "github", "acme")
    t.configure(CONFIG)
    t.start()
    for name in world:
        t.errno_of(os.listdir, t.at(name))
    for name in world:
        harness.wait_until(lambda org=name: listed(t, org) == 1, "the list", 30)
        refused = [line for line in forge.log(name) if line.get("limited")]
        assert len(refused) <= 2, forges.show(refused)


@harness.case()
def budgets_are_shown(t):
    start(t, {"acme": (TOKEN, {})}, budget={"limit": 5000, "remaining": 4321, "reset": 1800})
    t.names("acme")
    status = t.ctl("status").stdout
    print(status)
    assert "4320" in status and "5000" in status, status


@harness.case()
def tokens_that_are_no_good(t):
    """The words: missing, wrong, expired, lacking permission; and the others do not suffer."""
    orgs = {n: (token, {}) for n, token in (("good", TOKEN), ("none", None), ("wrong", WRONG), ("expired", EXPIRED))}
    forge = start(t, orgs, token_needed=True)
    for org in "none", "wrong", "expired":
        assert t.errno_of(os.listdir, t.at(org)) == errno.EACCES, org
    assert t.names("good") == ["app", "lib", "secret"]
    assert state(t, "none")["state"] == "token-missing"
    assert state(t, "wrong")["state"] == "token-refused"
    assert state(t, "expired")["state"] == "token-refused"
    assert state(t, "good")["state"] == "ok"
    for org in "wrong", "expired":
        text = t.ctl_json("org", "show", org)["state_text"]
        assert "token" in text and WRONG not in text and EXPIRED not in text, text
    # One repository that the token does not reach is no trouble of the org; the list is.
    forge.turn("github", tokens={TOKEN: {"user": "me", "lacks": True}})
    outcome = t.errno_of(t.read, "good/app/d1/f")
    assert outcome == errno.EACCES, outcome
    assert state(t, "good")["state"] == "ok"


@harness.case()
def a_token_that_may_not_list(t):
    """Good, but without the permission: which one is told."""
    refusal = {
        "on": "GET .*/repos", "status": 403, "body": {"message": "Resource not accessible by personal access token"},
        "headers": {"X-Accepted-GitHub-Permissions": "metadata=read"},
    }  # fmt: skip
    start(t, {"acme": (TOKEN, {})}, faults=[refusal])
    assert t.errno_of(os.listdir, t.at("acme")) == errno.EACCES
    shown = state(t, "acme")
    assert shown["state"] == "forbidden" and "metadata=read" in shown["state_text"], shown


@harness.case()
def a_new_token_needs_no_restart(t):
    """Rotated in its file: read again when the old one is refused, once."""
    forge = start(t, {"acme": (TOKEN, {})}, token_needed=True)
    assert t.names("acme") == ["app", "lib", "secret"]
    forges.credential(t, "acme", "gitfs-new-token")
    forge.turn("github", tokens={"gitfs-new-token": {"user": "me"}})
    assert t.read("acme/app/d1/f") == b"1\n"
    assert t.read("acme/secret/d1/f") == b"1\n"
    assert state(t, "acme")["state"] == "ok"


@harness.case()
def single_sign_on(t):
    """Required: EACCES and the address to go to. For some: the rest is listed, and it is said that it is not all."""
    forge = start(t, {"acme": (TOKEN, {})}, tokens={TOKEN: {"user": "me", "sso": "required"}})
    assert t.errno_of(os.listdir, t.at("acme")) == errno.EACCES
    shown = state(t, "acme")
    assert shown["state"] == "sso-required" and "/orgs/acme/sso" in shown["state_text"], shown
    forge.turn("github", tokens={TOKEN: {"user": "me", "sso": "partial"}})
    t.restart()
    assert t.names("acme") == ["app", "lib"]
    shown = state(t, "acme")
    assert shown["state"] == "sso-required" and not shown.get("failing"), shown


@harness.case()
def one_org_in_trouble(t):
    """A forge that is slow, and one that is away, delay nobody else and empty nothing (R9)."""
    app = t.path("app.git")
    repo.simple_repo(app, {"f": "x\n"})
    owners = [{"name": "acme", "repos": [{"name": "app", "git": app}]}]
    forge = t.forges({n: {"kind": "github", "owners": owners} for n in ("slow", "gone", "fine")})
    forge.turn("slow", latency=60)
    for name in "slow", "gone", "fine":
        forges.org(t, forge, name, "github", "acme")
    t.org("nowhere", "github", "http://127.0.0.1:9", Owner="acme")
    t.configure("[Mount]\nRequestTimeoutSec=3\n[Cache]\nKeepFree=0\n")
    t.start()
    assert t.read("gone/app/f") == b"x\n" and t.names("gone") == ["app"]
    forge.turn("gone", faults=[{"on": ".", "drop": True}])
    waiting = threading.Thread(target=t.errno_of, args=(os.listdir, t.at("slow")))
    waiting.start()
    seconds, names = proxy.elapsed(t.names, "fine")
    assert names == ["app"] and seconds < 2, (seconds, names)
    assert t.names("gone") == ["app"] and t.read("gone/app/f") == b"x\n"
    assert t.errno_of(os.listdir, t.at("nowhere")) == errno.EHOSTDOWN
    assert state(t, "nowhere")["state"] == "unreachable"
    assert t.errno_of(os.listdir, t.at("slow")) in (errno.ETIMEDOUT, errno.EHOSTDOWN)
    assert state(t, "fine")["state"] == "ok"
    waiting.join()


if __name__ == "__main__":
    harness.main()
