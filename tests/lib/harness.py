"""Runs test cases against a real gitfsd on a real mount.

A test file defines cases and ends in `harness.main()`:

    @harness.case()
    def reads_a_file(t):
        t.start_org("local", directory_of_repositories)
        assert t.read("o/r/file") == b"..."

Each case runs in a process of its own with an Env (`t`): private directories, a daemon, servers. A supervisor
process, which never touches the mount and so cannot hang in it, waits for the case with a deadline. When it
fails or hangs, the supervisor prints the daemon's log, its stacks and the kernel's; in every case it ends what
the case has started, and detaches its mount. Exit status: 0, 1, or 77 when every case was skipped.
"""

import contextlib
import ctypes
import fcntl
import functools
import glob
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback

import forges
import patience
import repo

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
BUILD = os.environ.get("GITFS_BUILD_DIR", os.path.join(os.path.dirname(TESTS), "build"))
GITFSD = os.environ.get("GITFSD", os.path.join(BUILD, "daemon", "gitfsd"))
GITFSCTL = os.environ.get("GITFSCTL", os.path.join(BUILD, "ctl", "gitfsctl"))

# How long a daemon may take to say READY=1 or to end; generous, because nothing passes by waiting for it.
START_SECONDS = 30 * patience.TIMES
CASE_SECONDS = 120

# What no log of a correct program holds.
ALARMS = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:|Assertion .* failed"
    r"|lock order|stack smashing|double free|malloc\(\)|corrupted|core dumped"
)

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000

_cases = []


class Skip(Exception):
    """Raised by a case that cannot run here; the text says why."""


def case(seconds=CASE_SECONDS, needs_fuse=True):
    """Registers a function as a test case."""

    def register(function):
        _cases.append((function, seconds, needs_fuse))
        return function

    return register


def both_kinds(seconds=CASE_SECONDS):
    """Registers function(t, kind) twice: for an org of local repositories and for one on a git server."""

    def register(function):
        for kind in "local", "git":
            variant = functools.partial(function, kind=kind)
            variant.__name__ = f"{function.__name__}_{kind}"
            _cases.append((variant, seconds, True))
        return function

    return register


def wait_until(condition, what, seconds=30):
    """Polls until condition() is true and returns its value. Only for state that nothing announces."""
    deadline = time.monotonic() + seconds * patience.TIMES
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} seconds")
        time.sleep(0.01)


