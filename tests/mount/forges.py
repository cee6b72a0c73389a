#!/usr/bin/env python3
"""Orgs on forges, through the whole program: listings, states of repositories, sizes, and what they cost."""

import errno
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import foreign  # noqa: E402
import forges  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

TOKEN = "gitfs-test-token"
TOKENS = {TOKEN: {"user": "me", "own": ["acme/app"]}}
CONFIG = "[Mount]\nRequestTimeoutSec=30\n[Cache]\nKeepFree=0\n"


def content(seed, n=60):
    """Some directories, a program, links, names that are not ASCII."""
    files = {f"dir{i % 7}/sub{i % 3}/file{i}.txt": f"{seed} {i}\n" * (i + 1) for i in range(n)}
    files["run"] = (repo.EXEC, b"#!/bin/sh\n")
    files["link"] = (repo.LINK, b"dir1/sub1/file1.txt")
    files["dir0/\u00fcml\u00e4ut"] = "x"
    files["README"] = f"{seed}\n"
    return files


def make(t, name, files=None):
    path = t.path("repos", name + ".git")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    repo.simple_repo(path, files or content(name))
    return path


def repos(*names, **paths):
    return [{"name": n, "git": paths.get("git")} for n in names]


def states(t):
    """Repositories in every state, on a forge of any kind."""
    app, empty = make(t, "app"), repo.init_bare(t.path("repos", "empty.git"))
    return [
        {"name": "app", "git": app, "was": ["app-old"]},
        {"name": "secret", "git": app, "private": True},
        {"name": "empty", "git": empty},
        {"name": "old", "git": app, "archived": True},
        {"name": "fork", "git": app, "fork": True},
        {"name": "forbidden", "git": app, "forbidden": True},
    ]


def agree(t, source, path):
    """The same tree as a clone's, for us and for git."""
    clone = t.path("clones", path.replace("/", "-"))
    repo.clone(source, clone)
    problems = walk.compare(walk.scan(clone), walk.scan(t.at(path)))
    assert not problems, f"{path}:\n" + "\n".join(problems[:20])
    status = foreign.git_status(clone, t.at(path))
    assert status == "", f"{path}: git status prints\n{status[:2000]}"


def find(t):
    """What `find -maxdepth 3 -type d` of the mount shows above repositories."""
    done = subprocess.run(
        ["find", ".", "-maxdepth", "3", "-mindepth", "1", "-type", "d"], cwd=t.mount, stdout=subprocess.PIPE, check=True
    )  # fmt: skip
    return {line.removeprefix("./") for line in done.stdout.decode().splitlines()}


@harness.case(seconds=240)
def five_kinds_side_by_side(t):
    """One mount, five orgs of five kinds; each repository is what a clone of it is."""
    names = "github", "gitlab", "gitea", "mesa", "git"
    sources = {n: make(t, n) for n in names}
    world = {}
    for n in names:
        listed = [{"name": "app", "git": sources[n]}, {"name": "lib", "git": sources[n]}]
        world[n] = {"owners": [{"name": "acme", "repos": listed}], "knobs": {"tokens": TOKENS}}
    tools = {"name": "acme/tools", "type": "group", "repos": [{"name": "app", "git": sources["gitlab"]}]}
    world["gitlab"]["owners"].append(tools)
    forge = t.forges(world)
    for n in names[:4]:
        forges.org(t, forge, n, n, "acme", TOKEN)
    t.org("git", "git", forge.urls["git"] + "/acme", ["app", "lib"])
    t.configure(CONFIG)
    t.start()
    found = find(t)
    for n in names:
        assert {n, f"{n}/app", f"{n}/lib", f"{n}/app/dir1"} <= found, (n, sorted(found)[:50])
    assert "gitlab/tools/app" in found
    listing = {n: forges.count(forge.news(n)) for n in names}
    for n in names:
        agree(t, sources[n], f"{n}/app")
    agree(t, sources["gitlab"], "gitlab/tools/app")
    for n in names:
        lines = forge.news(n)
        counts = forges.count(lines)
        print(f"{n:8} find: {listing[n]}, then all of a repository: {counts}")
        # Two repositories were opened by find, at most two more now; a handful each.
        assert sum(listing[n].values()) <= 16, (n, listing[n])
        assert sum(counts.values()) <= 24, forges.show(lines)
        states = t.ctl_json("org", "show", n)
        assert states["state"] == "ok", states


