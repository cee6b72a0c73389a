#!/usr/bin/env python3
"""Where tokens must not be: state, cache, log, bus, /proc and a core dump of the daemon; and how they come in."""

import base64
import errno
import http.server
import json
import mmap
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import forges  # noqa: E402
import harness  # noqa: E402
import repo  # noqa: E402

# Not of the shape of a real token, which would be starred out by that alone.
FIRST, SECOND, WRONG = ("Zq7" + c * 5 + "-first-class-secret-" + c * 7 for c in "ABC")
SIGNED_IN = "Zq7DDDDD-from-a-browser-DDDDDDD"
DEVICE_CODE = "Zq7EEEEE-device-code-EEEEEEE"
SECRETS = (FIRST, SECOND, WRONG, SIGNED_IN, DEVICE_CODE)
CLIENT_ID = "Iv1.0123456789abcdef"
CONFIG = "[Mount]\nRequestTimeoutSec=20\n[Cache]\nKeepFree=0\n"


def spellings():
    """Every secret as it is, and as it goes into a header of Basic authentication."""
    for secret in SECRETS:
        yield secret, secret.encode()
        # By the three ways in which it can be aligned; what its neighbours have a part in is cut off.
        for shift in range(3):
            text = base64.b64encode(b"x" * shift + secret.encode())
            yield f"base64 of {secret}", text[4 if shift else 0 : -4]


def search(path, where):
    """Fails if a file holds a secret."""
    with open(path, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            # Files in /proc tell no size.
            data = f.read()
            found = [name for name, text in spellings() if text in data]
        else:
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = [name for name, text in spellings() if data.find(text) >= 0]
    assert not found, f"{where}: {path} holds {found}"


def search_below(directory, where, but=()):
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            assert not any(text in path.encode() for _, text in spellings()), path
            if os.path.isfile(path) and not os.path.islink(path) and path not in but:
                search(path, where)


def search_dump(t):
    """A core dump of the daemon, as the kernel would write it."""
    with open(f"/proc/{t.pid}/status", encoding="ascii") as f:
        size = next(int(line.split()[1]) << 10 for line in f if line.startswith("VmSize:"))
    if size > 1 << 40:
        print("the shadow memory of a sanitizer is too large to be dumped: no core dump was looked into")
        return
    for program in "gcore", "gdb":
        if not shutil.which(program):
            raise harness.Skip(f"{program} is not installed: no core dump was looked into")
    done = subprocess.run(
        ["gcore", "-o", t.path("core"), str(t.pid)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )  # fmt: skip
    path = t.path(f"core.{t.pid}")
    assert os.path.exists(path), done.stdout.decode(errors="replace")
    # It is one: what is no secret is in it.
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert data.find(b"public-name-of-an-owner") >= 0, "the core dump is none"
    search(path, "a core dump")


def search_everywhere(t):
    kept = [t.path("config", "credentials", n) for n in os.listdir(t.path("config", "credentials"))]
    for path in kept:
        assert os.stat(path).st_mode & 0o777 == 0o600, path
    search_below(t.config, "the configuration", but=kept)
    search_below(os.path.dirname(t.runtime), "the runtime directory")
    search_below(t.cache, "the cache")
    search_below(t.path("home"), "the home directory")
    search(t.log_path, "the log")
    for name in "cmdline", "environ", "comm":
        search(f"/proc/{t.pid}/{name}", "/proc")


def ctl(t, *arguments, stdin, status=0, environment=None):
    done = subprocess.run(
        [harness.GITFSCTL, *arguments], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**t.environment, **(environment or {})}, timeout=60, check=False,
    )  # fmt: skip
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == status, f"{arguments}: status {done.returncode}: {output}"
    assert not any(text.decode() in output for _, text in spellings()), output
    return output


class Watch:
    """A session bus, and all that goes over it in a file."""

    def __init__(self, t):
        if not shutil.which("dbus-daemon") or not shutil.which("dbus-monitor"):
            raise harness.Skip("dbus-daemon is not installed")
        config = t.write(
            "bus.conf",
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
            '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>session</type>'
            f'<listen>unix:path={t.path("bus")}</listen><policy context="default">'
            '<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>'
            "</busconfig>",
        )
        self.bus = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"], stdout=subprocess.PIPE
        )
        t.environment["DBUS_SESSION_BUS_ADDRESS"] = self.bus.stdout.readline().decode().strip()
        self.path = t.path("traffic")
        with open(self.path, "wb") as f:
            self.monitor = subprocess.Popen(["dbus-monitor", "--session", "--pcap"], stdout=f, env=t.environment)
        # Once it is monitoring, the header of the capture is there.
        harness.wait_until(lambda: os.path.getsize(self.path) > 0, "the bus is watched")

    def stop(self):
        for process in self.monitor, self.bus:
            process.terminate()
            process.wait()


