"""An HTTP proxy in front of a real git server, which breaks what passes through it as a test asks.

    proxy = Proxy(server.url).start()
    proxy.fault = lambda request: Stall(1000) if request.kind == "fetch" else None

The answers are those of the real server until the fault is applied, so a "truncated pack" is a good pack that
ends early. Nothing here depends on time: a stalled answer waits until the test releases it.
"""

import contextlib
import gzip
import http.client
import re
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

import patience


@dataclass
class Status:
    """Answers with a status instead of asking the server."""

    code: int
    body: bytes = b"<html><body>no</body></html>\n"
    headers: dict = field(default_factory=dict)


@dataclass
class Truncate:
    """Ends the connection after so many bytes of the body, in the middle of a chunk."""

    after: int


@dataclass
class Stall:
    """Sends so many bytes of the body and the rest only when the test calls release()."""

    after: int


@dataclass
class Edit:
    """Changes the body of the answer: bytes to bytes."""

    function: callable


@dataclass
class Rewrite:
    """Changes the body of the request before the server sees it: bytes to bytes."""

    function: callable


@dataclass
class Flood:
    """Sends the first bytes, and then the others until the client has enough."""

    start: bytes
    again: bytes


class Drop:
    """Closes the connection without an answer."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def kind(self):
        """info, ls-refs, fetch, object-info, v0 (a POST without a command) or other."""
        if self.method == "GET":
            return "info" if "/info/refs" in self.path else "other"
        command = re.search(rb"command=([a-z-]+)", self.body[:200])
        return command[1].decode() if command else "v0"

    @property
    def wants(self):
        return re.findall(rb"want ([0-9a-f]{40})", self.body)


def strip_capability(name):
    """A fault for the "info" request: the server no longer says that it can do something."""

    def edit(body):
        out, at = b"", 0
        while at < len(body):
            length = int(body[at : at + 4], 16)
            packet = body[at : at + max(length, 4)]
            if length > 4:
                text = packet[4:].rstrip(b"\n")
                if text.split(b"=")[0] == name:
                    packet = b""
                elif text.startswith(b"fetch=") and name in text:
                    text = b" ".join(w for w in text.replace(b"fetch=", b"fetch= ").split() if w != name)
                    text = text.replace(b"fetch= ", b"fetch=") + b"\n"
                    packet = b"%04x%s" % (len(text) + 4, text)
            out += packet
            at += max(length, 4)
        return out

    return Edit(edit)


class Proxy:
    def __init__(self, upstream, tls=None):
        self.tls = tls  # an ssl.SSLContext: speaks https; for connections from now on
        self.upstream = urllib.parse.urlsplit(upstream)
        self.fault = lambda request: None
        self.requests = []  # every Request that arrived, in order
        self.stalled = 0  # answers that wait for release()
        self.active = self.peak = 0  # requests that are not answered yet, now and at most
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._listener = None
        self._connections = set()
        self._port = 0

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def start(self):
        """Listens; the same port again after a kill()."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(256)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def kill(self):
        """The server dies: connections are reset, new ones refused."""
        # shutdown() wakes the thread in accept(); close() alone would leave it listening.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.release()

    def release(self):
        """Lets all stalled answers go on, and those to come."""
        self._released.set()

    def hold(self):
        """Stalls answers again after a release()."""
        self._released.clear()

    def wait(self, condition, what, seconds=30):
        """Waits for something that a request changes; condition() is called with the lock held."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds * patience.TIMES):
                raise AssertionError(f"{what}: not within {seconds} seconds; saw {self.kinds()}")

    def wait_stalled(self, n=1):
        self.wait(lambda: self.stalled >= n, f"{n} stalled answers")

    def kinds(self):
        return [r.kind for r in self.requests]

    # --- one thread for each connection ---

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _secure(self, connection):
        """The connection as it is spoken on: with TLS the first one is nobody's any more."""
        secure = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._connections.discard(connection)
            self._connections.add(secure)
        return secure

    def _serve(self, connection):
        # Whatever the client does to its connection ends this thread and nothing else.
        try:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                if self.tls:
                    connection = self._secure(connection)
                    connection.do_handshake()
                stream = connection.makefile("rb")
                while request := self._read(stream, connection):
                    with self._changed:
                        self.requests.append(request)
                        self.active += 1
                        self.peak = max(self.peak, self.active)
                        self._changed.notify_all()
                    try:
                        if not self._answer(connection, request):
                            break
                    finally:
                        with self._changed:
                            self.active -= 1
        finally:
            with self._changed:
                self._connections.discard(connection)
            connection.close()

    @staticmethod
    def _read(stream, connection):
        line = stream.readline(65536)
        if not line:
            return None
        method, path, _ = line.decode("latin-1").split()
        headers = {k.lower(): v for k, v in http.client.parse_headers(stream).items()}
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
        else:
            body = stream.read(int(headers.get("content-length", 0)))
        if headers.pop("content-encoding", "") in ("gzip", "x-gzip"):
            body = gzip.decompress(body)
        return Request(method, path, headers, body)

    def _forward(self, request, body):
        upstream = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port)
        skip = ("host", "connection", "content-length", "transfer-encoding", "expect", "accept-encoding")
        headers = {k: v for k, v in request.headers.items() if k not in skip}
        upstream.request(request.method, request.path, body=body or None, headers=headers)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        keep = ("content-type", "www-authenticate", "cache-control")
        return answer.status, {k: v for k, v in answer.getheaders() if k.lower() in keep}, data

    def _answer(self, connection, request):
        """Returns whether the connection can be used again."""
        fault = self.fault(request)
        if isinstance(fault, Drop):
            return False
        if isinstance(fault, Flood):
            connection.sendall(fault.start)
            while True:
                connection.sendall(fault.again)
        body = fault.function(request.body) if isinstance(fault, Rewrite) else request.body
        if isinstance(fault, Status):
            headers = {"Content-Type": "text/html", **fault.headers}
            status, data = fault.code, fault.body
        else:
            status, headers, data = self._forward(request, body)
        if isinstance(fault, Edit):
            data = fault.function(data)
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        head += f"Content-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode("latin-1"))
        if isinstance(fault, Truncate):
            connection.sendall(data[: fault.after])
            return False
        sent = 0
        if isinstance(fault, Stall) and not self._released.is_set():
            sent = min(fault.after, len(data))
            connection.sendall(data[:sent])
            with self._changed:
                self.stalled += 1
                self._changed.notify_all()
            self._released.wait()
            with self._changed:
                self.stalled -= 1
        connection.sendall(data[sent:])
        return True


class Silent:
    """A server that accepts connections, reads nothing and never answers."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self):
        self._listener.close()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def elapsed(function, *arguments):
    """(seconds, result or OSError) of a call. Seconds as they are without a tool that slows the daemon down."""
    started = time.monotonic()
    try:
        result = function(*arguments)
    except OSError as e:
        result = e
    return (time.monotonic() - started) / patience.TIMES, result