@harness.case(seconds=240)
def five_thousand_repositories(t):
    """Streamed when cold; no request for the second listing, nor before the first one after a restart."""
    app = make(t, "app")
    many = {"count": 5000, "git": app}
    forge = t.forges({"github": {"owners": [{"name": "acme", "many": many}], "knobs": {"tokens": TOKENS}}})
    forges.org(t, forge, "acme", "github", "acme", TOKEN)
    t.configure(CONFIG)
    t.start()
    before, first, seen_at_first, n = time.monotonic(), None, None, 0
    with os.scandir(t.at("acme")) as entries:
        for _ in entries:
            n += 1
            if first is None:
                first, seen_at_first = time.monotonic() - before, len(forge.log("github"))
    last = time.monotonic() - before
    cold = forges.count(forge.news("github"))
    print(f"cold: {n} entries, first after {first:.3f} s and {seen_at_first} requests, last after {last:.3f} s: {cold}")
    assert n == 5000 and cold["rest"] in (50, 51) and cold["git"] == 0, cold
    assert seen_at_first < 50, "the first page waited for the last"
    assert len(t.names("acme")) == 5000
    assert forge.news("github") == [], "a second listing asks again"
    # A forge that cannot be reached proves that nothing is asked before the answer.
    t.stop()
    forge.stop()
    t.start()
    assert len(t.names("acme")) == 5000
    forge.start()
    forge.seen.clear()
    t.ctl("refresh")
    t.names("acme")
    harness.wait_until(lambda: len(forge.log("github")) >= 50, "the listing is asked for again", 60)
    again = forge.news("github")
    paid = [line for line in again if line["class"] == "rest" and (line["status"] != 304 or not line["conditional"])]
    # A last page that is full may have a successor by now, which nothing on the page would tell.
    assert all(line["target"].endswith("&page=50") for line in paid) and len(paid) <= 1, forges.show(paid)
    print(f"after a restart: 5000 entries from the disk, then {forges.count(again)}, {len(paid)} of them not 304")


