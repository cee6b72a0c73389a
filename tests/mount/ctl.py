#!/usr/bin/env python3
"""gitfsctl from end to end: every verb against a running daemon, without a session bus."""

import errno
import glob
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402


def repos(t, name="repos", content="f\n"):
    root = t.path(name)
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": content, "d/g": "g\n"})
    return root


def refused(t, *arguments, status=1, says=()):
    """gitfsctl must fail with this status, say why on stderr and nothing on stdout."""
    done = t.ctl(*arguments, check=False)
    assert done.returncode == status, f"{arguments}: {done.returncode} {done.stderr}"
    assert done.stdout == "" and done.stderr.strip(), f"{arguments}: {done.stdout!r} {done.stderr!r}"
    for word in says:
        assert word in done.stderr, f"{arguments}: {done.stderr}"
    return done.stderr


@harness.case()
def orgs_come_and_go(t):
    """add, list, show and remove, and what they do to the mount."""
    root = repos(t)
    t.start()
    assert t.errno_of(os.stat, t.at("o")) == errno.ENOENT
    t.ctl("org", "add", "o", "--forge", "local", "--url", root)
    assert t.names() == ["o"] and t.read("o/r/f") == b"f\n"
    server = t.serve(root)
    t.ctl("org", "add", "g", "--forge", "git", "--url", server.url, "--repo", "r")
    assert t.names("g") == ["r"] and t.read("g/r/f") == b"f\n"

    assert [o["name"] for o in t.ctl_json("org", "list")] == ["g", "o"]
    shown = t.ctl_json("org", "show", "g")
    assert (shown["forge"], shown["url"], shown["repos"], shown["state"]) == ("git", server.url, ["r"], "ok"), shown
    table = t.ctl("org", "list").stdout
    assert "NAME" in table and root in table

    fd = os.open(t.at("o/r/f"), os.O_RDONLY)
    t.ctl("org", "remove", "o")
    assert t.names() == ["g"]
    assert t.errno_of(os.stat, t.at("o/r/f")) == errno.ENOENT
    assert os.pread(fd, 10, 0) == b"f\n", "an open descriptor outlives its org"
    os.close(fd)
    # The orgs are those of the last state after a restart, too.
    t.restart()
    assert t.names() == ["g"] and t.read("g/r/f") == b"f\n"
    t.ctl("org", "remove", "g")
    assert t.names() == [] and not os.listdir(os.path.join(t.config, "orgs.d"))


@harness.case()
def orgs_of_the_system(t):
    """What comes with the system is shown, and stays removed when a user removes it."""
    root = repos(t)
    t.write("etc/orgs.d/s.conf", f"[Org]\nForge=local\nUrl={root}\n")
    t.start()
    assert t.names() == ["s"] and t.read("s/r/f") == b"f\n"
    t.ctl("org", "remove", "s")
    assert t.names() == []
    mask = os.path.join(t.config, "orgs.d", "s.conf")
    assert os.readlink(mask) == "/dev/null"
    t.ctl("reload")
    t.restart()
    assert t.names() == [], "it comes back"
    # One's own takes its place, and what is behind it does not show when that goes.
    t.ctl("org", "add", "s", "--forge", "local", "--url", repos(t, "own", content="own\n"))
    t.restart()
    assert t.read("s/r/f") == b"own\n"
    t.ctl("org", "remove", "s")
    t.ctl("reload")
    assert t.names() == []
    os.unlink(mask)
    t.ctl("reload")
    assert t.read("s/r/f") == b"f\n"