def over_the_bus(t):
    """The environment in which gitfsctl finds no private socket."""
    return {"XDG_RUNTIME_DIR": t.path("home")}


@harness.case(seconds=240)
def nothing_shows_a_token(t):
    """After reads, rotations and refusals the token is in its file and nowhere else (issue 3, must show)."""
    app = t.path("app.git")
    repo.simple_repo(app, {f"d{i}/f": f"{i}\n" for i in range(9)})
    owner = {"name": "public-name-of-an-owner", "repos": [{"name": "app", "git": app, "private": True}]}
    knobs = {"tokens": {FIRST: {"user": "me"}}, "token_needed": True}
    forge = t.forges({"github": {"owners": [owner], "knobs": knobs}})
    watch = Watch(t)
    t.configure(CONFIG)
    t.start()
    ctl(
        t, "org", "add", "acme", "--forge", "github", "--url", forge.urls["github"], "--owner",
        "public-name-of-an-owner", "--token-stdin", stdin=FIRST + "\n", environment=over_the_bus(t),
    )  # fmt: skip
    assert t.names("acme") == ["app"]
    assert t.read("acme/app/d1/f") == b"1\n"
    search_everywhere(t)

    forge.turn("github", tokens={SECOND: {"user": "me"}})
    ctl(t, "token", "set", "acme", stdin=SECOND, environment=over_the_bus(t))
    assert t.read("acme/app/d2/f") == b"2\n"
    ctl(t, "token", "set", "acme", stdin=WRONG)
    t.ctl("flush", "--disk", "--memory", "--kernel")
    assert t.errno_of(t.read, "acme/app/d3/f") == errno.EACCES
    shown = t.ctl_json("org", "show", "acme")
    assert shown["state"] == "token-refused", shown
    ctl(t, "token", "set", "acme", stdin="two\nlines", status=1)
    ctl(t, "token", "set", "acme", stdin=SECOND)
    assert t.read("acme/app/d4/f") == b"4\n"

    watch.stop()
    search(watch.path, "what went over the bus")
    with open(watch.path, "rb") as f:
        assert b"SetToken" in f.read(), "the bus was not watched"
    search_everywhere(t)
    search_dump(t)


@harness.case()
def a_file_that_others_may_read(t):
    """Not used, which is told with what to do about it; taken up as soon as that has been done."""
    app = t.path("app.git")
    repo.simple_repo(app, {"f": "x\n"})
    owner = {"name": "acme", "repos": [{"name": "app", "git": app}]}
    knobs = {"tokens": {FIRST: {"user": "me"}}, "token_needed": True}
    forge = t.forges({"github": {"owners": [owner], "knobs": knobs}})
    forges.org(t, forge, "acme", "github", "acme", FIRST)
    path = t.path("config", "credentials", "acme")
    os.chmod(path, 0o644)
    t.configure(CONFIG)
    t.start()
    assert t.errno_of(os.listdir, t.at("acme")) == errno.EIO
    text = t.ctl_json("org", "show", "acme")["state_text"]
    assert "chmod 600" in text and FIRST not in text, text
    assert not forge.log("github"), "the server was asked without a token"
    os.chmod(path, 0o600)
    harness.wait_until(lambda: t.errno_of(os.listdir, t.at("acme")) == 0, "the token is used")


