"""A booted systemd with an ordinary user (lib/systemd-sandbox) as an object, and gitfs installed in it.

    with Machine(directory, [(SOURCE, "/mnt")]) as machine:
        machine.user("systemctl", "--user", "start", "gitfsd")
"""

import os
import subprocess
import sys

SANDBOX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "systemd-sandbox")
USER = "alice"
SKIPPED = 77


class Machine:
    def __init__(self, directory, binds=()):
        """binds: (path outside, path inside), read-only."""
        self.directory = directory
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
            subprocess.run([SANDBOX, self.directory, "journal", "--lines", "80"], check=False)
        subprocess.run([SANDBOX, self.directory, "stop"], check=False)

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

    def spawn(self, *argv):
        """A process of the user, with its input and output connected. It has a day."""
        return subprocess.Popen(
            self._argv(USER, argv, 86400), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def reboot(self):
        """As after a power cut."""
        subprocess.run([SANDBOX, self.directory, "reboot"], check=True)

    def property(self, name, unit="gitfsd.service"):
        return self.user("systemctl", "--user", "show", f"--property={name}", "--value", unit)