@harness.case()
def removed_orgs_leave_nothing(t):
    """Descriptors, threads and nodes of an org go with it, however often (F4)."""
    root = repos(t)
    server = t.serve(root)
    t.start()

    def come_and_go():
        t.ctl("org", "add", "l", "--forge", "local", "--url", root)
        t.ctl("org", "add", "g", "--forge", "git", "--url", server.url)
        assert t.read("l/r/f") == t.read("g/r@main/f") == b"f\n"
        t.ctl("org", "remove", "l", "g")

    def resources():
        return len(os.listdir(f"/proc/{t.pid}/fd")), len(os.listdir(f"/proc/{t.pid}/task")), t.stats()["nodes-now"]

    come_and_go()
    before = resources()
    for _ in range(20):
        come_and_go()
    # In each of the three: comparing tuples would look at the first alone.
    harness.wait_until(
        lambda: all(now <= then + 2 for now, then in zip(resources(), before)), f"back to {before}"
    )


@harness.case()
def refusals(t):
    """What makes no sense is refused with the reason: status 1 from the daemon, 2 for the command line."""
    root = repos(t)
    t.start()
    t.ctl("org", "add", "o", "--forge", "local", "--url", root)
    add = ["org", "add"]
    refused(t, *add, "o", "--forge", "local", "--url", root, says=["o", "exist"])
    for name in "a/b", "..", ".", "", "a@b", "x" * 300, "new\nline":
        refused(t, *add, name, "--forge", "local", "--url", root)
    for url in "ftp://host/x", "http://", "nonsense://", "http://user:pass@host/x", "http://h/x?q", "http://h/x#f":
        text = refused(t, *add, "n", "--forge", "git", "--url", url)
        assert "pass" not in text.replace("password", ""), text
    refused(t, *add, "n", "--forge", "local", "--url", t.path("missing"), says=["missing"])
    refused(t, *add, "n", "--forge", "no-such-forge", "--url", root)
    for wrong in (
        ["--forge", "local", "--url", root, "--owner", "x"], ["--forge", "github", "--owner", "a/b"],
        ["--forge", "github", "--repo", "x"], ["--forge", "github", "--url", "http://127.0.0.1:1/?q"],
        ["--forge", "github", "--api-url", "nonsense"], ["--forge", "gitlab", "--client-id", "x"],
    ):  # fmt: skip
        refused(t, *add, "n", *wrong)
    refused(t, *add, "n", "--forge", "git", "--url", "http://127.0.0.1:1", "--repo", "../x")
    assert t.names() == ["o"] and os.listdir(os.path.join(t.config, "orgs.d")) == ["o.conf"]

    for verb in "show", "remove":
        refused(t, "org", verb, "nobody", says=["nobody"])
    for verb in "which", "refresh", "flush", "prefetch":
        refused(t, verb, "/etc/passwd", says=["/etc/passwd"])
    refused(t, "which", "o/r/no-such-file")
    refused(t, "which", "no-such-org/r")
    refused(t, "prefetch", "o/no-such", "--wait")

    for wrong in [
        [], ["no-such-verb"], ["org"], ["org", "add"], ["org", "add", "n"], ["org", "add", "n", "--forge", "git"],
        ["status", "extra"], ["stats", "--no-such-option"], ["which"], ["prefetch"],
    ]:  # fmt: skip
        refused(t, *wrong, status=2)


@harness.case()
def no_daemon(t):
    """Without a daemon: status 1, and what to do."""
    for verb in ["status"], ["stats"], ["org", "list"], ["reload"], ["path"]:
        text = refused(t, *verb)
        assert "gitfsd" in text, text
    for verb in ["--help"], ["--version"]:
        assert t.ctl(*verb).stdout


@harness.case()
def status_and_path(t):
    t.org("o", "local", repos(t))
    t.start()
    assert t.ctl("path").stdout == t.mount + "\n"
    status = t.ctl_json("status")
    assert t.mount in json.dumps(status) and str(t.pid) in json.dumps(status), status
    assert t.mount in t.ctl("status").stdout
    t.read("o/r/f")
    assert t.stats()["nodes-now"] > 1
    assert "nodes-now" in t.ctl("stats").stdout


