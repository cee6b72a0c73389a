"""Walks a directory tree as a critical program would, and compares two such walks.

scan() keeps names as bytes and reads directories with getdents64() itself, because what the kernel says in an
entry (d_ino, d_type) is part of what is compared. compare() lists every difference between two trees;
properties() lists what is wrong with a tree regardless of any other.
"""

import ctypes
import errno
import hashlib
import os
import stat
import struct
from dataclasses import dataclass, field

_libc = ctypes.CDLL(None, use_errno=True)

D_TYPES = {
    stat.S_IFDIR: 4, stat.S_IFREG: 8, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFCHR: 2, stat.S_IFBLK: 6,
    stat.S_IFSOCK: 12,
}  # fmt: skip


def getdents(fd, size=32768):
    """Yields (name, d_ino, d_type, d_off) until the end of an open directory, read `size` bytes at a time."""
    buffer = ctypes.create_string_buffer(size)
    while True:
        n = _libc.getdents64(fd, buffer, ctypes.c_size_t(size))
        if n < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        if n == 0:
            return
        raw, at = buffer.raw[:n], 0
        while at < n:
            ino, off, length, kind = struct.unpack_from("=QqHB", raw, at)
            yield raw[at + 19 : at + length].split(b"\0", 1)[0], ino, kind, off
            at += length


@dataclass
class Entry:
    mode: int
    size: int
    content: bytes  # SHA-256 of a file, target of a link, sorted names of a directory
    status: os.stat_result = field(repr=False)
    d_ino: int = 0
    d_type: int = 0


def _file_digest(path):
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while chunk := os.read(fd, 1 << 20):
            digest.update(chunk)
    finally:
        os.close(fd)
    return digest.digest()


def scan(root, contents=True):
    """{path relative to root: Entry}, the root itself as b''. A ".git" at the top is left out."""
    root = os.fsencode(root)
    found = {}
    queue = [(b"", 0, 0)]
    while queue:
        path, d_ino, d_type = queue.pop()
        full = os.path.join(root, path) if path else root
        status = os.lstat(full)
        content = b""
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = list(getdents(fd))
            finally:
                os.close(fd)
            names = [n for n in names if n[0] not in (b".", b"..") and (path or n[0] != b".git")]
            # A name that is listed twice makes a difference here, although it is one key below.
            content = b"\0".join(sorted(n[0] for n in names))
            # In the order of the names, as most programs go.
            names.sort(reverse=True)
            queue += [(os.path.join(path, name), ino, kind) for name, ino, kind, _ in names]
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(full)
        elif stat.S_ISREG(status.st_mode) and contents:
            content = _file_digest(full)
        found[path] = Entry(status.st_mode, status.st_size, content, status, d_ino, d_type)
    return found


def compare(expected, got):
    """What differs, one line each: names, types, modes, sizes, contents, targets."""
    lines = [f"missing: {p!r}" for p in sorted(expected.keys() - got.keys())]
    lines += [f"not expected: {p!r}" for p in sorted(got.keys() - expected.keys())]
    for path in sorted(expected.keys() & got.keys()):
        a, b = expected[path], got[path]
        if a.mode != b.mode:
            lines.append(f"{path!r}: mode {b.mode:o} instead of {a.mode:o}")
        # The size of a directory is the file system's own affair.
        if not stat.S_ISDIR(a.mode) and a.size != b.size:
            lines.append(f"{path!r}: size {b.size} instead of {a.size}")
        if a.content != b.content:
            lines.append(f"{path!r}: content differs")
    return lines


def properties(tree, mtime=None, uid=None):
    """What is wrong with a tree in itself; mtime is what all its times should be, uid the owner."""
    lines = []
    seen = {}
    for path, entry in tree.items():
        s = entry.status
        if s.st_ino in seen:
            lines.append(f"{path!r}: inode number {s.st_ino} is that of {seen[s.st_ino]!r} too")
        seen[s.st_ino] = path
        if stat.S_ISREG(s.st_mode) and s.st_blocks * 512 < s.st_size:
            lines.append(f"{path!r}: {s.st_blocks} blocks do not hold {s.st_size} bytes")
        if stat.S_ISLNK(s.st_mode) and s.st_size != len(entry.content):
            lines.append(f"{path!r}: size {s.st_size}, but the target has {len(entry.content)} bytes")
        if not stat.S_ISDIR(s.st_mode) and s.st_nlink != 1:
            lines.append(f"{path!r}: {s.st_nlink} links")
        if path and entry.d_ino != s.st_ino:
            lines.append(f"{path!r}: d_ino {entry.d_ino}, st_ino {s.st_ino}")
        if path and entry.d_type != D_TYPES[stat.S_IFMT(s.st_mode)]:
            lines.append(f"{path!r}: d_type {entry.d_type} of mode {s.st_mode:o}")
        if mtime is not None and int(s.st_mtime) != mtime:
            lines.append(f"{path!r}: mtime {int(s.st_mtime)} instead of {mtime}")
        if uid is not None and s.st_uid != uid:
            lines.append(f"{path!r}: belongs to {s.st_uid} instead of {uid}")
    return lines


