#!/usr/bin/python3
"""The D-Bus interface, on the session bus and on the private socket."""

import contextlib
import os
import re
import socket
import stat

import busd
from busd import JOB, MANAGER, ORG, PATH, both, case, wait_for
from gi.repository import Gio, GLib

# What EXTERNAL authentication says: the uid, in hexadecimal digits of its decimal digits.
UID = str(os.getuid()).encode().hex().encode()
# An answer without values, little-endian, as it begins: type 2, no reply expected, protocol 1.
REPLY_START = b"l\x02\x01\x01"

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/man/org.gitfs1.5")

MAX_CLIENTS = 64
MAX_REQUESTS = 256

CLASSES = {
    "not-found": "NotFound",
    "auth": "AccessDenied",
    "token-missing": "AccessDenied",
    "token-refused": "AccessDenied",
    "forbidden": "AccessDenied",
    "sso-required": "AccessDenied",
    "blocked": "AccessDenied",
    "renamed": "NotFound",
    "offline": "Offline",
    "timeout": "TimedOut",
    "rate-limited": "RateLimited",
    "busy": "Busy",
    "too-large": "TooLarge",
    "server": "Server",
    "corrupt": "Corrupt",
    "unsupported": "Unsupported",
    "cancelled": "Cancelled",
    "local": "Failed",
}


def add_org(client, name="acme", forge="git", url="https://example.org/acme", repos=(), options=None):
    return client.call("AddOrg", "(sssasa{sv})", name, forge, url, list(repos), options or {})[0]


def error_of(client, *arguments, **more):
    try:
        client.call(*arguments, **more)
    except busd.Failed as failed:
        return failed
    raise AssertionError(f"{arguments} did not fail")


@both
def introspection_is_complete(_t, client):
    add_org(client)
    client.call("Prefetch", "(st)", "hold", 0)
    for path, name in ((PATH, MANAGER), (PATH + "/org/acme", ORG), (PATH + "/job/1", JOB)):
        interface = client.introspect(path).lookup_interface(name)
        assert interface, f"{path} lacks {name}"
        for method in interface.methods:
            for argument in (*method.in_args, *method.out_args):
                assert argument.name, f"{name}.{method.name} has an argument without a name"
        for argument in (a for s in interface.signals for a in s.args):
            assert argument.name
        # What is announced is there, and the other way round.
        assert {p.name for p in interface.properties} == set(client.get_all(path, name))
    names = {m.name for m in client.introspect(PATH).lookup_interface(MANAGER).methods}
    assert names == {
        "ListOrgs", "GetOrg", "AddOrg", "RemoveOrg", "ListHosts", "ListJobs", "GetJob", "Prefetch", "Verify", "Flush", "Refresh",
        "Pin", "Unpin", "ListPins",
        "Which", "Stats", "Reload", "SetToken", "ForgetToken", "Login",
    }, names  # fmt: skip
    with open(MANUAL, encoding="utf-8") as f:
        words = set(re.findall(r"[A-Za-z]+", f.read()))
    for path, name in ((PATH, MANAGER), (PATH + "/org/acme", ORG), (PATH + "/job/1", JOB)):
        interface = client.introspect(path).lookup_interface(name)
        told = {x.name for x in (*interface.methods, *interface.properties, *interface.signals)}
        assert told <= words, f"org.gitfs1(5) lacks {told - words}"
    assert [n.path for n in client.introspect(PATH + "/org").nodes] == ["acme"]
    assert [n.path for n in client.introspect(PATH + "/job").nodes] == ["1"]


@both
def pins(_t, client):
    number, path = client.call("Pin", "(s)", "org/r\\xff")
    assert path == f"{PATH}/job/{number}"
    pinned = client.call("ListPins")[0]
    assert pinned == [{
        "Path": "org/r\\xff", "State": "complete", "Done": 5, "Total": 5, "Bytes": 5000,
        "ErrorName": "", "ErrorMessage": "",
    }], pinned  # fmt: skip
    client.call("Pin", "(s)", "fail/offline")
    failing = client.call("ListPins")[0][1]
    assert failing["State"] == "incomplete" and failing["ErrorName"] == "org.gitfs1.Error.Offline", failing
    assert 'said "offline"' in failing["ErrorMessage"]
    client.call("Unpin", "(s)", "fail/offline")
    client.call("Unpin", "(s)", "org/r\\xff")
    assert client.call("ListPins")[0] == []


