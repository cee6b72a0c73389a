"""A booted systemd with an ordinary user (lib/systemd-sandbox) as an object, and gitfs installed in it.

    with Machine(directory, [(SOURCE, "/mnt")]) as machine:
        machine.user("systemctl", "--user", "start", "gitfsd")
"""

import os
import re
import shlex
import subprocess
import sys

import patience

LIB = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(LIB))
SANDBOX = os.path.join(LIB, "systemd-sandbox")
USER = "alice"
SKIPPED = 77
# How the tools of tests/sanitize/run are told what to do, and where their reports go inside.
TOOL_SETTINGS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
REPORTS = "/var/tmp/reports"
INSTALL = r"""
units=.config/systemd/user
mkdir -p $units/gitfsd.service.d
sed "s|=[^ ]*/gitfsd\$|=$1/daemon/gitfsd|; s|=+[^ ]*/gitfs-mount|=+$1/daemon/gitfs-mount|" \
        "$1/units/gitfsd.service" >$units/gitfsd.service
printf '%s\n' "$2" >$units/gitfsd.service.d/test.conf
systemctl --user daemon-reload
"""


class Machine:
    def __init__(self, directory, binds=()):
        """binds: (path outside, path inside), read-only."""
        self.directory = directory
        # A checkout below /tmp, too, is where it was: the machine has a /tmp of its own.
        binds = [(TOP, TOP), *binds]
        self._binds = [word for source, target in binds for word in ("--ro-bind", f"{source}:{target}")]

    def __enter__(self):
        done = subprocess.run([SANDBOX, self.directory, "start", *self._binds], check=False)
        if done.returncode == SKIPPED:
            sys.exit(SKIPPED)  # the reason is printed
        if done.returncode != 0:
            raise RuntimeError("systemd does not boot")
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.journal("--lines", "80")
            self.print_reports()
        subprocess.run([SANDBOX, self.directory, "stop"], check=False)

    def journal(self, *arguments):
        """Prints it."""
        subprocess.run([SANDBOX, self.directory, "journal", *arguments], check=False)

    def _argv(self, user, argv, seconds=120):
        return [SANDBOX, self.directory, "run", "-u", user, "-t", str(seconds), *argv]

    def _run(self, user, argv, check):
        done = subprocess.run(
            self._argv(user, argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stdout.strip()}")
        return done.stdout.strip()

    def root(self, *argv, check=True):
        """What the command prints."""
        return self._run("root", argv, check)

    def user(self, *argv, check=True):
        return self._run(USER, argv, check)

    def spawn(self, *argv, user=USER):
        """A process with its input and output connected. It has a day."""
        return subprocess.Popen(
            self._argv(user, argv, 86400), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def install(self, build, *drop_in):
        """Has the user's manager know the service of a build that is bound there, with these lines added to it."""
        self.user("sh", "-euc", INSTALL, "sh", build, "\n".join(drop_in))

    def reboot(self):
        """As after a power cut."""
        subprocess.run([SANDBOX, self.directory, "reboot"], check=True)

    def watch(self, unit="gitfsd.service"):
        """Where a tool watches the daemon, lets it do so in the service, which is shut in. To be called before the
        manager is told to look at its units."""
        if not patience.TOOL:
            return
        settings = {name: os.environ[name] for name in TOOL_SETTINGS if name in os.environ}
        inside = {name: re.sub(r"(?<=log_path=)[^:]*/", REPORTS + "/", value) for name, value in settings.items()}
        # It looks for leaks by way of ptrace().
        lines = ["[Service]", f"ReadWritePaths={REPORTS}", "SystemCallFilter=ptrace"]
        lines += [f"Environment={name}={value}" for name, value in inside.items()]
        text = "\n".join(lines) + "\n"
        directory = f".config/systemd/user/{unit}.d"
        self.root("install", "-d", "-m", "1777", REPORTS)
        self.user("sh", "-c", f"mkdir -p {directory} && printf %s {shlex.quote(text)} >{directory}/tool.conf")

    def print_reports(self):
        """What it had to say."""
        if patience.TOOL:
            print(self.root("sh", "-c", f"cat {REPORTS}/* 2>/dev/null || :"))

    def property(self, name, unit="gitfsd.service"):
        return self.user("systemctl", "--user", "show", f"--property={name}", "--value", unit)
