#!/usr/bin/python3
"""gitfsctl against the bus layer: every verb, what it prints, its exit status, and what its errors advise."""

import json
import os
import pty
import re
import select
import signal
import subprocess

import busd
from busd import case, wait_for

FAILURE, USAGE = 1, 2


def add_acme(t):
    return t.ctl("org", "add", "acme", "--forge", "git", "--url", "https://example.org/acme")


@case
def help_and_version_need_no_daemon(t):
    text = t.ctl("--help")
    for verb in (
        "status", "org add", "org remove", "org list", "org show", "token set", "token forget", "login", "prefetch", "jobs", "cancel", "flush", "refresh",
        "pin", "unpin", "pins",
        "verify", "stats", "which", "path", "reload",
    ):  # fmt: skip
        assert re.search(rf"^  {verb}( |$)", text, re.M), f"{verb} is not in the help"
    assert re.fullmatch(r"gitfsctl \d+\.\d+\.\d+\n", t.ctl("--version"))


@case
def wrong_usage_is_told_and_ends_in_2(t):
    for arguments, said in (
        ((), "what is to be done"),
        (("frobnicate",), '"frobnicate"'),
        (("org", "frobnicate"), '"org frobnicate"'),
        (("--frobnicate",), "--frobnicate"),
        (("which",), "usage: gitfsctl which PATH"),
        (("which", "a", "b"), "usage: gitfsctl which PATH"),
        (("stats", "--wait"), "--wait means nothing to `stats`"),
        (("flush", "--json"), "--json means nothing to `flush`"),
        (("org", "add", "x", "--url", "y"), "`org add` needs --forge"),
        (("org", "add", "x", "--forge", "git"), "`org add --forge git` needs --url"),
        (("org", "add", "x", "--forge", "gitea", "--owner", "y"), "`org add --forge gitea` needs --url"),
        (("org", "add", "x", "--forge", "github", "--forks", "maybe"), '--forks: "maybe" is neither yes nor no'),
        (("org", "list", "--owner", "y"), "--owner means nothing to `org list`"),
        (("org", "add", "x", "--forge", "git", "--url", "y", "--poll-interval", "soon"), '"soon"'),
        (("org", "add", "x", "--forge", "git", "--url", "y", "--poll-interval", "-1"), '"-1"'),
    ):
        error = t.ctl(*arguments, status=USAGE)
        assert said in error, f"{arguments}: {error}"
        assert "gitfsctl --help" in error


@case
def without_a_daemon_the_way_to_start_one_is_told(t):
    error = t.ctl("status", status=FAILURE)
    assert "gitfsd is not running" in error and "systemctl --user start gitfsd" in error
    t.start_bus()
    assert "gitfsd is not running" in t.ctl("status", status=FAILURE), "on a bus that cannot start it"
    error = t.ctl("status", "--runtime-directory", "/nowhere", status=FAILURE)
    assert "/nowhere" in error


