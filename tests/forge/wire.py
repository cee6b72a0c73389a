"""HTTP/1.1: requests in, answers out, one log line for each; and the faults that strike before an answer is made.

A request is logged before its answer leaves: whoever has the answer finds the line.
"""

import base64
import binascii
import email.utils
import hashlib
import http.server
import json
import os
import socket
import threading
import time
import traceback
import urllib.parse

BODY_MAX = 8 << 20
LOGGED_BODY = 1 << 20


class Response:
    """body: bytes, something to be written as JSON, or an iterator of bytes (sent chunked)."""

    def __init__(self, status, body=b"", headers=(), content_type=None):
        self.status = status
        self.headers = dict(headers)
        self.body = body
        if isinstance(body, (dict, list)):
            self.body = json.dumps(body, separators=(",", ":")).encode()
            content_type = content_type or "application/json; charset=utf-8"
        elif isinstance(body, str):
            self.body = body.encode()
            content_type = content_type or "text/plain; charset=utf-8"
        if content_type:
            self.headers.setdefault("Content-Type", content_type)

    @property
    def streamed(self):
        return not isinstance(self.body, bytes)


class Drop(Exception):
    """The connection ends here, without an answer."""


class Request:
    """One request. `kind` says what it counts as: rest, graphql or git."""

    def __init__(self, handler, kind):
        self.method = handler.command
        self.target = handler.path
        self.kind = kind
        self.raw_path, _, self.query_text = handler.path.partition("?")
        self.path = urllib.parse.unquote(self.raw_path)
        self.query = dict(urllib.parse.parse_qsl(self.query_text, keep_blank_values=True))
        self.headers = handler.headers
        self.handler = handler
        self.content = b""
        self.notes = {}  # what the log says besides

    @property
    def origin(self):
        return f'http://{self.headers.get("Host", "localhost")}'

    def parts(self, prefix):
        """The components behind a prefix of the path, each decoded by itself: %2F is no separator."""
        rest = self.raw_path.removeprefix(prefix).strip("/")
        return [urllib.parse.unquote(p) for p in rest.split("/")] if rest else []

    def token(self):
        """What the client authenticates with, however it is sent; None without."""
        private = self.headers.get("PRIVATE-TOKEN")
        if private:
            return private
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return basic_password(value)
        return value.strip() or None

    def number(self, name, default, most=None):
        try:
            value = int(self.query.get(name, default))
        except ValueError:
            value = default
        value = value if value > 0 else default
        return min(value, most) if most else value


def basic_password(value):
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password or user or None


