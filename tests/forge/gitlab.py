"""GitLab: REST below /api/v4, GraphQL at /api/graphql, git at /GROUP/.../PROJECT.git."""

import re
import urllib.parse

import forge
import graphql
import objects
import wire
from graphql import Field, FieldError, attribute

API = "/api/v4"
COMPLEXITY_MAX = 250
PAGE_MAX = 100


class GitLab(forge.Forge):
    kind = "gitlab"
    server_name = "nginx"
    limit_named, limit_anonymous = 2000, 500

    ROUTES = (
        ("groups/([^/]+)", "group"),
        ("groups/([^/]+)/projects", "group_projects"),
        ("groups/([^/]+)/subgroups", "subgroups"),
        ("groups/([^/]+)/descendant_groups", "descendants"),
        ("groups", "groups"),
        ("users", "users"),
        ("users/([^/]+)/projects", "user_projects"),
        ("namespaces/([^/]+)", "namespace"),
        ("user", "self"),
        ("projects", "projects"),
        ("projects/([^/]+)", "project"),
        ("projects/([^/]+)/repository/tree", "tree"),
        ("projects/([^/]+)/repository/blobs/([^/]+)/raw", "raw_blob"),
        ("projects/([^/]+)/repository/files/([^/]+)", "file"),
    )

    def unauthorized(self, request, token):
        return self.error(401, "401 Unauthorized", {"WWW-Authenticate": 'Bearer realm="GitLab"'} if token else {})

    def missing(self, what):
        return forge.Refusal(self.error(404, f"404 {what} Not Found"))

    def limit_headers(self, budget, resource):
        return {
            "RateLimit-Limit": str(budget.limit), "RateLimit-Observed": str(budget.used),
            "RateLimit-Remaining": str(budget.remaining), "RateLimit-Name": "throttle_authenticated_api",
            "RateLimit-Reset": str(int(budget.reset + self.knobs["clock"]) + 1),
        }  # fmt: skip

    def over_limit(self, request, budget):
        left = int(budget.reset + self.knobs["clock"] - self.now()) + 1
        return wire.Response(429, "Retry later\n", {"Retry-After": str(left)})

    def over_secondary(self, request, rule):
        headers = {"Retry-After": str(int(rule["left"]) + 1)} if rule.get("header", True) else {}
        return wire.Response(rule.get("status", 429), "Retry later\n", headers)

    # --- the way in ---

    def api(self, request, person):
        if request.kind == "graphql":
            return self.graphql(request, person)
        if not request.raw_path.startswith(API + "/") or request.method not in ("GET", "HEAD"):
            raise self.missing("Page")
        for pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, request.raw_path.removeprefix(API + "/"))
            if match:
                parts = [urllib.parse.unquote(p) for p in match.groups()]
                return getattr(self, "get_" + name)(request, person, *parts)
        raise forge.Refusal(wire.Response(404, {"error": "404 Not Found"}))

    # --- owners ---

    def _owner(self, name, kinds, what):
        owner = self.world.owners_by_id.get(int(name)) if name.isdigit() else self.world.owner(name)
        if owner is None or owner.type not in kinds:
            raise self.missing(what)
        return owner

    def _group(self, request, name):
        if not name.isdigit() and self.world.owner(name) is None and self.knobs["owners_move"]:
            moved = self.world.moved_owner(name)
            if moved:
                path = request.raw_path.replace(urllib.parse.quote(name, safe=""), str(moved.id), 1)
                url = forge.with_query(request.origin + path, request.query)
                raise forge.Refusal(wire.Response(301, {"message": "301 Moved Permanently"}, {"Location": url}))
        return self._owner(name, ("org", "group"), "Group")

    def group_json(self, request, owner):
        parent = self.world.owner(owner.parent) if owner.parent else None
        return {
            "id": owner.id, "web_url": f"{request.origin}/groups/{owner.name}", "name": owner.name.rpartition("/")[2],
            "path": owner.name.rpartition("/")[2], "description": "", "full_name": owner.name.replace("/", " / "),
            "visibility": "private" if owner.private else "public", "full_path": owner.name,
            "parent_id": parent.id if parent else None, "created_at": "2024-01-01T00:00:00.000Z",
        }  # fmt: skip

    def user_json(self, request, owner, name=None):
        login = owner.name if owner else name
        return {
            "id": owner.id if owner else 1, "username": login, "name": login, "state": "active", "locked": False,
            "avatar_url": None, "web_url": f"{request.origin}/{login}",
        }  # fmt: skip

    def get_group(self, request, person, name):
        return wire.Response(200, self.group_json(request, self._group(request, name)))

    def get_namespace(self, request, person, name):
        if not person:
            return self.unauthorized(request, None)
        owner = self._owner(name, ("org", "group", "user"), "Namespace")
        kind = "user" if owner.type == "user" else "group"
        return wire.Response(200, {
            "id": owner.id, "name": owner.name, "path": owner.name.rpartition("/")[2], "kind": kind,
            "full_path": owner.name, "parent_id": None, "avatar_url": None, "web_url": f"{request.origin}/{owner.name}",
        })  # fmt: skip

    def get_users(self, request, person):
        owner = self.world.owner(request.query.get("username", ""))
        found = [self.user_json(request, owner)] if owner and owner.type == "user" else []
        return wire.Response(200, found)

    def get_self(self, request, person):
        if not person:
            return self.unauthorized(request, None)
        return wire.Response(200, self.user_json(request, self.world.owner(person.name), person.name))

    def get_groups(self, request, person):
        groups = [o for o in self.world.owners.values() if o.type != "user"]
        if "top_level_only" in request.query:
            groups = [o for o in groups if "/" not in o.name]
        return self._list(request, groups, lambda o: self.group_json(request, o))

    def get_subgroups(self, request, person, name):
        groups = self.world.subgroups(self._group(request, name).name)
        return self._list(request, groups, lambda o: self.group_json(request, o))

    def get_descendants(self, request, person, name):
        prefix = self._group(request, name).name + "/"
        groups = [o for o in self.world.owners.values() if o.name.startswith(prefix)]
        return self._list(request, groups, lambda o: self.group_json(request, o))

    # --- projects ---

    def project_json(self, request, repo):
        url = f"{request.origin}/{repo.full_name}"
        kind = "user" if repo.owner.type == "user" else "group"
        namespace = {
            "id": repo.owner.id, "name": repo.owner.name, "path": repo.owner.name.rpartition("/")[2], "kind": kind,
            "full_path": repo.owner.name, "parent_id": None, "avatar_url": None,
            "web_url": f"{request.origin}/{repo.owner.name}",
        }  # fmt: skip
        project = {
            "id": repo.id, "description": None, "name": repo.name, "name_with_namespace": repo.full_name,
            "path": repo.name, "path_with_namespace": repo.full_name, "created_at": "2024-01-01T00:00:00.000Z",
            "default_branch": None if repo.is_empty else repo.default_branch, "tag_list": [], "topics": [],
            "ssh_url_to_repo": f"git@127.0.0.1:{repo.full_name}.git", "http_url_to_repo": url + ".git", "web_url": url,
            "readme_url": None, "avatar_url": None, "forks_count": 0, "star_count": 0,
            "last_activity_at": repo.pushed_at, "namespace": namespace,
            "visibility": "private" if repo.private else "public",
        }  # fmt: skip
        if "simple" not in request.query:
            project.update(archived=repo.archived, empty_repo=repo.is_empty)
            if repo.fork:
                project["forked_from_project"] = {"id": 1, "path_with_namespace": "upstream/" + repo.name}
        return project

    def renamed_entry(self, entry, name):
        parent = entry.get("path_with_namespace", "").rpartition("/")[0]
        return {"name": name, "path": name, "path_with_namespace": f"{parent}/{name}"}

    def _list(self, request, items, make):
        page, number, n_pages, size = self.page_of(request, items, "per_page", 20, PAGE_MAX)
        first = [make(i) for i in items[:size]] if self.knobs["lies"] else []

        def url_of(n):
            return forge.with_query(request.origin + request.raw_path, {**request.query, "page": n, "per_page": size})

        body = self.lie_about([make(i) for i in page], number, first)
        headers = {
            "X-Page": str(number), "X-Per-Page": str(size), "X-Next-Page": str(number + 1) if number < n_pages else "",
            "X-Prev-Page": str(number - 1) if number > 1 else "",
        }  # fmt: skip
        if len(items) <= 10000:
            headers.update({"X-Total": str(len(items)), "X-Total-Pages": str(n_pages)})
        link = self.link_header(url_of, number, n_pages)
        return wire.Response(200, body, {**headers, "Link": link} if link else headers)

    def _projects(self, request, person, repos):
        if "archived" in request.query:
            wanted = request.query["archived"] == "true"
            repos = [r for r in repos if r.archived == wanted]
        repos = [r for r in repos if person.sees(r)]
        repos.sort(key=lambda r: r.id, reverse=request.query.get("sort", "desc") == "desc")
        if request.query.get("pagination") == "keyset":
            return self._keyset(request, repos)
        return self._list(request, repos, lambda r: self.project_json(request, r))

    def _keyset(self, request, repos):
        """Only Link says where it goes on."""
        ascending = request.query.get("sort", "desc") == "asc"
        bound = request.number("id_after" if ascending else "id_before", 0)
        if bound:
            repos = [r for r in repos if (r.id > bound if ascending else r.id < bound)]
        size = min(request.number("per_page", 20, PAGE_MAX), self.knobs["page_max"] or PAGE_MAX)
        page = repos[:size]
        headers = {}
        if len(repos) > size:
            query = {**request.query, "id_after" if ascending else "id_before": page[-1].id}
            headers["Link"] = f'<{forge.with_query(request.origin + request.raw_path, query)}>; rel="next"'
        body = self.lie_about([self.project_json(request, r) for r in page], 1, [])
        return wire.Response(200, body, headers)

    def get_group_projects(self, request, person, name):
        group = self._group(request, name)
        repos = list(group.repos)
        if request.query.get("include_subgroups") == "true":
            prefix = group.name + "/"
            repos += [r for o in self.world.owners.values() if o.name.startswith(prefix) for r in o.repos]
        return self._projects(request, person, repos)

    def get_user_projects(self, request, person, name):
        return self._projects(request, person, list(self._owner(name, ("user",), "User").repos))

    def get_projects(self, request, person):
        repos = [r for o in self.world.owners.values() for r in o.repos]
        if request.query.get("membership") == "true" or request.query.get("owned") == "true":
            if not person:
                return self.unauthorized(request, None)
            named = person.facts.get("own", [])
            repos = [r for r in repos if r.owner.name == person.name or r.full_name in named]
        return self._projects(request, person, repos)

    def _project(self, request, person, name):
        repo = self.world.repos_by_id.get(int(name)) if name.isdigit() else self.world.repo(name)
        if repo is None and not name.isdigit() and self.world.moved_repo(name):
            number = str(self.world.moved_repo(name).id)
            path = request.raw_path.replace(urllib.parse.quote(name, safe=""), number, 1)
            url = forge.with_query(request.origin + path, request.query)
            raise forge.Refusal(wire.Response(301, {"message": "301 Moved Permanently"}, {"Location": url}))
        if repo is None or not person.sees(repo):
            raise self.missing("Project")
        if repo.forbidden or person.lacks:
            raise forge.Refusal(self.error(403, "403 Forbidden"))
        return repo

    def get_project(self, request, person, name):
        return wire.Response(200, self.project_json(request, self._project(request, person, name)))

    # --- content ---

    def get_tree(self, request, person, name):
        """Never with sizes; an entry is what _entry() makes of it."""
        repo = self._project(request, person, name)
        ref = request.query.get("ref") or "HEAD"
        oid = None if repo.is_empty else objects.resolve(repo.git, f'{ref}:{request.query.get("path", "").strip("/")}')
        recursive = request.query.get("recursive") == "true"
        entries = objects.tree(repo.git, oid, recursive) if oid else None
        if entries is None:
            raise self.missing("Tree")
        prefix = request.query.get("path", "").strip("/")
        prefix = prefix + "/" if prefix else ""

        def make(entry):
            path = prefix + entry.text
            kind, _ = self.lie_about_tree(entry.kind, None)
            return {"id": entry.oid, "name": path.rpartition("/")[2], "type": kind, "path": path, "mode": entry.mode}

        if recursive and request.query.get("pagination") == "none":
            return wire.Response(200, [make(e) for e in entries])
        return self._list(request, entries, make)

    def _blob(self, repo, oid):
        if repo.is_empty or not re.fullmatch("[0-9a-f]{40}", oid) or objects.kind(repo.git, oid) != "blob":
            raise self.missing("Blob")
        return objects.blob(repo.git, oid)

    def get_raw_blob(self, request, person, name, oid):
        content = self._blob(self._project(request, person, name), oid)
        return wire.Response(200, content, content_type="application/octet-stream")

    def get_file(self, request, person, name, path):
        repo = self._project(request, person, name)
        ref = request.query.get("ref")
        if not ref:
            raise forge.Refusal(wire.Response(400, {"error": "ref is missing"}))
        oid = None if repo.is_empty else objects.resolve(repo.git, f"{ref}:{path}")
        if oid is None or objects.kind(repo.git, oid) != "blob":
            raise self.missing("File")
        size = objects.size(repo.git, oid)
        headers = {
            "X-Gitlab-Size": str(size), "X-Gitlab-Blob-Id": oid, "X-Gitlab-Ref": ref,
            "X-Gitlab-File-Path": urllib.parse.quote(path),
        }  # fmt: skip
        return wire.Response(200, {"file_path": path, "blob_id": oid, "ref": ref, "size": size}, headers)

    # --- GraphQL ---

    def graphql(self, request, person):
        if not self.knobs["graphql"]:
            raise self.missing("Page")
        if request.method != "POST":
            raise self.missing("Page")
        return wire.Response(200, graphql.answer(SCHEMA, Root(self, person), forge.json_body(request), too_complex))

    def git_refused(self, request, token):
        text = "HTTP Basic: Access denied. If a password was provided, it was incorrect.\n"
        return wire.Response(401, text, {"WWW-Authenticate": 'Basic realm="GitLab"'})


