"""How many requests a forge allows: a budget that is filled again at a certain time, and a second limit that
strikes whoever is too eager."""

import threading
import time

WINDOW = 3600


class Budget:
    """One for each resource and each who asks."""

    def __init__(self, limit, remaining, reset):
        self.limit, self.remaining, self.reset = limit, remaining, reset

    @property
    def used(self):
        return self.limit - self.remaining


class Limits:
    def __init__(self):
        self._lock = threading.Lock()
        self._budgets = {}
        self._rule = None
        self._secondary = None
        self._seen = 0
        self._until = 0

    def configure(self, rule, secondary):
        """Called when the knobs have been turned: counting starts again."""
        with self._lock:
            if rule != self._rule:
                self._rule, self._budgets = rule, {}
            if secondary != self._secondary:
                self._secondary, self._seen, self._until = secondary, 0, 0

    def _budget(self, who, resource, limit):
        now = time.time()
        budget = self._budgets.get((who, resource))
        if budget is None:
            rule = self._rule or {}
            limit = rule.get("limit", limit)
            reset = now + rule.get("reset", WINDOW)
            budget = self._budgets[(who, resource)] = Budget(limit, rule.get("remaining", limit), reset)
        elif budget.reset <= now:
            budget.remaining, budget.reset = budget.limit, now + WINDOW
        return budget

    def look(self, who, resource, limit):
        with self._lock:
            budget = self._budget(who, resource, limit)
            return Budget(budget.limit, budget.remaining, budget.reset)

    def take(self, who, resource, limit):
        """Whether there was one left."""
        with self._lock:
            budget = self._budget(who, resource, limit)
            if budget.remaining <= 0:
                return False
            budget.remaining -= 1
            return True

    def give_back(self, who, resource):
        """What cost nothing after all."""
        with self._lock:
            budget = self._budgets.get((who, resource))
            if budget and budget.remaining < budget.limit:
                budget.remaining += 1

    def secondary(self):
        """The rule that refuses this request, with the seconds left; None when none does."""
        with self._lock:
            rule = self._secondary
            if not rule:
                return None
            now = time.monotonic()
            self._seen += 1
            if self._until == 0 and self._seen > rule.get("after", 0):
                self._until = now + rule.get("seconds", 1)
            left = self._until - now
            return {**rule, "left": left} if left > 0 else None
