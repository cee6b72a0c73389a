"""Who and what a forge holds: owners, repositories, names they had before. Read from a description in JSON:

    {"owners": [{"name": "acme", "type": "org", "was": ["acme-old"],
                 "repos": [{"name": "app", "git": "/path/app.git", "private": true}],
                 "many": {"count": 5000, "prefix": "r", "git": "/path/one.git"}}]}

`type` is org, user or group; a subgroup of GitLab is a group with a name like "acme/tools". What can be said
of a repository: name, git (a bare repository; without one nothing is there to be fetched), private, fork, archived,
disabled, was (names of old, "name" or "owner/name"), blocked (451), forbidden (403), syncing (Mesa: 202 that many
times), pushed_at. `many` makes entries of the same repository up to a count.
"""

import objects

EPOCH = "2024-01-01T00:00:00Z"


class Repository:
    def __init__(self, number, owner, facts):
        self.id = number
        self.owner = owner
        self.name = facts["name"]
        self.git = facts.get("git")
        self.facts = facts
        self.was = facts.get("was", [])
        self.pushed_at = facts.get("pushed_at", EPOCH)
        self.n_syncs = facts.get("syncing", 0)

    def __getattr__(self, name):
        """private, fork, archived, disabled, blocked, forbidden: false unless the description says otherwise."""
        if name in ("private", "fork", "archived", "disabled", "blocked", "forbidden"):
            return bool(self.facts.get(name))
        raise AttributeError(name)

    @property
    def full_name(self):
        return f"{self.owner.name}/{self.name}" if self.owner.name else self.name

    @property
    def default_branch(self):
        return objects.default_branch(self.git) if self.git else "main"

    @property
    def is_empty(self):
        return self.git is None or objects.is_empty(self.git)


class Owner:
    def __init__(self, number, facts):
        self.id = number
        self.name = facts["name"]
        self.type = facts.get("type", "org")
        self.was = facts.get("was", [])
        self.private = facts.get("private", False)
        self.repos = []

    @property
    def parent(self):
        return self.name.rpartition("/")[0]


class World:
    def __init__(self, description):
        self.owners = {}
        self.owners_by_id = {}
        self.repos_by_id = {}
        self._by_name = {}
        self._moved = {}
        for i, facts in enumerate(description.get("owners", [])):
            self._add_owner(Owner(1000 + i, facts), facts)

    def _add_owner(self, owner, facts):
        self.owners[owner.name.lower()] = owner
        self.owners_by_id[owner.id] = owner
        many = facts.get("many", {})
        template = {k: v for k, v in many.items() if k not in ("count", "prefix")}
        entries = list(facts.get("repos", []))
        for i in range(len(entries), many.get("count", 0)):
            entries.append({**template, "name": f'{many.get("prefix", "repo-")}{i:05}'})
        for entry in entries:
            repo = Repository(100000 + len(self.repos_by_id), owner, entry)
            owner.repos.append(repo)
            self.repos_by_id[repo.id] = repo
            self._by_name[repo.full_name.lower()] = repo
        for repo in owner.repos:
            self._remember_names(owner, repo)

    def _remember_names(self, owner, repo):
        for was in repo.was:
            self._moved[(was if "/" in was else f"{owner.name}/{was}").lower()] = repo
        for was in owner.was:
            self._moved[f"{was}/{repo.name}".lower()] = repo

    def repo(self, full_name):
        """By the name it has now; names do not differ by case."""
        return self._by_name.get(full_name.lower())

    def moved_repo(self, full_name):
        """By a name it had before."""
        return None if self.repo(full_name) else self._moved.get(full_name.lower())

    def owner(self, name):
        return self.owners.get(name.lower())

    def moved_owner(self, name):
        return next((o for o in self.owners.values() if name.lower() in map(str.lower, o.was)), None)

    def subgroups(self, name):
        return [o for o in self.owners.values() if o.parent.lower() == name.lower() and "/" in o.name]
