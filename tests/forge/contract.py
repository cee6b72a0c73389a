#!/usr/bin/env python3
"""The GitHub contract: what the daemon asks and what the test forge answers, against GitHub's own description.

The description of REST is api.github.com.json of the npm package @octokit/openapi. Whatever is on the wire must be
in it; what cannot be is listed in PATHS and STATUSES, with the reason. Queries of GraphQL are held against the schema
in the npm package @octokit/graphql-schema, and so is the part of it that the test forge has.
"""

import collections
import errno
import json
import os
import re
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import client  # noqa: E402
import github_schema  # noqa: E402
import graphql  # noqa: E402
import harness  # noqa: E402
import npm  # noqa: E402
import repo  # noqa: E402

API = "/api/v3"
OPENAPI = "@octokit/openapi@23.0.2"
GRAPHQL = "@octokit/graphql-schema@15.26.1"

# What GitHub asks of every request, in words.
HEADERS = ("user-agent", "accept", "x-github-api-version")

# On the wire, though the description lacks it. (pattern of the path below the API, why)
PATHS = (
    ("/repositories/[0-9]+(/.*)?", "where redirects of renamed repositories and their pages lead; recorded"),
    ("/(organizations|user)/[0-9]+/repos", "what Link names for the second page; recorded"),
)
# (pattern of the path, pattern of the status, why)
STATUSES = (
    ("/(orgs|users)/[^/]+(/repos)?", "301", "a renamed owner"),
    ("/repos/.*/git/(trees|blobs)/.*", "301", "a renamed repository, wherever it is asked for"),
    ("/repos/.*", "451", "a blocked repository: described in words only"),
    (".*", "401|403|429", "a bad token, single sign-on and limits may strike anywhere"),
    (".*", "304|404", "conditional requests, and what is not to be seen, likewise"),
    (".*", "5[0-9][0-9]", "a server in trouble"),
)


def excepted(path, status):
    return any(re.fullmatch(p, path) and re.fullmatch(s, str(status)) for p, s, _ in STATUSES)


class Checker:
    """Collects what is wrong, apart for those who ask and those who answer."""

    def __init__(self):
        import openapi

        self.description = openapi.Description(os.path.join(npm.files(OPENAPI), "generated/api.github.com.json"))
        with open(os.path.join(npm.files(GRAPHQL), "schema.json"), encoding="utf-8") as f:
            self.schema = graphql.published(json.load(f))
        self.used = collections.Counter()
        self.ours, self.theirs, self.excepted = [], [], collections.Counter()

    def check(self, line):
        if line["class"] == "graphql":
            self.check_query(line)
        if line["class"] != "rest":
            return
        target = line["target"]
        path, _, query = target.partition("?")
        if not path.startswith(API + "/"):
            self.ours.append(f"{target}: not below {API}")
            return
        path = path.removeprefix(API)
        found = self.description.operation(line["method"], path)
        if found is None:
            if any(re.fullmatch(p, path) for p, _ in PATHS):
                self.excepted[re.sub("[0-9]+", "ID", path.split("/git/")[0])] += 1
            else:
                self.ours.append(f"{line['method']} {target}: no such operation")
            return
        template, operation = found
        self.used[f"{line['method']} {template}"] += 1
        headers = {k.lower(): v for k, v in line["request_headers"].items()}
        self.ours += [f"{target}: {p}" for p in self.description.check_request(operation, query)]
        self.ours += [f"{target}: no {h} header" for h in HEADERS if h not in headers]
        self.check_answer(line, path, template, operation)

    def check_query(self, line):
        self.used["POST /graphql"] += 1
        try:
            graphql.Query(self.schema, json.loads(line["query"]))
        except (graphql.Error, ValueError) as e:
            self.ours.append(f"GraphQL: {e}: {line['query'][:200]}")

    def check_schema(self):
        """What the forge claims to be able to answer."""
        for typename, fields in github_schema.SCHEMA.items():
            for name, field in fields.items():
                real = self.schema.get(typename, {}).get(name)
                if real is None:
                    self.theirs.append(f"GraphQL: there is no field {typename}.{name}")
                elif field.of != real.of or not field.arguments <= real.arguments or field.required != real.required:
                    self.theirs.append(f"GraphQL: {typename}.{name} is another one: {real.of} {real.arguments}")

    def check_answer(self, line, path, template, operation):
        status, body = line["status"], line.get("body")
        content_type = line["response_headers"].get("Content-Type", "")
        if str(status) not in operation["responses"] and excepted(path, status):
            self.excepted[f"status {status}"] += 1
            if status != 304 and "json" in content_type:
                error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/basic-error"}}}}
                operation = {"responses": {str(status): error}}
                template = "an error"
            else:
                return
        problems = self.description.check_response(template, operation, status, content_type, body)
        self.theirs += [f"{line['target']}: {status}: {p}" for p in problems]

    def finish(self):
        self.check_schema()
        print(f"{len(self.used)} operations used:")
        for operation, n in sorted(self.used.items()):
            print(f"    {n:4} {operation}")
        print("not in the description:")
        for what, n in sorted(self.excepted.items()):
            print(f"    {n:4} {what}")
        print(f"{len(self.ours)} violations by those who ask, {len(self.theirs)} by the test forge")
        for problem in (self.ours + self.theirs)[:40]:
            print("    " + problem)
        assert not self.ours and not self.theirs


