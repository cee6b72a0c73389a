"""GitHub as an Enterprise Server: REST below /api/v3, GraphQL at /api/graphql, git at /OWNER/REPO.git."""

import base64
import re
import urllib.parse

import forge
import github_schema
import graphql
import objects
import wire

API = "/api/v3"
DOCUMENTATION = "https://docs.github.com/rest"
VERSIONS = ("2022-11-28", "2026-03-10")
BLOB_MAX = 100 << 20

USER_URLS = {
    "followers_url": "/followers", "following_url": "/following{/other_user}", "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}", "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs", "repos_url": "/repos", "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}  # fmt: skip

REPO_URLS = {
    "archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}", "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}", "contributors_url": "/contributors", "deployments_url": "/deployments",
    "downloads_url": "/downloads", "events_url": "/events", "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}", "issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}", "languages_url": "/languages", "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}", "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags",
    "teams_url": "/teams", "trees_url": "/git/trees{/sha}",
}  # fmt: skip


def node_id(kind, number):
    return base64.b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()


class GitHub(forge.Forge):
    kind = "github"
    server_name = "GitHub"

    ROUTES = (
        ("orgs/([^/]+)", "org"),
        ("orgs/([^/]+)/repos", "org_repos"),
        ("organizations/([0-9]+)/repos", "repos_by_owner_id"),
        ("user/([0-9]+)/repos", "repos_by_owner_id"),
        ("users/([^/]+)", "account"),
        ("users/([^/]+)/repos", "user_repos"),
        ("user", "self"),
        ("user/repos", "own_repos"),
        ("installation/repositories", "installation"),
        ("rate_limit", "rate_limit"),
        ("repos/([^/]+/[^/]+)", "repository"),
        ("repositories/([0-9]+)", "repository"),
        ("(repos/[^/]+/[^/]+|repositories/[0-9]+)/git/trees/(.+)", "tree"),
        ("(repos/[^/]+/[^/]+|repositories/[0-9]+)/git/blobs/([^/]+)", "blob"),
        ("(repos/[^/]+/[^/]+|repositories/[0-9]+)/git/ref/(.+)", "ref"),
        ("(repos/[^/]+/[^/]+|repositories/[0-9]+)/git/commits/([^/]+)", "git_commit"),
        ("(repos/[^/]+/[^/]+|repositories/[0-9]+)/commits/(.+)", "commit"),
    )

    # --- errors, limits ---

    def error(self, status, message, headers=(), **more):
        body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status), **more}
        return wire.Response(status, body, {"X-GitHub-Media-Type": "github.v3; format=json", **dict(headers)})

    def missing(self):
        return forge.Refusal(self.error(404, "Not Found"))

    def resource(self, request):
        return "graphql" if request.kind == "graphql" else "core"

    def limit_headers(self, budget, resource):
        return {
            "X-RateLimit-Limit": str(budget.limit),
            "X-RateLimit-Remaining": str(budget.remaining),
            "X-RateLimit-Used": str(budget.used),
            "X-RateLimit-Reset": str(int(budget.reset + self.knobs["clock"]) + 1),
            "X-RateLimit-Resource": resource,
        }

    def over_limit(self, request, budget):
        if request.kind == "graphql":
            error = {"type": "RATE_LIMITED", "code": "graphql_rate_limit", "message": "API rate limit exceeded"}
            return wire.Response(200, {"errors": [error]})
        whose = "user ID 1" if request.token() else "127.0.0.1"
        return self.error((self.knobs["budget"] or {}).get("status", 403), f"API rate limit exceeded for {whose}.")

    def over_secondary(self, request, rule):
        headers = {"Retry-After": str(int(rule["left"]) + 1)} if rule.get("header", True) else {}
        text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return self.error(rule.get("status", 403), text, headers)

    # --- the way in ---

    def api(self, request, person):
        if not request.headers.get("User-Agent"):
            text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n"
            return wire.Response(403, text)
        if request.kind == "graphql":
            return self.graphql(request, person)
        version = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
        if version not in VERSIONS:
            return self.error(400, f"Version {version} is not supported.")
        path = request.raw_path
        if not path.startswith(API + "/") or path.endswith("/"):
            raise self.missing()
        if request.method not in ("GET", "HEAD"):
            raise self.missing()
        for pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path.removeprefix(API + "/"))
            if match:
                parts = [urllib.parse.unquote(p) for p in match.groups()]
                response = getattr(self, "get_" + name)(request, person, *parts)
                if person and person.sso == "partial" and name in ("org_repos", "own_repos", "repos_by_owner_id"):
                    response.headers["X-GitHub-SSO"] = "partial-results; organizations=21955855,20582480"
                return response
        raise self.missing()

    def _check_sso(self, request, person, owner):
        if person and person.sso == "required" and owner.type == "org":
            url = f"{request.origin}/orgs/{owner.name}/sso?authorization_request=AZSCKL"
            text = (
                "Resource protected by organization SAML enforcement. You must grant your Personal Access token "
                "access to this organization."
            )
            raise forge.Refusal(self.error(403, text, {"X-GitHub-SSO": f"required; url={url}"}))

    # --- owners ---

    def _user(self, request, owner, name=None, number=1):
        """simple-user: of an owner, or of the one whose token it is."""
        login = owner.name if owner else name
        number = owner.id if owner else number
        url = f"{request.origin}{API}/users/{login}"
        kind = "Organization" if owner and owner.type == "org" else "User"
        return {
            "login": login, "id": number, "node_id": node_id(kind, number),
            "avatar_url": f"{request.origin}/avatars/u/{number}?v=4", "gravatar_id": "", "url": url,
            "html_url": f"{request.origin}/{login}", **{k: url + v for k, v in USER_URLS.items()},
            "type": kind, "user_view_type": "public", "site_admin": False,
        }  # fmt: skip

    def _public_user(self, request, owner, **more):
        return {
            **self._user(request, owner, **more), "name": None, "company": None, "blog": "", "location": None,
            "email": None, "hireable": None, "bio": None, "twitter_username": None,
            "public_repos": len(owner.repos) if owner else 0, "public_gists": 0, "followers": 0, "following": 0,
            "created_at": "2011-01-26T19:01:12Z", "updated_at": "2024-01-01T00:00:00Z",
        }  # fmt: skip

    def _owner(self, request, name, path):
        owner = self.world.owner(name)
        if owner:
            return owner
        moved = self.world.moved_owner(name)
        if moved and self.knobs["owners_move"]:
            url = f"{request.origin}{API}/{path(moved)}"
            raise forge.Refusal(self._moved(forge.with_query(url, request.query)))
        raise self.missing()

    def _moved(self, url):
        return self.error(301, "Moved Permanently", {"Location": url}, url=url)

    def get_account(self, request, person, name):
        owner = self._owner(request, name, lambda o: f"user/{o.id}")
        return wire.Response(200, self._public_user(request, owner))

    def get_org(self, request, person, name):
        owner = self._owner(request, name, lambda o: f"organizations/{o.id}")
        if owner.type != "org":
            raise self.missing()
        self._check_sso(request, person, owner)
        url = f"{request.origin}{API}/orgs/{owner.name}"
        return wire.Response(200, {
            "login": owner.name, "id": owner.id, "node_id": node_id("Organization", owner.id), "url": url,
            "repos_url": url + "/repos", "events_url": url + "/events", "hooks_url": url + "/hooks",
            "issues_url": url + "/issues", "members_url": url + "/members{/member}",
            "public_members_url": url + "/public_members{/member}",
            "avatar_url": f"{request.origin}/avatars/u/{owner.id}",
            "description": None, "has_organization_projects": True, "has_repository_projects": True,
            "public_repos": len(owner.repos), "public_gists": 0, "followers": 0, "following": 0,
            "html_url": f"{request.origin}/{owner.name}", "created_at": "2011-01-26T19:01:12Z", "type": "Organization",
            "updated_at": "2024-01-01T00:00:00Z", "archived_at": None,
        })  # fmt: skip

    def get_self(self, request, person):
        if not person:
            return self.unauthorized(request, None)
        owner = self.world.owner(person.name)
        return wire.Response(200, self._public_user(request, owner, name=person.name))

    # --- lists of repositories ---

    def repository_json(self, request, repo, person, full=False):
        url = f"{request.origin}{API}/repos/{repo.full_name}"
        html = f"{request.origin}/{repo.full_name}"
        body = {
            "id": repo.id, "node_id": node_id("Repository", repo.id), "name": repo.name, "full_name": repo.full_name,
            "private": repo.private, "owner": self._user(request, repo.owner), "html_url": html, "description": None,
            "fork": repo.fork, "url": url, **{k: url + v for k, v in REPO_URLS.items()},
            "created_at": "2011-01-26T19:01:12Z", "updated_at": repo.pushed_at, "pushed_at": repo.pushed_at,
            "git_url": html.replace("http:", "git:", 1) + ".git", "ssh_url": f"git@127.0.0.1:{repo.full_name}.git",
            "clone_url": html + ".git", "svn_url": html, "homepage": None, "size": 0 if repo.is_empty else 100,
            "stargazers_count": 0, "watchers_count": 0, "language": None, "has_issues": True, "has_projects": True,
            "has_downloads": True, "has_wiki": True, "has_pages": False, "has_discussions": False, "forks_count": 0,
            "mirror_url": None, "archived": repo.archived, "disabled": repo.disabled, "open_issues_count": 0,
            "license": None, "allow_forking": True, "is_template": False, "topics": [], "forks": 0,
            "visibility": "private" if repo.private else "public", "open_issues": 0, "watchers": 0,
            "web_commit_signoff_required": False, "default_branch": repo.default_branch,
        }  # fmt: skip
        if person:
            body["permissions"] = {"admin": False, "maintain": False, "push": False, "triage": False, "pull": True}
        if full:
            body.update(network_count=0, subscribers_count=0)
        return body

    def renamed_entry(self, entry, name):
        return {"name": name, "full_name": f'{entry["owner"]["login"]}/{name}' if "owner" in entry else name}

    def _list(self, request, person, repos, path):
        """One page of repositories; later pages are below the owner's number, as with GitHub."""
        page, number, n_pages, size = self.page_of(request, repos, "per_page", 30, 100)
        entries = [self.repository_json(request, r, person) for r in page]
        first = [self.repository_json(request, r, person) for r in repos[:size]] if self.knobs["lies"] else []
        query = {k: v for k, v in request.query.items() if k != "page"}

        def url_of(n):
            return forge.with_query(f"{request.origin}{API}/{path}", {**query, "page": n})

        link = self.link_header(url_of, number, n_pages)
        body = self.lie_about(entries, number, first)
        return wire.Response(200, body, {"Link": link} if link else {})

    def _visible(self, request, person, owner):
        """Sorted as asked for."""
        repos = [r for r in owner.repos if person.sees(r)]
        if person.sso == "partial":
            repos = [r for r in repos if not r.private]
        kind = request.query.get("type", "all")
        keep = {
            "public": lambda r: not r.private, "private": lambda r: r.private, "forks": lambda r: r.fork,
            "sources": lambda r: not r.fork,
        }.get(kind, lambda r: True)  # fmt: skip
        repos = [r for r in repos if keep(r)]
        order = request.query.get("sort", "created")
        if order == "full_name":
            repos.sort(key=lambda r: r.full_name.lower())
        elif order in ("pushed", "updated"):
            repos.sort(key=lambda r: (r.pushed_at, r.id))
        descending = "asc" if order == "full_name" else "desc"
        if order != "full_name" and request.query.get("direction", descending) == "desc":
            repos = repos[::-1]
        return repos

    def get_org_repos(self, request, person, name):
        owner = self._owner(request, name, lambda o: f"organizations/{o.id}/repos")
        if owner.type != "org":
            raise self.missing()
        self._check_sso(request, person, owner)
        return self._list(request, person, self._visible(request, person, owner), f"organizations/{owner.id}/repos")

    def get_user_repos(self, request, person, name):
        """Public ones only, whoever asks."""
        owner = self._owner(request, name, lambda o: f"user/{o.id}/repos")
        repos = [r for r in self._visible(request, person, owner) if not r.private]
        return self._list(request, person, repos, f"user/{owner.id}/repos")

    def get_repos_by_owner_id(self, request, person, number):
        owner = self.world.owners_by_id.get(int(number))
        if owner is None:
            raise self.missing()
        if owner.type == "org":
            return self.get_org_repos(request, person, owner.name)
        return self.get_user_repos(request, person, owner.name)

    def get_own_repos(self, request, person):
        """Of the user, and those that are named to the token."""
        if not person:
            return self.unauthorized(request, None)
        named = person.facts.get("own", [])
        repos = [r for o in self.world.owners.values() for r in o.repos]
        kinds = request.query.get("affiliation", "owner,collaborator,organization_member").split(",")
        own = [r for r in repos if r.owner.name == person.name] if "owner" in kinds else []
        other = [r for r in repos if r.full_name in named] if set(kinds) - {"owner"} else []
        return self._list(request, person, own + other, "user/repos")

    def get_installation(self, request, person):
        if not person:
            return self.unauthorized(request, None)
        return self.error(403, "You must authenticate with an installation access token")

    def get_rate_limit(self, request, person):
        limit = self.limit_named if person else self.limit_anonymous
        self.limits.give_back(person.key, "core")
        resources = {}
        for resource in "core", "search", "graphql":
            budget = self.limits.look(person.key, resource, limit)
            reset = int(budget.reset + self.knobs["clock"]) + 1
            resources[resource] = {
                "limit": budget.limit, "used": budget.used, "remaining": budget.remaining, "reset": reset,
            }  # fmt: skip
        return wire.Response(200, {"resources": resources, "rate": resources["core"]})

    # --- one repository ---

    def _repo(self, request, person, name):
        """A visible repository by name or number; everything else ends here."""
        rest = ""
        if name.startswith("repositories/"):
            name = name.removeprefix("repositories/")
        name = name.removeprefix("repos/")
        repo = self.world.repos_by_id.get(int(name)) if name.isdigit() else self.world.repo(name)
        if repo is None:
            moved = self.world.moved_repo(name)
            if moved and person.sees(moved):
                rest = request.raw_path.removeprefix(API).split("/", 4)[4:]
                url = "/".join([f"{request.origin}{API}/repositories/{moved.id}", *rest])
                raise forge.Refusal(self._moved(forge.with_query(url, request.query)))
            raise self.missing()
        if not person.sees(repo):
            raise self.missing()
        self._check_sso(request, person, repo.owner)
        if repo.blocked:
            block = {"reason": "dmca", "created_at": "2024-01-01T00:00:00Z", "html_url": "https://example.org/notice"}
            raise forge.Refusal(self.error(451, "Repository access blocked", block=block))
        if repo.forbidden or person.lacks:
            headers = {"X-Accepted-GitHub-Permissions": "contents=read"}
            raise forge.Refusal(self.error(403, "Resource not accessible by personal access token", headers))
        return repo

    def get_repository(self, request, person, name):
        return wire.Response(200, self.repository_json(request, self._repo(request, person, name), person, True))

    def _content(self, request, person, name):
        repo = self._repo(request, person, name)
        if repo.is_empty:
            raise forge.Refusal(self.error(409, "Git Repository is empty."))
        return repo

    def get_tree(self, request, person, name, sha):
        repo = self._content(request, person, name)
        oid = objects.resolve(repo.git, sha + "^{tree}")
        recursive = "recursive" in request.query  # whatever its value
        entries = objects.tree(repo.git, oid, recursive) if oid else None
        if entries is None:
            raise self.missing()
        limit = self.knobs["tree_limit"]
        truncated = recursive and len(entries) > limit
        url = f"{request.origin}{API}/repos/{repo.full_name}/git"
        tree = []
        for entry in entries[:limit] if truncated else entries:
            kind, size = self.lie_about_tree(entry.kind, entry.size)
            item = {"path": entry.text, "mode": entry.mode, "type": kind, "sha": entry.oid}
            if size is not None:
                item["size"] = size
            if entry.kind != "commit":
                item["url"] = f"{url}/{entry.kind}s/{entry.oid}"
            tree.append(item)
        return wire.Response(200, {"sha": oid, "url": f"{url}/trees/{oid}", "tree": tree, "truncated": truncated})

    def get_blob(self, request, person, name, sha):
        repo = self._content(request, person, name)
        if not re.fullmatch("[0-9a-f]{40}", sha):
            return self.error(422, "The sha parameter must be exactly 40 characters and contain only [0-9a-f].")
        if objects.kind(repo.git, sha) != "blob":
            raise self.missing()
        size = objects.size(repo.git, sha)
        if size > BLOB_MAX:
            return self.error(403, "This API returns blobs up to 100 MB in size.")
        content = objects.blob(repo.git, sha)
        if re.search(r"application/vnd\.github\.(v3\.)?raw(\+json)?", request.headers.get("Accept", "")):
            return wire.Response(200, content, content_type="application/vnd.github.raw+json; charset=utf-8")
        url = f"{request.origin}{API}/repos/{repo.full_name}/git/blobs/{sha}"
        return wire.Response(200, {
            "sha": sha, "node_id": node_id("Blob", sha), "size": size, "url": url,
            "content": base64.encodebytes(content).decode(), "encoding": "base64",
        })  # fmt: skip

    def get_ref(self, request, person, name, ref):
        repo = self._content(request, person, name)
        oid = objects.resolve(repo.git, f"refs/{ref}")
        if oid is None:
            raise self.missing()
        kind = objects.kind(repo.git, oid)
        url = f"{request.origin}{API}/repos/{repo.full_name}/git"
        return wire.Response(200, {
            "ref": f"refs/{ref}", "node_id": node_id("Ref", ref), "url": f"{url}/refs/{ref}",
            "object": {"sha": oid, "type": kind, "url": f"{url}/{kind}s/{oid}"},
        })  # fmt: skip

    def _commit_json(self, request, repo, oid):
        url = f"{request.origin}{API}/repos/{repo.full_name}/git"
        form = "%x00".join(["%T", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%P", "%B"])
        text = objects.line(repo.git, "show", "-s", f"--format={form}", oid)
        tree, an, ae, ad, cn, ce, cd, parents, message = text.split("\0")
        html = f"{request.origin}/{repo.full_name}/commit"
        verification = {
            "verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None,
        }  # fmt: skip
        return {
            "sha": oid, "node_id": node_id("Commit", oid), "url": f"{url}/commits/{oid}", "html_url": f"{html}/{oid}",
            "author": {"name": an, "email": ae, "date": ad}, "committer": {"name": cn, "email": ce, "date": cd},
            "tree": {"sha": tree, "url": f"{url}/trees/{tree}"}, "message": message, "verification": verification,
            "parents": [
                {"sha": p, "url": f"{url}/commits/{p}", "html_url": f"{html}/{p}"} for p in parents.split()
            ],
        }  # fmt: skip

    def get_git_commit(self, request, person, name, sha):
        repo = self._content(request, person, name)
        if not re.fullmatch("[0-9a-f]{40}", sha) or objects.kind(repo.git, sha) != "commit":
            raise self.missing()
        return wire.Response(200, self._commit_json(request, repo, sha))

    def get_commit(self, request, person, name, ref):
        repo = self._content(request, person, name)
        oid = objects.resolve(repo.git, ref + "^{commit}")
        if oid is None:
            return self.error(422, f"No commit found for SHA: {ref}")
        if "application/vnd.github.sha" in request.headers.get("Accept", ""):
            return wire.Response(200, oid.encode(), {"ETag": f'"{oid}"'}, "application/vnd.github.sha; charset=utf-8")
        git = self._commit_json(request, repo, oid)
        url = f"{request.origin}{API}/repos/{repo.full_name}/commits/{oid}"
        commit = {k: git[k] for k in ("author", "committer", "message", "tree", "verification")}
        return wire.Response(200, {
            "sha": oid, "node_id": git["node_id"], "url": url, "html_url": git["html_url"],
            "comments_url": url + "/comments", "author": None, "committer": None, "parents": git["parents"],
            "commit": {**commit, "url": git["url"], "comment_count": 0},
        })  # fmt: skip

    # --- GraphQL ---

    def graphql(self, request, person):
        if not self.knobs["graphql"]:
            raise self.missing()
        if not person:
            return self.error(401, "This endpoint requires you to be authenticated.")
        if request.method != "POST":
            raise self.missing()
        body = forge.json_body(request)
        root = github_schema.Root(self, request, person)
        return wire.Response(200, graphql.answer(github_schema.SCHEMA, root, body))

    # --- git ---

    def git_missing(self, request, person):
        return wire.Response(404, "Repository not found.\n") if person else self.git_refused(request, None)

    def git_refused(self, request, token):
        text = "Invalid username or token. Password authentication is not supported for Git operations.\n"
        return wire.Response(401, text, {"WWW-Authenticate": 'Basic realm="GitHub"'})

    def git_state(self, request, repo, person):
        if repo.blocked:
            return wire.Response(403, "Repository unavailable due to DMCA takedown.\n")
        if person and person.sso == "required" and repo.owner.type == "org":
            text = f"The '{repo.owner.name}' organization has enabled or enforced SAML SSO.\n"
            return wire.Response(403, text)
        if repo.disabled:
            return wire.Response(403, "Access to this repository has been disabled by GitHub staff.\n")
        if repo.forbidden or person.lacks:
            return wire.Response(403, "Write access to repository not granted.\n")
        return None