@harness.case()
def which_names_the_object(t):
    root = repos(t)
    t.org("o", "local", root)
    t.start()
    git_dir = os.path.join(root, "r.git")
    shown = t.ctl_json("which", t.at("o/r/d/g"))
    assert shown["oid"] == repo.git_text("--git-dir", git_dir, "rev-parse", "main:d/g"), shown
    assert shown["commit"] == repo.git_text("--git-dir", git_dir, "rev-parse", "main")
    assert (shown["org"], shown["repo"], shown["size"]) == ("o", "r", 2), shown
    assert shown["ref"].endswith("main") and shown["url"], shown
    # A path relative to the mount, and one relative to where the caller stands.
    assert t.ctl_json("which", "o/r/d/g") == shown
    os.chdir(t.at("o/r/d"))
    assert t.ctl_json("which", "g") == shown
    os.chdir("/")


@harness.case()
def prefetch_then_offline(t):
    """After prefetch --contents --wait everything is readable with the server stopped."""
    directory = harness.fixture("wide")
    server = t.start_org("git", os.path.join(directory, "repos"))
    done = t.ctl("prefetch", "o/wide", "--contents", "--wait", timeout=100)
    print(done.stdout, done.stderr)
    n = len(server.requests())
    server.stop()
    reference = walk.scan(os.path.join(directory, "clones", "wide"))
    problems = walk.compare(reference, walk.scan(t.at("o/wide")))
    assert not problems, problems[:20]
    assert n <= 60, f"{n} requests"
    jobs = t.ctl_json("jobs")
    assert jobs and jobs[0]["state"] == "done" and jobs[0]["done"] == jobs[0]["total"] >= 10000, jobs


@harness.case()
def prefetch_of_listings(t):
    """Without --contents only what a listing needs is there afterwards."""
    directory = harness.fixture("wide")
    server = t.start_org("git", os.path.join(directory, "repos"))
    t.ctl("prefetch", "o/wide", "--wait")
    n = len(server.requests())
    assert len(t.names("o/wide/d07/s11")) == 5
    assert len(server.requests()) == n
    assert sum(r[4] for r in server.requests()) < 2 << 20, "contents were loaded"


@harness.case()
def prefetch_fails(t):
    """The job ends, gitfsctl says why, and the log has the cause as a warning (R8)."""
    t.configure("[Mount]\nRequestTimeoutSec=3\n[Network]\nRetries=0\n")
    t.org("o", "git", f"http://127.0.0.1:{proxy.free_port()}")
    t.start()
    refused(t, "prefetch", "o/r", "--contents", "--wait")
    assert "127.0.0.1" in t.log()


@harness.case()
def prefetch_is_cancelled(t):
    """In the middle of a transfer, and though no more comes of it; a reader does not feel it."""
    directory = harness.fixture("wide")
    between = proxy.Proxy(t.serve(os.path.join(directory, "repos")).url).start()
    t.configure("[Mount]\nRequestTimeoutSec=60\n")
    t.org("o", "git", between.url)
    t.start()
    t.ctl("prefetch", "o/wide", "--wait")
    between.fault = lambda r: proxy.Stall(20000) if r.kind == "fetch" else None
    number = t.ctl("prefetch", "o/wide", "--contents").stdout.strip()
    between.wait_stalled()
    between.fault = lambda r: None
    t.ctl("cancel", number)
    harness.wait_until(lambda: t.ctl_json("jobs")[-1]["state"] == "cancelled", "cancelled")
    with open(os.path.join(directory, "clones", "wide", "d07/s11/f3"), "rb") as f:
        assert t.read("o/wide/d07/s11/f3") == f.read()
    between.release()


@harness.case()
def prefetch_of_more_than_the_cache_holds(t):
    """Nothing is begun that cannot be kept (R35)."""
    directory = harness.fixture("big50")
    server = t.start_org("git", os.path.join(directory, "repos"), config="[Cache]\nDiskLimit=40M\n")
    error = refused(t, "prefetch", "o/big", "--contents", "--wait")
    assert "DiskLimit=" in error, error
    assert sum(r[4] for r in server.requests()) < 1 << 20, "contents were loaded"


