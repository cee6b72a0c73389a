#!/usr/bin/env python3
"""Bad input from the server: a clear errno within the deadline, never a hang, a crash or wrong bytes.

Every case ends by showing that the same daemon serves the right bytes once the fault is gone (R19, R25).
"""

import base64
import errno
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402

DEADLINE = 4
# A call may be late by what a loaded machine needs to wake up, not by another deadline.
SLACK = 3
CONFIG = f"[Mount]\nRequestTimeoutSec={DEADLINE}\nNegativeTimeoutSec=3600\n[Network]\nRetries=1\n"

UNREACHABLE = {errno.EIO, errno.EHOSTDOWN, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH}


def content(n):
    return b"".join(b"file %d line %d\n" % (n, i) for i in range(20000))


def start(t, config=CONFIG):
    """A daemon that reaches its server through a proxy: (server, proxy). Repository "r": f0 ... f7, d/g."""
    root = t.path("repos")
    os.mkdir(root)
    files = {f"f{n}": content(n) for n in range(8)}
    repo.simple_repo(os.path.join(root, "r.git"), {**files, "d/g": "g\n"})
    server = t.serve(root)
    between = proxy.Proxy(server.url).start()
    t.configure(config)
    t.org("o", "git", between.url)
    t.start()
    return server, between


def fail(t, path):
    """Reads a file, which must fail in time; returns the errno."""
    seconds, result = proxy.elapsed(t.read, path)
    assert isinstance(result, OSError), f"{path}: {len(result)} bytes instead of an error"
    assert seconds < DEADLINE + SLACK, f"{path}: {seconds:.1f} s"
    return result.errno


def recovers(t, between, path="o/r/f0", expected=None):
    """Without a restart, and soon: a breaker may hold back for a moment."""
    between.fault = lambda r: None
    harness.wait_until(lambda: t.errno_of(t.read, path) == 0, "readable again")
    assert t.read(path) == (content(0) if expected is None else expected)


@harness.case()
def server_killed_under_eight_readers(t):
    """Every reader gets an errno within the deadline, and works again when the server is back."""
    _, between = start(t)
    assert t.names("o/r") == ["d"] + [f"f{n}" for n in range(8)]
    between.fault = lambda r: proxy.Stall(1000) if r.kind == "fetch" else None
    results = {}

    def reader(n):
        results[n] = proxy.elapsed(t.read, f"o/r/f{n}")

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    between.wait_stalled()
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= 8, "eight waiting reads")
    between.kill()
    for thread in threads:
        thread.join()
    for n, (seconds, result) in sorted(results.items()):
        print(f"reader {n}: {result if isinstance(result, OSError) else 'read'} after {seconds:.2f} s")
        assert isinstance(result, OSError) and result.errno in UNREACHABLE, result
        assert seconds < DEADLINE + SLACK, seconds
    assert t.running
    between.start()
    recovers(t, between)
    for n in range(8):
        harness.wait_until(lambda n=n: t.errno_of(t.read, f"o/r/f{n}") == 0, "readable again")
        assert t.read(f"o/r/f{n}") == content(n)


@harness.case()
def server_killed_resident_data_stays(t):
    """What is here is served without the server, at once; statfs too."""
    _, between = start(t)
    assert len(t.names("o/r")) == 9 and t.read("o/r/f1") == content(1)
    between.kill()
    seconds, result = proxy.elapsed(t.read, "o/r/f1")
    assert result == content(1) and seconds < 1, (seconds, result)
    assert len(t.names("o/r")) == 9
    between.start()


@harness.case()
def statfs_asks_nobody(t):
    """statfs never touches the network, and is answered while the server is silent."""
    silent = proxy.Silent()
    t.configure(CONFIG)
    t.org("o", "git", silent.url)
    t.start()
    for path in "", "o":
        seconds, result = proxy.elapsed(os.statvfs, t.at(path))
        assert seconds < 1 and result.f_namemax == 255, (path, seconds, result)
        assert result.f_flag & os.ST_RDONLY
    assert t.stats()["http-requests"] == 0
    silent.close()


@harness.case()
def silent_server(t):
    """A server that accepts and never answers: ETIMEDOUT at the deadline, and no other org waits (R9, F6)."""
    silent = proxy.Silent()
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "f\n"})
    t.configure(CONFIG)
    t.org("dead", "git", silent.url)
    t.org("o", "git", t.serve(root).url)
    t.start()
    result = {}
    thread = threading.Thread(target=lambda: result.update(got=proxy.elapsed(os.stat, t.at("dead/r"))))
    thread.start()
    harness.wait_until(lambda: t.stats()["fuse-parked-now"] >= 1, "a waiting lookup")
    assert t.read("o/r/f") == b"f\n"
    assert thread.is_alive(), "the lookup in the other org has ended too early to show anything"
    thread.join()
    seconds, error = result["got"]
    assert isinstance(error, OSError) and error.errno in UNREACHABLE, error
    assert seconds < DEADLINE + SLACK, seconds
    assert t.stats()["fuse-timed-out"] + t.stats()["http-errors"] >= 1
    silent.close()