@case
def the_daemon_is_found(t):
    t.start_bus()
    t.start()
    assert t.ctl("path") == t.mount + "\n"
    # The socket comes first: it works without the bus...
    assert t.ctl("path", environment={"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}) == t.mount + "\n"
    # ... and the bus without it.
    elsewhere = {"XDG_RUNTIME_DIR": t.directory}
    assert t.ctl("path", environment=elsewhere) == t.mount + "\n"
    # A directory that was asked for is the only one looked at.
    assert t.ctl("path", "--runtime-directory", t.runtime, environment=elsewhere) == t.mount + "\n"
    assert t.ctl("path", environment={"GITFS_RUNTIME_DIRECTORY": t.runtime}) == t.mount + "\n"
    t.ctl("path", environment={"GITFS_RUNTIME_DIRECTORY": t.directory}, status=FAILURE)


@case
def the_bus_starts_the_daemon(t):
    t.start_bus(f"{busd.BUSD} {t.runtime} {t.mount}")
    pid = json.loads(t.ctl("status", "--json"))["pid"]
    try:
        # It is there to stay, and is found on its socket now.
        elsewhere = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
        assert json.loads(t.ctl("status", "--json", environment=elsewhere))["pid"] == pid
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(t.socket), "the daemon ends")


@case
def a_daemon_that_cannot_be_started_is_told(t):
    t.start_bus("/bin/false")
    error = t.ctl("status", status=FAILURE)
    assert "gitfsd could not be started" in error and "journalctl --user -u gitfsd" in error, error


@case
def orgs(t):
    t.start()
    assert "No org is configured" in t.ctl("status")
    assert add_acme(t) == t.mount + "/acme\n"
    os.mkdir(t.directory + "/repos")
    t.ctl(
        "org", "add", "here", "--forge=local", "--url", "repos/../repos", "--repo", "a", "--repo", "b",
        "--poll-interval", "5",
    )  # fmt: skip
    orgs_ = json.loads(t.ctl("org", "list", "--json"))
    assert [o["name"] for o in orgs_] == ["acme", "here"]
    here = json.loads(t.ctl("--json", "org", "show", "here"))
    assert here == orgs_[1]
    assert here["url"] == t.directory + "/repos", "a relative directory is not made absolute"
    assert here["repos"] == ["a", "b"]
    assert here["poll_interval_usec"] == 5000000
    assert (here["forge"], here["state"], here["repo_count"]) == ("local", "idle", 3)

    lines = t.ctl("org", "list").splitlines()
    assert lines[0].split() == ["NAME", "FORGE", "OWNER", "STATE", "REPOS", "OPEN", "URL"]
    assert lines[1].split() == ["acme", "git", "-", "idle", "3", "1", "https://example.org/acme"]
    assert {line.index(w) for line, w in zip(lines, ("FORGE", "git", "local"))} == {lines[0].index("FORGE")}
    assert "every 5 s" in t.ctl("org", "show", "here")

    error = t.ctl("org", "add", "acme", "--forge", "git", "--url", "https://x", status=FAILURE)
    assert "exists already" in error and "gitfsctl org remove" in error
    error = t.ctl("org", "show", "nobody", status=FAILURE)
    assert '"nobody"' in error and "gitfsctl org list" in error
    # The others are removed all the same.
    assert "nobody" in t.ctl("org", "remove", "acme", "nobody", "here", status=FAILURE)
    assert json.loads(t.ctl("org", "list", "--json")) == []


@case
def orgs_of_forges(t):
    t.start()
    t.ctl(
        "org", "add", "acme", "--forge", "github", "--owner", "acme-inc", "--include", "a*", "--include", "b*",
        "--exclude", "*-old", "--archived", "no", "--forks", "no", "--client-id", "Iv1.a",
        "--api-url", "https://api.example.org",
    )  # fmt: skip
    t.ctl("org", "add", "all", "--forge", "gitlab", "--forks", "yes")
    acme, everything = json.loads(t.ctl("org", "list", "--json"))
    assert (acme["owner"], acme["url"]) == ("acme-inc", "https://github.com")
    assert (acme["include"], acme["exclude"]) == (["a*", "b*"], ["*-old"])
    assert (acme["archived"], acme["forks"], acme["client_id"]) == (False, False, "Iv1.a")
    assert acme["api_url"] == "https://api.example.org"
    assert (everything["owner"], everything["archived"], everything["forks"]) == ("", True, True)
    lines = t.ctl("org", "list").splitlines()
    assert lines[1].split() == ["acme", "github", "acme-inc", "idle", "3", "1", "https://github.com"]
    assert lines[2].split() == ["all", "gitlab", "-", "idle", "3", "1", "https://gitlab.com"]
    text = t.ctl("org", "show", "acme")
    for line in "Owner:  acme-inc", "Include:  a*", "b*", "Exclude:  *-old", "Archived:  no", "Forks:  no":
        assert re.search(rf"^ *{re.escape(line)}$", text, re.M), text
    assert "Archived" not in t.ctl("org", "show", "all"), "only what is unusual is told"
    assert "is no kind of forge" in t.ctl("org", "add", "x", "--forge", "svn", "--url", "https://x", status=FAILURE)


@case
def what_is_the_matter_is_told(t):
    t.start()
    add_acme(t)
    t.ctl("refresh", "trouble/rate-limited/acme")
    until = r"rate-limited until (\d\d):\d\d:\d\d"
    assert re.search(until, t.ctl("org", "list"))
    assert re.search(r"State:  " + until, t.ctl("org", "show", "acme"))
    assert re.search("^acme: " + until + ': The server said "rate-limited"$', t.ctl("status"), re.M)
    t.ctl("refresh", "trouble/offline/acme")
    assert 'acme: unreachable: The server said "offline"\n' in t.ctl("status")
    t.ctl("refresh", "notice/sso-required/acme")
    assert 'acme: sso-required, but works: The server said "sso-required"\n' in t.ctl("status")


@case
def servers_are_shown(t):
    t.start()
    assert "SERVER" not in t.ctl("status") and json.loads(t.ctl("status", "--json"))["hosts"] == []
    t.ctl("refresh", "hosts")
    hosts = json.loads(t.ctl("status", "--json"))["hosts"]
    assert (hosts[0]["host"], hosts[0]["remaining"], hosts[0]["limit"]) == ("https://api.example.org", 4990, 5000)
    lines = t.ctl("status").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("SERVER"))
    clock, day = r"\d\d:\d\d:\d\d", r"\d{4}-\d\d-\d\d \d\d:\d\d"
    for line, words in zip(
        lines[at + 1 :],
        (
            f"https://api.example.org core 1 4990 5000 {clock} 2 1 ok",
            f"https://api.example.org core - 0 60 {clock} 0 0 blocked until {clock}",
            f"https://api.example.org graphql 1 5000 5000 {clock} 0 0 ok",
            f"https://git.example.org - 2 - - - 0 0 does not answer, asked again {day}",
        ),
    ):
        assert re.fullmatch(words, " ".join(line.split())), line