@both
def manager_properties(t, client):
    values = client.get_all(PATH, MANAGER)
    assert values["MountPoint"] == t.mount
    assert values["RuntimeDirectory"] == t.runtime
    assert values["Pid"] == t.daemons[0].pid
    assert values["Ready"] is False
    assert (values["CacheDirectory"], values["CacheError"]) == ("/var/cache/x\\xff", "")
    client.call("Refresh", "(s)", "full")
    assert client.get_all(PATH, MANAGER)["CacheError"] == "No space left on device"
    client.call("Refresh", "(s)", "ready")
    change = wait_for(lambda: client.named("PropertiesChanged"), "Ready changes")
    assert change[0] == (MANAGER, {"Ready": True}, [])
    assert client.get_all(PATH, MANAGER)["Ready"] is True


@both
def orgs_come_and_go(_t, client):
    path = add_org(
        client, "acme.io", "git", "https://example.org/x", ["one", "two"], {"PollIntervalUSec": GLib.Variant("t", 5)}
    )
    add_org(client, "aaa", "local", "/srv/git")
    org = client.get_all(path, ORG)
    assert org == {
        "Name": "acme.io", "Forge": "git", "Url": "https://example.org/x", "ApiUrl": "", "Owner": "",
        "Repos": ["one", "two"], "Include": [], "Exclude": [], "Archived": True, "Forks": True, "ClientId": "",
        "PollIntervalUSec": 5, "State": "idle", "Failing": False, "StateText": "", "Failure": "", "HttpCode": 0, "RetryAtUSec": 0,
        "RepoCount": 3, "CheckoutCount": 1,
    }, org  # fmt: skip
    assert [o["Name"] for o in client.call("ListOrgs")[0]] == ["aaa", "acme.io"]
    assert client.call("ListOrgs")[0][1] == org
    assert client.call("GetOrg", "(s)", "acme.io")[0] == path
    assert client.managed_objects()[path][ORG] == org
    added = wait_for(lambda: client.named("InterfacesAdded"), "InterfacesAdded")
    assert added[0][0] == path and added[0][1][ORG] == org

    client.call("RemoveOrg", "(s)", "acme.io")
    removed = wait_for(lambda: client.named("InterfacesRemoved"), "InterfacesRemoved")
    assert removed == [(path, [ORG])]
    assert path not in client.managed_objects()
    error = error_of(client, "GetAll", "(s)", ORG, path=path, interface=busd.PROPERTIES)
    assert error.name == "org.freedesktop.DBus.Error.UnknownObject", error


@both
def options_of_orgs_are_read(_t, client):
    options = {
        "ApiUrl": GLib.Variant("s", "https://api.example.org"), "Owner": GLib.Variant("s", "caf\\xe9"),
        "Include": GLib.Variant("as", ["a*", "b"]), "Exclude": GLib.Variant("as", ["*-old"]),
        "Archived": GLib.Variant("b", False), "Forks": GLib.Variant("b", False),
        "ClientId": GLib.Variant("s", "Iv1.a"),
    }  # fmt: skip
    org = client.get_all(add_org(client, "acme", "github", "", (), options), ORG)
    for key, value in options.items():
        assert org[key] == value.unpack(), key
    assert org["Url"] == "https://github.com", "the public instance"
    # Empty is unset, and what is not said is as in the file.
    org = client.get_all(add_org(client, "b", "gitlab", "", (), {"Owner": GLib.Variant("s", "")}), ORG)
    assert (org["Owner"], org["Archived"], org["Forks"]) == ("", True, True)

    for key, value, error in (
        ("Owner", GLib.Variant("u", 1), "is not of type s"),
        ("Include", GLib.Variant("s", "a"), "is not of type as"),
        ("Forks", GLib.Variant("s", "no"), "is not of type b"),
        ("Include", GLib.Variant("as", [str(i) for i in range(300)]), "A list of more"),
        ("Owner", GLib.Variant("s", "a\\x00"), "NUL"),
        ("Colour", GLib.Variant("s", "red"), 'Unknown option "Colour"'),
    ):
        arguments = ("AddOrg", "(sssasa{sv})", "c", "github", "", [], {key: value})
        failed = error_of(client, *arguments)
        assert failed.name == "org.gitfs1.Error.InvalidArgument" and error in failed.message, failed
    failed = error_of(client, "AddOrg", "(sssasa{sv})", "c", "svn", "", [], {})
    assert "local, git, github, gitlab, gitea or mesa" in failed.message, failed