def complexity(query, selections):
    """About as GitLab reckons: one for each field, and one for each path of a blob."""
    total = 0
    for selection in selections:
        if selection[0] == "spread":
            total += complexity(query, query.fragments[selection[1]][1])
        elif selection[0] == "on":
            total += complexity(query, selection[2])
        else:
            total += 1 + len(query.bind(selection[3].get("paths")) or ())
            total += complexity(query, selection[4] or [])
    return total


def too_complex(query):
    found = complexity(query, query.selections)
    if found > COMPLEXITY_MAX:
        raise graphql.Error(f"Query has complexity of {found}, which exceeds max complexity of {COMPLEXITY_MAX}")


class Root:
    typename = "Query"

    def __init__(self, of, person):
        self.forge, self.person = of, person

    def project(self, arguments):
        """Null for what is not there or not to be seen."""
        repo = self.forge.world.repo(arguments["fullPath"])
        return Project(self.forge, repo) if repo and self.person.sees(repo) else None


class Project:
    typename = "Project"

    def __init__(self, of, repo):
        self.forge, self.repo = of, repo
        self.id = f"gid://gitlab/Project/{repo.id}"
        self.name, self.path, self.fullPath, self.archived = repo.name, repo.name, repo.full_name, repo.archived
        self.visibility = "private" if repo.private else "public"