def need_jsonschema():
    try:
        import jsonschema  # noqa: F401  pylint: disable=unused-import
    except ImportError:
        raise harness.Skip("python3-jsonschema is not installed") from None


def description_of(t, **knobs):
    world = {"github": client.world(t, record=True, **knobs)["github"]}
    owner = world["github"]["owners"][0]
    owner["many"] = {"count": 230, "git": t.path("app.git")}
    for entry in owner["repos"]:
        if entry["name"] in ("fork", "old"):
            # Content of their own: what is known of an object is not asked for again.
            entry["git"] = t.path(entry["name"] + ".git")
            repo.simple_repo(entry["git"], {"README": entry["name"], "src/main.c": entry["name"] + "\n", "x/y": "z\n"})
    return world


@harness.case(needs_fuse=False)
def forge_alone(t):
    """Each operation of the test forge, called as described."""
    need_jsonschema()
    checker = Checker()
    forges = t.forges(description_of(t))
    git_dir = t.path("app.git")
    tree = repo.git_text("--git-dir", git_dir, "rev-parse", "HEAD^{tree}")
    blob = repo.git_text("--git-dir", git_dir, "rev-parse", "HEAD:README")
    commit = repo.git_text("--git-dir", git_dir, "rev-parse", "HEAD")
    paths = [
        "/orgs/acme", "/orgs/acme/repos?per_page=100&type=all&sort=full_name", "/orgs/nobody/repos", "/users/me",
        "/users/acme", "/users/me/repos?per_page=100&page=1", "/user", "/user/repos?affiliation=owner&per_page=100",
        "/rate_limit", "/repos/acme/app", "/repos/acme/secret", "/repos/acme/nothing", "/repos/acme/app-old",
        "/repos/acme/taken-down", "/repos/acme/forbidden", "/orgs/acme-old/repos",
        f"/repos/acme/app/git/trees/{tree}", f"/repos/acme/app/git/trees/{tree}?recursive=1",
        "/repos/acme/empty/git/trees/HEAD", f"/repos/acme/app/git/trees/{blob}", f"/repos/acme/app/git/blobs/{blob}",
        "/repos/acme/app/git/blobs/123", "/repos/acme/app/git/ref/heads%2Fmain",
        f"/repos/acme/app/git/commits/{commit}", "/repos/acme/app/commits/main", "/repos/acme/app/commits/nothing",
    ]  # fmt: skip
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    for token in None, client.TOKEN, client.EXPIRED:
        more = {"Authorization": f"Bearer {token}"} if token else {}
        asking = client.Client(forges.urls["github"], **headers, **more)
        for path in paths:
            _, got, _ = asking.get(API + path)
            if got["ETag"]:
                assert asking.get(API + path, If_None_Match=got["ETag"])[0] == 304
    asking = client.Client(forges.urls["github"], **headers)
    asking.get(f"{API}/repos/acme/app/git/blobs/{blob}", Accept="application/vnd.github.raw+json")
    asking.get(f"{API}/repos/acme/app/commits/main", Accept="application/vnd.github.sha")
    for line in forges.log("github"):
        checker.check(line)
    checker.finish()