WORDS = {
    "auth": "forbidden", "token-missing": "token-missing", "token-refused": "token-refused", "forbidden": "forbidden",
    "sso-required": "sso-required", "blocked": "blocked", "renamed": "renamed", "offline": "unreachable",
    "timeout": "timeout", "rate-limited": "rate-limited", "server": "failing", "corrupt": "failing",
    "unsupported": "failing", "too-large": "failing", "local": "failing",
}  # fmt: skip


@both
def states_are_words(_t, client):
    path = add_org(client)
    assert client.get_all(path, ORG)["State"] == "idle"
    for name, word in WORDS.items():
        client.call("Refresh", "(s)", f"trouble/{name}/acme")
        org = client.get_all(path, ORG)
        assert (org["State"], org["Failing"], org["Failure"]) == (word, True, name), org
        assert org["StateText"] == f'The server said "{name}"'
        assert (org["RetryAtUSec"] > 0) == (name == "rate-limited")
    # It works, but: the word says what is the matter all the same.
    for name in "sso-required", "renamed":
        client.call("Refresh", "(s)", f"notice/{name}/acme")
        org = client.get_all(path, ORG)
        assert (org["State"], org["Failing"], org["StateText"]) == (name, False, f'The server said "{name}"'), org


@both
def servers_are_listed(_t, client):
    assert client.call("ListHosts")[0] == []
    client.call("Refresh", "(s)", "hosts")
    hosts = client.call("ListHosts")[0]
    core = hosts[0]
    assert 0 < core.pop("ResetUSec")
    assert core == {
        "Host": "https://api.example.org", "Resource": "core", "Account": 1, "Limit": 5000, "Remaining": 4990,
        "Active": 2, "Waiting": 1, "BlockedUntilUSec": 0, "Down": False,
    }, core  # fmt: skip
    # One number for one account, whatever the budget; what the gates know it by is not told.
    assert [h["Account"] for h in hosts] == [1, 0, 1, 2]
    assert hosts[1]["BlockedUntilUSec"] > 0 and hosts[1]["Remaining"] == 0
    assert hosts[3]["Down"] and hosts[3]["Limit"] == 0


@both
def changes_are_coalesced(_t, client):
    path = add_org(client)
    client.call("Refresh", "(s)", "flap/acme")
    client.call("Refresh", "(s)", "x")
    changes = wait_for(lambda: client.named("PropertiesChanged", path), "PropertiesChanged")
    assert len(changes) == 1, f"{len(changes)} signals for one change"
    assert changes[0][1]["State"] == "forbidden" and changes[0][1]["Failing"] is True
    assert changes[0][1]["StateText"] == "The server refused the credentials"
    assert changes[0][1]["Failure"] == "auth"
    assert changes[0][1]["HttpCode"] == 401
    # What has gone before it could be told of as changed is told of as gone, only.
    client.call("Refresh", "(s)", "flap/acme")
    client.call("RemoveOrg", "(s)", "acme")
    wait_for(lambda: client.named("InterfacesRemoved"), "InterfacesRemoved")
    assert client.signals[-1][0] == "InterfacesRemoved"