@case
def status(t):
    t.start()
    add_acme(t)
    t.ctl("prefetch", "hold")
    t.ctl("refresh", "flap/acme")
    values = json.loads(t.ctl("status", "--json"))
    assert values["mount_point"] == t.mount
    assert values["pid"] == t.daemons[0].pid
    assert values["ready"] is False
    assert values["orgs"][0]["failure"] == "auth"
    assert values["jobs"][0]["path"] == "hold"
    text = t.ctl("status")
    assert f"process {t.daemons[0].pid}, is about to serve {t.mount}" in text
    assert "acme: forbidden: The server refused the credentials" in text
    assert "\x1b" not in text
    t.ctl("refresh", "ready")
    text = t.ctl("status")
    assert f", serves {t.mount}" in text and "stays in memory" not in text
    t.ctl("refresh", "full")
    assert 'stays in memory, as "/var/cache/x\\xff" takes nothing: No space left' in t.ctl("status")


@case
def prefetch(t):
    t.start()
    assert t.ctl("prefetch", "org/repo") == "1\n"
    assert json.loads(t.ctl("prefetch", "org/repo", "--json"))["id"] == 2
    assert t.ctl("prefetch", "org/repo", "--contents", "--wait") == "5 objects, 4.9 KiB\n"
    job = json.loads(t.ctl("prefetch", "org/repo", "--wait", "--json"))
    assert (job["state"], job["done"], job["total"]) == ("done", 3, 3)
    error = t.ctl("prefetch", "fail/offline", "--wait", status=FAILURE)
    assert 'the prefetch of "fail/offline" failed: The server said "offline"' in error
    t.ctl("prefetch", "fail/offline")
    assert '"missing" does not exist' in t.ctl("prefetch", "missing", status=FAILURE)


@case
def pins(t):
    t.start()
    assert t.ctl("pin", "org/repo") == "1\n"
    assert t.ctl("pin", "org/other@v1/dir", "--wait") == "5 files\n"
    t.ctl("pin", "fail/offline")
    lines = [line.split(maxsplit=5) for line in t.ctl("pins").splitlines()]
    assert lines[0] == ["PATH", "STATE", "FILES", "SIZE", "REASON"]
    assert lines[1] == ["org/repo", "complete", "5", "4.9", "KiB"], lines
    assert lines[3][:2] == ["fail/offline", "incomplete"] and 'said "offline"' in lines[3][5], lines
    assert [pin["state"] for pin in json.loads(t.ctl("pins", "--json"))] == ["complete", "complete", "incomplete"]
    t.ctl("unpin", "org/repo")
    assert len(json.loads(t.ctl("pins", "--json"))) == 2
    assert '"org/repo" is not pinned' in t.ctl("unpin", "org/repo", status=FAILURE)
    assert '"fail/offline" is not complete: The server' in t.ctl("pin", "fail/offline", "--wait", status=FAILURE)


@case
def damage_is_told_and_ends_in_1(t):
    t.start()
    assert t.ctl("verify") == "5 objects checked, 4.9 KiB\n"
    t.ctl("org", "add", "broken", "--forge", "git", "--url", "https://example.org/broken")
    assert "2 were damaged, and dropped" in t.ctl("verify", status=FAILURE)
    job = json.loads(t.ctl("jobs", "--json"))[-1]
    assert (job["kind"], job["state"], job["done"], job["damaged"]) == ("verify", "done", 5, 2)


