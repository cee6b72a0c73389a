"""What all kinds of forge have in common: who asks, what they may see, limits, conditional requests, git."""

import hashlib
import json
import time
import urllib.parse

import backend
import knobs
import limits
import wire
import world

LAST_MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


class Refusal(Exception):
    """Ends the making of an answer with another one."""

    def __init__(self, response):
        super().__init__(response.status)
        self.response = response


class Person:
    """Who asks: a stranger, or the user of a token."""

    def __init__(self, token=None, facts=None):
        self.token = token
        self.facts = facts or {}
        self.name = self.facts.get("user", "me") if token else None

    def __bool__(self):
        return self.token is not None

    @property
    def key(self):
        return self.token or "anonymous"

    def sees(self, repo):
        """Private repositories are for those who are named."""
        seen = self.facts.get("sees", True) if self else ()
        return not repo.private or seen is True or repo.full_name in seen or repo.owner.name in seen

    @property
    def sso(self):
        return self.facts.get("sso")

    @property
    def lacks(self):
        return bool(self.facts.get("lacks"))


class Forge:
    """One forge on one port. Subclasses say what is particular to a kind."""

    kind = None
    server_name = "forge"
    limit_named, limit_anonymous = 5000, 60

    def __init__(self, name, description, log):
        self.name = name
        self.log = log
        self.world = world.World(description)
        self.knobs = knobs.Knobs()
        self.limits = limits.Limits()
        self.turn(description.get("knobs", {}))

    def turn(self, changes):
        self.knobs.turn(changes)
        self.limits.configure(self.knobs["budget"], self.knobs["secondary"])

    # --- what subclasses fill in ---

    def kind_of(self, path):
        """What a request counts as."""
        if backend.is_git(path):
            return "git"
        return "graphql" if path.endswith("/graphql") else "rest"

    def api(self, request, person):
        """The answer to a request for the API."""
        raise NotImplementedError

    def error(self, status, message, headers=()):
        return wire.Response(status, {"message": message}, headers)

    def unauthorized(self, request, token):
        """token: the one that is no good; None: there is none where one is needed."""
        return self.error(401, "Bad credentials" if token else "Requires authentication")

    def limit_headers(self, budget, resource):
        return {}

    def over_limit(self, request, budget):
        return self.error(429, "Too many requests")

    def over_secondary(self, request, rule):
        return self.error(rule.get("status", 429), "Slow down", {"Retry-After": str(int(rule["left"]) + 1)})

    def resource(self, request):
        return "core"

    # --- the way of every request ---

    def answer(self, request):
        try:
            if request.kind == "git":
                return self.git(request)
            return self._api(request)
        except Refusal as refusal:
            return refusal.response

    def person(self, request):
        """Raises for a token that is no good."""
        token = request.token()
        if token is None:
            return Person()
        facts = self.knobs["tokens"].get(token)
        if facts is None or facts.get("state", "valid") != "valid":
            raise Refusal(self.unauthorized(request, token))
        return Person(token, facts)

    def _api(self, request):
        rule = self.limits.secondary()
        if rule:
            request.notes["limited"] = True
            return self.over_secondary(request, rule)
        person = self.person(request)
        if not person and self.knobs["token_needed"]:
            return self.unauthorized(request, None)
        return self.limited(request, person)

    def limited(self, request, person):
        resource = self.resource(request)
        limit = self.limit_named if person else self.limit_anonymous
        if not self.limits.take(person.key, resource, limit):
            request.notes["limited"] = True
            budget = self.limits.look(person.key, resource, limit)
            response = self.over_limit(request, budget)
        else:
            try:
                response = self.api(request, person)
            except Refusal as refusal:
                response = refusal.response
            response = self.conditional(request, response)
            if response.status == 304 and person:
                self.limits.give_back(person.key, resource)
            budget = self.limits.look(person.key, resource, limit)
        for name, value in self.limit_headers(budget, resource).items():
            response.headers.setdefault(name, value)
        return response

    def conditional(self, request, response):
        """Adds what makes an answer comparable; 304 where it is the one that the client has."""
        if request.method not in ("GET", "HEAD") or response.status != 200 or not self.knobs["etags"]:
            return response
        if response.streamed or request.kind != "rest":
            return response
        # What is shown differs by form and by who asks.
        key = f'{request.headers.get("Accept")}\0{request.token()}\0'.encode()
        etag = f'W/"{hashlib.sha256(key + response.body).hexdigest()}"'
        response.headers.setdefault("ETag", etag)
        wanted = request.headers.get("If-None-Match")
        if wanted is None:
            return response
        if response.headers["ETag"] in (e.strip() for e in wanted.split(",")):
            kept = {k: v for k, v in response.headers.items() if k != "Content-Type"}
            return wire.Response(304, b"", kept)
        return response

    def now(self):
        """As this forge's clock has it."""
        return time.time() + self.knobs["clock"]

    # --- git ---

    def git_refused(self, request, token):
        return wire.Response(401, "Authentication failed\n", {"WWW-Authenticate": f'Basic realm="{self.server_name}"'})

    def git_missing(self, request, person):
        """Strangers are not told whether a repository exists."""
        return wire.Response(404, "Repository not found.\n") if person else self.git_refused(request, None)

    def git_name(self, path):
        """The full name of a repository and the service, from a path."""
        return backend.split(path)

    def git_state(self, request, repo, person):
        """A refusal because of what the repository or the token is; None mostly."""
        if repo.blocked or repo.disabled:
            return wire.Response(403, "Repository unavailable.\n")
        return wire.Response(403, "Forbidden\n") if repo.forbidden or person.lacks else None

    def git(self, request):
        name, service = self.git_name(request.path)
        token = request.token()
        facts = self.knobs["tokens"].get(token) if token else None
        if token and (facts is None or facts.get("state", "valid") != "valid"):
            return self._refuse_git(request, self.git_refused(request, token))
        person = Person(token, facts)
        repo = self.world.repo(name)
        if repo is None and self.world.moved_repo(name):
            target = f"/{urllib.parse.quote(self.world.moved_repo(name).full_name)}.git{service}"
            query = f"?{request.query_text}" if request.query_text else ""
            moved = wire.Response(301, "moved\n", {"Location": request.origin + target + query})
            return self._refuse_git(request, moved)
        if repo is None or not person.sees(repo) or (not person and self.knobs["token_needed"]):
            return self._refuse_git(request, self.git_missing(request, person))
        refusal = self.git_state(request, repo, person)
        if refusal is None and repo.git is None:
            refusal = wire.Response(404, "Repository not found.\n")
        if refusal:
            return self._refuse_git(request, refusal)
        return backend.serve(request, repo.git, service, self.knobs["object_info"])

    @staticmethod
    def _refuse_git(request, response):
        """The body has to be read all the same, or the connection could not be used again."""
        for _ in wire.body_pieces(request.handler):
            pass
        return response

    # --- lists ---

    def page_of(self, request, items, size_name, default, most):
        """(entries of the page, its number, the number of pages, entries on a page)."""
        most = min(most, self.knobs["page_max"] or most)
        size = request.number(size_name, default, most)
        number = request.number("page", 1)
        n_pages = max(-(-len(items) // size), 1)
        return items[(number - 1) * size : number * size], number, n_pages, size

    def lie_about(self, entries, number, first_page):
        """The entries of a page, as the knob `lies` has them."""
        lies = self.knobs["lies"]
        if lies.get("repeat") and number > 1:
            entries = first_page + entries
        if number == 1 and entries:
            entries = [{**entries[0], **self.renamed_entry(entries[0], n)} for n in lies.get("names", [])] + entries
        out = []
        for entry in entries:
            entry = {k: v for k, v in entry.items() if k not in lies.get("drop", [])}
            entry.update({k: None for k in lies.get("null", []) if k in entry})
            if lies.get("pad"):
                entry["description"] = "x" * lies["pad"]
            out.append(entry)
        return out

    def renamed_entry(self, entry, name):
        """The fields of an entry in a list in which its name occurs."""
        raise NotImplementedError

    def link_header(self, url_of, number, n_pages):
        """RFC 8288, in the order of the forges; None when there is but one page. url_of: page to URL."""
        lies = self.knobs["lies"]
        if lies.get("next"):
            return f'<{lies["next"]}>; rel="next"'
        if lies.get("same"):
            return f'<{url_of(number)}>; rel="next"'
        links = []
        if number < n_pages:
            links += [(number + 1, "next"), (n_pages, "last")]
        elif lies.get("loop"):
            links.append((1, "next"))
        if number > 1:
            links += [(1, "first"), (number - 1, "prev")]
        return ", ".join(f'<{url_of(n)}>; rel="{rel}"' for n, rel in links) or None

    def lie_about_tree(self, kind, size):
        """(kind, size) of an entry, as the knob `lies` has them."""
        lies = self.knobs["lies"]
        if lies.get("kind") and kind == "tree":
            kind = "blob"
        if size is not None:
            size += lies.get("size", 0)
        return kind, size


def with_query(url, query):
    return f"{url}?{urllib.parse.urlencode(query)}" if query else url


def json_body(request):
    """The object that was sent; an empty one when it is none."""
    try:
        value = json.loads(request.content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
