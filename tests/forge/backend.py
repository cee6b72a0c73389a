"""The content of repositories over HTTP: git http-backend as a CGI program, streaming both ways."""

import subprocess

import objects
import wire

SERVICES = ("/info/refs", "/git-upload-pack")


def is_git(path):
    return path.endswith(SERVICES)


def split(path):
    """("acme/app", "/info/refs") from the path of a request."""
    for service in SERVICES:
        if path.endswith(service):
            return path.removesuffix(service).strip("/").removesuffix(".git"), service
    raise ValueError(path)


def _environment(request, directory, service, object_info):
    headers = request.headers
    env = dict(objects.ENVIRONMENT)
    config = [("safe.directory", "*"), ("uploadpack.allowFilter", "true")]
    # What git of Debian 12 advertises always, newer git only when told so.
    config.append(("transfer.advertiseObjectInfo", str(object_info).lower()))
    env["GIT_CONFIG_COUNT"] = str(len(config))
    for i, (key, value) in enumerate(config):
        env[f"GIT_CONFIG_KEY_{i}"], env[f"GIT_CONFIG_VALUE_{i}"] = key, value
    env.update(
        GIT_PROJECT_ROOT=directory,
        GIT_HTTP_EXPORT_ALL="1",
        PATH_INFO=service,
        PATH_TRANSLATED=directory + service,
        REQUEST_METHOD=request.method,
        QUERY_STRING=request.query_text,
        CONTENT_TYPE=headers.get("Content-Type", ""),
        REMOTE_ADDR="127.0.0.1",
    )
    for name, header in (
        ("CONTENT_LENGTH", "Content-Length"),
        ("HTTP_CONTENT_ENCODING", "Content-Encoding"),
        ("GIT_PROTOCOL", "Git-Protocol"),
    ):
        if headers.get(header):
            env[name] = headers[header]
    return env


def _feed(process, request):
    """upload-pack reads all of a request before it answers, so no thread is needed for this."""
    try:
        for piece in wire.body_pieces(request.handler):
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        for _ in wire.body_pieces(request.handler):
            pass


def _header(stream):
    status, headers = 200, {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers[name] = value.strip()
    return status, headers


def _output(process, strip):
    try:
        if strip:
            yield strip(process.stdout.read())
        else:
            while piece := process.stdout.read1(65536):
                yield piece
    finally:
        process.stdout.close()
        process.wait()


def without_object_info(advertisement):
    return advertisement.replace(b"0010object-info\n", b"")


def serve(request, directory, service, object_info=True):
    """The answer of git itself."""
    process = subprocess.Popen(
        ["git", "http-backend"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(request, directory, service, object_info),
    )
    _feed(process, request)
    status, headers = _header(process.stdout)
    strip = without_object_info if service == "/info/refs" and not object_info else None
    return wire.Response(status, _output(process, strip), headers)