class Repository:
    typename = "Repository"

    def __init__(self, project):
        self.forge, self.repo = project.forge, project.repo
        self.exists, self.empty = True, self.repo.is_empty
        self.rootRef = None if self.empty else self.repo.default_branch

    def blobs(self, arguments):
        """Paths without a blob are left out."""
        if len(arguments["paths"]) != len(set(arguments["paths"])):
            arguments["paths"] = list(dict.fromkeys(arguments["paths"]))
        if self.empty:
            return Connection([], arguments)
        root = objects.resolve(self.repo.git, (arguments.get("ref") or "HEAD") + "^{tree}")
        if root is None:
            return Connection([], arguments)
        known = {e.text: e for e in objects.tree(self.repo.git, root, True) if e.kind == "blob"}
        found = [Blob(self.forge, known[p]) for p in arguments["paths"] if p in known]
        return Connection(found, arguments)


class Blob:
    typename = "RepositoryBlob"

    def __init__(self, of, entry):
        _, size = of.lie_about_tree("blob", entry.size)
        self.id = f"gid://gitlab/Blob/{entry.oid}"
        self.oid, self.path, self.mode = entry.oid, entry.text, entry.mode
        self.name = entry.text.rpartition("/")[2]
        self.size = self.rawSize = str(size)
        self.lfsOid = None