class Device(http.server.BaseHTTPRequestHandler):
    """The device flow of GitHub; `answers` are given to the polls, the last one for ever."""

    answers = ()
    polls = []

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.path == "/login/device/code":
            answer = {
                "device_code": DEVICE_CODE, "user_code": "WDJB-MJHT", "expires_in": 900, "interval": 1,
                "verification_uri": f"http://{self.headers['Host']}/login/device",
            }  # fmt: skip
        else:
            assert form["device_code"] == [DEVICE_CODE], form
            answer = self.answers[min(len(self.polls), len(self.answers) - 1)]
            self.polls.append(form)
        assert form["client_id"] == [CLIENT_ID], form
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def sign_in_server(*answers):
    handler = type("Handler", (Device,), {"answers": answers, "polls": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


PENDING = {"error": "authorization_pending"}


@harness.case(seconds=180)
def signing_in_with_a_browser(t):
    """gitfsctl login: the code is shown, the token is kept and used, and shows up nowhere."""
    good = {"access_token": SIGNED_IN, "token_type": "bearer", "scope": "repo"}
    server, url = sign_in_server(PENDING, PENDING, good)
    t.org("acme", "github", url, Owner="public-name-of-an-owner", ClientId=CLIENT_ID)
    t.configure(CONFIG)
    t.start()
    text = t.ctl("login", "acme").stdout
    assert "WDJB-MJHT" in text and url + "/login/device" in text and "Signed in" in text, text
    with open(t.path("config", "credentials", "acme"), encoding="ascii") as f:
        assert f.read() == SIGNED_IN + "\n"
    assert len(server.RequestHandlerClass.polls) == 3
    search_everywhere(t)
    search_dump(t)
    t.ctl("org", "remove", "acme")
    assert not os.listdir(t.path("config", "credentials"))


@harness.case()
def signing_in_is_refused(t):
    _, url = sign_in_server({"error": "access_denied"})
    t.org("acme", "github", url, Owner="me")
    t.org("plain", "git", url)
    t.configure(CONFIG)
    t.start()
    done = t.ctl("login", "acme", "--client-id", CLIENT_ID, check=False)
    assert done.returncode == 1 and "refused in the browser" in done.stderr, done.stderr
    done = t.ctl("login", "acme", check=False)
    assert done.returncode == 1 and "no client id is known" in done.stderr, done.stderr
    done = t.ctl("login", "plain", check=False)
    assert done.returncode == 1 and "gitfsctl token set" in done.stderr, done.stderr
    assert not os.path.exists(t.path("config", "credentials", "acme"))


@harness.case()
def signing_in_ends_with_the_daemon(t):
    """One that waits keeps nothing from ending: neither a second one, nor its own cancelling, nor the daemon."""
    _, url = sign_in_server(PENDING)
    for name in "acme", "other":
        t.org(name, "github", url, Owner="me", ClientId=CLIENT_ID)
    t.configure(CONFIG)
    t.start()
    arguments = [harness.GITFSCTL, "--runtime-directory", t.runtime, "login"]
    waiting = {
        n: subprocess.Popen([*arguments, n], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in ("acme", "other")
    }
    for child in waiting.values():
        assert "WDJB-MJHT" in child.stdout.readline()
    done = t.ctl("login", "acme", check=False)
    assert done.returncode == 1 and "is under way" in done.stderr, done.stderr
    jobs = {j["path"]: j for j in t.ctl_json("jobs")}
    assert jobs["acme"]["kind"] == "login" and jobs["acme"]["state"] == "running", jobs
    t.ctl("cancel", str(jobs["acme"]["id"]))
    assert "was cancelled" in waiting["acme"].communicate(timeout=60)[1]
    t.stop()
    waiting["other"].communicate(timeout=60)
    assert waiting["other"].returncode == 1


if __name__ == "__main__":
    harness.main()