@harness.case()
def flush_empties_the_caches(t):
    """--disk brings the objects again from the server, --kernel only from the daemon."""
    directory = harness.fixture("wide")
    between = proxy.Proxy(t.serve(os.path.join(directory, "repos")).url).start()
    t.org("o", "git", between.url)
    t.start()
    content = t.read("o/wide/d00/s00/f0")

    between.requests.clear()
    reads = t.stats()["fuse-read"]
    t.ctl("flush", "--kernel")
    assert t.read("o/wide/d00/s00/f0") == content
    assert t.stats()["fuse-read"] > reads and between.kinds() == [], between.kinds()

    t.ctl("flush", "--kernel", "--memory", "--disk")
    assert t.read("o/wide/d00/s00/f0") == content
    assert "fetch" in between.kinds(), between.kinds()


@harness.case()
def verify_finds_what_the_disk_has_damaged(t):
    """Counts it, ends with 1, drops it; the file is fetched again and right, and the next run finds nothing."""
    files = {f"f{n}": f"file {n}\n" * 200 for n in range(50)}
    root = repos(t)
    repo.simple_repo(os.path.join(root, "many.git"), files)
    t.org("o", "git", t.serve(root).url)
    t.start()
    everything = {name: t.read(f"o/many/{name}") for name in files}
    assert everything == {name: text.encode() for name, text in files.items()}
    done = t.ctl("verify")
    assert "objects checked" in done.stdout and done.stderr == "", done
    t.stop()

    (segment,) = glob.glob(os.path.join(t.cache, "*.seg"))
    with open(segment, "r+b") as f:
        at = f.read().index(b"file 7\nfile 7\n")
        f.seek(at)
        f.write(b"FILE")
    t.start()
    corrupt = t.stats()["store-corrupt"]
    done = t.ctl("verify", "--json", check=False)
    job = json.loads(done.stdout)
    assert done.returncode == 1 and "1 were damaged" in done.stderr, done
    assert (job["kind"], job["state"], job["damaged"]) == ("verify", "done", 1), job
    assert job["done"] == job["total"] > len(files) and job["bytes"] > 50000, job
    assert job["path"] == t.cache
    assert t.stats()["store-corrupt"] == corrupt + 1
    assert t.read("o/many/f7") == files["f7"].encode()
    assert t.ctl("verify").returncode == 0
    t.restart()
    assert t.ctl("verify").returncode == 0
    assert t.read("o/many/f7") == files["f7"].encode()


