"""Runs test-busd, with or without a session bus, and talks to it through GDBus: a D-Bus implementation that
is not the daemon's own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

try:
    from gi.repository import Gio, GLib
except ImportError:
    print("SKIP: python3-gi is not installed")
    sys.exit(77)

BUSD = os.environ["BUSD"]
GITFSCTL = os.environ["GITFSCTL"]

# Cases that mean nothing under a tool, and why (tests/lib/patience.py).
EXCLUDED = json.loads(os.environ.get("GITFS_EXCLUDED", "{}"))

NAME = "org.gitfs1"
PATH = "/org/gitfs1"
MANAGER = "org.gitfs1.Manager"
ORG = "org.gitfs1.Org"
JOB = "org.gitfs1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"

# Generous: nothing passes by waiting for it.
CALL_MSEC = 20000

_cases = []


def case(function):
    """Registers a test case: a function of an Env."""
    _cases.append(function)
    return function


def both(function):
    """A case that is run on the session bus and on the private socket."""

    def on_session(t):
        t.start_bus()
        t.start()
        function(t, t.session())

    def on_private(t):
        t.start()
        function(t, t.private())

    on_session.__name__ = function.__name__ + "_session"
    on_private.__name__ = function.__name__ + "_private"
    case(on_session)
    case(on_private)
    return function


class Failed(Exception):
    """A call that was answered with an error."""

    def __init__(self, error):
        self.name = Gio.DBusError.get_remote_error(error)
        self.message = error.message.removeprefix(f"GDBus.Error:{self.name}: ")
        super().__init__(f"{self.name}: {self.message}")


class Client:
    """One connection to the daemon."""

    def __init__(self, connection, destination):
        self.connection = connection
        self.destination = destination
        self.signals = []
        connection.set_exit_on_close(False)
        connection.signal_subscribe(
            None, None, None, None, None, Gio.DBusSignalFlags.NONE, self._on_signal, None
        )

    def _on_signal(self, _connection, _sender, path, interface, name, parameters, _data):
        if interface.startswith((NAME, PROPERTIES, "org.freedesktop.DBus.ObjectManager")):
            self.signals.append((name, path, parameters.unpack()))

    def call(self, member, signature=None, *arguments, path=PATH, interface=MANAGER):
        """The values of the answer as a tuple."""
        parameters = GLib.Variant(signature, arguments) if signature else None
        try:
            return self.connection.call_sync(
                self.destination, path, interface, member, parameters, None, Gio.DBusCallFlags.NONE, CALL_MSEC, None
            ).unpack()  # fmt: skip
        except GLib.Error as error:
            raise Failed(error) from None

    def call_with_fd(self, member, signature, fd, *arguments):
        """The same with a descriptor, which is argument 0 of type h."""
        fds = Gio.UnixFDList.new()
        fds.append(fd)
        try:
            self.connection.call_with_unix_fd_list_sync(
                self.destination, PATH, MANAGER, member, GLib.Variant(signature, arguments), None,
                Gio.DBusCallFlags.NONE, CALL_MSEC, fds, None,
            )  # fmt: skip
        except GLib.Error as error:
            raise Failed(error) from None

    def start(self, member, signature, *arguments):
        """A call whose answer is awaited with wait_for(lambda: answers)."""
        answers = []

        def on_answer(connection, result, _data):
            try:
                answers.append(connection.call_finish(result).unpack())
            except GLib.Error as error:
                answers.append(Failed(error))

        self.connection.call(
            self.destination, PATH, MANAGER, member, GLib.Variant(signature, arguments), None,
            Gio.DBusCallFlags.NONE, CALL_MSEC, None, on_answer, None,
        )  # fmt: skip
        self.connection.flush_sync(None)
        return answers

    def get_all(self, path, interface):
        return self.call("GetAll", "(s)", interface, path=path, interface=PROPERTIES)[0]

    def introspect(self, path):
        xml = self.call("Introspect", path=path, interface="org.freedesktop.DBus.Introspectable")[0]
        return Gio.DBusNodeInfo.new_for_xml(xml)

    def managed_objects(self):
        return self.call("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager")[0]

    def named(self, name, path=None):
        """Parameters of the signals of that name that have come in."""
        return [p for n, where, p in self.signals if n == name and path in (None, where)]


def wait_for(condition, what):
    """Handles events until condition() is true and returns its value. Looks now and then even where nothing
    happens, for what nothing announces."""
    context = GLib.MainContext.default()
    expired = []
    timer = GLib.timeout_add(CALL_MSEC, lambda: expired.append(True))
    tick = GLib.timeout_add(50, lambda: True)
    try:
        while True:
            value = condition()
            if value:
                return value
            if expired:
                raise AssertionError(f"{what}: did not happen")
            context.iteration(True)
    finally:
        GLib.source_remove(tick)
        if not expired:
            GLib.source_remove(timer)


class Env:
    """A directory, a session bus if wanted, and a daemon."""

    def __init__(self, directory):
        self.runtime = os.path.join(directory, "run", "gitfsd")
        self.mount = os.path.join(directory, "mnt")
        self.socket = os.path.join(self.runtime, "control")
        self.log_path = os.path.join(directory, "log")
        self.directory = directory
        self.daemons = []
        self.bus = None
        os.mkdir(self.mount)
        os.mkdir(os.path.join(directory, "run"), 0o700)
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DBUS_", "XDG_", "GITFS_")) and key != "NO_COLOR"
        }
        self.environment["XDG_RUNTIME_DIR"] = os.path.join(directory, "run")

    def start_bus(self, command=None):
        """A session bus of the test's own. It starts the daemon with the command, if any, and no other service."""
        if not shutil.which("dbus-daemon"):
            print("SKIP: dbus-daemon is not installed")
            sys.exit(77)
        services = os.path.join(self.directory, "services")
        os.makedirs(services, exist_ok=True)
        if command:
            with open(os.path.join(services, NAME + ".service"), "w", encoding="utf-8") as f:
                f.write(f"[D-BUS Service]\nName={NAME}\nExec={command}\n")
        config = os.path.join(self.directory, "bus.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(
                '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
                '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>session</type>'
                f"<listen>unix:path={self.directory}/bus</listen><servicedir>{services}</servicedir>"
                '<policy context="default"><allow send_destination="*" eavesdrop="true"/>'
                '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>'
            )
        self.bus = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            text=True,
        )
        # Without the id that a restarted bus would not have.
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self.bus.stdout.readline().strip().split(",")[0]

    def stop_bus(self):
        self.bus.terminate()
        self.bus.wait()

    def start(self, runtime=None):
        """Starts a daemon; None when it ends instead of serving."""
        with open(self.log_path, "a", encoding="utf-8") as log:
            daemon = subprocess.Popen(
                [BUSD, runtime or self.runtime, self.mount],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                text=True,
            )
        if daemon.stdout.readline() != "ready\n":
            daemon.wait()
            return None
        self.daemons.append(daemon)
        return daemon

    def stop(self):
        """Ends every daemon as a service manager would: each must end well."""
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
            status = daemon.wait(timeout=30)
            assert status in (0, -signal.SIGKILL), f"the daemon ended with {status}"
        self.daemons = []

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def private(self):
        """A new client of the private socket."""
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
        return Client(
            Gio.DBusConnection.new_for_address_sync("unix:path=" + self.socket, flags, None, None), None
        )

    def session(self):
        """A new client of the session bus."""
        flags = (
            Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        )
        address = self.environment["DBUS_SESSION_BUS_ADDRESS"]
        return Client(Gio.DBusConnection.new_for_address_sync(address, flags, None, None), NAME)

    def ctl(self, *arguments, status=0, cwd=None, environment=None, stdin=b""):
        """gitfsctl, which must end with that status. Its output; with another status than 0, its errors."""
        done = subprocess.run(
            [GITFSCTL, *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **(environment or {})},
            cwd=cwd or self.directory,
            timeout=60,
            check=False,
        )
        out, err = (b.decode("utf-8", "surrogateescape") for b in (done.stdout, done.stderr))
        assert done.returncode == status, f"{arguments}: status {done.returncode}\n{out}{err}"
        if status == 0:
            assert err == "", f"{arguments}: {err}"
            return out
        return err


@contextlib.contextmanager
def environment():
    with tempfile.TemporaryDirectory(prefix="gitfs-bus-") as directory:
        env = Env(directory)
        try:
            yield env
            env.stop()
        except BaseException:
            if os.path.exists(env.log_path):
                print(env.log())
            raise
        finally:
            for process in [*env.daemons, env.bus]:
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion"):
            assert word not in (env.log() if os.path.exists(env.log_path) else ""), f"{word} in the log"


def main():
    failed = 0
    for name, reason in EXCLUDED.items():
        print(f"SKIP: {name}: {reason}")
    cases = [function for function in _cases if function.__name__ not in EXCLUDED]
    for function in cases:
        try:
            with environment() as env:
                function(env)
            print(f"ok {function.__name__}")
        except Exception:  # the other cases are run all the same
            failed += 1
            print(f"FAILED {function.__name__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    sys.exit(1 if failed else 0)
