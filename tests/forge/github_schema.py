"""The part of GitHub's published GraphQL schema that clients of repositories' content may want."""

import base64
import time

import objects
from graphql import Field, FieldError, attribute


class Root:
    """The start of a query."""

    typename = "Query"

    def __init__(self, forge, request, person):
        self.forge, self.request, self.person = forge, request, person

    def repository(self, arguments):
        name = f'{arguments["owner"]}/{arguments["name"]}'
        world = self.forge.world
        repo = world.repo(name)
        if repo is None and arguments.get("followRenames", True):
            repo = world.moved_repo(name)
        if repo is None or not self.person.sees(repo):
            text = f"Could not resolve to a Repository with the name '{name}'."
            raise FieldError(text, type="NOT_FOUND")
        if self.person.sso == "required" and repo.owner.type == "org":
            text = "Resource protected by organization SAML enforcement."
            raise FieldError(text, type="FORBIDDEN", extensions={"saml_failure": True})
        if repo.forbidden or self.person.lacks:
            raise FieldError("Resource not accessible by personal access token", type="FORBIDDEN")
        if repo.blocked:
            raise FieldError("Repository access blocked", type="FORBIDDEN")
        return Repository(self, repo)

    def owner(self, arguments):
        found = self.forge.world.owner(arguments["login"])
        if found is None:
            raise FieldError(f"Could not resolve to a User with the login of '{arguments['login']}'.", type="NOT_FOUND")
        return Owner(found)

    def rate_limit(self, _):
        return RateLimit(self.forge.limits.look(self.person.key, "graphql", self.forge.limit_named))


class Owner:
    def __init__(self, owner):
        self.typename = "Organization" if owner.type == "org" else "User"
        self.login = owner.name
        self.databaseId = owner.id
        self.id = base64.b64encode(f"{self.typename}{owner.id}".encode()).decode()


class RateLimit:
    typename = "RateLimit"

    def __init__(self, budget):
        self.limit, self.remaining, self.used, self.cost = budget.limit, budget.remaining, budget.used, 1
        self.resetAt = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(budget.reset))


class Repository:
    typename = "Repository"

    def __init__(self, root, repo):
        self.repo = repo
        self.git = repo.git
        self.id = base64.b64encode(f"010:Repository{repo.id}".encode()).decode()
        self.databaseId = repo.id
        self.name = repo.name
        self.nameWithOwner = repo.full_name
        self.isPrivate, self.isFork = repo.private, repo.fork
        self.isArchived, self.isDisabled = repo.archived, repo.disabled
        self.pushedAt = repo.pushed_at
        self.url = f"{root.request.origin}/{repo.full_name}"
        self.diskUsage = 100

    def default_branch(self, _):
        return None if self.repo.is_empty else self._ref(f"refs/heads/{self.repo.default_branch}")

    def ref(self, arguments):
        name = arguments["qualifiedName"]
        for full in (name,) if name.startswith("refs/") else (f"refs/heads/{name}", f"refs/tags/{name}"):
            found = self._ref(full)
            if found:
                return found
        return None

    def _ref(self, name):
        oid = objects.resolve(self.git, name) if self.git else None
        return Ref(self.git, name, oid) if oid else None

    def object(self, arguments):
        expression = arguments.get("oid") or arguments.get("expression") or ""
        oid = objects.resolve(self.git, expression) if self.git else None
        return make_object(self.git, oid) if oid else None


class Ref:
    typename = "Ref"

    def __init__(self, git, full, oid):
        self.git, self.oid = git, oid
        self.prefix, _, self.name = full.rpartition("/")
        for prefix in "refs/heads/", "refs/tags/":
            if full.startswith(prefix):
                self.prefix, self.name = prefix, full.removeprefix(prefix)
        self.id = base64.b64encode(full.encode()).decode()

    def target(self, _):
        return make_object(self.git, self.oid)