@both
def jobs_run(_t, client):
    number, path = client.call("Prefetch", "(st)", "org/repo", 1)
    assert path == f"{PATH}/job/{number}"
    assert client.call("GetJob", "(u)", number)[0] == path
    finished = wait_for(lambda: client.named("JobFinished"), "JobFinished")
    assert finished == [(number, path, "done")]
    job = client.get_all(path, JOB)
    assert job == {
        "Id": number, "Kind": "prefetch", "Path": "org/repo", "State": "done", "Done": 5, "Total": 5,
        "Bytes": 5000, "Damaged": 0, "ErrorName": "", "ErrorMessage": "",
    }, job  # fmt: skip
    assert client.call("ListJobs")[0] == [job]
    changes = client.named("PropertiesChanged", path)
    assert 1 <= len(changes) <= 5, f"{len(changes)} signals for 5 steps of 50 changes"
    assert changes[-1][1]["State"] == "done"


@both
def damage_is_a_property_of_the_job(_t, client):
    add_org(client, "broken")
    number, path = client.call("Verify")
    assert wait_for(lambda: client.named("JobFinished"), "JobFinished") == [(number, path, "done")]
    job = client.get_all(path, JOB)
    assert (job["Kind"], job["Done"], job["Damaged"]) == ("verify", 5, 2), job


@both
def jobs_fail_are_cancelled_and_forgotten(_t, client):
    _, failing = client.call("Prefetch", "(st)", "fail/offline", 0)
    wait_for(lambda: client.named("JobFinished"), "JobFinished")
    job = client.get_all(failing, JOB)
    assert (job["State"], job["ErrorName"]) == ("failed", "org.gitfs1.Error.Offline")
    assert job["ErrorMessage"] == 'The server said "offline"'

    number, held = client.call("Prefetch", "(st)", "hold", 0)
    client.call("Cancel", path=held, interface=JOB)
    assert client.get_all(held, JOB)["State"] == "cancelled"
    wait_for(lambda: (number, held, "cancelled") in client.named("JobFinished"), "JobFinished")

    _, short = client.call("Prefetch", "(st)", "forget/x", 0)
    wait_for(lambda: (short, [JOB]) in client.named("InterfacesRemoved"), "InterfacesRemoved")
    assert error_of(client, "Cancel", path=short, interface=JOB).name == "org.freedesktop.DBus.Error.UnknownObject"
    for wrong in ("0", "01", "x", "99999999999999999999"):
        error = error_of(client, "Cancel", path=f"{PATH}/job/{wrong}", interface=JOB)
        assert error.name == "org.freedesktop.DBus.Error.UnknownObject", error


@both
def every_failure_has_its_name(_t, client):
    for name, error in CLASSES.items():
        failed = error_of(client, "Refresh", "(s)", "fail/" + name)
        assert failed.name == "org.gitfs1.Error." + error, failed
        assert failed.message == f'The server said "{name}"', failed


@both
def wrong_arguments_are_refused(t, client):
    def refused(error, *arguments):
        failed = error_of(client, *arguments)
        assert failed.name == "org.gitfs1.Error." + error, failed
        assert failed.message
        return failed.message

    add_org(client)
    assert "acme" in refused("Exists", "AddOrg", "(sssasa{sv})", "acme", "git", "https://x", [], {})
    refused("InvalidArgument", "AddOrg", "(sssasa{sv})", "a/b", "git", "https://x", [], {})
    assert "svn" in refused("InvalidArgument", "AddOrg", "(sssasa{sv})", "b", "svn", "https://x", [], {})
    many = ["x"] * 10001
    refused("InvalidArgument", "AddOrg", "(sssasa{sv})", "b", "git", "https://x", many, {})
    option = {"Colour": GLib.Variant("s", "red")}
    assert "Colour" in refused("InvalidArgument", "AddOrg", "(sssasa{sv})", "b", "git", "https://x", [], option)
    option = {"PollIntervalUSec": GLib.Variant("s", "often")}
    refused("InvalidArgument", "AddOrg", "(sssasa{sv})", "b", "git", "https://x", [], option)
    assert len(client.call("ListOrgs")[0]) == 1

    assert "nobody" in refused("NotFound", "RemoveOrg", "(s)", "nobody")
    refused("NotFound", "GetOrg", "(s)", "nobody")
    refused("NotFound", "GetJob", "(u)", 7)
    refused("NotFound", "Which", "(s)", "missing")
    refused("NotFound", "Prefetch", "(st)", "missing", 0)
    refused("NotFound", "Refresh", "(s)", "refused")
    refused("NotFound", "Unpin", "(s)", "missing")
    refused("InvalidArgument", "Pin", "(s)", "")
    refused("OutsideMount", "Pin", "(s)", "/etc/passwd")
    assert t.mount in refused("OutsideMount", "Which", "(s)", "/etc/passwd")
    refused("InvalidArgument", "Flush", "(ts)", 0, "")
    refused("InvalidArgument", "Flush", "(ts)", 8, "")
    refused("InvalidArgument", "Prefetch", "(st)", "x", 1 << 40)
    refused("InvalidArgument", "Which", "(s)", "nul\\x00")
    assert error_of(client, "Which", "(u)", 1).name == "org.freedesktop.DBus.Error.InvalidArgs"

    client.call("Reload")
    add_org(client, "broken")
    assert "unknown option" in refused("InvalidArgument", "Reload")


