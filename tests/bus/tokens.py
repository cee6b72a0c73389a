#!/usr/bin/python3
"""Tokens on their way to the daemon: over both buses as a descriptor, and from gitfsctl's standard input."""

import os
import pty
import signal
import subprocess
import termios
import time

import busd
from busd import JOB, GLib, both, case

TOKEN = b"ghp_0123456789abcdefghijABCDEFGHIJ"
FAILURE, USAGE = 1, 2


def stored(t, org="acme"):
    """What the manager was given, or None."""
    try:
        with open(f"{t.runtime}/token-{org}", "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def set_token(client, data, org="acme"):
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    try:
        client.call_with_fd("SetToken", "(sh)", reader, org, 0)
    finally:
        os.close(reader)


def error_of(function, *arguments):
    try:
        function(*arguments)
    except busd.Failed as failed:
        return failed
    raise AssertionError(f"{arguments} did not fail")


def add_acme(client):
    client.call("AddOrg", "(sssasa{sv})", "acme", "git", "https://example.org/acme", [], {})


@both
def a_token_comes_as_a_descriptor(t, client):
    add_acme(client)
    set_token(client, TOKEN)
    assert stored(t) == TOKEN
    client.call("ForgetToken", "(s)", "acme")
    assert stored(t) is None
    client.call("ForgetToken", "(s)", "acme")


@both
def refusals_are_told(_t, client):
    add_acme(client)  # first: see bus-server.c about descriptors
    failed = error_of(set_token, client, TOKEN, "nobody")
    assert failed.name.endswith(".NotFound") and '"nobody"' in failed.message, failed
    failed = error_of(client.call, "ForgetToken", "(s)", "nobody")
    assert failed.name.endswith(".NotFound"), failed
    failed = error_of(set_token, client, b"")
    assert failed.name.endswith(".InvalidArgument") and "no token" in failed.message, failed
    failed = error_of(client.call, "SetToken", "(ss)", "acme", TOKEN.decode())
    assert failed.name.endswith(".InvalidArgs"), failed


@both
def no_descriptor_is_left_open(t, client):
    add_acme(client)

    def count():
        client.call("ListOrgs")  # when this is answered, what was answered before has been cleared away
        return len(os.listdir(f"/proc/{t.daemons[0].pid}/fd"))

    set_token(client, TOKEN)
    before = count()
    for _ in range(20):
        set_token(client, TOKEN)
        error_of(set_token, client, TOKEN, "nobody")
    assert count() == before


ADD = ("org", "add", "acme", "--forge", "github", "--owner", "acme", "--token-stdin")


@case
def org_add_takes_a_token_from_stdin(t):
    t.start()
    assert t.ctl(*ADD, stdin=TOKEN + b"\n") == f"{t.mount}/acme\n"
    assert stored(t) == TOKEN
    t.start_bus()
    t.stop()
    t.start()
    os.unlink(f"{t.runtime}/token-acme")
    runtime = {"XDG_RUNTIME_DIR": t.directory}  # where no private socket is
    assert t.ctl(*ADD, stdin=TOKEN, environment=runtime)
    assert stored(t) == TOKEN


@case
def without_a_good_token_no_org_is_added(t):
    t.start()
    assert "there is no token" in t.ctl(*ADD, status=FAILURE)
    assert "there is no token" in t.ctl(*ADD, status=FAILURE, stdin=b"\n")
    assert "too long" in t.ctl(*ADD, status=FAILURE, stdin=b"x" * 20000)
    assert "NUL" in t.ctl(*ADD, status=FAILURE, stdin=b"a\0b")
    # The daemon refuses it: the org that was added for it goes again.
    assert "that is no token" in t.ctl(*ADD, status=FAILURE, stdin=b"unwanted\n")
    assert "acme" not in t.ctl("org", "list")
    assert "--token-stdin means nothing to `org list`" in t.ctl("org", "list", "--token-stdin", status=USAGE)


@case
def a_token_is_set_and_forgotten(t):
    t.start()
    t.ctl("org", "add", "acme", "--forge", "github")
    assert t.ctl("token", "set", "acme", stdin=TOKEN + b"\n") == ""
    assert stored(t) == TOKEN
    assert t.ctl("token", "forget", "acme") == ""
    assert stored(t) is None
    error = t.ctl("token", "set", "nobody", status=FAILURE, stdin=TOKEN)
    assert 'no org "nobody"' in error and TOKEN.decode() not in error
    assert "usage: gitfsctl token set ORG" in t.ctl("token", "set", status=USAGE)
    assert '"token steal"' in t.ctl("token", "steal", status=USAGE)
    assert "--json means nothing to `token set`" in t.ctl("token", "set", "acme", "--json", status=USAGE)


def ask_at_a_terminal(t):
    """The main side, what it shows until nothing is shown any more, and the process that asks."""
    main, other = pty.openpty()
    child = subprocess.Popen([busd.GITFSCTL, "token", "set", "acme"], stdin=other, stderr=other, env=t.environment)
    os.close(other)
    shown = b""
    while b"Token for" not in shown:
        shown += os.read(main, 1000)
    # Not before the terminal is told to keep quiet, which comes right after the prompt.
    while termios.tcgetattr(main)[3] & termios.ECHO:
        pass
    return main, shown, child


@case
def a_terminal_does_not_show_it(t):
    t.start()
    t.ctl("org", "add", "acme", "--forge", "github")
    main, shown, child = ask_at_a_terminal(t)
    os.write(main, TOKEN + b"\n")
    assert child.wait(60) == 0
    assert TOKEN not in shown
    try:
        while data := os.read(main, 1000):
            shown += data
    except OSError:  # the other side is closed
        pass
    os.close(main)
    assert TOKEN not in shown, shown
    assert stored(t) == TOKEN


@case
def a_terminal_shows_again_what_is_typed_after_a_signal(t):
    t.start()
    t.ctl("org", "add", "acme", "--forge", "github")
    for number in signal.SIGINT, signal.SIGTERM:
        main, _, child = ask_at_a_terminal(t)
        os.write(main, TOKEN[:3])
        child.send_signal(number)
        assert child.wait(60) == -number
        assert termios.tcgetattr(main)[3] & termios.ECHO
        os.close(main)


@both
def a_sign_in_is_a_code_and_a_job(t, client):
    add_acme(client)
    options = {"ClientId": GLib.Variant("s", "hold")}
    code, uri, expires, path = client.call("Login", "(sa{sv})", "acme", options)
    assert (code, uri) == ("WDJB-MJHT", "https://example.org/login/device")
    assert 0 < expires - time.monotonic_ns() // 1000 < 901_000_000
    assert client.get_all(path, JOB)["State"] == "running"
    client.call("Cancel", path=path, interface=JOB)
    assert client.get_all(path, JOB)["State"] == "cancelled"
    for arguments, said in (
        (("nobody", options), '"nobody"'),
        (("acme", {}), "no client id"),
        (("acme", {"ClientId": GLib.Variant("u", 1)}), "not of type s"),
        (("acme", {"Scope": GLib.Variant("s", "all")}), 'option "Scope"'),
    ):
        failed = error_of(client.call, "Login", "(sa{sv})", *arguments)
        assert said in failed.message, failed


@case
def login_shows_the_code_and_waits(t):
    t.start()
    t.ctl("org", "add", "acme", "--forge", "github")
    text = t.ctl("login", "acme", "--client-id", "good")
    code, end = text.splitlines()
    assert "https://example.org/login/device" in code and "WDJB-MJHT" in code, code
    assert end == 'Signed in for "acme".', end
    error = t.ctl("login", "acme", "--client-id", "fail/auth", status=FAILURE)
    assert 'the sign-in for "acme" failed' in error and "The server said" in error, error
    assert "no client id" in t.ctl("login", "acme", status=FAILURE)
    assert "usage: gitfsctl login ORG" in t.ctl("login", status=USAGE)


@case
def a_cancelled_sign_in_is_told(t):
    t.start()
    t.ctl("org", "add", "acme", "--forge", "github")
    arguments = [busd.GITFSCTL, "login", "acme", "--client-id", "hold"]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=t.environment, text=True)
    assert "WDJB-MJHT" in child.stdout.readline()
    t.ctl("cancel", "1")
    _, error = child.communicate(timeout=60)
    assert child.returncode == FAILURE and "was cancelled" in error, error


if __name__ == "__main__":
    busd.main()
