#!/usr/bin/env python3
"""Forges that lie: names that would escape, lists without end, wrong sizes, broken JSON, redirects elsewhere."""

import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import forges  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402

TOKEN = "gitfs-test-token"
TOKENS = {TOKEN: {"user": "me"}}
CONFIG = "[Mount]\nRequestTimeoutSec=20\n[Cache]\nKeepFree=0\n"
KINDS = "github", "gitlab", "gitea", "mesa"
ESCAPES = ["..", ".", "", "a/b", "../x", "/etc", ".git", "a\0b", "x" * 300, "new\nline", "\u202e"]


def start(t, count=0, before=None, **knobs):
    """The same owner on a forge of each kind, an org for each; before(forge) runs before the daemon starts."""
    world = {}
    for kind in *KINDS, "git":
        # Not the same content twice: what is known of an object is known for all.
        app = t.path(kind + ".git")
        repo.simple_repo(app, {**{f"d{i}/f{i}": f"{kind} {i}" for i in range(20)}, "README": "hello\n"})
        owner = {"name": "acme", "repos": [{"name": n, "git": app} for n in ("app", "lib")]}
        owner["many"] = {"count": count, "git": app}
        world[kind] = {"owners": [owner], "knobs": {"tokens": TOKENS, **knobs}}
    forge = t.forges(world)
    for name in KINDS:
        forges.org(t, forge, name, name, "acme", TOKEN)
    if before:
        before(forge)
    t.configure(CONFIG)
    t.start()
    return forge


@harness.case()
def names_that_would_escape(t):
    start(t, lies={"names": ESCAPES})
    for name in KINDS:
        names = t.names(name)
        print(name, names)
        assert {"app", "lib"} <= set(names), (name, names)
        bad = [n for n in names if n in ("", ".", "..", ".git") or "/" in n or "\0" in n or "\n" in n or len(n) > 255]
        assert not bad, (name, bad)
        assert t.read(f"{name}/app/README") == b"hello\n"


def list_without_end(t, lies):
    """The list ends, by itself or with an error; each entry is shown once."""
    forge = start(t, count=120, page_max=50, lies=lies)
    for name in KINDS:
        outcome = t.errno_of(os.listdir, t.at(name))
        requests = len(forge.log(name))
        print(f"{name}: {errno.errorcode.get(outcome, 'listed')}, {requests} requests")
        assert requests < 20, forges.show(forge.log(name)[:30])
        if outcome == 0:
            names = t.names(name)
            assert len(names) == len(set(names)), "an entry is shown twice"
            assert {"app", "lib"} <= set(names), names[:5]
        else:
            assert outcome == errno.EIO, outcome
        assert t.read(f"{name}/app/README") == b"hello\n"


@harness.case()
def last_page_leads_to_the_first(t):
    list_without_end(t, {"loop": True})


@harness.case()
def each_page_leads_to_itself(t):
    list_without_end(t, {"same": True})


@harness.case()
def entries_come_again(t):
    list_without_end(t, {"repeat": True})


FIELDS = ["default_branch", "default_bookmark", "head_sha", "id", "archived", "fork", "private", "size"]


def fields_do_not_matter(t, lies):
    start(t, lies=lies)
    for name in KINDS:
        assert t.names(name) == ["app", "lib"], name
        assert t.read(f"{name}/app/README") == b"hello\n"


@harness.case()
def fields_that_are_missing(t):
    fields_do_not_matter(t, {"drop": FIELDS})


@harness.case()
def fields_that_are_null(t):
    fields_do_not_matter(t, {"null": FIELDS})


# What stands in place of a list, and whether it can pass for an empty one.
NO_LISTS = {
    "cut": "[1,", "object": "{}", "null": "null", "text": '"text"', "page": "<html><body>Log in</body></html>",
    "nothing": "", "deep": "[" * 100000, "mixed": '[null, 1, [], {}, {"name": 5, "path": [], "id": "x"}]',
    "mixed-object": '{"repos": [null, 1, [], {}, {"name": 5}], "next_cursor": 7, "has_more": "maybe"}',
}  # fmt: skip
CAN_BE_EMPTY = "mixed", "mixed-object", "object"


@harness.case()
def answers_that_are_no_lists(t):
    """Broken JSON, another shape, a page for people, nothing: EIO, or what is left when nonsense is taken out."""
    app = t.path("app.git")
    repo.simple_repo(app, {"README": "hello\n"})
    owners = [{"name": f"{text}-owner", "repos": [{"name": "app", "git": app}]} for text in NO_LISTS]
    faults = [{"on": f"GET .*{name}-owner", "raw": text} for name, text in NO_LISTS.items()]
    knobs = {"tokens": TOKENS, "faults": faults}
    forge = t.forges({name: {"owners": owners, "knobs": knobs} for name in KINDS})
    for kind in KINDS:
        for text in NO_LISTS:
            forges.org(t, forge, f"{kind}-{text}", kind, f"{text}-owner", TOKEN)
    t.configure(CONFIG)
    t.start()
    for kind in KINDS:
        for text in NO_LISTS:
            outcome = t.errno_of(os.listdir, t.at(f"{kind}-{text}"))
            print(f"{kind} {text}: {errno.errorcode.get(outcome, 'listed')}")
            assert outcome == errno.EIO or outcome == 0 and text in CAN_BE_EMPTY, (kind, text, outcome)
            assert outcome or t.names(f"{kind}-{text}") == [], (kind, text)


