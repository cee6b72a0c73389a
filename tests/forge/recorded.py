#!/usr/bin/env python3
"""Answers that GitHub has given: those recorded in the npm package @octokit/fixtures, replayed to the daemon.

Nobody recorded a list of repositories, so one is put together: of the repositories that were recorded one by one, on
pages with the headers of a list that was recorded, Link above all. Everything else comes as it was, but for the
name of the host.
"""

import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import npm  # noqa: E402
import plain  # noqa: E402
import repo  # noqa: E402
import wire  # noqa: E402

PACKAGE = "@octokit/fixtures@23.1.2"
OWNER = "octokit-fixture-org"
API = "/api/v3"
N_PAGES = 5

# Of the connection that was recorded, not of the answer.
CONNECTION = ("connection", "content-length", "transfer-encoding", "content-encoding", "date", "server")


def recordings():
    """All exchanges, in the order in which they took place."""
    found = []
    pattern = os.path.join(npm.files(PACKAGE), "scenarios/api.github.com/*/raw-fixture.json")
    for path in sorted(glob.glob(pattern)):
        with open(path, encoding="utf-8") as f:
            found += json.load(f)
    return found


def headers_of(exchange):
    headers = exchange.get("headers") or exchange.get("rawHeaders") or {}
    if isinstance(headers, list):
        headers = dict(zip(headers[::2], headers[1::2]))
    return {k: v for k, v in headers.items() if k.lower() not in CONNECTION}


class Recorded(plain.Plain):
    """Plays what was recorded; git is real."""

    def __init__(self, world, log):
        super().__init__("github", world, log)
        self.answers = {}
        self.repos = {}
        links = []
        for exchange in recordings():
            body = exchange["response"]
            if exchange["method"] == "get":
                self.answers.setdefault(exchange["path"], exchange)
                if "issues?per_page=3" in exchange["path"]:
                    links.append(exchange)
            if isinstance(body, dict) and "full_name" in body and exchange["status"] in (200, 201):
                self.repos[body["id"]] = body  # the last state of each
        self.pages = links
        assert len(links) == N_PAGES and len(self.repos) > 10

    def add_pages(self):
        """/orgs/OWNER/repos and the pages that its Link names."""
        listed = list(self.repos.values())
        size = -(-len(listed) // N_PAGES)
        for i, exchange in enumerate(self.pages):
            path = f"/orgs/{OWNER}/repos" if i == 0 else exchange["path"]
            self.answers[path] = {**exchange, "response": listed[i * size : (i + 1) * size]}

    def api(self, request, person):
        path = request.raw_path.removeprefix(API)
        if request.query.get("page"):
            path += f"?per_page=3&page={request.query['page']}"
        exchange = self.answers.get(path)
        if exchange is None:
            missing = next(e for e in self.answers.values() if e["status"] == 404)
            exchange = {**missing, "response": {**missing["response"], "message": "Not Found"}}
        body = json.dumps(exchange["response"]).encode()
        headers = {k: self.localised(str(v), request) for k, v in headers_of(exchange).items()}
        headers.setdefault("Content-Type", "application/json; charset=utf-8")
        return wire.Response(exchange["status"], self.localised(body.decode(), request).encode(), headers)

    @staticmethod
    def localised(text, request):
        text = re.sub(r"https://api\.github\.com(:443)?", request.origin + API, text)
        return text.replace("https://github.com", request.origin)

    def git_missing(self, request, person):
        return wire.Response(404, "Repository not found.\n")


def names(forge):
    return sorted(r["name"] for r in forge.repos.values())


@harness.case()
def daemon_reads_what_was_recorded(t):
    """The list is complete, repositories are found, and a renamed one is called so."""
    git_dir = t.path("hello-world.git")
    repo.simple_repo(git_dir, {"README.md": "# hello-world\n"})
    world = {"owners": [{"name": OWNER, "repos": [{"name": "hello-world", "git": git_dir}]}]}
    forge = Recorded(world, wire.Log(t.path("access.log")))
    forge.add_pages()
    url = wire.Listener(forge).start().url
    t.org("acme", "github", url, Owner=OWNER)
    t.configure("[Mount]\nRequestTimeoutSec=30\n")
    t.start()
    assert t.names("acme") == names(forge), (t.names("acme"), names(forge))
    assert t.read("acme/hello-world/README.md") == b"# hello-world\n"
    pages = [line for line in forge.log.lines("github") if line["class"] == "rest"]
    assert len(pages) == N_PAGES, pages
    renamed = next(e for e in forge.answers.values() if e["status"] == 301)
    old = renamed["path"].rpartition("/")[2]
    assert old not in t.names("acme")
    outcome = t.errno_of(os.listdir, t.at("acme/" + old))
    asked = [line["target"] for line in forge.log.lines("github")][len(pages) :]
    print(f"a renamed repository: errno {outcome}, after", *asked, sep="\n    ")
    assert any(target.endswith("/repos/" + OWNER + "/" + old) for target in asked), "nobody asked where it went"
    assert outcome != 0


if __name__ == "__main__":
    harness.main()
