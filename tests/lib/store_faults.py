"""Faults of the disk below a cache: what is done to its files, chosen and placed by a seed.

A fault is a function(rng, cache) that returns what it did, or None where there was nothing to do it to. Those in
STOPPED happen while no daemon runs, as after a crash or a power cut; those in RUNNING while one serves.
"""

import glob
import os
import shutil

PAGE = 4096


def _segments(cache):
    return sorted(glob.glob(os.path.join(cache, "*.seg")))


def _files(cache):
    """Segments and documents; only those that are regular files."""
    documents = glob.glob(os.path.join(cache, "documents", "*"))
    return [path for path in _segments(cache) * 4 + sorted(documents) if os.path.isfile(path)]


def _choose(rng, paths):
    return rng.choice(paths) if paths else None


def _name(path):
    return os.path.basename(path)


def _new_segment(rng, cache):
    return os.path.join(cache, f"{rng.randrange(1 << 20):016x}.seg")


def _edit(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def flip_bits(rng, cache):
    path = _choose(rng, [p for p in _files(cache) if os.path.getsize(p) > 0])
    if not path:
        return None
    n = rng.choice((1, 1, 1, 10, 100))
    with open(path, "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        for _ in range(n):
            # The ends, where headers and the index are, as often as the middle.
            at = rng.choice((rng.randrange(min(size, 256)), rng.randrange(size), size - 1 - rng.randrange(min(size, 8192))))
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << rng.randrange(8))]))
    return f"{n} bits of {_name(path)}"


def cut(rng, cache):
    path = _choose(rng, _files(cache))
    if not path:
        return None
    size = rng.choice((0, rng.randrange(100), rng.randrange(os.path.getsize(path) + 1)))
    os.truncate(path, size)
    return f"{_name(path)} cut to {size}"


def fail_to_read(rng, cache):
    """Pages that cannot be read any more, as from a broken disk: a file that ends before them does the same."""
    path = _choose(rng, [p for p in _segments(cache) if os.path.isfile(p)])
    if not path:
        return None
    pages = rng.randrange(os.path.getsize(path) // PAGE + 1)
    os.truncate(path, pages * PAGE)
    return f"all but {pages} pages of {_name(path)}"


def grow(rng, cache):
    path = _choose(rng, _files(cache))
    if not path:
        return None
    if rng.randrange(2):
        os.truncate(path, os.path.getsize(path) + rng.choice((1, PAGE, 1 << 30, 1 << 42)))
        return f"a hole behind {_name(path)}"
    with open(path, "ab") as f:
        f.write(rng.randbytes(rng.randrange(3 * PAGE)))
    return f"bytes behind {_name(path)}"


def lose_pages(rng, cache):
    """As when a power cut comes before they were written."""
    path = _choose(rng, [p for p in _segments(cache) if os.path.isfile(p) and os.path.getsize(p) > PAGE])
    if not path:
        return None
    pages = os.path.getsize(path) // PAGE
    lost = rng.sample(range(pages), rng.randrange(1, pages + 1))
    for page in lost:
        _edit(path, page * PAGE, bytes(PAGE))
    return f"{len(lost)} of {pages} pages of {_name(path)}"


def misplace_a_page(rng, cache):
    paths = [p for p in _segments(cache) if os.path.isfile(p) and os.path.getsize(p) > 2 * PAGE]
    if not paths:
        return None
    source, target = rng.choice(paths), rng.choice(paths)
    with open(source, "rb") as f:
        f.seek(rng.randrange(os.path.getsize(source) // PAGE) * PAGE)
        data = f.read(PAGE)
    _edit(target, rng.randrange(os.path.getsize(target) // PAGE) * PAGE, data)
    return f"a page of {_name(source)} in {_name(target)}"


def swap(rng, cache):
    paths = _segments(cache)
    if len(paths) < 2:
        return None
    a, b = rng.sample(paths, 2)
    os.rename(a, a + ".swap")
    os.rename(b, a)
    os.rename(a + ".swap", b)
    return f"{_name(a)} and {_name(b)} swapped"


def duplicate(rng, cache):
    path = _choose(rng, [p for p in _segments(cache) if os.path.isfile(p)])
    if not path:
        return None
    target = rng.choice((_new_segment(rng, cache), rng.choice(_segments(cache))))
    if target == path or (os.path.isdir(target) and not os.path.islink(target)):
        return None
    if os.path.lexists(target):
        os.unlink(target)
    shutil.copyfile(path, target)
    return f"{_name(path)} once more as {_name(target)}"


def rename(rng, cache):
    path = _choose(rng, _segments(cache))
    if not path:
        return None
    target = _new_segment(rng, cache)
    os.rename(path, target)
    return f"{_name(path)} renamed to {_name(target)}"


def lose_a_file(rng, cache):
    path = _choose(rng, _files(cache))
    if not path:
        return None
    os.unlink(path)
    return f"{_name(path)} removed"


def lose_everything(_rng, cache):
    shutil.rmtree(cache, ignore_errors=True)
    return "the cache removed"


def put_something_else(rng, cache):
    """In the place of a file of the cache, or beside it."""
    path = rng.choice((*_files(cache), _new_segment(rng, cache), os.path.join(cache, "lock"), os.path.join(cache, "notes")))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path):
        return None
    if os.path.lexists(path):
        os.unlink(path)
    kind = rng.choice(("fifo", "directory", "dangling link", "link to itself", "link to /dev/zero", "text", "nothing"))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "dangling link":
        os.symlink("/nowhere", path)
    elif kind == "link to itself":
        os.symlink(_name(path), path)
    elif kind == "link to /dev/zero":
        os.symlink("/dev/zero", path)
    else:
        with open(path, "wb") as f:
            f.write(b"" if kind == "nothing" else b"what is this?\n" * 100)
    return f"{_name(path)} is {kind}"


def replace_a_directory(rng, cache):
    """The cache, or the documents in it, is a file. Taken away again by the next fault."""
    path = rng.choice((cache, os.path.join(cache, "documents")))
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write("no directory\n")
    return f"{_name(path)} is a file"


def move_away(_rng, cache):
    shutil.rmtree(cache + ".away", ignore_errors=True)
    os.rename(cache, cache + ".away")
    return "the cache moved away"


STOPPED = [
    *[flip_bits] * 8, *[cut] * 4, *[lose_pages] * 4, *[misplace_a_page] * 3, *[swap] * 3, *[duplicate] * 3, grow, grow,
    rename, rename, lose_a_file, lose_a_file, *[put_something_else] * 4, lose_everything, replace_a_directory,
]  # fmt: skip
RUNNING = [fail_to_read, fail_to_read, lose_everything, lose_a_file, lose_a_file, move_away, swap, rename, duplicate, put_something_else]


def mend(cache):
    """Takes away what replace_a_directory() has left."""
    for path in os.path.join(cache, "documents"), cache:
        if os.path.isfile(path):
            os.unlink(path)


def inject(rng, cache, faults):
    """One of these faults: what it was, in words."""
    os.makedirs(cache, 0o700, exist_ok=True)
    while True:
        fault = rng.choice(faults)
        if told := fault(rng, cache):
            return f"{fault.__name__}: {told}"