@harness.case()
def huge_answers(t):
    """A page of 100 MB is not swallowed."""
    start(t, 0, lambda forge: forge.turn("github", lies={"pad": 60 << 20}))
    assert t.errno_of(os.listdir, t.at("github")) in (errno.EIO, errno.EFBIG)
    with open(f"/proc/{t.pid}/status", encoding="ascii") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    print(f"{peak >> 10} MB at most")
    assert peak < 400 << 10, peak


@harness.case()
def sizes_that_are_wrong(t):
    """A size that a listing told wrong: the object wins, once it is there; never short or foreign data (F2)."""
    start(t, lies={"size": 7})
    for name in KINDS:
        subprocess.run(["ls", "-lR", t.at(f"{name}/app")], stdout=subprocess.DEVNULL, check=True)
        told = os.lstat(t.at(f"{name}/app/d9/f9")).st_size
        outcome, data = 0, b""
        try:
            data = t.read(f"{name}/app/d9/f9")
        except OSError as e:
            outcome = e.errno
        print(f"{name}: told {told}, then {errno.errorcode.get(outcome, len(data))}")
        expected = f"{name} 9".encode()
        assert outcome == errno.EIO or data == expected, (name, outcome, data)
        # The kernel is told to look the name up anew, but not before the failing read has its answer.
        harness.wait_until(lambda path=f"{name}/app/d9/f9": t.errno_of(t.read, path) == 0, name)
        assert t.read(f"{name}/app/d9/f9") == expected, name
        assert os.lstat(t.at(f"{name}/app/d9/f9")).st_size == len(expected), name


@harness.case()
def kinds_that_are_wrong(t):
    """Directories that a listing calls files: git's tree counts."""
    start(t, lies={"kind": True})
    for name in KINDS:
        assert t.names(f"{name}/app/d9") == ["f9"], name
        assert os.lstat(t.at(f"{name}/app/d9/f9")).st_size == len(name) + 2, name


def tokens_at(forge, name):
    return [line for line in forge.log(name) if line["token"]]


@harness.case()
def redirects_elsewhere(t):
    """The token goes to no other host, whoever asks for that: API, git, or a next page."""

    def away(forge):
        for name in KINDS:
            forge.turn(name, faults=[{"on": ".", "redirect": forge.urls["git"], "code": 302}])

    forge = start(t, 150, away)
    other = forge.urls["git"]
    for name in KINDS:
        assert t.errno_of(os.listdir, t.at(name)) != 0, name
        t.errno_of(t.read, f"{name}/app/README")
        forge.turn(name, faults=[{"on": ".", "redirect": other.replace("127.0.0.1", "localhost"), "code": 307}])
        t.errno_of(os.listdir, t.at(name))
        t.errno_of(t.read, f"{name}/lib/README")
        forge.turn(name, faults=None)
    assert not tokens_at(forge, "git"), forges.show(tokens_at(forge, "git"))
    for name in KINDS:
        forge.turn(name, lies={"next": f"{other}/api/v3/orgs/acme/repos?page=2"}, page_max=50)
        t.ctl("flush", "--kernel", "--memory")
        t.ctl("refresh", check=False)
        t.errno_of(os.listdir, t.at(name))
    assert not tokens_at(forge, "git"), forges.show(tokens_at(forge, "git"))
    print(f"{len(forge.log('git'))} requests came there, none with a token")


@harness.case()
def redirects_without_end(t):

    def in_circles(forge):
        for name in KINDS:
            forge.turn(name, faults=[{"on": ".", "redirect": forge.urls[name], "code": 301}])

    forge = start(t, 0, in_circles)
    for name in KINDS:
        assert t.errno_of(os.listdir, t.at(name)) not in (0, errno.ETIMEDOUT), name
        assert len(forge.log(name)) < 60, len(forge.log(name))


@harness.case()
def answers_that_drip(t):
    """Slow, but alive: it is waited for, and others are not delayed."""
    start(t, 0, lambda forge: forge.turn("github", drip=8000))
    assert t.names("gitea") == ["app", "lib"]
    assert t.names("github") == ["app", "lib"]


@harness.case()
def a_server_in_trouble(t):
    """5xx now and then is tried again; a connection that breaks in the middle likewise."""

    def once(forge):
        for name in KINDS:
            forge.turn(name, faults=[{"on": "GET /(api|v1)", "status": 502, "count": 1}])

    forge = start(t, 0, once)
    for name in KINDS:
        assert t.names(name) == ["app", "lib"], name
        forge.turn(name, faults=[{"on": "git-upload-pack", "cut": 100, "count": 1}])
        assert t.read(f"{name}/app/README") == b"hello\n", name


if __name__ == "__main__":
    harness.main()