class Connection:
    typename = "RepositoryBlobConnection"

    def __init__(self, nodes, arguments):
        first = min(arguments.get("first") or PAGE_MAX, PAGE_MAX)
        try:
            start = int(arguments.get("after") or 0)
        except ValueError:
            raise FieldError("Invalid cursor") from None
        self.nodes = nodes[start : start + first]
        self.pageInfo = PageInfo(start + len(self.nodes), len(nodes))


class PageInfo:
    typename = "PageInfo"

    def __init__(self, end, total):
        self.hasNextPage, self.endCursor = end < total, str(end)


def scalars(*names):
    return {n: Field(None, attribute(n)) for n in names}


SCHEMA = {
    "Query": {"project": Field("Project", lambda r, a: r.project(a), "fullPath!")},
    "Project": {
        **scalars("id", "name", "path", "fullPath", "archived", "visibility"),
        "repository": Field("Repository", lambda p, _: Repository(p)),
    },
    "Repository": {
        **scalars("exists", "empty", "rootRef"),
        "blobs": Field(
            "RepositoryBlobConnection", lambda r, a: r.blobs(a), "paths!", "ref", "refType", "first", "after"
        ),
    },
    "RepositoryBlobConnection": {
        "nodes": Field("RepositoryBlob", attribute("nodes")),
        "pageInfo": Field("PageInfo", attribute("pageInfo")),
    },
    "PageInfo": scalars("hasNextPage", "endCursor"),
    "RepositoryBlob": scalars("id", "oid", "name", "path", "mode", "size", "rawSize", "lfsOid"),
}