def token_hash(token):
    """How the log calls a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else None


class Log:
    def __init__(self, path):
        self._lock = threading.Lock()
        self._path = path
        self._lines = []

    def add(self, entry):
        with self._lock:
            self._lines.append(entry)
            with open(self._path, "a", encoding="utf-8") as f:
                f.write(json.dumps(entry) + "\n")

    def lines(self, forge):
        with self._lock:
            return [entry for entry in self._lines if entry["forge"] == forge]


def read_chunked(stream):
    """The pieces of a chunked body."""
    while True:
        length = int(stream.readline(64).split(b";")[0], 16)
        if length == 0:
            while stream.readline(65536).strip():
                pass
            return
        while length > 0:
            piece = stream.read(min(length, 65536))
            if not piece:
                raise Drop
            length -= len(piece)
            yield piece
        stream.readline(64)


def body_pieces(handler):
    """The body of a request, in pieces as they come."""
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        yield from read_chunked(handler.rfile)
        return
    left = int(handler.headers.get("Content-Length") or 0)
    while left > 0:
        piece = handler.rfile.read(min(left, 65536))
        if not piece:
            raise Drop
        left -= len(piece)
        yield piece


class Handler(http.server.BaseHTTPRequestHandler):
    """Subclassed for each forge; `forge` is set there."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes, and nobody shall wait for the second.
    disable_nagle_algorithm = True
    wbufsize = 65536
    forge = None

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def version_string(self):
        return self.forge.server_name

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + self.forge.knobs["clock"], usegmt=True)

    def _handle(self):
        try:
            if self.path.startswith("/_"):
                self._send(self._control())
            else:
                self._serve()
        except (Drop, ConnectionError, socket.timeout):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _control(self):
        """For the test, not for the program that is tested."""
        content = b"".join(body_pieces(self))
        if self.path == "/_knobs":
            if self.command == "POST":
                try:
                    self.forge.turn(json.loads(content))
                except ValueError as e:
                    return Response(400, str(e))
            return Response(200, self.forge.knobs.all())
        if self.path == "/_log":
            return Response(200, self.forge.log.lines(self.forge.name))
        return Response(404, "no such control\n")

    def _serve(self):
        forge = self.forge
        request = Request(self, forge.kind_of(self.path.partition("?")[0]))
        if request.kind != "git":
            request.content = self._small_body()
        latency = forge.knobs["git_latency" if request.kind == "git" else "latency"]
        if latency:
            time.sleep(latency)
        fault = forge.knobs.fault(request.method, request.target)
        response = self._faulty(request, fault) if fault else None
        if response is not None and request.kind == "git":
            for _ in body_pieces(self):
                pass  # else the connection could not be used again
        if response is None:
            response = forge.answer(request)
        self._log(request, response)
        self._send(response, request, (fault or {}).get("cut"))

    def _small_body(self):
        content = bytearray()
        for piece in body_pieces(self):
            content += piece
            if len(content) > BODY_MAX:
                raise Drop
        return bytes(content)

    def _faulty(self, request, fault):
        """The answer that a fault makes; None for a fault of the answer that is to come."""
        if "drop" in fault:
            raise Drop
        if "redirect" in fault:
            return Response(fault.get("code", 302), "moved\n", {"Location": fault["redirect"] + request.target})
        if "status" in fault:
            return Response(fault["status"], fault.get("body", {"message": "Server Error"}), fault.get("headers", {}))
        if "raw" in fault:
            return Response(200, fault["raw"], fault.get("headers", {}), "application/json; charset=utf-8")
        return None

    def _log(self, request, response):
        token = request.token()
        conditional = "If-None-Match" in request.headers or "If-Modified-Since" in request.headers
        entry = {
            "forge": self.forge.name, "class": request.kind, "method": request.method, "target": request.target,
            "status": response.status, "token": token_hash(token), "conditional": conditional,
            "time": round(time.monotonic(), 6), **request.notes,
        }  # fmt: skip
        if request.kind == "graphql":
            entry["query"] = request.content.decode("utf-8", "replace")[:LOGGED_BODY]
        if self.forge.knobs["record"] and request.kind != "git":
            entry["request_headers"] = {
                k: v for k, v in request.headers.items() if k.lower() not in ("authorization", "private-token")
            }
            entry["response_headers"] = response.headers
            if not response.streamed and len(response.body) < LOGGED_BODY:
                entry["body"] = response.body.decode("utf-8", "replace")
        self.forge.log.add(entry)

    def _send(self, response, request=None, cut=None):
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        if response.streamed:
            self.send_header("Transfer-Encoding", "chunked")
        elif response.status not in (204, 304) and "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if bodiless:
            pass
        elif response.streamed:
            self._send_chunked(response.body, cut)
        elif cut is not None:
            self.wfile.write(response.body[:cut])
            self.wfile.flush()
            raise Drop
        else:
            self._send_body(response.body, request)
        self.wfile.flush()

    def _send_body(self, body, request):
        drip = self.forge.knobs["drip"] if request and request.kind != "git" else 0
        if not drip:
            self.wfile.write(body)
            return
        step = max(drip // 20, 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            time.sleep(0.05)

    def _send_chunked(self, pieces, cut):
        sent = 0
        for piece in pieces:
            if cut is not None and sent + len(piece) > cut:
                piece = piece[: cut - sent]
            if piece:
                self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
                self.wfile.flush()
            sent += len(piece)
            if cut is not None and sent >= cut:
                raise Drop
        self.wfile.write(b"0\r\n\r\n")


class Listener(http.server.ThreadingHTTPServer):
    """One port; accepts from the moment that it exists."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, forge, port=0):
        self.forge = forge
        super().__init__(("127.0.0.1", port), type("Bound" + type(forge).__name__, (Handler,), {"forge": forge}))

    def handle_error(self, request, client_address):
        """A fault of the forge itself must not look like one of the program that is tested."""
        traceback.print_exc()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self):
        threading.Thread(target=self.serve_forever, args=(60,), daemon=True, name=f"forge-{os.getpid()}").start()
        return self