def positions(directory):
    """What is wrong with the positions in a directory: reading on from any of them must give the rest."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lines = []
    try:
        entries = list(getdents(fd))
        names = [e[0] for e in entries]
        if len(set(names)) != len(names):
            lines.append("a name is listed twice")
        if names.count(b".") != 1 or names.count(b"..") != 1:
            lines.append('"." and ".." are not listed once')
        for i in sorted({0, 1, 2, len(entries) // 2, len(entries) - 1} & set(range(len(entries)))):
            os.lseek(fd, entries[i][3], os.SEEK_SET)
            if [e[0] for e in getdents(fd)] != names[i + 1 :]:
                lines.append(f"reading on from position {i} does not give the rest")
        os.lseek(fd, 0, os.SEEK_SET)
        if [e[0] for e in getdents(fd)] != names:
            lines.append("a second reading from the start gives something else")
    finally:
        os.close(fd)
    return lines


def _open_close(path, flags, mode=0o644):
    os.close(os.open(path, flags, mode))


def bad_calls(directory, file, link):
    """Calls that a read-only tree refuses, as {what: errno}. 0 means that it was allowed.

    `directory`, `file` and `link` exist below the tree; all three are absolute paths in bytes."""
    new = directory + b"/no-such-name"
    calls = {
        "open missing": (_open_close, new, os.O_RDONLY),
        "open for writing": (_open_close, file, os.O_WRONLY),
        "open read-write": (_open_close, file, os.O_RDWR),
        "open truncating": (_open_close, file, os.O_RDONLY | os.O_TRUNC),
        "open appending": (_open_close, file, os.O_WRONLY | os.O_APPEND),
        "create": (_open_close, new, os.O_WRONLY | os.O_CREAT),
        "create exclusively": (_open_close, file, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        "open O_TMPFILE": (_open_close, directory, os.O_WRONLY | os.O_TMPFILE),
        "open directory for writing": (_open_close, directory, os.O_WRONLY),
        "open file as directory": (_open_close, file, os.O_RDONLY | os.O_DIRECTORY),
        "open link without following": (_open_close, link, os.O_RDONLY | os.O_NOFOLLOW),
        "through a file": (os.stat, file + b"/x"),
        "trailing slash on a file": (os.stat, file + b"/"),
        "name of 256 bytes": (os.stat, directory + b"/" + b"n" * 256),
        "name of 255 bytes": (os.stat, directory + b"/" + b"n" * 255),
        "path of 5000 bytes": (os.stat, directory + b"/." * 2500),
        "mkdir": (os.mkdir, new),
        "mkdir existing": (os.mkdir, directory),
        "mknod": (os.mknod, new),
        "mkfifo": (os.mkfifo, new),
        "symlink": (os.symlink, b"x", new),
        "link": (os.link, file, new),
        "rename": (os.rename, file, new),
        "rename over": (os.rename, file, link),
        "unlink": (os.unlink, file),
        "unlink missing": (os.unlink, new),
        "unlink directory": (os.unlink, directory),
        "rmdir": (os.rmdir, directory),
        "rmdir file": (os.rmdir, file),
        "chmod": (os.chmod, file, 0o600),
        "chown": (os.chown, file, 0, 0),
        "utime": (os.utime, file),
        "truncate": (os.truncate, file, 0),
        "setxattr": (os.setxattr, file, b"user.x", b"y"),
        "removexattr": (os.removexattr, file, b"user.x"),
        "getxattr missing": (os.getxattr, file, b"user.no-such"),
        "readlink of a file": (os.readlink, file),
        "readdir of a file": (os.listdir, file),
        "read a directory": (_read_directory, directory),
    }
    got = {}
    for what, (call, *arguments) in calls.items():
        try:
            call(*arguments)
            got[what] = 0
        except OSError as e:
            got[what] = e.errno
    got["access W_OK"] = 0 if not os.access(file, os.W_OK) else 1
    got["ST_RDONLY"] = os.statvfs(file).f_flag & os.ST_RDONLY
    got["NAME_MAX"] = os.statvfs(file).f_namemax
    return got


def _read_directory(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.read(fd, 1)
    finally:
        os.close(fd)


# What bad_calls() gives on a read-only bind mount of ext4; selftest.py checks that this is still so.
READ_ONLY_TREE = {
    "open missing": errno.ENOENT,
    "open for writing": errno.EROFS,
    "open read-write": errno.EROFS,
    "open truncating": errno.EROFS,
    "open appending": errno.EROFS,
    "create": errno.EROFS,
    "create exclusively": errno.EEXIST,
    "open O_TMPFILE": errno.EROFS,
    "open directory for writing": errno.EISDIR,
    "open file as directory": errno.ENOTDIR,
    "open link without following": errno.ELOOP,
    "through a file": errno.ENOTDIR,
    "trailing slash on a file": errno.ENOTDIR,
    "name of 256 bytes": errno.ENAMETOOLONG,
    "name of 255 bytes": errno.ENOENT,
    "path of 5000 bytes": errno.ENAMETOOLONG,
    "mkdir": errno.EROFS,
    "mkdir existing": errno.EEXIST,
    "mknod": errno.EROFS,
    "mkfifo": errno.EROFS,
    "symlink": errno.EROFS,
    "link": errno.EROFS,
    "rename": errno.EROFS,
    "rename over": errno.EROFS,
    "unlink": errno.EROFS,
    "unlink missing": errno.EROFS,
    "unlink directory": errno.EROFS,
    "rmdir": errno.EROFS,
    "rmdir file": errno.EROFS,
    "chmod": errno.EROFS,
    "chown": errno.EROFS,
    "utime": errno.EROFS,
    "truncate": errno.EROFS,
    "setxattr": errno.EROFS,
    "removexattr": errno.EROFS,
    "getxattr missing": errno.ENODATA,
    "readlink of a file": errno.EINVAL,
    "readdir of a file": errno.ENOTDIR,
    "read a directory": errno.EISDIR,
    "access W_OK": 0,
    "ST_RDONLY": os.ST_RDONLY,
    "NAME_MAX": 255,
}
