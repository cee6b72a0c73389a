"""The part of the service manager that a mount needs to outlive its daemon: keeps the descriptors that one gitfsd
stores, and hands them to the next.

    t.keeper = keeper.Keeper()
    t.start()
    t.crash()
    t.start()           # takes the mount over
"""

import fcntl
import os
import socket

# Out of the way of where they are handed over.
ABOVE = 100

HAND_OVER = r"""
n=3
for fd in $1; do
        eval "exec $n<&$fd $fd<&-"
        n=$((n + 1))
done
export LISTEN_FDS=$((n - 3)) LISTEN_FDNAMES=$2 LISTEN_PID=$$
shift 2
exec "$@"
"""


class Keeper:
    def __init__(self):
        self._kept = []  # (name, descriptor)

    def hear(self, notify):
        """One message of the daemon's; returns its text."""
        text, descriptors, _, _ = socket.recv_fds(notify, 65536, 8)
        fields = dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)
        name = fields.get("FDNAME", "")
        if "FDSTORE" in fields:
            self._kept += [(name, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE)) for fd in descriptors]
        if "FDSTOREREMOVE" in fields:
            for _, fd in [kept for kept in self._kept if kept[0] == name]:
                os.close(fd)
            self._kept = [kept for kept in self._kept if kept[0] != name]
        for fd in descriptors:
            os.close(fd)  # of a barrier: so it is told that what came before was heard
        return text

    def descriptors(self):
        return tuple(fd for _, fd in self._kept)

    def command(self, command):
        """The same, started with what is kept; to be given descriptors() open."""
        if not self._kept:
            return command
        descriptors = " ".join(map(str, self.descriptors()))
        return ["bash", "-euc", HAND_OVER, "bash", descriptors, ":".join(name for name, _ in self._kept), *command]
