#!/usr/bin/env python3
"""Without a network: what is here answers, what is not fails in time and says so, and what comes back is noticed.

Nothing here waits for a time to pass; the one figure of time is that of the deadline, with room for a busy machine.
"""

import errno
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import certificate  # noqa: E402
import harness  # noqa: E402
import proxy  # noqa: E402
import repo  # noqa: E402
import walk  # noqa: E402

DEADLINE = 4
SLACK = 8
CONFIG = f"[Mount]\nRequestTimeoutSec={DEADLINE}\nNegativeTimeoutSec=3600\n[Network]\nRetries=1\n"
FILES = {f"d{n % 4}/f{n}": b"file %d\n" % n * (100 + n) for n in range(40)}


def start(t, config=CONFIG, files=None, tls=None):
    """A daemon that reaches its server through a proxy: the proxy. Repository "r"; a clone of it is at t.path("clone")."""
    root = t.path("repos")
    os.mkdir(root)
    repo.simple_repo(os.path.join(root, "r.git"), files or FILES)
    repo.clone(os.path.join(root, "r.git"), t.path("clone"))
    between = proxy.Proxy(t.serve(root).url, tls).start()
    t.configure(config)
    t.org("o", "git", between.url)
    t.start()
    return between


def same_as_clone(t, path="o/r", clone="clone"):
    expected = walk.scan(t.path(clone))
    return walk.compare(expected, walk.scan(t.at(path)))


def fails(t, call, *arguments):
    """The errno of a call that must fail, and in time."""
    seconds, result = proxy.elapsed(call, *arguments)
    assert isinstance(result, OSError), f"{arguments}: no error"
    assert seconds < DEADLINE + SLACK, f"{arguments}: {seconds:.1f} s"
    return result.errno


@harness.case()
def what_was_seen_is_there_after_a_restart_without_the_server(t):
    """Names, listings, sizes and contents, and the branch; what was never seen is EHOSTDOWN, not ENOENT."""
    between = start(t)
    assert same_as_clone(t) == []
    assert t.read("o/r@main/d0/f0") == FILES["d0/f0"]
    between.kill()
    t.restart()
    assert same_as_clone(t) == []
    assert t.read("o/r@main/d0/f0") == FILES["d0/f0"]
    assert t.stats()["recalled"] == 3, "the repository, its default branch, and main"
    assert fails(t, os.stat, t.at("o/never")) == errno.EHOSTDOWN
    assert fails(t, os.stat, t.at("o/r@never")) == errno.EHOSTDOWN
    between.start()
    # Nothing of it was taken for absence.
    harness.wait_until(lambda: t.errno_of(os.stat, t.at("o/r@never")) == errno.ENOENT, "the server is asked again")


@harness.case()
def what_was_seen_is_there_while_the_server_is_silent(t):
    """Connections are accepted, and nothing is answered: nobody waits for the deadline to see what is here."""
    between = start(t, CONFIG.replace(f"Sec={DEADLINE}", "Sec=300"))
    assert same_as_clone(t) == []
    t.stop()
    between.fault = lambda r: proxy.Stall(0)
    between.hold()
    t.start()
    assert same_as_clone(t) == []
    assert t.stats()["fuse-timed-out"] == 0 and t.stats()["recalled"] == 2
    between.release()


@harness.case()
def what_moved_meanwhile_is_followed(t):
    """A branch that moved while nobody looked: shown as it was, and then as it is, without being asked."""
    between = start(t)
    assert same_as_clone(t) == []
    t.stop()
    between.fault = lambda r: proxy.Stall(0)
    between.hold()
    repo.commit_files(os.path.join(t.path("repos"), "r.git"), {"d0/f0": b"new\n"})
    t.start()
    assert t.read("o/r/d0/f0") == FILES["d0/f0"]
    between.fault = lambda r: None
    between.release()
    harness.wait_until(lambda: t.read("o/r/d0/f0") == b"new\n", "the move")


@harness.case()
def a_name_that_no_dns_knows(t):
    """EHOSTDOWN, in time; other orgs do not notice."""
    start(t)
    t.org("far", "git", "https://gitfs-test.invalid/far")
    t.ctl("reload")
    assert fails(t, os.stat, t.at("far/r")) == errno.EHOSTDOWN
    assert same_as_clone(t) == []
    assert t.read("o/r/d1/f1") == FILES["d1/f1"]


def portal(body):
    """A server that says the same to everything: what stands between a traveller and the Internet."""
    p = proxy.Proxy("http://127.0.0.1:1").start()
    p.fault = lambda r: body
    return p


LOGIN = b"<!DOCTYPE html><html><body>Welcome to the hotel. Please sign in.</body></html>"
FAR = "http://localhost"