@harness.case(seconds=240)
def forty_thousand_files(t):
    """`ls -lR` of a large repository: at most 3 requests of the API and 2 of git."""
    big = make(t, "big", {f"d{i % 400:03}/f{i:05}": f"{i}\n" for i in range(40000)})
    forge = t.forges(
        {"github": {"owners": [{"name": "acme", "repos": [{"name": "big", "git": big}]}], "knobs": {"tokens": TOKENS}}}
    )
    forges.org(t, forge, "acme", "github", "acme", TOKEN)
    t.configure(CONFIG)
    t.start()
    assert t.names("acme") == ["big"]
    before = time.monotonic()
    done = subprocess.run(["ls", "-lR", t.at("acme/big")], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - before
    assert done.stdout.count(b"\n-rw-r--r--") == 40000
    lines = forge.news("github")
    forges.show(lines)
    counts = forges.count(lines)
    print(f"{seconds:.1f} s, {counts}")
    assert counts["rest"] + counts["graphql"] <= 3 and counts["git"] <= 2, counts
    assert os.lstat(t.at("acme/big/d007/f00007")).st_size == 2


@harness.case()
def what_github_has(t):
    """Private, empty, archived, forked, renamed, forbidden, taken down and missing repositories."""
    listed = states(t) + [{"name": "taken-down", "git": t.path("repos/app.git"), "blocked": True}]
    owners = [{"name": "acme", "repos": listed}]
    forge = t.forges({"github": {"owners": owners, "knobs": {"tokens": TOKENS}}})
    for name, more in {
        "acme": {"token": TOKEN},
        "public": {},
        "tidy": {"token": TOKEN, "Archived": "no", "Forks": "no"},
        "some": {"token": TOKEN, "Include": "*e*", "Exclude": "e*"},
    }.items():
        forges.org(t, forge, name, "github", "acme", **more)
    t.configure(CONFIG)
    t.start()
    everything = ["app", "empty", "forbidden", "fork", "old", "secret", "taken-down"]
    assert t.names("acme") == everything
    assert t.names("public") == [n for n in everything if n != "secret"]
    assert t.names("tidy") == [n for n in everything if n not in ("old", "fork")]
    assert t.names("some") == ["forbidden", "secret", "taken-down"]
    for name in "app", "secret", "old", "fork":
        assert t.read(f"acme/{name}/README") == b"app\n", name
    assert t.names("acme/empty") == []
    expected = {"forbidden": errno.EACCES, "taken-down": errno.EACCES, "nothing": errno.ENOENT}
    got = {name: t.errno_of(os.listdir, t.at("acme/" + name)) for name in expected}
    assert got == expected, got
    # To a stranger it does not exist.
    assert t.errno_of(os.listdir, t.at("public/secret")) == errno.ENOENT


@harness.case()
def renamed(t):
    """Old names of repositories and owners: found, or ENOENT with the new name told; never a wrong one."""
    forge = t.forges({"github": {"owners": [{"name": "acme", "was": ["acme-old"], "repos": states(t)}]}})
    forges.org(t, forge, "acme", "github", "acme")
    forges.org(t, forge, "before", "github", "acme-old")
    t.configure(CONFIG)
    t.start()
    assert "app" in t.names("before")
    assert t.read("before/app/README") == b"app\n"
    org = t.ctl_json("org", "show", "before")
    print("a renamed owner:", org["state"], "/", org["state_text"])
    assert org["state"] == "renamed", org
    outcome = t.errno_of(t.read, "acme/app-old/README")
    print("a renamed repository:", errno.errorcode.get(outcome, "is found"))
    assert outcome in (0, errno.ENOENT), outcome


@harness.case()
def whole_forge(t):
    """Owners resolve by name, and list; whoever does not exist is not there."""
    owners = [
        {"name": "acme", "repos": states(t)},
        {"name": "alice", "type": "user", "repos": [{"name": "dots", "git": t.path("repos/app.git")}]},
    ]
    forge = t.forges({"github": {"owners": owners, "knobs": {"tokens": TOKENS}}})
    forges.org(t, forge, "hub", "github")
    t.configure(CONFIG)
    t.start()
    assert t.read("hub/alice/dots/README") == b"app\n"
    forge.news("github")
    assert t.names("hub/alice") == ["dots"]
    assert "app" in t.names("hub/acme") and "secret" not in t.names("hub/acme")
    assert t.errno_of(os.listdir, t.at("hub/nobody")) == errno.ENOENT
    assert {"alice", "acme"} >= set(t.names("hub")), t.names("hub")
    before = len(forge.log("github"))
    assert t.errno_of(os.lstat, t.at("hub/.Trash")) == errno.ENOENT
    assert t.errno_of(os.lstat, t.at("hub/nobody")) == errno.ENOENT
    assert len(forge.log("github")) == before, "names that cannot be, or are not, are asked for"


@harness.case()
def own_repositories(t):
    owners = [{"name": "me", "type": "user", "repos": [{"name": "dots", "git": make(t, "dots"), "private": True}]}]
    world = {n: {"owners": owners, "knobs": {"tokens": TOKENS}} for n in ("github", "gitlab", "gitea")}
    forge = t.forges(world)
    for name in world:
        forges.org(t, forge, name, name, "@me", TOKEN)
    t.configure(CONFIG)
    t.start()
    for name in world:
        assert "dots" in t.names(name), name
        assert t.read(f"{name}/dots/README") == b"dots\n", name


@harness.case()
def groups_of_gitlab(t):
    """Subgroups are directories, whichever way they are come upon."""
    app = make(t, "app")
    owners = [
        {"name": "acme", "type": "group", "repos": [{"name": "top", "git": app}]},
        {"name": "acme/tools", "type": "group", "repos": [{"name": "hammer", "git": app}]},
        {"name": "acme/tools/deep", "type": "group", "repos": [{"name": "drill", "git": app}]},
        {"name": "alice", "type": "user", "repos": [{"name": "dots", "git": app}]},
    ]
    forge = t.forges({"gitlab": {"owners": owners}})
    forges.org(t, forge, "acme", "gitlab", "acme")
    forges.org(t, forge, "tools", "gitlab", "acme/tools")
    forges.org(t, forge, "lab", "gitlab")
    t.configure(CONFIG)
    t.start()
    assert t.read("acme/tools/deep/drill/README") == b"app\n"
    assert t.names("acme") == ["tools", "top"]
    assert t.names("acme/tools") == ["deep", "hammer"]
    assert t.names("tools") == ["deep", "hammer"]
    assert t.read("lab/alice/dots/README") == b"app\n"
    assert t.read("lab/acme/tools/hammer/README") == b"app\n"
    assert t.errno_of(os.lstat, t.at("lab/acme/nothing")) == errno.ENOENT
    assert t.errno_of(os.lstat, t.at("acme/tools/nothing")) == errno.ENOENT


@harness.case(seconds=180)
def sizes_by_every_forge(t):
    """`ls -l` tells sizes without content, where a git server tells none."""
    world = {}
    for name in "github", "gitlab", "gitea", "mesa":
        # Not the same content twice: what is in the store is there for all.
        big = make(t, name, {f"d{i % 20}/f{i}": f"{name} {i}".ljust(i % 50 + 20) for i in range(3000)})
        owners = [{"name": "acme", "repos": [{"name": "big", "git": big}]}]
        world[name] = {"owners": owners, "knobs": {"tokens": TOKENS}}
    forge = t.forges(world)
    for name in world:
        forges.org(t, forge, name, name, "acme", TOKEN)
    t.configure(CONFIG)
    t.start()
    for name in world:
        before = t.stats()["fetch-objects-in"]
        done = subprocess.run(["ls", "-lR", t.at(f"{name}/big")], stdout=subprocess.PIPE, check=True)
        assert done.stdout.count(b"\n-rw-r--r--") == 3000
        sizes = [os.lstat(t.at(f"{name}/big/d{i % 20}/f{i}")).st_size for i in range(3000)]
        assert sizes == [i % 50 + 20 for i in range(3000)], name
        objects = t.stats()["fetch-objects-in"] - before
        lines = forge.news(name)
        print(f"{name:8} {forges.count(lines)}, {objects} objects")
        # A commit and 21 trees; no content, but for what was taken along.
        assert objects <= 22 + 5, objects
        assert len(lines) <= (50 if name == "gitlab" else 10), forges.show(lines)


@harness.case()
def truncated_trees_are_walked(t):
    """A tree too large for one answer: GitHub cuts it, Gitea calls every page but the last one cut."""
    world = {}
    for name in "github", "gitea":
        big = make(t, name, {f"d{i % 20}/s{i % 3}/f{i}": f"{name} {i}".ljust(i % 50 + 20) for i in range(600)})
        owners = [{"name": "acme", "repos": [{"name": "big", "git": big}]}]
        world[name] = {"owners": owners, "knobs": {"tree_limit": 100, "tree_page": 100}}
    forge = t.forges(world)
    for name in world:
        forges.org(t, forge, name, name, "acme")
    t.configure(CONFIG)
    t.start()
    for name in world:
        subprocess.run(["ls", "-lR", t.at(f"{name}/big")], stdout=subprocess.DEVNULL, check=True)
        sizes = [os.lstat(t.at(f"{name}/big/d{i % 20}/s{i % 3}/f{i}")).st_size for i in range(600)]
        assert sizes == [i % 50 + 20 for i in range(600)], name
        print(name, forges.count(forge.news(name)))


@harness.case()
def both_dialects_of_mesa(t):
    app = make(t, "app")
    owners = [{"name": "acme", "repos": [{"name": f"r{i:03}", "git": app} for i in range(150)]}]
    for dialect in "current", "depot":
        world = {dialect: {"kind": "mesa", "owners": owners, "knobs": {"tokens": TOKENS, "dialect": dialect}}}
        forge = t.forges(world)
        path = "/v1" if dialect == "current" else "/api/v1"
        t.org(dialect, "mesa", forge.urls[dialect] + path, Owner="acme")
        forges.credential(t, dialect, TOKEN)
    t.configure(CONFIG)
    t.start()
    for dialect in "current", "depot":
        assert t.names(dialect) == [f"r{i:03}" for i in range(150)], dialect
        assert t.read(f"{dialect}/r007/README") == b"app\n"
        assert t.errno_of(os.lstat, t.at(f"{dialect}/nothing")) == errno.ENOENT


@harness.case()
def blobs_by_the_api_when_git_fails(t):
    """Small reads go on while git is out of order."""
    app = make(t, "app")
    owners = [{"name": "acme", "repos": [{"name": "app", "git": app}]}]
    forge = t.forges({"github": {"owners": owners}})
    forges.org(t, forge, "acme", "github", "acme")
    t.configure(CONFIG)
    t.start()
    subprocess.run(["ls", "-lR", t.at("acme/app")], stdout=subprocess.DEVNULL, check=True)
    forge.turn("github", faults=[{"on": "git-upload-pack", "status": 500}])
    assert t.read("acme/app/README") == b"app\n"
    lines = forge.news("github")
    assert any("/git/blobs/" in line["target"] and line["status"] == 200 for line in lines), forges.show(lines)


if __name__ == "__main__":
    harness.main()