@harness.case()
def nobody_listens(t):
    t.configure(CONFIG)
    t.org("o", "git", f"http://127.0.0.1:{proxy.free_port()}")
    t.start()
    seconds, error = proxy.elapsed(os.stat, t.at("o/r"))
    assert isinstance(error, OSError) and error.errno in UNREACHABLE and seconds < DEADLINE + SLACK, (seconds, error)


# HTTP status -> errnos that say what is wrong.
STATUSES = {
    401: {errno.EACCES},
    403: {errno.EACCES},
    413: {errno.EFBIG, errno.EIO},
    429: {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ETIMEDOUT},
    500: {errno.EIO},
    502: {errno.EIO, errno.EHOSTDOWN},
    503: {errno.EIO, errno.EAGAIN, errno.EHOSTDOWN},
    504: {errno.EIO, errno.ETIMEDOUT, errno.EHOSTDOWN},
}


def status_case(code, **headers):
    """The status instead of an object, and in another daemon's life instead of the first answer."""

    def run(t):
        _, between = start(t)
        assert len(t.names("o/r")) == 9
        before = t.stats()["http-errors"]
        between.fault = lambda r: proxy.Status(code, headers=headers) if r.kind == "fetch" else None
        got = fail(t, "o/r/f0")
        assert got in STATUSES[code], errno.errorcode[got]
        assert t.stats()["http-errors"] > before
        assert str(code) in t.log(), "the log does not name the cause"
        if code == 429:
            return  # told to come back in an hour: it does not work again at once
        recovers(t, between)

    run.__name__ = f"status_{code}"
    return run


for status in 401, 403, 413, 500, 502, 503, 504:
    harness.case()(status_case(status))
harness.case()(status_case(429, **{"Retry-After": "3600"}))


@harness.case()
def statuses_at_the_first_request(t):
    """The same instead of the first answer that is asked for: the repository has an errno, then it is there."""
    _, between = start(t)
    for code in 401, 403, 413, 500, 503:
        between.fault = lambda r, code=code: proxy.Status(code)
        got = fail(t, "o/r@main/d/g")
        assert got in STATUSES[code], f"{code}: {errno.errorcode[got]}"
        recovers(t, between, "o/r@main/d/g", b"g\n")
        t.ctl("flush", "--kernel", "--memory", "--disk")


@harness.case()
def rate_limit_is_obeyed(t):
    """After Retry-After the server is asked again, and not before (R2)."""
    _, between = start(t)
    assert len(t.names("o/r")) == 9
    between.fault = lambda r: proxy.Status(429, headers={"Retry-After": "3600"})
    fail(t, "o/r/f0")
    n = len(between.requests)
    fail(t, "o/r/f1")
    fail(t, "o/r/f2")
    assert len(between.requests) == n, "asked although told to wait"


def html_case(stage):
    def run(t):
        _, between = start(t)
        if stage == "fetch":
            assert len(t.names("o/r")) == 9
        page = proxy.Status(200, body=b"<html><body>please log in</body></html>\n")
        between.fault = lambda r: page if r.kind == stage else None
        got = fail(t, "o/r/f0")
        assert got in (errno.EIO, errno.EACCES), errno.errorcode[got]
        recovers(t, between)

    run.__name__ = f"html_instead_of_{stage.replace('-', '_')}"
    run.__doc__ = "A login page with status 200 is never taken for an answer."
    harness.case()(run)


for part in "info", "ls-refs", "fetch":
    html_case(part)


def broken_pack_case(name, fault, after_the_object=False):
    def run(t):
        _, between = start(t)
        assert len(t.names("o/r")) == 9
        between.fault = lambda r: fault if r.kind == "fetch" else None
        # An object that came whole and has the right id may be used, whatever comes after it.
        if not after_the_object or t.errno_of(t.read, "o/r/f0"):
            got = fail(t, "o/r/f0")
            assert got in UNREACHABLE, errno.errorcode[got]
        assert t.running
        recovers(t, between)

    run.__name__ = name
    run.__doc__ = "A pack that is not what it should be gives EIO, and is not kept (R35)."
    harness.case()(run)


def flip(at):
    """Flips a bit, so many bytes into the body or before its end."""

    def edit(body):
        broken = bytearray(body)
        broken[at] ^= 0x40
        return bytes(broken)

    return proxy.Edit(edit)


def cut_end(n):
    return proxy.Edit(lambda body: body[:-n])


broken_pack_case("connection_cut_in_the_pack", proxy.Truncate(2000))
broken_pack_case("connection_cut_before_the_answer", proxy.Drop())
broken_pack_case("body_ends_in_the_pack", proxy.Edit(lambda body: body[:2000]))
broken_pack_case("body_ends_before_the_flush", cut_end(4), after_the_object=True)
broken_pack_case("empty_body", proxy.Edit(lambda body: b""))
broken_pack_case("pkt_line_length_broken", proxy.Edit(lambda body: b"zzzz" + body[4:]))
broken_pack_case("byte_flipped_in_the_content", flip(1000))
broken_pack_case("byte_flipped_in_the_trailer", flip(-20), after_the_object=True)
broken_pack_case(
    "fatal_message_of_the_server", proxy.Edit(lambda body: b"000dpackfile\n0019\x03fatal: on purpose\n0000")
)
broken_pack_case("garbage", proxy.Edit(lambda body: bytes(range(256)) * 100))