@case
def jobs_are_listed_and_cancelled(t):
    t.start()
    waiting = subprocess.Popen(
        [busd.GITFSCTL, "prefetch", "hold", "--wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=t.environment,
        text=True,
    )
    wait_for(lambda: json.loads(t.ctl("jobs", "--json")), "the job is there")
    assert t.ctl("jobs").splitlines()[1].split()[:3] == ["1", "prefetch", "running"]
    t.ctl("cancel", "1")
    out, error = waiting.communicate(timeout=30)
    assert waiting.returncode == FAILURE and out == ""
    assert "was cancelled" in error
    assert "There is no job 7" in t.ctl("cancel", "7", status=FAILURE)
    t.ctl("cancel", "seven", status=USAGE)
    t.ctl("cancel", "-1", status=USAGE)


@case
def a_terminal_sees_a_progress_bar(t):
    t.start()
    master, slave = pty.openpty()
    waiting = subprocess.Popen(
        [busd.GITFSCTL, "prefetch", "hold", "--contents", "--wait"],
        stdout=slave,
        stderr=slave,
        env={**t.environment, "TERM": "xterm"},
    )
    os.close(slave)
    assert read_until(master, b"objects, 0 B") == b"\r[..............................] 0/5 objects, 0 B"
    t.ctl("cancel", "1")
    # The bar is wiped before the result is printed.
    assert read_until(master, b"cancelled") == b'\x1b[K\r\x1b[Kgitfsctl: the prefetch of "hold" was cancelled'
    assert waiting.wait() == FAILURE
    os.close(master)


def read_until(fd, end):
    seen = b""
    while not seen.endswith(end):
        assert select.select([fd], [], [], 30)[0], seen
        seen += os.read(fd, 1)
    return seen


@case
def flush(t):
    t.start()
    for arguments, flags in (
        ((), 3),
        (("--kernel",), 1),
        (("--memory", "org"), 2),
        (("--disk", "--kernel"), 5),
    ):
        t.ctl("flush", *arguments)
        assert json.loads(t.ctl("stats", "--json"))["store-evicted"] == flags, arguments


@case
def stats(t):
    t.start()
    t.ctl("refresh")
    assert re.search(r"^refresh-runs +1$", t.ctl("stats"), re.M)
    assert json.loads(t.ctl("stats", "--json"))["refresh-runs"] == 1


@case
def paths(t):
    t.start()
    inside = t.mount + "/org/repo"
    os.makedirs(inside)

    def which(path, cwd=None):
        return json.loads(t.ctl("which", path, "--json", cwd=cwd))["path"]

    assert which("org/repo/f") == "org/repo/f"
    assert which(inside + "/f") == "org/repo/f"
    assert which("f", cwd=inside) == "org/repo/f"
    assert which("../other", cwd=inside) == "org/other"
    assert which("./mnt/org", cwd=t.directory) == "org"
    for path in ("/etc/passwd", "./x", "..", "org/../../x", t.mount + "er"):
        error = t.ctl("which", path, status=FAILURE)
        assert "outside of the mount" in error and t.mount in error, error

    assert t.ctl("path", "acme/widget") == t.mount + "/acme/widget\n"
    assert t.ctl("path", "acme", cwd=inside) == t.mount + "/acme\n"
    assert t.ctl("path", "a\\b") == t.mount + "/a\\b\n"
    text = t.ctl("which", "org/repo/f")
    assert re.search(r"^ *Owner:  group/sub$", text, re.M), text
    assert re.search(r"^ *Repository:  widget$", text, re.M), text
    assert re.search(r"^ +Resident:  yes$", text, re.M), text
    assert "does not exist" in t.ctl("which", "missing", status=FAILURE)


@case
def names_are_bytes(t):
    """F5: a name that is not UTF-8 is passed on, and JSON stays valid."""
    t.start()
    name = os.fsdecode(b"org/caf\xe9")
    assert json.loads(t.ctl("which", name, "--json"))["path"] == "org/caf\\xe9"
    assert t.ctl("path", name) == f"{t.mount}/{name}\n"
    t.ctl("refresh", name)


@case
def reload(t):
    t.start()
    assert t.ctl("reload") == ""
    t.ctl("org", "add", "broken", "--forge", "git", "--url", "https://example.org")
    assert 'gitfs.conf:3: unknown option "Foo"' in t.ctl("reload", status=FAILURE)


@case
def a_full_disk_is_a_failure(t):
    t.start()
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [busd.GITFSCTL, "stats", "--json"], stdout=full, stderr=subprocess.PIPE, env=t.environment, check=False
        )
    assert done.returncode == FAILURE
    assert b"No space left" in done.stderr, done.stderr


@case
def a_daemon_that_dies_is_told(t):
    daemon = t.start()
    waiting = subprocess.Popen(
        [busd.GITFSCTL, "refresh", "hold"], stderr=subprocess.PIPE, env=t.environment, text=True
    )
    wait_for(lambda: json.loads(t.ctl("stats", "--json"))["refresh-runs"], "the call has come in")
    daemon.kill()
    _, error = waiting.communicate(timeout=30)
    assert waiting.returncode == FAILURE
    assert "gitfsd ended during the call" in error and "systemctl --user start gitfsd" in error, error


busd.main()