@harness.case(needs_fuse=False)
def checker_itself(t):
    """What is wrong is found: an unknown parameter, one of the wrong kind, a missing field, an unknown path."""
    need_jsonschema()
    checker = Checker()
    forges = t.forges(description_of(t, lies={"null": ["id"], "drop": ["full_name"]}))
    asking = client.Client(forges.urls["github"], Accept="application/vnd.github+json")
    asking.headers["X-GitHub-Api-Version"] = "2022-11-28"
    asking.get(f"{API}/orgs/acme/repos?per_page=1&colour=red&page=x")
    asking.get(f"{API}/colours")
    for line in forges.log("github"):
        checker.check(line)
    assert len(checker.ours) == 3, checker.ours
    assert len(checker.theirs) == 2 and "None is not" in "".join(checker.theirs), checker.theirs
    assert "'full_name' is a required property" in "".join(checker.theirs), checker.theirs


def credential(t, org, token):
    """Where `gitfsctl org add --token-stdin` leaves a token."""
    path = t.write(f"config/credentials/{org}", token + "\n")
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o600)


def walk(t, path):
    """Everything below a directory, with sizes; how many files."""
    n = 0
    for top, _, names in os.walk(t.at(path)):
        for name in names:
            os.lstat(os.path.join(top, name))
            n += 1
    return n


def use_everything(t, forges):
    """All that makes the daemon ask GitHub something."""
    names = t.names("acme")
    assert "repo-00229" in names and "secret" in names and "taken-down" in names, names[:20]
    assert walk(t, "acme/app") == 3 and walk(t, "acme/secret") == 3
    assert t.read("acme/app/README") == b"hello\n"
    assert t.names("acme/empty") == []
    for name, wanted in ("taken-down", {errno.EACCES}), ("forbidden", {errno.EACCES}), ("nothing", {errno.ENOENT}):
        assert t.errno_of(os.listdir, t.at(f"acme/{name}")) in wanted, name
    assert t.read("acme/app-old/README") == b"hello\n"
    assert t.names("me") == ["mine"]
    assert t.read("hub/acme/app/README") == b"hello\n"
    assert t.errno_of(os.listdir, t.at("hub/nobody")) == errno.ENOENT
    assert "app" in t.names("hub/acme")
    assert t.names("public/") and "secret" not in t.names("public")
    assert "mine" in t.names("own")
    # Whole trees are too large from now on.
    forges.turn("github", tree_limit=1)
    assert walk(t, "acme/fork") == 3
    forges.turn("github", tree_limit=None)
    assert walk(t, "acme/old") == 3
    forges.turn("github", faults=[{"on": "POST .*old.*git-upload-pack", "status": 500}])
    assert t.read("acme/old/README") == b"old"
    forges.turn("github", faults=None)


@harness.case()
def daemon(t):
    """The daemon at work, with a token and without, and once more after a restart."""
    need_jsonschema()
    checker = Checker()
    forges = t.forges(description_of(t))
    url = forges.urls["github"]
    for org, owner in ("acme", "acme"), ("me", "me"), ("hub", None), ("own", "@me"), ("public", "acme"):
        t.org(org, "github", url, **({"Owner": owner} if owner else {}))
        if org != "public":
            credential(t, org, client.TOKEN)
    t.org("renamed", "github", url, Owner="acme-old")
    t.configure("[Mount]\nRequestTimeoutSec=30\n")
    t.start()
    use_everything(t, forges)
    assert "app" in t.names("renamed")
    t.restart()
    harness.wait_until(lambda: t.names("acme") and any(x["status"] == 304 for x in forges.log("github")), "revalidated")
    lines = forges.log("github")
    for line in lines:
        checker.check(line)
    print(f"{len(lines)} requests; GraphQL: {sum(x['class'] == 'graphql' for x in lines)}")
    unquoted = [x["target"] for x in lines if urllib.parse.unquote(x["target"]) != x["target"]]
    print(f"encoded targets: {sorted(set(unquoted))[:5]}")
    checker.finish()


if __name__ == "__main__":
    harness.main()