@harness.case()
def verify_runs_once_and_is_cancelled(t):
    """A second one is refused while there is one; the first ends when it is told to, and does no harm."""
    root = repos(t)
    # Whoever resolves this ref holds the only worker until somebody writes it.
    slow = os.path.join(root, "r.git", "refs", "heads", "slow")
    os.mkfifo(slow)
    t.start_org("local", root, config="[Daemon]\nWorkers=1\n[Mount]\nRequestTimeoutSec=60\n")
    assert t.read("o/r/f") == b"f\n"
    before = t.stats()["fetch-refs"]
    reader = threading.Thread(target=t.errno_of, args=(os.stat, t.at("o/r@slow")))
    reader.start()
    harness.wait_until(lambda: t.stats()["fetch-refs"] > before, "the worker is held")

    first = subprocess.Popen(
        [harness.GITFSCTL, "--runtime-directory", t.runtime, "verify"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=t.environment,
    )  # fmt: skip
    (job,) = harness.wait_until(lambda: [j for j in t.ctl_json("jobs") if j["kind"] == "verify"], "it runs")
    assert job["state"] == "running", job
    refused(t, "verify", says=("already", f"job {job['id']}"))
    t.ctl("cancel", str(job["id"]))
    os.close(os.open(slow, os.O_WRONLY))
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 1 and "was cancelled" in stderr, (first.returncode, stdout, stderr)
    reader.join()
    os.unlink(slow)
    assert "objects checked" in t.ctl("verify").stdout
    assert t.read("o/r/f") == b"f\n"


@harness.case()
def flush_forgets_listings(t):
    """--memory has the listing asked for again, which costs little; --disk of all forgets what was kept."""
    root = repos(t)
    owner = {"name": "acme", "repos": [{"name": "r", "git": os.path.join(root, "r.git")}]}
    forge = t.forges({"github": {"owners": [owner]}})
    t.org("acme", "github", forge.urls["github"], Owner="acme")
    t.start()

    def listing_after(*arguments):
        if arguments:
            t.ctl("flush", *arguments)
        assert t.names("acme") == ["r"]
        return harness.wait_until(lambda: [line["conditional"] for line in forge.news("github")], "a request")

    harness.wait_until(lambda: forge.log("github"), "the listing at the start")
    assert t.names("acme") == ["r"]
    harness.wait_until(lambda: os.listdir(os.path.join(t.cache, "documents")), "the listing is kept")
    forge.news("github")
    assert listing_after("--kernel", "--memory", "acme") == [True]
    t.ctl("refresh", "acme")  # ends when what goes on in the background has ended
    forge.news("github")
    assert listing_after("--kernel", "--memory", "--disk") == [False]


@harness.case()
def reload_reads_the_configuration(t):
    """`gitfsctl reload` and SIGHUP do something, and a mistake changes nothing (F8)."""
    root = repos(t)
    t.org("o", "local", root)
    t.start()
    assert t.names() == ["o"]
    t.org("second", "local", root)
    t.ctl("reload")
    assert t.names() == ["o", "second"] and t.read("second/r/f") == b"f\n"
    os.unlink(os.path.join(t.config, "orgs.d", "second.conf"))
    t.signal(signal.SIGHUP)
    harness.wait_until(lambda: t.names() == ["o"], "SIGHUP is acted on")
    assert t.running

    t.configure("[Mount]\nNoSuchOption=1\n")
    refused(t, "reload", says=["NoSuchOption"])
    assert t.running and t.read("o/r/f") == b"f\n"
    t.configure("")
    # The URL of an org changes: its repositories are those of the new place.
    t.org("o", "local", repos(t, "elsewhere", content="elsewhere\n"))
    t.ctl("reload")
    assert t.read("o/r/f") == b"elsewhere\n"


@harness.case()
def broken_files_are_reported(t):
    """A broken org file hides no other; a broken gitfs.conf refuses the start, with file and line."""
    t.org("o", "local", repos(t))
    t.write("config/orgs.d/broken.conf", "[Org]\nForge=local\nUrll=/x\n")
    t.start()
    assert t.names() == ["o"]
    assert "broken.conf:3" in t.log() and "Urll" in t.log()
    t.stop()
    t.configure("[Mount]\n\nRequestTimeoutSec=soon\n")
    t.start(wait=False)
    assert t.wait_exit() == 1
    assert "gitfs.conf:3" in t.log()


@harness.case()
def two_clients_at_once(t):
    """A client that waits for a job keeps no other from being answered."""
    directory = harness.fixture("wide")
    between = proxy.Proxy(t.serve(os.path.join(directory, "repos")).url).start()
    t.org("o", "git", between.url)
    t.start()
    between.fault = lambda r: proxy.Stall(10)
    job = subprocess.Popen(
        [harness.GITFSCTL, "--runtime-directory", t.runtime, "prefetch", "o/wide", "--contents", "--wait"],
        env=t.environment,
        stdout=subprocess.PIPE,
    )
    between.wait_stalled()
    seconds, status = proxy.elapsed(t.ctl_json, "status")
    assert seconds < 5 and job.poll() is None, (seconds, status)
    # A client that dies in the middle of it does no harm.
    other = subprocess.Popen(job.args, env=t.environment, stdout=subprocess.PIPE)
    harness.wait_until(lambda: len(t.ctl_json("jobs")) >= 1, "jobs")
    other.kill()
    other.wait()
    between.release()
    job.communicate()
    assert job.returncode == 0
    assert t.ctl_json("status")


if __name__ == "__main__":
    harness.main()
