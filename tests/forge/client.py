"""What tests of the test forge share: a world with a repository in every state, and an HTTP client."""

import http.client
import json

import repo

FILES = {"README": "hello\n", "src/main.c": "int main;\n", "src/deep/link": (repo.LINK, b"../main.c")}
TOKEN, EXPIRED = "ghp_good", "ghp_old"


def world(t, **knobs):
    app, empty = t.path("app.git"), t.path("empty.git")
    repo.simple_repo(app, FILES)
    repo.init_bare(empty)
    repos = [
        {"name": "app", "git": app, "was": ["app-old"]},
        {"name": "secret", "git": app, "private": True},
        {"name": "empty", "git": empty},
        {"name": "old", "git": app, "archived": True},
        {"name": "fork", "git": app, "fork": True},
        {"name": "taken-down", "git": app, "blocked": True},
        {"name": "forbidden", "git": app, "forbidden": True},
    ]
    owners = [
        {"name": "acme", "was": ["acme-old"], "repos": repos},
        {"name": "acme/tools", "type": "group", "repos": [{"name": "lib", "git": app}]},
        {"name": "me", "type": "user", "repos": [{"name": "mine", "git": app}]},
    ]
    tokens = {TOKEN: {"user": "me"}, EXPIRED: {"state": "expired"}}
    knobs.setdefault("tokens", tokens)
    return {kind: {"owners": owners, "knobs": knobs} for kind in ("github", "gitlab", "gitea", "mesa", "git")}


class Client:
    """One kept connection."""

    def __init__(self, url, **headers):
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self.headers = {"User-Agent": "test", **headers}

    def get(self, path, method="GET", body=None, **headers):
        """(status, headers, content)"""
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        self.connection.request(method, path, body, {**self.headers, **sent})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def json(self, path, status=200, **headers):
        got, _, content = self.get(path, **headers)
        assert got == status, (got, content[:500])
        return json.loads(content)
