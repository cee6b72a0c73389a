"""Mesa in both of its dialects: the current API below /v1, the older one below /api/v1, git at /ORG/REPO.git."""

import base64
import re
import urllib.parse

import forge
import objects
import wire

CURRENT, DEPOT = "/v1", "/api/v1"
NOTHING = "z" * 32
CODES = {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND"}


class Mesa(forge.Forge):
    kind = "mesa"
    server_name = "mesa"

    ROUTES = (
        ("whoami", "whoami"),
        ("([^/]+)", "org"),
        ("([^/]+)/repos", "repos"),
        ("([^/]+/[^/]+)", "repository"),
        ("([^/]+/[^/]+)/content", "content"),
        ("([^/]+/[^/]+)/(branches|bookmarks)", "branches"),
        ("([^/]+/[^/]+)/(commits|changes)", "commits"),
    )

    def error(self, status, message, headers=(), code=None):
        error = {"code": code or CODES.get(status, "ERROR"), "message": message}
        return wire.Response(status, {"error": error}, headers)

    def unauthorized(self, request, token):
        return self.error(401, "Invalid API key" if token else "Missing API key")

    def missing(self, what="Not found"):
        return forge.Refusal(self.error(404, what))

    def api(self, request, person):
        prefix = next((p for p in (DEPOT, CURRENT) if request.raw_path.startswith(p + "/")), None)
        dialect = {DEPOT: "depot", CURRENT: "current"}.get(prefix)
        if dialect is None or self.knobs["dialect"] not in (dialect, "both") or request.method != "GET":
            raise forge.Refusal(wire.Response(404, "404 Not Found\n"))
        if not person:
            return self.unauthorized(request, None)
        for pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, request.raw_path.removeprefix(prefix + "/"))
            if match:
                parts = [self.decode(p) for p in match.groups()]
                return getattr(self, "get_" + name)(request, person, dialect, *parts)
        raise self.missing()

    @staticmethod
    def decode(part):
        """ORG/REPO with each of them decoded; a name may be base64 and hold a slash, kept as %2F."""
        return "/".join(urllib.parse.unquote(p).replace("/", "%2F") for p in part.split("/"))

    def _org(self, name):
        owner = self.world.owner(name)
        if owner is None:
            raise self.missing("Organization not found")
        return owner

    def get_whoami(self, request, person, dialect):
        if dialect != "current":
            raise self.missing()
        org = next(iter(self.world.owners.values()), None)
        slug = org.name if org else "none"
        return wire.Response(200, {"org": {"id": "org_1", "slug": slug, "name": slug}, "key_id": "key_1",
                                   "scopes": ["git:read", "repo:read"]})  # fmt: skip

    def get_org(self, request, person, dialect, name):
        owner = self._org(name)
        if dialect == "current":
            return wire.Response(200, {"id": f"org_{owner.id}", "slug": owner.name, "name": owner.name})
        return wire.Response(200, {"created_at": None, "last_commit_at": None, "num_repos": len(owner.repos)})

    def _heads(self, repo):
        """(default branch, its commit), both None while there is nothing."""
        if repo.is_empty:
            return None, None
        return repo.default_branch, objects.head(repo.git)

    def repo_json(self, repo, dialect):
        branch, head = self._heads(repo)
        common = {
            "id": f"repo_{repo.id}", "org": repo.owner.name, "name": repo.name, "created_at": "2024-01-01T00:00:00Z",
        }  # fmt: skip
        upstream = repo.facts.get("upstream")
        if dialect == "current":
            upstream = {"url": upstream, "auth_kind": "none", "latest_sync": None} if upstream else None
            return {
                **common, "default_bookmark": branch or "main", "head_change_id": change_id(head), "upstream": upstream,
                "tags": [],
            }  # fmt: skip
        upstream = {"uri": upstream, "autosync": None, "last_sync_attempt": None} if upstream else None
        return {
            **common, "default_branch": branch, "head_sha": head, "size_bytes": 1000, "upstream": upstream,
            "last_push_at": repo.pushed_at,
        }  # fmt: skip

    def renamed_entry(self, entry, name):
        return {"name": name}

    def get_repos(self, request, person, dialect, name):
        """Paged by cursor: an opaque text, here the index of the next entry."""
        repos = [r for r in self._org(name).repos if person.sees(r)]
        most = self.knobs["page_max"] or 100
        size = request.number("limit", min(20, most), most)
        try:
            start = int(base64.urlsafe_b64decode(request.query.get("cursor", "") or "MA==").decode())
        except ValueError:
            return self.error(400, "Invalid cursor")
        page = repos[start : start + size]
        first = [self.repo_json(r, dialect) for r in repos[:size]] if self.knobs["lies"] else []
        more = start + size < len(repos)
        following = base64.urlsafe_b64encode(str(start + size).encode()).decode() if more else None
        lies = self.knobs["lies"]
        if lies.get("loop") and not more:
            more, following = True, "MA=="
        if lies.get("same"):
            more, following = True, request.query.get("cursor") or "MA=="
        body = self.lie_about([self.repo_json(r, dialect) for r in page], 1 if start == 0 else 2, first)
        return wire.Response(200, {"repos": body, "next_cursor": following, "has_more": more})

    def _repo(self, person, name):
        repo = self.world.repo(name) or self.world.repo(name.replace("%2F", "/"))
        if repo is None or not person.sees(repo):
            raise self.missing("Repository not found")
        if repo.forbidden or person.lacks:
            raise forge.Refusal(self.error(403, "API key lacks scope repo:read"))
        return repo

    def get_repository(self, request, person, dialect, name):
        repo = self._repo(person, name)
        body = self.repo_json(repo, dialect)
        if repo.n_syncs > 0 and dialect == "depot":
            repo.n_syncs -= 1
            return wire.Response(202, {**body, "default_branch": None, "head_sha": None, "status": "syncing"})
        return wire.Response(200, body)

    # --- content ---

    def get_content(self, request, person, dialect, name):
        repo = self._repo(person, name)
        if repo.is_empty:
            raise self.missing("Path not found")
        ref = self._ref(repo, request, dialect)
        path = request.query.get("path", "").strip("/")
        oid = objects.resolve(repo.git, f"{ref}:{path}") if ref else None
        if oid is None:
            raise self.missing("Path not found")
        if objects.kind(repo.git, oid) == "tree":
            if "application/octet-stream" in request.headers.get("Accept", ""):
                return self.error(406, "Not a file", code="NOT_ACCEPTABLE")
            return wire.Response(200, self._directory(request, repo, dialect, oid, path))
        content = objects.blob(repo.git, oid)
        if "application/octet-stream" in request.headers.get("Accept", ""):
            return wire.Response(200, content, content_type="application/octet-stream")
        parent, _, name = path.rpartition("/")
        entries = objects.tree(repo.git, objects.resolve(repo.git, f"{ref}:{parent}"))
        entry = next(e for e in entries if e.text == name)
        body = self._entry_json(entry, path, dialect)
        return wire.Response(200, {**body, "encoding": "base64", "content": base64.b64encode(content).decode()})

    def _ref(self, repo, request, dialect):
        if dialect == "depot":
            return request.query.get("ref") or "HEAD"
        wanted = request.query.get("change_id")
        head = objects.head(repo.git)
        if not wanted or wanted == change_id(head):
            return head
        commits = (objects.line(repo.git, "rev-list", "--all") or "").split()
        return next((c for c in commits if change_id(c) == wanted), None)

    def _entry_json(self, entry, path, dialect):
        kind, size = self.lie_about_tree(entry.kind, entry.size)
        if kind == "tree":
            return {"type": "dir", "name": entry.text.rpartition("/")[2], "path": path, "sha": entry.oid}
        body = {
            "type": "symlink" if entry.mode == "120000" else "file", "name": entry.text.rpartition("/")[2],
            "path": path, "sha": entry.oid, "size": size or 0, "last_commit_at": None,
        }  # fmt: skip
        if dialect == "current":
            return {**body, "mode": entry.mode}
        return {**body, "executable": entry.mode == "100755"}

    def _directory(self, request, repo, dialect, oid, path):
        """With the entries of so many levels below; submodules are not told of."""
        depth = min(request.number("depth", 1), 10)
        entries = []
        for entry in objects.tree(repo.git, oid, depth > 1):
            if entry.kind != "commit" and entry.path.count(b"/") < depth:
                entries.append(self._entry_json(entry, f"{path}/{entry.text}".lstrip("/"), dialect))
        body = {"type": "dir", "name": path.rpartition("/")[2] or None, "path": path or None, "sha": oid,
                "child_count": len(entries), "entries": entries}  # fmt: skip
        return body if dialect == "current" else {**body, "next_cursor": None, "has_more": False}

    def get_branches(self, request, person, dialect, name, what):
        repo = self._repo(person, name)
        refs = objects.line(repo.git, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads") or ""
        found = []
        for branch, oid in map(str.split, refs.splitlines()):
            default = branch == repo.default_branch
            if what == "branches":
                found.append({"name": branch, "head_sha": oid, "is_default": default})
            else:
                found.append({"name": branch, "change_id": change_id(oid), "is_default": default})
        return wire.Response(200, {what: found, "next_cursor": None, "has_more": False})

    def get_commits(self, request, person, dialect, name, what):
        repo = self._repo(person, name)
        oids = (objects.line(repo.git, "rev-list", "--all", "--max-count=20") or "").split()
        if what == "commits":
            who = {"name": "Test", "email": "test@example.org", "date": None}
            found = [{"sha": o, "message": "", "author": who, "committer": who} for o in oids]
        else:
            found = [{"id": change_id(o), "current_commit_oid": o, "parents": [], "is_conflicted": False} for o in oids]
        return wire.Response(200, {what: found, "next_cursor": None, "has_more": False})

    def git_refused(self, request, token):
        return wire.Response(401, "Unauthorized\n", {"WWW-Authenticate": 'Basic realm="mesa"'})


def change_id(oid):
    """Changes have ids of their own, in letters from k to z: the commit's, spelt differently."""
    if oid is None:
        return NOTHING
    return oid[:32].translate(str.maketrans("0123456789abcdef", "zyxwvutsrqponmlk"))
