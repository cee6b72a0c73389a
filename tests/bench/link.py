"""The link between the programs and the git server: latency-proxy, one process for each kind of link."""

import json
import os
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Round trip in milliseconds, and whether windows grow as those of TCP do."""

    rtt: int
    slow_start: bool = False

    def __str__(self):
        return f"{self.rtt} ms" + (", slow start" if self.slow_start else "")


class Link:
    """A running proxy to a server; `url` leads through it. Ends with the process that made it."""

    def __init__(self, program, server_url, kind, *options):
        self.kind = kind
        scheme, _, rest = server_url.partition("://")
        host, _, port = rest.partition(":")
        command = [program, "--target", port.strip("/"), "--rtt", str(kind.rtt), *options]
        if kind.slow_start:
            command.append("--slow-start")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"{scheme}://{host}:{int(self._process.stdout.readline())}"

    def counters(self):
        """Since the start: connections, open, bytes_up, bytes_down, turns."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def program(build):
    path = os.path.join(build, "tests", "bench", "latency-proxy")
    if not os.path.exists(path):
        raise SystemExit(f"{path} is not built")
    return path
