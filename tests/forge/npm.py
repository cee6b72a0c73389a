"""Files of npm packages, as test data: fetched once for a build directory, by the ordinary client, and checked."""

import base64
import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness  # noqa: E402

# What the tests read, and the SHA-512 of the archive that holds it.
PACKAGES = {
    "@octokit/openapi@23.0.2": (
        "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
        "package/generated/api.github.com.json",
    ),
    "@octokit/graphql-schema@15.26.1": (
        "RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT+Oqq7hWTraMA==",
        "package/schema.json",
    ),
    "@octokit/fixtures@23.1.2": (
        "niG+SVffZ/xzojT3CE6M7DlqX7H9aQ75A6Xxjt4N47CkqssKXpSy2k6+Tj5ntcI5uWW2D9POzKxwJDmBfR+sJw==",
        "package/scenarios/",
    ),
}
SECONDS = 300


def files(package):
    """The directory with what is read of a package. Skips the test where it cannot be had."""
    store = os.path.join(harness.BUILD, "tests", "npm")
    os.makedirs(store, exist_ok=True)
    target = os.path.join(store, package.strip("@").replace("/", "-"))
    with open(target + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(target):
            with tempfile.TemporaryDirectory(dir=store) as scratch:
                extract(pack(package, scratch), package, os.path.join(scratch, "new"))
                os.rename(os.path.join(scratch, "new"), target)
    return target


def pack(package, scratch):
    """The path of the package's archive, as the registry has it."""
    npm = shutil.which("npm")
    if not npm:
        raise harness.Skip("npm is not installed")
    # Whoever runs the tests may have set HOME; which registry is asked is the machine's business.
    config = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".npmrc")
    env = {"NPM_CONFIG_USERCONFIG": config, **os.environ}
    command = [npm, "pack", package, "--ignore-scripts", "--cache", os.path.join(scratch, "cache")]
    try:
        done = subprocess.run(
            command, cwd=scratch, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise harness.Skip(f"npm did not bring {package} in {SECONDS} seconds") from None
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip().splitlines()
        raise harness.Skip(f"npm cannot bring {package}: {text[-1] if text else done.returncode}")
    return os.path.join(scratch, done.stdout.decode().strip().splitlines()[-1])


def extract(archive, package, target):
    digest, wanted = PACKAGES[package]
    with open(archive, "rb") as f:
        found = base64.b64encode(hashlib.sha512(f.read()).digest()).decode()
    assert found == digest, f"{package} is another one than this test was written for: {found}"
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() and member.name.startswith(wanted):
                path = os.path.join(target, member.name.removeprefix("package/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with tar.extractfile(member) as source, open(path, "wb") as f:
                    shutil.copyfileobj(source, f)