@harness.case()
def wrong_object_for_an_id(t):
    """The server sends a good pack with another blob: nobody gets its bytes."""
    _, between = start(t)
    assert len(t.names("o/r")) == 9
    other = os.getxattr(t.at("o/r/f7"), "user.gitfs.oid")
    wanted = os.getxattr(t.at("o/r/f0"), "user.gitfs.oid")

    def swap(request):
        if request.kind == "fetch" and wanted in request.wants:
            return proxy.Rewrite(lambda body: body.replace(b"want " + wanted, b"want " + other))
        return None

    between.fault = swap
    assert fail(t, "o/r/f0") in UNREACHABLE
    recovers(t, between)
    assert t.read("o/r/f7") == content(7)


@harness.case()
def damage_in_every_answer(t):
    """One flipped bit anywhere in any answer: the right bytes or an errno, and never a crash."""
    _, between = start(t)
    for at in range(5, 400, 37):
        for stage in "info", "ls-refs", "fetch", "object-info":

            def fault(request, at=at, stage=stage):
                if request.kind != stage:
                    return None
                return proxy.Edit(lambda b: b[:at] + bytes([b[at] ^ 1]) + b[at + 1 :] if len(b) > at else b)

            between.fault = fault
            _, got = proxy.elapsed(t.read, "o/r/d/g")
            assert isinstance(got, OSError) or got == b"g\n", (stage, at, got)
            assert t.running, (stage, at)
            between.fault = lambda r: None
            t.ctl("flush", "--kernel", "--memory", "--disk")
    recovers(t, between)


@harness.case()
def unknown_names_are_remembered(t):
    """Unknown org, repository and ref are ENOENT; asked again, the server is not."""
    server, between = start(t)
    assert t.read("o/r/d/g") == b"g\n"
    for path in "nobody", "nobody/r", "o/no-such", "o/r@no-such", "o/no-such@main":
        assert t.errno_of(os.stat, t.at(path)) == errno.ENOENT, path
    known = len(server.requests()), len(between.requests)
    # The kernel's own memory of the names is dropped: the daemon must remember them.
    t.ctl("flush", "--kernel")
    for path in "nobody", "nobody/r", "o/no-such", "o/r@no-such", "o/no-such@main":
        assert t.errno_of(os.stat, t.at(path)) == errno.ENOENT, path
    assert (len(server.requests()), len(between.requests)) == known


@harness.case()
def unknown_names_are_asked_again_later(t):
    """The memory of a missing name ends after NegativeTimeoutSec."""
    server, _ = start(t, config=CONFIG.replace("3600", "1"))
    assert t.errno_of(os.stat, t.at("o/later")) == errno.ENOENT
    repo.simple_repo(os.path.join(server.root, "later.git"), {"f": "late\n"})
    harness.wait_until(lambda: t.errno_of(os.stat, t.at("o/later/f")) == 0, "the new repository")


@harness.case()
def unknown_names_during_an_outage(t):
    """While the server is down nothing is known to be missing: no ENOENT, and none is remembered."""
    _, between = start(t)
    assert t.read("o/r/d/g") == b"g\n"
    between.kill()
    assert t.errno_of(os.stat, t.at("o/other")) in UNREACHABLE
    assert t.errno_of(os.stat, t.at("o/r@other")) in UNREACHABLE
    between.start()
    harness.wait_until(lambda: t.errno_of(os.stat, t.at("o/other")) == errno.ENOENT, "an answer")


@harness.case()
def secrets_stay_out_of_the_log(t):
    """Whatever fails, the password is in no log line (F11)."""
    secret = "hunter2-very-secret"
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), {"f": "f\n"})
    server = t.serve(root, "--auth", f"alice:{secret}")
    between = proxy.Proxy(server.url).start()
    helper = f"!f() {{ echo username=alice; echo password={secret}; }}; f"
    t.write("gitconfig", f'[credential]\n\thelper = "{helper}"\n')
    t.configure(CONFIG)
    t.org("o", "git", between.url)
    t.start()
    assert t.read("o/r/f") == b"f\n"
    for fault in proxy.Status(500), proxy.Status(401), proxy.Truncate(10), proxy.Drop():
        between.fault = lambda r, fault=fault: fault
        t.ctl("flush", "--kernel", "--memory", "--disk")
        assert isinstance(proxy.elapsed(t.read, "o/r/f")[1], OSError)
        t.ctl("refresh", check=False)
    output = t.log() + t.ctl("org", "show", "o").stdout + t.ctl("status").stdout
    for spelling in secret, base64.b64encode(f"alice:{secret}".encode()).decode():
        assert spelling not in output
    with open(f"/proc/{t.pid}/cmdline", "rb") as f:
        assert secret.encode() not in f.read()


if __name__ == "__main__":
    harness.main()