def stay_in_hotel(t, enter, leave):
    """What a portal says is no news of a repository: neither absence nor content, now and when it is gone."""
    assert same_as_clone(t) == []
    enter()
    for path in "o/r@other", "o/unknown", "o/unknown@v1":
        got = fails(t, os.stat, t.at(path))
        assert got in (errno.EIO, errno.EHOSTDOWN), (path, errno.errorcode[got])
    assert same_as_clone(t) == []
    t.restart()
    assert same_as_clone(t) == []
    assert t.stats()["recalled"] == 2
    repo.simple_repo(os.path.join(t.path("repos"), "unknown.git"), {"f": "f\n"})
    leave()
    harness.wait_until(lambda: t.errno_of(t.read, "o/unknown/f") == 0, "the repository is found")
    assert t.errno_of(os.stat, t.at("o/nothing")) == errno.ENOENT


def portal_case(answer):
    def run(t):
        between = start(t)
        page = portal(proxy.Status(200, LOGIN))
        nothing = portal(proxy.Status(404, LOGIN))
        # Another name of this machine is another host.
        elsewhere = {"page": page, "nothing": nothing}

        def enter():
            between.fault = lambda r: answer(
                {name: p.url.replace("http://127.0.0.1", FAR) + "/sign-in" for name, p in elsewhere.items()}
            )

        def leave():
            between.fault = lambda r: None

        stay_in_hotel(t, enter, leave)

    return run


for name, answer in {
    "page": lambda urls: proxy.Status(200, LOGIN),
    "sign_in_required": lambda urls: proxy.Status(511, LOGIN),
    "redirect_to_a_page": lambda urls: proxy.Status(302, LOGIN, {"Location": urls["page"]}),
    "redirect_to_nothing": lambda urls: proxy.Status(302, LOGIN, {"Location": urls["nothing"]}),
}.items():
    case = portal_case(answer)
    case.__name__ = f"captive_portal_{name}"
    harness.case()(case)


@harness.case()
def captive_portal_with_a_certificate_of_its_own(t):
    """Whoever signed it, the name is not the server's: nothing is sent, and nothing believed."""
    ours = certificate.make(t.path("ours"), "IP:127.0.0.1")
    hotel = certificate.make(t.path("hotel"), "DNS:hotel.example")
    t.write("ca.pem", ours.text() + hotel.text())
    between = start(t, CONFIG + f"CAFile={t.path('ca.pem')}\n", tls=ours.context())

    def be(who, fault):
        between.kill()
        between.tls = who.context()
        between.fault = fault
        between.start()

    def enter():
        between.requests.clear()
        be(hotel, lambda r: proxy.Status(200, LOGIN))

    def leave():
        assert between.requests == [], between.requests
        org = t.ctl_json("org", "show", "o")
        print(f"state: {org['state']}: {org['state_text']}")
        assert "certificate" in org["state_text"].lower(), org
        be(ours, lambda r: None)

    stay_in_hotel(t, enter, leave)


@harness.case()
def a_server_that_comes_and_goes(t):
    """Twenty times, under readers: what is here is always right and at once, nothing hangs, nothing is taken for gone."""
    between = start(t)
    assert same_as_clone(t) == []
    done = threading.Event()
    wrong = []

    def reader(n):
        while not done.is_set():
            for path, content in list(FILES.items())[n::4]:
                if t.read(f"o/r/{path}") != content:
                    wrong.append(path)
            got = t.errno_of(os.stat, t.at(f"o/r@v{n}"))
            if got not in (errno.EHOSTDOWN, errno.ENOENT, errno.EIO, errno.ETIMEDOUT):
                wrong.append(errno.errorcode[got])

    t.ctl("flush", "--kernel")
    threads = [threading.Thread(target=reader, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        between.kill()
        t.ctl("refresh", "o/r", check=False)
        between.start()
        t.ctl("flush", "--kernel")
    done.set()
    for thread in threads:
        thread.join(DEADLINE + SLACK)
        assert not thread.is_alive(), "a reader hangs"
    assert wrong == []
    assert same_as_clone(t) == []
    harness.wait_until(lambda: t.ctl("refresh", "o/r", check=False).returncode == 0, "the server is noticed")


@harness.case()
def another_network_is_noticed(t):
    """An address that comes, or a route, ends the wait of a breaker: the next call asks."""
    harness.private_network()
    between = start(t)
    assert same_as_clone(t) == []
    before = t.stats()["network-changes"]
    between.kill()
    for n in range(4):
        assert fails(t, os.stat, t.at(f"o/r@v{n}")) == errno.EHOSTDOWN
    assert t.stats()["breaker-open"] >= 1
    between.start()
    harness.add_address("127.7.7.7")
    harness.wait_until(lambda: t.stats()["network-changes"] > before, "the address is noticed")
    assert t.errno_of(os.stat, t.at("o/r@v1")) == errno.ENOENT
    # And connections that were open then are left alone.
    assert t.errno_of(os.stat, t.at("o/r@v2")) == errno.ENOENT


if __name__ == "__main__":
    harness.main()