@both
def paths_are_bytes(_t, client):
    """F5: what is not UTF-8 goes over the bus and comes back, in its spelling."""
    for path in ("org/repo/caf\\xe9", "a\\\\b", "größe"):
        assert client.call("Which", "(s)", path)[0]["Path"] == path
    info = client.call("Which", "(s)", "x")[0]
    assert (info["Org"], info["Size"], info["Resident"]) == ("acme", 42, True)


@both
def counters_are_read(_t, client):
    client.call("Refresh", "(s)", "x")
    client.call("Flush", "(ts)", 5, "")
    stats = client.call("Stats")[0]
    assert stats["refresh-runs"] == 1
    assert stats["store-evicted"] == 5
    assert stats["http-active-now"] == 0, "a gauge below zero"


@both
def a_waiting_call_blocks_nobody(t, client):
    """R9: the daemon answers others, and the same client, while a call waits."""
    held = client.start("Refresh", "(s)", "hold")
    other = t.private()
    other.call("Stats")
    client.call("Refresh", "(s)", "now")
    assert not held
    other.call("Refresh", "(s)", "release")
    assert wait_for(lambda: held, "the held call is answered") == [()]


@case
def waiting_calls_are_bounded(t):
    t.start()
    client = t.private()  # a bus has lower limits of its own
    held = [client.start("Refresh", "(s)", "hold") for _ in range(MAX_REQUESTS)]
    failed = error_of(client, "Refresh", "(s)", "x")
    assert failed.name == "org.gitfs1.Error.Busy", failed
    client.call("Stats")


@case
def a_client_dies_with_a_call_under_way(t):
    t.start_bus()
    t.start()
    for client in (t.private(), t.session()):
        client.start("Refresh", "(s)", "hold")
        client.call("Stats")
        client.connection.close_sync(None)
    survivor = t.private()
    survivor.call("Refresh", "(s)", "release")
    survivor.call("Stats")


@case
def stopping_answers_what_waits(t):
    daemon = t.start()
    client = t.private()
    held = client.start("Refresh", "(s)", "hold")
    client.call("Stats")
    daemon.terminate()
    answer = wait_for(lambda: held, "the held call is answered")[0]
    assert isinstance(answer, busd.Failed) and answer.name == "org.gitfs1.Error.Cancelled", answer
    assert daemon.wait() == 0
    assert not os.path.exists(t.socket)


@case
def both_ways_show_the_same(t):
    t.start_bus()
    t.start()
    session, private = t.session(), t.private()
    path = add_org(session)
    wait_for(lambda: private.named("InterfacesAdded"), "InterfacesAdded")
    wait_for(lambda: session.named("InterfacesAdded"), "InterfacesAdded")
    assert private.get_all(path, ORG) == session.get_all(path, ORG)
    add_org(private, "other")
    assert [o["Name"] for o in session.call("ListOrgs")[0]] == ["acme", "other"]


@case
def the_socket_is_private(t):
    t.start()
    assert stat.S_IMODE(os.stat(t.runtime).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(t.socket).st_mode) == 0o600


@case
def a_directory_that_others_may_enter_is_refused(t):
    os.mkdir(t.runtime, 0o755)
    assert t.start() is None
    assert "mode 0700" in t.log()