class Object:
    """A Commit, Tree, Blob or Tag."""

    def __init__(self, git, oid, typename):
        self.git, self.oid, self.typename = git, oid, typename
        self.abbreviatedOid = oid[:7]
        self.id = base64.b64encode(f"{typename}{oid}".encode()).decode()

    def tree(self, _):
        return Object(self.git, objects.resolve(self.git, self.oid + "^{tree}"), "Tree")

    def tagged(self, _):
        return make_object(self.git, objects.resolve(self.git, self.oid + "^{}"))

    def date(self, _):
        return objects.line(self.git, "show", "-s", "--format=%cI", self.oid)

    def entries(self, _):
        return [TreeEntry(self.git, e) for e in objects.tree(self.git, self.oid)]

    def size(self, _):
        return objects.size(self.git, self.oid)

    def is_binary(self, _):
        return b"\0" in objects.blob(self.git, self.oid)[:8000]

    def text(self, _):
        content = objects.blob(self.git, self.oid)
        return None if b"\0" in content[:8000] else content[: 512 << 10].decode("utf-8", "replace")

    def is_truncated(self, _):
        return objects.size(self.git, self.oid) > 512 << 10


def make_object(git, oid):
    kind = objects.kind(git, oid)
    return Object(git, oid, kind.capitalize()) if kind else None


class TreeEntry:
    typename = "TreeEntry"

    def __init__(self, git, entry):
        self.git = git
        self.name = entry.name.decode("utf-8", "replace")
        self.nameRaw = base64.b64encode(entry.name).decode()
        self.path = entry.text
        self.pathRaw = base64.b64encode(entry.path).decode()
        self.mode = int(entry.mode, 8)
        self.type, self.oid, self.size = entry.kind, entry.oid, entry.size or 0

    def object(self, _):
        return None if self.type == "commit" else make_object(self.git, self.oid)


def scalars(*names):
    return {n: Field(None, attribute(n)) for n in names}


def call(method):
    return lambda thing, arguments: getattr(thing, method)(arguments)


GIT_OBJECT = scalars("id", "oid", "abbreviatedOid")

SCHEMA = {
    "Query": {
        "repository": Field("Repository", call("repository"), "owner!", "name!", "followRenames"),
        "repositoryOwner": Field("RepositoryOwner", call("owner"), "login!"),
        "rateLimit": Field("RateLimit", call("rate_limit"), "dryRun"),
    },
    "RateLimit": scalars("limit", "remaining", "used", "cost", "resetAt"),
    "RepositoryOwner": scalars("id", "login"),
    "Organization": scalars("id", "login", "databaseId"),
    "User": scalars("id", "login", "databaseId"),
    "Repository": {
        **scalars(
            "id", "databaseId", "name", "nameWithOwner", "isPrivate", "isFork", "isArchived", "isDisabled",
            "pushedAt", "url", "diskUsage",
        ),
        "isEmpty": Field(None, lambda r, _: r.repo.is_empty),
        "owner": Field("RepositoryOwner", lambda r, _: Owner(r.repo.owner)),
        "defaultBranchRef": Field("Ref", call("default_branch")),
        "ref": Field("Ref", call("ref"), "qualifiedName!"),
        "object": Field("GitObject", call("object"), "oid", "expression"),
    },
    "Ref": {**scalars("id", "name", "prefix"), "target": Field("GitObject", call("target"))},
    "GitObject": GIT_OBJECT,
    "Commit": {
        **GIT_OBJECT,
        "tree": Field("Tree", call("tree")),
        "committedDate": Field(None, call("date")),
    },
    "Tag": {**GIT_OBJECT, "target": Field("GitObject", call("tagged"))},
    "Tree": {**GIT_OBJECT, "entries": Field("TreeEntry", call("entries"))},
    "TreeEntry": {
        **scalars("name", "nameRaw", "path", "pathRaw", "mode", "type", "oid", "size"),
        "object": Field("GitObject", call("object")),
    },
    "Blob": {
        **GIT_OBJECT,
        "byteSize": Field(None, call("size")),
        "isBinary": Field(None, call("is_binary")),
        "isTruncated": Field(None, call("is_truncated")),
        "text": Field(None, call("text")),
    },
}  # fmt: skip
