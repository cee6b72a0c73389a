"""A file system of its own for what is written while the clock runs.

ext4 is slow to make files where many were deleted a moment ago: it looks at each of those inodes again. One
contender's leavings must not slow down the next, and nobody's disk is empty for long.
"""

import contextlib
import os
import subprocess
import tempfile

SIZE = 32 << 30  # sparse


@contextlib.contextmanager
def fresh():
    """An empty ext4 on a loop device, and where it is mounted."""
    with tempfile.TemporaryDirectory(prefix="gitfs-bench-") as directory:
        image, mount = (os.path.join(directory, name) for name in ("image", "mnt"))
        with open(image, "wb") as f:
            f.truncate(SIZE)
        os.mkdir(mount)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            os.rmdir(os.path.join(mount, "lost+found"))
            yield mount
        finally:
            subprocess.run(["umount", mount], check=True)