@case
def clients_are_bounded(t):
    t.start()
    clients = []
    for _ in range(MAX_CLIENTS):
        client = socket.socket(socket.AF_UNIX)
        client.connect(t.socket)
        clients.append(client)
    extra = socket.socket(socket.AF_UNIX)
    extra.connect(t.socket)
    extra.settimeout(20)
    assert extra.recv(1) == b"", "one client too many was served"
    extra.close()
    for client in clients:
        client.close()
    # Their places are free again; when, the daemon does not tell.
    wait_for(lambda: answers(t), "a place becomes free")


def answers(t):
    try:
        t.private().call("Stats")
        return True
    except (GLib.Error, busd.Failed):
        return False


@case
def a_client_that_does_not_read_is_closed(t):
    t.start()
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(t.socket)
    deaf.sendall(b"\0AUTH EXTERNAL " + UID + b"\r\nBEGIN\r\n")
    assert deaf.recv(100).startswith(b"OK ")
    client = t.private()
    for _ in range(20000):
        add_org(client)
        client.call("RemoveOrg", "(s)", "acme")
        if "does not read; closing it" in t.log():
            break
    else:
        raise AssertionError("signals pile up for a client that does not read")
    client.call("Stats")


def encoded_calls(method, n):
    calls = b""
    for serial in range(1, n + 1):
        message = Gio.DBusMessage.new_method_call(None, PATH, MANAGER, method)
        message.set_serial(serial)
        calls += bytes(message.to_blob(Gio.DBusCapabilityFlags.NONE))
    return calls


@case
def a_client_that_reads_no_answers_is_closed(t):
    t.start()
    calls = encoded_calls("Stats", 100)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as deaf:
        deaf.settimeout(20)
        deaf.connect(t.socket)
        deaf.sendall(b"\0AUTH EXTERNAL " + UID + b"\r\nBEGIN\r\n")
        try:
            for _ in range(1000):
                deaf.sendall(calls)
            raise AssertionError("answers pile up for a client that does not read")
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert "does not read; closing it" in t.log()
    t.private().call("Stats")


def pipelined_calls_are_answered(t, n):
    calls = encoded_calls("Reload", n)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(20)
        client.connect(t.socket)
        client.sendall(b"\0AUTH EXTERNAL " + UID + b"\r\nBEGIN\r\n" + calls)
        answer = b""
        while answer.count(REPLY_START) < n:
            answer += client.recv(4096)


@case
def calls_in_one_packet_with_the_authentication_are_answered(t):
    t.start()
    pipelined_calls_are_answered(t, 1)
    pipelined_calls_are_answered(t, 100)


@case
def garbage_on_the_socket_harms_nobody(t):
    t.start()
    for garbage in (b"", b"\0", b"GET / HTTP/1.0\r\n\r\n", b"\0AUTH EXTERNAL 6e\r\nBEGIN\r\n", os.urandom(4096)):
        client = socket.socket(socket.AF_UNIX)
        client.connect(t.socket)
        client.sendall(garbage)
        client.close()
    t.private().call("Stats")


@case
def a_stale_socket_is_replaced(t):
    """F9, for the socket: what a killed daemon left behind does not block the next start."""
    daemon = t.start()
    daemon.kill()
    daemon.wait()
    assert os.path.exists(t.socket)
    assert t.start()
    t.private().call("Stats")


@case
def a_second_daemon_is_refused(t):
    t.start_bus()
    t.start()
    assert t.start() is None
    assert "another gitfsd listens" in t.log()
    assert t.start(runtime=t.runtime + "2") is None
    assert "is taken" in t.log()
    t.session().call("Stats")
    t.private().call("Stats")


@case
def the_daemon_outlives_the_session_bus(t):
    t.start_bus()
    t.start()
    client = t.private()
    t.session().call("Stats")
    t.stop_bus()
    # Two turns of its loop after the bus is gone.
    client.call("Stats")
    client.call("Stats")
    assert "session bus went away" in t.log()
    t.start_bus()
    wait_for(lambda: "on the session bus again" in t.log(), "the bus is found again")
    t.session().call("Stats")


@case
def without_a_session_bus_the_socket_serves(t):
    t.start()
    assert "only the private socket" in t.log()
    t.private().call("Stats")


busd.main()
