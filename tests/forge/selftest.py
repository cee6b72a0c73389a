#!/usr/bin/env python3
"""The test forge itself: what git and an HTTP client get from it is what the forges document.

A test against a forge that is wrong proves nothing; so this one is tested with other people's programs.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import repo  # noqa: E402
from client import EXPIRED, TOKEN, Client, world  # noqa: E402


def clone(url, target, token=None, *options):
    """None, or what git says why not."""
    if token:
        url = url.replace("://", f"://x:{token}@", 1)
    done = subprocess.run(
        ["git", "clone", "-q", *options, url, target],
        env=repo.clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr


def next_of(headers):
    for part in (headers.get("Link") or "").split(", "):
        if part.endswith('rel="next"'):
            return part[1 : part.index(">")]
    return None


@harness.case(needs_fuse=False)
def git_clones_from_all_five(t):
    forges = t.forges(world(t))
    for name, url in forges.urls.items():
        token = TOKEN if name == "mesa" else None
        assert clone(f"{url}/acme/app.git", t.path(name), token) is None
        assert os.readlink(t.path(name, "src/deep/link")) == "../main.c"
        assert clone(f"{url}/acme/empty.git", t.path(name + "-empty"), token) is None
    assert clone(f'{forges.urls["gitlab"]}/acme/tools/lib.git', t.path("lib")) is None
    assert clone(f'{forges.urls["github"]}/acme/app', t.path("partial"), None, "--filter=blob:none") is None
    with open(t.path("partial/README"), encoding="ascii") as f:
        assert f.read() == "hello\n"


@harness.case(needs_fuse=False)
def git_needs_a_token_for_what_is_private(t):
    forges = t.forges(world(t))
    for name in "github", "gitlab", "gitea":
        url = forges.urls[name] + "/acme/"
        assert "could not read Username" in clone(url + "secret.git", t.path("no"))
        assert "Authentication failed" in clone(url + "secret.git", t.path("no"), EXPIRED)
        assert "not found" in clone(url + "nothing.git", t.path("no"), TOKEN)
        assert clone(url + "secret.git", t.path(name), TOKEN) is None
        assert clone(url + "app-old.git", t.path(name + "-moved")) is None
        assert clone(forges.urls[name] + "/acme-old/app.git", t.path(name + "-moved-owner")) is None
        assert "403" in clone(url + "forbidden.git", t.path("no"), TOKEN)


@harness.case(needs_fuse=False)
def large_requests_and_compressed_ones(t):
    """5,000 wants in one request, gzipped as git sends it."""
    many = t.path("many.git")
    repo.simple_repo(many, {f"d{i % 100}/{i}": f"{i}\n" for i in range(5000)})
    forges = t.forges({"github": {"owners": [{"name": "o", "repos": [{"name": "many", "git": many}]}]}})
    url = forges.urls["github"] + "/o/many.git"
    assert clone(url, t.path("clone"), None, "--filter=blob:none") is None
    assert len(os.listdir(t.path("clone/d7"))) == 50


@harness.case(needs_fuse=False)
def lists_have_pages(t):
    description = world(t)
    for forge in description.values():
        forge["owners"][2]["many"] = {"count": 123, "git": t.path("app.git")}
    forges = t.forges(description)
    paths = {
        "github": "/api/v3/users/me/repos?per_page=50",
        "gitlab": "/api/v4/users/me/projects?per_page=50",
        "gitea": "/api/v1/users/me/repos?limit=50",
    }
    for name, path in paths.items():
        client, names = Client(forges.urls[name]), []
        while path:
            status, headers, content = client.get(path)
            assert status == 200, content
            page = json.loads(content)
            assert 0 < len(page) <= 50
            names += [r["name"] for r in page]
            path = (next_of(headers) or "").removeprefix(forges.urls[name])
        assert len(names) == len(set(names)) == 123, name
    assert next_of(Client(forges.urls["github"]).get("/api/v3/users/me/repos")[1]).endswith("/user/1002/repos?page=2")
    for prefix in "/v1", "/api/v1":
        client, names, cursor = Client(forges.urls["mesa"], Authorization=f"Bearer {TOKEN}"), [], ""
        while cursor is not None:
            page = client.json(f"{prefix}/me/repos?limit=50&cursor={cursor}")
            names += [r["name"] for r in page["repos"]]
            assert page["has_more"] == (page["next_cursor"] is not None)
            cursor = page["next_cursor"]
        assert len(set(names)) == 123


@harness.case(needs_fuse=False)
def conditional_requests_cost_nothing(t):
    forges = t.forges(world(t))
    client = Client(forges.urls["github"], Authorization=f"Bearer {TOKEN}")
    _, headers, _ = client.get("/api/v3/orgs/acme/repos")
    left = int(headers["X-RateLimit-Remaining"])
    status, headers, content = client.get("/api/v3/orgs/acme/repos", If_None_Match=headers["ETag"])
    assert (status, content, int(headers["X-RateLimit-Remaining"])) == (304, b"", left)
    status, headers, _ = Client(forges.urls["github"]).get("/api/v3/orgs/acme/repos", If_None_Match=headers["ETag"])
    assert status == 200, "whoever sees another list has another tag"
    assert [line["conditional"] for line in forges.log("github")] == [False, True, True]
    forges.turn("github", etags=False)
    assert client.get("/api/v3/orgs/acme/repos")[1]["ETag"] is None


@harness.case(needs_fuse=False)
def github_states(t):
    """What GitHub answers for what is not simply there."""
    forges = t.forges(world(t))
    url = forges.urls["github"]
    stranger, client = Client(url), Client(url, Authorization=f"Bearer {TOKEN}")
    assert stranger.json("/api/v3/repos/acme/secret", 404)["message"] == "Not Found"
    assert client.json("/api/v3/repos/acme/secret")["private"] is True
    assert Client(url, Authorization=f"Bearer {EXPIRED}").json("/api/v3/user", 401)["message"] == "Bad credentials"
    moved = client.json("/api/v3/repos/acme/app-old", 301)
    assert client.json(moved["url"].removeprefix(url))["full_name"] == "acme/app"
    moved = client.json("/api/v3/orgs/acme-old/repos?per_page=2", 301)
    assert len(client.json(moved["url"].removeprefix(url))) == 2
    assert client.json("/api/v3/repos/acme/empty/git/trees/HEAD", 409)["message"] == "Git Repository is empty."
    assert client.json("/api/v3/repos/acme/taken-down", 451)["block"]["reason"] == "dmca"
    client.json("/api/v3/repos/acme/forbidden", 403)
    client.json("/api/v3/repos/acme/app/", 404)
    assert client.json("/api/v3/repos/acme/old")["archived"] is True
    client.json("/api/v3/user", 400, X_GitHub_Api_Version="2001-01-01")
    assert Client(url, **{"User-Agent": ""}).get("/api/v3/user")[0] == 403
    names = {r["name"] for r in stranger.json("/api/v3/orgs/acme/repos")}
    assert "secret" not in names and "app" in names


@harness.case(needs_fuse=False)
def single_sign_on(t):
    forges = t.forges(world(t, tokens={TOKEN: {"sso": "required"}}))
    client = Client(forges.urls["github"], Authorization=f"Bearer {TOKEN}")
    status, headers, _ = client.get("/api/v3/orgs/acme/repos")
    assert status == 403 and headers["X-GitHub-SSO"].startswith("required; url=http://127.0.0.1")
    assert "403" in clone(f'{forges.urls["github"]}/acme/secret.git', t.path("no"), TOKEN)
    forges.turn("github", tokens={TOKEN: {"sso": "partial"}})
    status, headers, content = client.get("/api/v3/orgs/acme/repos")
    assert status == 200 and headers["X-GitHub-SSO"].startswith("partial-results; organizations=")
    assert "secret" not in [r["name"] for r in json.loads(content)]


@harness.case(needs_fuse=False)
def sizes_in_trees(t):
    """Whole trees with sizes, from all who tell them."""
    forges = t.forges(world(t))
    git_dir = t.path("app.git")
    head = repo.git_text("--git-dir", git_dir, "rev-parse", "HEAD^{tree}")
    expected = {"README": 6, "src/main.c": 10, "src/deep/link": 9}
    for name, path in ("github", "/api/v3"), ("gitea", "/api/v1"):
        tree = Client(forges.urls[name]).json(f"{path}/repos/acme/app/git/trees/{head}?recursive=true")
        assert {e["path"]: e["size"] for e in tree["tree"] if e["type"] == "blob"} == expected
        assert tree["sha"] == head and tree["truncated"] is False
    for prefix in "/v1", "/api/v1":
        client = Client(forges.urls["mesa"], Authorization=f"Bearer {TOKEN}")
        tree = client.json(f"{prefix}/acme/app/content?depth=10")
        assert {e["path"]: e["size"] for e in tree["entries"] if e["type"] != "dir"} == expected
    query = """query($p: [String!]!) {
        project(fullPath: "acme/app") { repository { blobs(paths: $p) { nodes { path size } } } } }"""
    body = json.dumps({"query": query, "variables": {"p": list(expected)}})
    _, _, content = Client(forges.urls["gitlab"]).get("/api/graphql", "POST", body)
    nodes = json.loads(content)["data"]["project"]["repository"]["blobs"]["nodes"]
    assert {n["path"]: int(n["size"]) for n in nodes} == expected
    forges.turn("github", tree_limit=2)
    tree = Client(forges.urls["github"]).json(f"/api/v3/repos/acme/app/git/trees/{head}?recursive=0")
    assert tree["truncated"] is True and len(tree["tree"]) == 2
    forges.turn("gitea", tree_page=2)
    tree = Client(forges.urls["gitea"]).json(f"/api/v1/repos/acme/app/git/trees/{head}?recursive=true&page=3")
    assert tree["truncated"] is False and len(tree["tree"]) == 1 and tree["total_count"] == 5


@harness.case(needs_fuse=False)
def blobs(t):
    forges = t.forges(world(t))
    oid = repo.git_text("--git-dir", t.path("app.git"), "rev-parse", "HEAD:README")
    client = Client(forges.urls["github"])
    path = f"/api/v3/repos/acme/app/git/blobs/{oid}"
    assert client.get(path, Accept="application/vnd.github.raw+json")[2] == b"hello\n"
    assert base64.b64decode(client.json(path)["content"]) == b"hello\n"
    client.json(f"/api/v3/repos/acme/app/git/blobs/{oid[:10]}", 422)
    raw = f'/api/v4/projects/{urllib.parse.quote("acme/app", safe="")}/repository/blobs/{oid}/raw'
    assert Client(forges.urls["gitlab"]).get(raw)[2] == b"hello\n"
    file = f'/api/v4/projects/acme%2Fapp/repository/files/{urllib.parse.quote("src/main.c", safe="")}?ref=main'
    status, headers, content = Client(forges.urls["gitlab"]).get(file, "HEAD")
    assert (status, headers["X-Gitlab-Size"], content) == (200, "10", b"")


@harness.case(needs_fuse=False)
def graphql_refuses_what_is_not_in_the_schema(t):
    forges = t.forges(world(t))
    client = Client(forges.urls["github"], Authorization=f"Bearer {TOKEN}")

    def ask(query, **variables):
        body = json.dumps({"query": query, "variables": variables})
        status, _, content = client.get("/api/graphql", "POST", body)
        assert status == 200, content
        return json.loads(content)

    good = ask(
        """query($o: String!) { a: repository(owner: $o, name: "app") { ...r }
             b: repository(owner: $o, name: "empty") { ...r } c: repository(owner: $o, name: "gone") { id } }
           fragment r on Repository {
             isEmpty defaultBranchRef { name target { oid ... on Commit { tree { oid } } } } }""",
        o="acme",
    )
    head = repo.git_text("--git-dir", t.path("app.git"), "rev-parse", "HEAD")
    assert good["data"]["a"]["defaultBranchRef"]["target"]["oid"] == head
    assert good["data"]["b"] == {"isEmpty": True, "defaultBranchRef": None}
    assert good["data"]["c"] is None and good["errors"][0]["type"] == "NOT_FOUND" and good["errors"][0]["path"] == ["c"]
    for query in (
        "{ repository(owner: \"acme\", name: \"app\") { colour } }",
        "{ repository(owner: \"acme\") { id } }",
        "{ repository(owner: \"acme\", name: \"app\", colour: 1) { id } }",
        "{ repository(owner: \"acme\", name: \"app\") }",
        "{ repository(owner: \"acme\", name: $undeclared) { id } }",
        "{ repository(",
    ):
        answer = ask(query)
        assert "data" not in answer and answer["errors"], query
    assert Client(forges.urls["github"]).get("/api/graphql", "POST", "{}")[0] == 401


@harness.case(needs_fuse=False)
def limits(t):
    forges = t.forges(world(t, budget={"limit": 3, "reset": 2}))
    client = Client(forges.urls["github"], Authorization=f"Bearer {TOKEN}")
    left = [int(client.get("/api/v3/user")[1]["X-RateLimit-Remaining"]) for _ in range(3)]
    assert left == [2, 1, 0]
    status, headers, content = client.get("/api/v3/user")
    assert status == 403 and b"rate limit exceeded" in content and "Retry-After" not in headers
    reset = int(headers["X-RateLimit-Reset"])
    assert 0 < reset - time.time() < 4
    assert [line.get("limited", False) for line in forges.log("github")] == [False] * 3 + [True]
    forges.turn("github", budget={"limit": 1, "remaining": 0})
    body = json.dumps({"query": "{ rateLimit { limit } }"})
    status, headers, content = client.get("/api/graphql", "POST", body)
    assert status == 200 and json.loads(content)["errors"][0]["type"] == "RATE_LIMITED"
    assert headers["X-RateLimit-Remaining"] == "0"
    # What git costs is not reckoned there.
    assert clone(f'{forges.urls["github"]}/acme/app.git', t.path("clone"), TOKEN) is None
    gitlab = Client(forges.urls["gitlab"])
    status = [gitlab.get("/api/v4/groups/acme")[0] for _ in range(4)]
    assert status == [200, 200, 200, 429]
    forges.turn("gitea", secondary={"after": 1, "seconds": 60, "status": 429})
    gitea = Client(forges.urls["gitea"])
    assert gitea.get("/api/v1/version")[0] == 200
    status, headers, _ = gitea.get("/api/v1/version")
    assert status == 429 and 0 < int(headers["Retry-After"]) <= 61


@harness.case(needs_fuse=False)
def faults(t):
    forges = t.forges(world(t))
    client = Client(forges.urls["github"])
    forges.turn("github", faults=[{"on": "GET /api/v3/user", "status": 502, "count": 2, "skip": 1}])
    assert [client.get("/api/v3/users/me")[0] for _ in range(4)] == [200, 502, 502, 200]
    forges.turn("github", faults=[{"on": "info/refs", "redirect": "http://example.invalid"}])
    path = "/acme/app.git/info/refs?service=git-upload-pack"
    status, headers, _ = client.get(path)
    assert status == 302 and headers["Location"] == "http://example.invalid" + path
    forges.turn("github", faults=[{"on": "users", "cut": 10}])
    try:
        client.get("/api/v3/users/me")
        raise AssertionError("the whole answer came")
    except http.client.IncompleteRead as e:
        assert len(e.partial) == 10
    forges.turn("github", faults=[{"on": "users", "drop": True}])
    try:
        Client(forges.urls["github"]).get("/api/v3/users/me")
        raise AssertionError("an answer came")
    except (http.client.RemoteDisconnected, ConnectionError):
        pass
    forges.turn("github", faults=[{"on": "user", "raw": "[1,"}], clock=3600)
    _, headers, content = Client(forges.urls["github"]).get("/api/v3/users/me")
    assert content == b"[1,"
    assert Client(forges.urls["github"]).get("/_knobs", "POST", json.dumps({"nonsense": 1}))[0] == 400


@harness.case(needs_fuse=False)
def lies(t):
    forges = t.forges(world(t))
    client = Client(forges.urls["github"])
    forges.turn("github", lies={"names": ["..", "a/b"], "drop": ["default_branch"], "null": ["id"]})
    listed = client.json("/api/v3/orgs/acme/repos")
    assert [r["name"] for r in listed[:2]] == ["..", "a/b"]
    assert "default_branch" not in listed[0] and listed[0]["id"] is None
    forges.turn("github", lies={"loop": True})
    _, headers, _ = client.get("/api/v3/orgs/acme/repos?per_page=100")
    assert next_of(headers).endswith("page=1")
    forges.turn("github", lies={"size": 7})
    tree = client.json("/api/v3/repos/acme/app/git/trees/HEAD?recursive=1")
    assert next(e for e in tree["tree"] if e["path"] == "README")["size"] == 13


@harness.case(needs_fuse=False)
def large_trees_are_quick(t):
    """40,000 files are listed in a time in which nobody thinks of a timeout."""
    many = t.path("many.git")
    repo.simple_repo(many, {f"d{i % 400:03}/{i}": f"{i}\n" for i in range(40000)})
    forges = t.forges({"github": {"owners": [{"name": "o", "repos": [{"name": "many", "git": many}]}]}})
    tree = Client(forges.urls["github"]).json("/api/v3/repos/o/many/git/trees/HEAD?recursive=1")
    assert len(tree["tree"]) == 40400 and not tree["truncated"]


@harness.case(needs_fuse=False)
def same_ports_after_a_restart(t):
    forges = t.forges(world(t))
    urls = dict(forges.urls)
    forges.stop()
    assert forges.start().urls == urls
    assert Client(urls["gitea"]).json("/api/v1/version")["version"]


if __name__ == "__main__":
    harness.main()
