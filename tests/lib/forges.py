"""The test forge (tests/forge/forge-server) for cases of the harness: start it, turn its knobs, count requests."""

import collections
import json
import os
import subprocess
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.path.dirname(HERE), "forge", "forge-server")

# Where each kind has its API, below the base URL that people know.
API = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "mesa": "/v1"}

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Forges:
    """Several forges in one process; `world` as forge-server describes it."""

    def __init__(self, directory, world):
        self.directory = directory
        self.world = world
        self.urls = {}
        self.seen = collections.Counter()

    def start(self):
        """The same ports again when it was started before."""
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, "world.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.world, f)
        self.urls = json.loads(self._run("start", self.directory, "--world", path))
        return self

    def stop(self):
        self._run("stop", self.directory)

    def turn(self, name, **knobs):
        """Knobs of one forge, see tests/forge/knobs.py."""
        request = urllib.request.Request(self.urls[name] + "/_knobs", json.dumps(knobs).encode())
        with _opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def log(self, name):
        """All requests of one forge so far."""
        with _opener.open(self.urls[name] + "/_log", timeout=60) as answer:
            return json.load(answer)

    def news(self, name):
        """The requests since the last call for this forge."""
        lines = self.log(name)
        new = lines[self.seen[name] :]
        self.seen[name] = len(lines)
        return new

    @staticmethod
    def _run(*arguments):
        return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def count(lines):
    """How many requests of each class."""
    counts = collections.Counter(line["class"] for line in lines)
    return {name: counts[name] for name in ("rest", "graphql", "git")}


def show(lines):
    for line in lines:
        notes = [k for k in ("conditional", "limited") if line.get(k)]
        print(line["class"], line["method"], line["target"], line["status"], *notes)


def credential(t, org, token):
    """Where `gitfsctl org add --token-stdin` leaves a token; None takes it away."""
    path = t.path("config", "credentials", org)
    if token is None:
        os.unlink(path)
        return
    t.write(f"config/credentials/{org}", token + "\n")
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o600)


def org(t, forge, name, kind, owner=None, token=None, **more):
    """orgs.d/NAME.conf for an org on the forge of that name, else of that kind."""
    url = forge.urls.get(name) or forge.urls[kind]
    if kind == "mesa":
        url += API["mesa"]
    if owner:
        more["Owner"] = owner
    t.org(name, kind, url, **more)
    if token:
        credential(t, name, token)
