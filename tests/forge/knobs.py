"""What a test turns while the forge is running: POST /_knobs with a JSON object; null gives back the default.

latency       seconds that every answer of the API waits; git_latency for those of git
page_max      most entries on a page
etags         false: no ETag, no Last-Modified, no 304
tree_limit    entries of a recursive tree beyond which it is cut and says so (GitHub)
tree_page     entries on a page of a tree (Gitea)
budget        {"limit", "remaining", "reset"} of the primary limit; reset in seconds from now; null: none
secondary     {"after", "seconds", "status", "header"}: after so many requests everything is refused for a while
clock         seconds by which the forge's clock is ahead: Date, resets
token_needed  nothing is told to strangers
tokens        {token: {"user", "state": valid|expired|revoked, "sso": required|partial, "sees": [owners and
              repositories, private ones too] or true, "lacks": true (no permission for content)}}
owners_move   false: an owner's old name is not redirected
drip          bytes a second of the bodies of the API
faults        [{"on": regular expression for "METHOD TARGET", "count", "skip", and one of
                "status" (with "body", "headers"), "redirect" (a URL prefix: path and query follow; "code"),
                "drop" (the connection, at once), "cut" (after so many bytes of the body), "raw" (text sent as 200)}]
lies          {"size": added to sizes in trees, "kind": trees are called blobs, "drop": [fields], "null": [fields],
               "names": [names listed besides], "loop": the last page links to the first, "same": each page links to
               itself, "next": URL that every page links to, "repeat": each page holds the first one's entries too,
               "pad": bytes of description on each entry}
record        answers go into the log
graphql       false: there is no GraphQL
dialect       Mesa: "current", "depot" or "both"
object_info   false: git servers tell no sizes (the default of newer git, and of GitHub)
"""

import copy
import re
import threading

DEFAULTS = {
    "latency": 0,
    "git_latency": 0,
    "page_max": None,
    "etags": True,
    "tree_limit": 100000,
    "tree_page": 1000,
    "budget": None,
    "secondary": None,
    "clock": 0,
    "token_needed": False,
    "tokens": {},
    "owners_move": True,
    "drip": 0,
    "faults": [],
    "lies": {},
    "record": False,
    "graphql": True,
    "dialect": "both",
    "object_info": False,
}


class Knobs:
    def __init__(self, initial=()):
        self._lock = threading.Lock()
        self._values = copy.deepcopy(DEFAULTS)
        self._counts = []
        self.turn(dict(initial))

    def turn(self, changes):
        unknown = set(changes) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"no such knob: {', '.join(sorted(unknown))}")
        with self._lock:
            for name, value in changes.items():
                self._values[name] = copy.deepcopy(DEFAULTS[name]) if value is None else value
            if "faults" in changes:
                self._counts = [[f.get("skip", 0), f.get("count", -1)] for f in self._values["faults"]]

    def __getitem__(self, name):
        return self._values[name]

    def all(self):
        with self._lock:
            return copy.deepcopy(self._values)

    def fault(self, method, target):
        """The fault that strikes this request, used up by it; None mostly."""
        with self._lock:
            for fault, counts in zip(self._values["faults"], self._counts):
                if not re.search(fault["on"], f"{method} {target}"):
                    continue
                if counts[0] > 0:
                    counts[0] -= 1
                elif counts[1] != 0:
                    counts[1] -= 1
                    return fault
        return None
