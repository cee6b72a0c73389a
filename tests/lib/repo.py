"""Building git repositories for the tests: quick, and the same object ids on every machine.

Ordinary content goes through `git fast-import`, which keeps 10,000 files below a second. What fast-import
refuses (hostile trees) goes through `git hash-object --literally`.
"""

import os
import shutil
import subprocess

# All fixtures are written by one person at fixed times, so that ids do not depend on who builds them.
WHO = "Test <test@example.org>"
EPOCH = 1700000000

FILE, EXEC, LINK, GITLINK = b"100644", b"100755", b"120000", b"160000"


def clean_environment():
    """An environment in which git reads no configuration of the machine or the user."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "XDG_", "DBUS_"))}
    env.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_AUTHOR_NAME="Test",
        GIT_AUTHOR_EMAIL="test@example.org",
        GIT_COMMITTER_NAME="Test",
        GIT_COMMITTER_EMAIL="test@example.org",
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C.UTF-8",
    )
    return env


def git(*args, cwd=None, stdin=None, env=None):
    """Runs git and returns its standard output as bytes; raises when it fails."""
    done = subprocess.run(
        ["git", *args],
        cwd=cwd,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**clean_environment(), **(env or {})},
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f'git {args}: {done.stderr.decode(errors="replace")}')
    return done.stdout


def git_text(*args, **kwargs):
    return git(*args, **kwargs).decode().strip()


def init_bare(path, object_format="sha1"):
    git("init", "-q", "--bare", "-b", "main", f"--object-format={object_format}", path)
    # What a forge allows; tests of lesser servers switch it off again.
    git("-C", path, "config", "uploadpack.allowFilter", "true")
    # Compression costs more time than everything else here and changes no object id.
    git("-C", path, "config", "core.compression", "0")
    git("-C", path, "config", "gc.auto", "0")
    # Created for http-backend, which serves only what is marked.
    open(os.path.join(path, "git-daemon-export-ok"), "w").close()
    return path


def quote(path):
    """A path as fast-import wants it, whatever bytes it holds."""
    out = bytearray(b'"')
    for byte in path:
        if byte in b'"\\':
            out += b"\\" + bytes([byte])
        elif byte < 0x20 or byte >= 0x7F:
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return bytes(out + b'"')


class Importer:
    """One `git fast-import`. Use as a context manager; the repository is complete afterwards."""

    def __init__(self, git_dir):
        self.git_dir = git_dir
        self._process = subprocess.Popen(
            [
                "git", "--git-dir", git_dir, "-c", "core.compression=0", "-c", "fastimport.unpackLimit=0",
                "fast-import", "--quiet", "--force", "--date-format=raw",
            ],
            stdin=subprocess.PIPE,
            env=clean_environment(),
        )  # fmt: skip
        self._mark = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self._process.stdin.close()
        if self._process.wait() != 0 and kind is None:
            raise RuntimeError(f"git fast-import failed in {self.git_dir}")

    def _write(self, data):
        self._process.stdin.write(data)

    def blob(self, data):
        self._mark += 1
        self._write(b"blob\nmark :%d\ndata %d\n" % (self._mark, len(data)))
        self._write(data)
        self._write(b"\n")
        return b":%d" % self._mark

    def commit(self, ref, message, files, deleted=(), when=EPOCH, parent=None):
        """files: (path, mode, content); the content of a GITLINK is the id of a commit."""
        files = [
            (path, mode, content if mode == GITLINK else self.blob(content))
            for path, mode, content in files
        ]
        return self.commit_marks(ref, message, files, deleted, when, parent)

    def commit_marks(self, ref, message, files, deleted=(), when=EPOCH, parent=None):
        """The same with what blob() returned instead of contents, for more than fits into memory."""
        self._mark += 1
        mark = self._mark
        self._write(b"commit %s\nmark :%d\n" % (ref.encode(), mark))
        self._write(b"author %s %d +0000\n" % (WHO.encode(), when))
        self._write(b"committer %s %d +0000\n" % (WHO.encode(), when))
        self._write(b"data %d\n%s\n" % (len(message.encode()), message.encode()))
        if parent:
            self._write(b"from %s\n" % parent)
        for path in deleted:
            self._write(b"D %s\n" % quote(path))
        for path, mode, content in files:
            self._write(b"M %s %s %s\n" % (mode, content, quote(path)))
        self._write(b"\n")
        return b":%d" % mark

    def tag(self, name, target, when=EPOCH):
        message = f"tag {name}".encode()
        self._write(b"tag %s\nfrom %s\n" % (name.encode(), target))
        self._write(b"tagger %s %d +0000\n" % (WHO.encode(), when))
        self._write(b"data %d\n%s\n" % (len(message), message))

    def reset(self, ref, target):
        self._write(b"reset %s\nfrom %s\n\n" % (ref.encode(), target))


def simple_repo(path, files, message="first", when=EPOCH):
    """A bare repository with one commit on main. files: {path: content}, both as bytes or str."""
    init_bare(path)
    commit_files(path, files, message=message, when=when)
    return path


def commit_files(path, files, branch="main", message="next", when=EPOCH, deleted=()):
    """One more commit on a branch; returns its id."""

    def data(value):
        return value.encode() if isinstance(value, str) else value

    entries = []
    for name, content in files.items():
        mode = FILE
        if isinstance(content, tuple):
            mode, content = content
        entries.append((data(name), mode, data(content)))
    ref = f"refs/heads/{branch}"
    exists = subprocess.run(
        ["git", "--git-dir", path, "rev-parse", "-q", "--verify", ref],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
        check=False,
    )
    parent = f"{ref}^0".encode() if exists.returncode == 0 else None
    with Importer(path) as importer:
        importer.commit(
            ref, message, entries, deleted=[data(d) for d in deleted], when=when, parent=parent
        )
    return git_text("--git-dir", path, "rev-parse", ref)


def hash_raw(git_dir, kind, data):
    """Writes an object that git itself would refuse."""
    return git_text(
        "--git-dir", git_dir, "hash-object", "-t", kind, "--literally", "-w", "--stdin", stdin=data
    )


def raw_tree(git_dir, entries):
    """entries: (mode, name, hex id), written in exactly this order."""
    return hash_raw(
        git_dir, "tree", b"".join(b"%s %s\0" % (m, n) + bytes.fromhex(i) for m, n, i in entries)
    )


def raw_commit(git_dir, tree, message="raw", ref="refs/heads/main", when=EPOCH):
    text = f"tree {tree}\nauthor {WHO} {when} +0000\ncommitter {WHO} {when} +0000\n\n{message}\n"
    commit = hash_raw(git_dir, "commit", text.encode())
    git("--git-dir", git_dir, "update-ref", ref, commit)
    return commit


def clone(source, target, *options):
    """A clone as the reference: modes as with umask 022, contents byte for byte as committed."""
    old = os.umask(0o022)
    try:
        settings = ["-c", "core.autocrlf=false", "-c", "advice.detachedHead=false"]
        git(*settings, "clone", "-q", *options, source, target)
    finally:
        os.umask(old)
    return target


def copy_bare(source, target):
    """A copy that a test may change."""
    shutil.copytree(source, target, symlinks=True)
    return target
