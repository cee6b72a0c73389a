"""Gitea and Forgejo: REST below /api/v1, git at /OWNER/REPO.git."""

import base64
import re
import urllib.parse

import forge
import objects
import wire

API = "/api/v1"
PAGE_MAX = 50
BLOB_MAX = 10 << 20


class Gitea(forge.Forge):
    kind = "gitea"
    server_name = "Gitea"
    limit_named = limit_anonymous = 1 << 30  # there is none

    ROUTES = (
        ("version", "version"),
        ("settings/api", "settings"),
        ("orgs/([^/]+)", "org"),
        ("orgs/([^/]+)/repos", "org_repos"),
        ("users/([^/]+)", "account"),
        ("users/([^/]+)/repos", "user_repos"),
        ("user", "self"),
        ("user/repos", "own_repos"),
        ("repos/search", "search"),
        ("repos/([^/]+/[^/]+)", "repository"),
        ("repositories/([0-9]+)", "repository"),
        ("repos/([^/]+/[^/]+)/git/trees/(.+)", "tree"),
        ("repos/([^/]+/[^/]+)/git/blobs/([^/]+)", "blob"),
    )

    def error(self, status, message, headers=()):
        return wire.Response(status, {"message": message, "url": "/api/swagger"}, headers)

    def unauthorized(self, request, token):
        text = "user does not exist [uid: 0, name: ]" if token else "token is required"
        return self.error(401, text, {"WWW-Authenticate": 'Basic realm="Gitea"'})

    def missing(self, text="The target couldn't be found."):
        return forge.Refusal(self.error(404, text))

    def api(self, request, person):
        if request.kind == "graphql" or not request.raw_path.startswith(API + "/"):
            raise forge.Refusal(wire.Response(404, "Not found.\n"))
        if request.method not in ("GET", "HEAD"):
            raise forge.Refusal(self.error(405, "Method Not Allowed"))
        for pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, request.raw_path.removeprefix(API + "/"))
            if match:
                parts = [urllib.parse.unquote(p) for p in match.groups()]
                return getattr(self, "get_" + name)(request, person, *parts)
        raise self.missing()

    # --- the instance ---

    def get_version(self, request, person):
        return wire.Response(200, {"version": "1.22.0"})

    def get_settings(self, request, person):
        return wire.Response(200, {
            "max_response_items": self.knobs["page_max"] or PAGE_MAX, "default_paging_num": 30,
            "default_git_trees_per_page": self.knobs["tree_page"], "default_max_blob_size": BLOB_MAX,
        })  # fmt: skip

    # --- owners ---

    def user_json(self, request, owner, name=None):
        login = owner.name if owner else name
        return {
            "id": owner.id if owner else 1, "login": login, "login_name": "", "source_id": 0, "full_name": "",
            "email": f"{login}@noreply.localhost", "avatar_url": f"{request.origin}/avatars/1", "username": login,
            "html_url": f"{request.origin}/{login}", "language": "", "is_admin": False, "active": False,
            "created": "2024-01-01T00:00:00Z", "restricted": False, "prohibit_login": False, "visibility": "public",
        }  # fmt: skip

    def _owner(self, request, name, organisation=False):
        owner = self.world.owner(name)
        if owner and not (organisation and owner.type == "user"):
            return owner
        moved = self.world.moved_owner(name)
        if moved and self.knobs["owners_move"]:
            path = request.raw_path.replace("/" + urllib.parse.quote(name), "/" + urllib.parse.quote(moved.name), 1)
            url = forge.with_query(request.origin + path, request.query)
            raise forge.Refusal(wire.Response(301, "moved\n", {"Location": url}))
        raise self.missing("user redirect does not exist [name: %s]" % name)

    def get_org(self, request, person, name):
        owner = self._owner(request, name, True)
        return wire.Response(200, {
            "id": owner.id, "name": owner.name, "full_name": "", "email": "", "description": "", "website": "",
            "avatar_url": f"{request.origin}/avatars/{owner.id}", "location": "", "visibility": "public",
            "repo_admin_change_team_access": False, "username": owner.name,
        })  # fmt: skip

    def get_account(self, request, person, name):
        """Organisations are users, too."""
        return wire.Response(200, self.user_json(request, self._owner(request, name)))

    def get_self(self, request, person):
        if not person:
            return self.unauthorized(request, None)
        return wire.Response(200, self.user_json(request, self.world.owner(person.name), person.name))

    # --- repositories ---

    def repository_json(self, request, repo):
        url = f"{request.origin}/{repo.full_name}"
        return {
            "id": repo.id, "owner": self.user_json(request, repo.owner), "name": repo.name,
            "full_name": repo.full_name, "description": "", "empty": repo.is_empty, "private": repo.private,
            "fork": repo.fork, "template": False, "parent": None, "mirror": False, "size": 100, "language": "",
            "languages_url": f"{request.origin}{API}/repos/{repo.full_name}/languages", "html_url": url,
            "url": f"{request.origin}{API}/repos/{repo.full_name}", "link": "", "clone_url": url + ".git",
            "ssh_url": f"git@127.0.0.1:{repo.full_name}.git", "original_url": "", "website": "", "stars_count": 0,
            "forks_count": 0, "watchers_count": 0, "open_issues_count": 0, "open_pr_counter": 0,
            "default_branch": repo.default_branch, "archived": repo.archived, "created_at": "2024-01-01T00:00:00Z",
            "updated_at": repo.pushed_at, "archived_at": "1970-01-01T00:00:00Z",
            "permissions": {"admin": False, "push": False, "pull": True}, "has_issues": True, "internal": False,
            "object_format_name": "sha1",
        }  # fmt: skip

    def renamed_entry(self, entry, name):
        return {"name": name, "full_name": f'{entry["owner"]["login"]}/{name}' if "owner" in entry else name}

    def _list(self, request, person, repos, wrap=lambda entries: entries):
        repos = [r for r in repos if person.sees(r)]
        page, number, n_pages, size = self.page_of(request, repos, "limit", 30, PAGE_MAX)
        first = [self.repository_json(request, r) for r in repos[:size]] if self.knobs["lies"] else []

        def url_of(n):
            return forge.with_query(request.origin + request.raw_path, {**request.query, "page": n})

        entries = self.lie_about([self.repository_json(request, r) for r in page], number, first)
        headers = {"X-Total-Count": str(len(repos)), "Access-Control-Expose-Headers": "X-Total-Count, Link"}
        link = self.link_header(url_of, number, n_pages)
        return wire.Response(200, wrap(entries), {**headers, "Link": link} if link else headers)

    def get_org_repos(self, request, person, name):
        return self._list(request, person, self._owner(request, name, True).repos)

    def get_user_repos(self, request, person, name):
        return self._list(request, person, self._owner(request, name).repos)

    def get_own_repos(self, request, person):
        if not person:
            return self.unauthorized(request, None)
        named = person.facts.get("own", [])
        repos = [r for o in self.world.owners.values() for r in o.repos]
        return self._list(request, person, [r for r in repos if r.owner.name == person.name or r.full_name in named])

    def get_search(self, request, person):
        repos = [r for o in self.world.owners.values() for r in o.repos]
        return self._list(request, person, repos, lambda entries: {"ok": True, "data": entries})

    def _repo(self, request, person, name):
        repo = self.world.repos_by_id.get(int(name)) if name.isdigit() else self.world.repo(name)
        if repo is None and not name.isdigit() and self.world.moved_repo(name):
            path = request.raw_path.replace(name, self.world.moved_repo(name).full_name, 1)
            url = forge.with_query(request.origin + path, request.query)
            raise forge.Refusal(wire.Response(301, "moved\n", {"Location": url}))
        if repo is None or not person.sees(repo):
            raise self.missing()
        if repo.forbidden or person.lacks:
            text = "token does not have at least one of required scope(s): [read:repository]"
            raise forge.Refusal(self.error(403, text))
        return repo

    def get_repository(self, request, person, name):
        return wire.Response(200, self.repository_json(request, self._repo(request, person, name)))

    # --- content ---

    def get_tree(self, request, person, name, sha):
        """Calls itself truncated when there are more pages."""
        repo = self._repo(request, person, name)
        if repo.is_empty:
            raise forge.Refusal(self.error(409, "Git Repository is empty."))
        oid = objects.resolve(repo.git, sha + "^{tree}")
        recursive = request.query.get("recursive", "") in ("1", "t", "T", "true", "TRUE", "True")
        entries = objects.tree(repo.git, oid, recursive) if oid else None
        if entries is None:
            return self.error(400, f"object does not exist [id: {sha}, rel_path: ]")
        size = request.number("per_page", self.knobs["tree_page"], self.knobs["tree_page"])
        number = request.number("page", 1)
        start = (number - 1) * size
        url = f"{request.origin}{API}/repos/{repo.full_name}/git"
        tree = []
        for entry in entries[start : start + size]:
            kind, length = self.lie_about_tree(entry.kind, entry.size)
            tree.append({
                "path": entry.text, "mode": entry.mode, "type": kind, "size": length or 0, "sha": entry.oid,
                "url": "" if entry.kind == "commit" else f"{url}/{entry.kind}s/{entry.oid}",
            })  # fmt: skip
        return wire.Response(200, {
            "sha": oid, "url": f"{url}/trees/{oid}", "tree": tree, "truncated": start + size < len(entries),
            "page": number, "total_count": len(entries),
        })  # fmt: skip

    def get_blob(self, request, person, name, sha):
        repo = self._repo(request, person, name)
        if repo.is_empty or not re.fullmatch("[0-9a-f]{40}", sha) or objects.kind(repo.git, sha) != "blob":
            return self.error(400, f"object does not exist [id: {sha}, rel_path: ]")
        size = objects.size(repo.git, sha)
        content = None if size > BLOB_MAX else base64.b64encode(objects.blob(repo.git, sha)).decode()
        url = f"{request.origin}{API}/repos/{repo.full_name}/git/blobs/{sha}"
        return wire.Response(200, {"content": content, "encoding": "base64", "url": url, "sha": sha, "size": size})

    def git_refused(self, request, token):
        return wire.Response(401, "Unauthorized\n", {"WWW-Authenticate": 'Basic realm="Gitea"'})