def fixture(name, *arguments):
    """The directory of a fixture, built once and shared by all tests of a build directory. Read only."""
    script = os.path.join(TESTS, "fixtures", name)
    with open(script, "rb") as f, open(repo.__file__, "rb") as g:
        key = hashlib.sha256(f.read() + g.read() + repr(arguments).encode()).hexdigest()[:12]
    store = os.environ.get("GITFS_FIXTURES", os.path.join(BUILD, "tests", "fixtures"))
    os.makedirs(store, exist_ok=True)
    target = os.path.join(store, f"{name}-{key}")
    with open(target + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(target):
            building = target + ".new"
            shutil.rmtree(building, ignore_errors=True)
            done = subprocess.run([script, building, *arguments], stdout=subprocess.PIPE, check=False)
            if done.returncode == 77:
                shutil.rmtree(building, ignore_errors=True)
                raise Skip(done.stdout.decode().strip().removeprefix("SKIP: "))
            if done.returncode != 0:
                raise AssertionError(f"fixture {name} could not be built")
            os.rename(building, target)
    return target


class Server:
    """nginx with git http-backend, see tests/lib/git-server."""

    def __init__(self, directory, root, *options):
        self.directory = directory
        self.root = root
        self.options = options
        self.url = None

    def start(self):
        """The same port again when it was started before."""
        port = ["--port", self.url.rpartition(":")[2]] if self.url else []
        self.url = self._run("start", self.directory, "--root", self.root, *port, *self.options).strip()
        return self

    def stop(self):
        self._run("stop", self.directory)

    def requests(self):
        """One (method, URI, status, bytes in, bytes out) for each request that was finished."""
        lines = self._run("requests", self.directory).splitlines()
        return [(m, u, int(s), int(i), int(o)) for m, u, s, i, o in map(str.split, lines)]

    @staticmethod
    def _run(*arguments):
        command = [os.path.join(HERE, "git-server"), *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


class Env:
    """What one test case works with."""

    def __init__(self, directory):
        self.dir = directory
        self.mount = os.path.join(directory, "mnt")
        self.runtime = os.path.join(directory, "run", "gitfsd")
        self.config = os.path.join(directory, "config")
        self.cache = os.path.join(directory, "var", "cache")
        self.log_path = os.path.join(directory, "gitfsd.log")
        self.as_user = None
        self.keeper = None  # a keeper.Keeper: the mount outlives a crash()
        self.pid = None
        self._daemon = None
        self._servers = 0
        os.makedirs(os.path.join(self.config, "orgs.d"))
        # The daemon makes its cache itself; whoever it runs as can write to "var".
        for name in "mnt", "var", "run", "home":
            os.makedirs(os.path.join(directory, name))
        os.chmod(os.path.join(directory, "run"), 0o700)
        self.environment = {
            **repo.clean_environment(),
            "XDG_RUNTIME_DIR": os.path.join(directory, "run"),
            "XDG_CONFIG_HOME": os.path.join(directory, "home", "config"),
            "XDG_CACHE_HOME": os.path.join(directory, "home", "cache"),
            "HOME": os.path.join(directory, "home"),
            "GIT_CONFIG_GLOBAL": os.path.join(directory, "gitconfig"),
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        self.write("gitconfig", "[safe]\n\tdirectory = *\n")

    # --- files of the case ---

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def own_repos(self, fixture_directory, *names):
        """A directory with copies of a fixture's repositories, which the case may change."""
        target = self.path("repos")
        os.makedirs(target, exist_ok=True)
        for name in names:
            repo.copy_bare(os.path.join(fixture_directory, "repos", name + ".git"), f"{target}/{name}.git")
        return target

    # --- configuration ---

    def configure(self, text):
        """gitfs.conf; before start(), or followed by a reload."""
        self.write("config/gitfs.conf", text)

    def org(self, name, forge, url, repos=(), **more):
        """orgs.d/NAME.conf. Polling is off unless asked for, so that only what a test does is seen."""
        more.setdefault("PollIntervalSec", 0)
        lines = ["[Org]", f"Forge={forge}", f"Url={url}"]
        lines += [f"Repo={r}" for r in repos] + [f"{k}={v}" for k, v in more.items()]
        self.write(f"config/orgs.d/{name}.conf", "\n".join(lines) + "\n")

    def serve(self, root, *options):
        """Starts a git server on the repositories below root."""
        self._servers += 1
        return Server(self.path(f"server-{self._servers}"), root, *options).start()

    def forges(self, world):
        """Starts test forges, see tests/forge/forge-server."""
        self._servers += 1
        return forges.Forges(self.path(f"server-{self._servers}"), world).start()

    def start_org(self, kind, root, name="o", config="[Mount]\nRequestTimeoutSec=60\n", **more):
        """The usual beginning: a daemon with one org on a directory of repositories. Returns its server.

        Both kinds list all of them: git servers cannot, so for these the names are in the org's file."""
        server = None if kind == "local" else self.serve(root)
        self.configure(config)
        names = sorted(n.removesuffix(".git") for n in os.listdir(root)) if server else ()
        self.org(name, kind, server.url if server else root, repos=names, **more)
        self.start()
        return server

    # --- the daemon ---

    def start(self, *options, wait=True, mount=None, defaults=False):
        """Starts gitfsd and waits until it says that it is ready.

        With `defaults` it gets no options: where things go is the configuration's and the environment's."""
        assert self._daemon is None, "already started"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.path("notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        notify.bind(address)
        os.chmod(address, 0o666)
        private = [
            "--mount", mount or self.mount, "--runtime-directory", self.runtime,
            "--config-home", self.config, "--cache-directory", self.cache, "--log-level", "debug",
            "--system-config", self.path("etc"),
        ]  # fmt: skip
        command = [*self.user_prefix(), GITFSD, *([] if defaults else private), *options]
        with open(self.log_path, "ab") as log:
            self._daemon = subprocess.Popen(
                self.keeper.command(command) if self.keeper else command,
                pass_fds=self.keeper.descriptors() if self.keeper else (),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, "NOTIFY_SOCKET": address},
                start_new_session=True,
            )
        self.pid = self._daemon.pid
        try:
            if wait:
                self._wait_ready(notify)
        finally:
            notify.close()

    def _wait_ready(self, notify):
        deadline = time.monotonic() + START_SECONDS
        pidfd = os.pidfd_open(self.pid)
        try:
            while True:
                left = deadline - time.monotonic()
                ready, _, _ = select.select([notify, pidfd], [], [], max(left, 0))
                if notify in ready:
                    text = self.keeper.hear(notify) if self.keeper else notify.recv(65536)
                    if b"READY=1" in text.split(b"\n"):
                        return
                elif pidfd in ready:
                    status, self._daemon = self._daemon.wait(), None
                    raise AssertionError(f"gitfsd ended with {status} before it was ready\n{self.log()}")
                elif left <= 0:
                    raise AssertionError("gitfsd did not say READY=1")
        finally:
            os.close(pidfd)

    def wait_exit(self, seconds=START_SECONDS):
        """The exit status of a daemon that ends by itself."""
        status = self._daemon.wait(seconds)
        self._daemon = None
        return status

    def stop(self):
        """A clean stop: status 0, nothing mounted, within the time that systemd is promised."""
        self._daemon.send_signal(signal.SIGTERM)
        status = self.wait_exit(10 * patience.TIMES)
        assert status == 0, f"gitfsd ended with {status}"
        assert not mounts_below(self.dir), "still mounted after the end"

    def kill(self):
        """A crash. The dead mount stays: dead when the heralds, which hold the connection too, have ended."""
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        group = self.pid
        self._daemon.kill()
        self.wait_exit()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-group, 0)

    def crash(self):
        """What the service manager makes of one: with a keeper the mount waits for the next daemon."""
        self._daemon.kill()
        self.wait_exit()

    def restart(self):
        self.stop()
        self.start()

    @property
    def running(self):
        return self._daemon is not None and self._daemon.poll() is None

    def signal(self, number):
        self._daemon.send_signal(number)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def user_prefix(self):
        if self.as_user is None:
            return []
        uid, gid = self.as_user
        return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]

    # --- gitfsctl ---

    def ctl(self, *arguments, check=True, timeout=60):
        """Runs gitfsctl; the result has returncode, stdout and stderr as text."""
        done = subprocess.run(
            [*self.user_prefix(), GITFSCTL, "--runtime-directory", self.runtime, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            timeout=timeout * patience.TIMES,
            check=False,
        )
        done.stdout = done.stdout.decode(errors="surrogateescape")
        done.stderr = done.stderr.decode(errors="surrogateescape")
        if "runtime error:" in done.stderr or (check and done.returncode != 0):
            raise AssertionError(f"gitfsctl {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, "--json").stdout)

    def stats(self):
        return self.ctl_json("stats")

    def fuse_requests(self):
        """How many requests of the kernel have reached the daemon, FORGETs aside."""
        stats = self.stats()
        names = [n for n in stats if n.startswith("fuse-") and n not in NOT_REQUESTS]
        return {n: stats[n] for n in names}

    # --- the mount ---

    def at(self, path=""):
        """A path in the mount, and never one outside: join() would let an absolute path win."""
        assert not path.startswith("/"), path
        return os.path.join(self.mount, path)

    def read(self, path):
        # Not file.read(): it makes None of an EAGAIN.
        fd = os.open(self.at(path), os.O_RDONLY)
        try:
            return b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
        finally:
            os.close(fd)

    def names(self, path=""):
        return sorted(os.listdir(self.at(path)))

    def errno_of(self, call, *arguments):
        """0, or the errno that the call fails with."""
        try:
            call(*arguments)
        except OSError as e:
            return e.errno
        return 0


NOT_REQUESTS = {
    "fuse-forget", "fuse-interrupt", "fuse-read-bytes", "fuse-parked", "fuse-parked-now",
    "fuse-refused", "fuse-timed-out", "fuse-errors",
}  # fmt: skip


def drop_caches():
    """Makes the kernel forget every inode that nobody holds; needs root."""
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("2\n")
    except OSError as e:
        raise Skip(f"cannot write /proc/sys/vm/drop_caches: {e.strerror}") from None


def cache_drops():
    """Counters of the kernel that move when it is told to drop its caches, or has to: whoever counts requests
    must know."""
    with open("/proc/vmstat", encoding="ascii") as f:
        return [line for line in f if line.startswith(("drop_", "slabs_scanned")) or "inodesteal" in line]


def pages_are_reclaimed():
    """Whether DAMON pages out what looks cold, at any time and without a trace in the counters, as some
    virtual machines have it."""
    states = glob.glob("/sys/kernel/mm/damon/admin/kdamonds/*/state")
    for state in states + ["/sys/module/damon_reclaim/parameters/enabled"]:
        with contextlib.suppress(OSError), open(state, encoding="ascii") as f:
            if f.read().strip() in ("on", "Y"):
                return True
    return False


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def private_network():
    """Gives this process tree a network of its own, with a loopback and nothing else."""
    need_root()
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise Skip("unshare(CLONE_NEWNET) is not permitted")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def add_address(address):
    """To what private_network() made: a change of the network."""
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


def open_dev_fuse():
    """Where the machine keeps /dev/fuse to root, gives this process tree one that everybody may open, as
    distributions do. The machine's own is not touched; the mounts of the case are seen by the case alone."""
    if os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        return
    need_root()
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise Skip("/dev/fuse is root's alone, and unshare() is not permitted")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    directory = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    node = os.path.join(directory, "fuse")
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(node, 0o666)
    subprocess.run(["mount", "--bind", node, "/dev/fuse"], check=True)
    subprocess.run(["umount", "-l", directory], check=True)
    os.rmdir(directory)


def mounts_below(directory):
    """Mount points at or below a directory, innermost first. Reads mountinfo: stat could hang."""
    prefix = os.path.realpath(directory)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
            if point == prefix or point.startswith(prefix + "/"):
                found.append((point, line.split()[2]))
    return list(reversed(found))


# --- the supervisor ---


def _descendants(pid):
    """All processes below one, however deep."""
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.split("/")[2]))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _name(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
        return f.read().strip()
    return "?"


def _dump(directory, hung):
    """All that helps to find out why a case failed; the stacks when it hung."""
    for pid in _descendants(os.getpid()) if hung else []:
        name = _name(pid)
        for task in sorted(glob.glob(f"/proc/{pid}/task/*")):
            with contextlib.suppress(OSError), open(f"{task}/stack", encoding="utf-8") as f:
                stack = f.read()
                if "fuse" in stack or name == "gitfsd":
                    print(f"--- kernel stack of {name} {os.path.basename(task)}\n{stack}")
        if name == "gitfsd" and shutil.which("gdb"):
            command = ["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all bt 30"]
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(command, capture_output=True, timeout=60, check=False)
                print(f'--- gdb\n{done.stdout.decode(errors="replace")}')
    for path in sorted(glob.glob(f"{directory}/gitfsd.log") + glob.glob(f"{directory}/server-*/*.log")):
        with open(path, encoding="utf-8", errors="replace") as f:
            print(f'--- {path}\n{"".join(f.readlines()[-400:])}')
    sys.stdout.flush()


def _clean(directory):
    """Ends everything the case has started and takes its mounts away."""
    for point, device in mounts_below(directory):
        # Frees whoever hangs in the mount, even in uninterruptible sleep.
        with contextlib.suppress(OSError), open(
            f'/sys/fs/fuse/connections/{device.partition(":")[2]}/abort', "w", encoding="ascii"
        ) as f:
            f.write("1")
        if subprocess.run(["fusermount3", "-uzq", point], check=False).returncode != 0:
            subprocess.run(["umount", "-l", point], check=False)
    while pids := _descendants(os.getpid()):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
    if not os.environ.get("GITFS_KEEP"):
        shutil.rmtree(directory, ignore_errors=True)


def _run_case(function, directory):
    """In the child: 0 passed, 1 failed, 77 skipped."""
    t = Env(directory)
    try:
        function(t)
        if t.running:
            t.stop()
        alarm = ALARMS.search(t.log())
        assert not alarm, f"the log says: {alarm.group(0)}"
        return 0
    except Skip as e:
        print(f"SKIP: {function.__name__}: {e}", flush=True)
        return 77
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        return 1


def _supervise(function, seconds):
    directory = tempfile.mkdtemp(prefix="gitfs-")
    os.chmod(directory, 0o755)
    started = time.monotonic()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        # Own session: what the terminal or meson signals goes to the supervisor alone.
        os.setsid()
        status = _run_case(function, directory)
        sys.stdout.flush()
        os._exit(status)
    status = None
    try:
        pidfd = os.pidfd_open(pid)
        done, _, _ = select.select([pidfd], [], [], seconds)
        os.close(pidfd)
        if done:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            print(f"not done after {seconds} seconds")
        if status not in (0, 77):
            _dump(directory, hung=status is None)
    finally:
        _clean(directory)
    word = {0: "ok", 77: "skipped"}.get(status, "FAILED")
    print(f"{word:8}{function.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
    return status


def main():
    """Runs the cases of the file, or those named on the command line."""
    known = {function.__name__ for function, _, _ in _cases}
    wanted = sys.argv[1:] or sorted(known)
    if unknown := set(wanted) - known:
        sys.exit(f'no such case: {", ".join(sorted(unknown))}; there are {", ".join(sorted(known))}')
    no_fuse = None if os.path.exists("/dev/fuse") else "/dev/fuse is missing"
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A supervisor that is asked to end still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    results = []
    for function, seconds, needs_fuse in _cases:
        if function.__name__ not in wanted:
            continue
        reason = patience.EXCLUDED.get(function.__name__) or (needs_fuse and no_fuse)
        if reason:
            print(f"SKIP: {function.__name__}: {reason}")
            results.append(77)
        else:
            results.append(_supervise(function, seconds * patience.TIMES))
    failed = [r for r in results if r not in (0, 77)]
    if failed:
        sys.exit(1)
    sys.exit(77 if all(r == 77 for r in results) else 0)
