/* Walks over repositories (`ls ORG` with links to follow, `grep -r x ORG/`). Each repository costs
 * three round trips before anything of it is seen, and they would come one after the other: for 500
 * of them that is a minute and more. So who enters one repository after the other has the next
 * ones' branches and trees fetched ahead: 1, then 2, 4, 8, 16 of them.
 *
 * "After the other" is the order of the list, or that of names, in which a shell or `ls` goes. What
 * comes next is looked for on a worker, each time somebody enters a repository; so a walk that
 * stops is followed by nothing. Whether a listing is the first half of a walk nobody knows, so it
 * fetches nothing of this kind by itself.
 *
 * A repository ahead goes through the same demands as a look-up does, as their waiter, in the
 * background: the gate of a host leaves room for those who wait. */

#include "tree/owner-walk.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "tree/ahead.h"
#include "tree/namespace-private.h"

#define GAP_USEC (10 * USEC_PER_SEC)
#define MAX_WINDOW 16
#define MAX_AHEAD 64 /* in all owners together */
/* Owners among them, and what is looked at by others, may be passed over. */
#define TOLERANCE 2
/* More names than that are followed in their own order only. */
#define MAX_SORTED 20000
/* The name, the branch, and each once more if it was lost meanwhile. */
#define MAX_ROUNDS 4

static atomic_uint n_ahead;

/* --- one repository ahead --- */

typedef struct RepoAhead {
        FlightWaiter waiter;
        Task task;
        Namespace *ns;
        Owner *owner; /* a reference */
        unsigned rounds;
        char name[];
} RepoAhead;

static void finish(RepoAhead *a) {
        Namespace *ns = a->ns;

        owner_unref(a->owner);
        free(a);
        atomic_fetch_sub(&n_ahead, 1);
        ns_operation_end(ns);
}

/* NS_PARKED; else it is there, or will not be. */
static int want(RepoAhead *a) {
        const NsCall call = {.flags = NS_MAY_BLOCK | NS_AHEAD, .waiter = &a->waiter};
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(a->owner, a->name);

        if (atomic_load(&a->owner->closed) || ++a->rounds > MAX_ROUNDS)
                return 0;
        if (!repo || atomic_load(&repo->doubtful))
                return owner_is_negative(a->owner, a->name)
                               ? 0
                               : demand_name(a->ns, &call, a->owner, a->name);
        _cleanup_(checkout_unrefp) Checkout *c = repo_find_checkout(repo, "");
        if (!c)
                return demand_checkout(a->ns, &call, repo, "");
        CheckoutState state;
        checkout_get_state(c, &state);
        ahead_note(AHEAD_REPOS, &state.commit);
        return 0;
}

static void step(RepoAhead *a) {
        if (want(a) != NS_PARKED)
                finish(a);
}

static void landed(FlightWaiter *waiter, int result, const Failure *failure) {
        RepoAhead *a = container_of(waiter, RepoAhead, waiter);

        if (result < 0)
                finish(a); /* whoever wants it will be told */
        else
                step(a);
}

static void run_step(Task *task) {
        step(container_of(task, RepoAhead, task));
}

/* It is here, or somebody sees to it already. */
static bool is_under_way(Namespace *ns, Owner *owner, const char *name) {
        _cleanup_(repo_unrefp) Repo *repo = owner_find_repo(owner, name);
        FlightKey key = demand_key_name(owner, DEMAND_NAME, name);

        if (!repo)
                return flight_exists(ns->flights, &key);
        _cleanup_(checkout_unrefp) Checkout *c = repo_find_checkout(repo, "");
        key = demand_key_name(repo, DEMAND_CHECKOUT, "");
        return c || flight_exists(ns->flights, &key);
}

static void want_ahead(Namespace *ns, Owner *owner, const char *name) {
        size_t len = strlen(name) + 1;
        void *memory;

        if (is_under_way(ns, owner, name) || ns_is_probe(name))
                return;
        if (atomic_fetch_add(&n_ahead, 1) >= MAX_AHEAD) {
                atomic_fetch_sub(&n_ahead, 1);
                ahead_dropped(AHEAD_REPOS, 1);
                return;
        }
        if (demand_begin(ns, sizeof(RepoAhead) + len, &memory) < 0) {
                atomic_fetch_sub(&n_ahead, 1);
                return;
        }
        RepoAhead *a = memory;
        a->waiter.landed = landed;
        a->task.run = run_step;
        a->ns = ns;
        a->owner = owner_ref(owner);
        memcpy(a->name, name, len);
        pool_submit(ns->context->pool, &a->task, TASK_BACKGROUND);
}

/* --- what comes next --- */

/* As most people sort names. */
static int compare_names(const char *a, const char *b) {
        int r = strcasecmp(a, b);

        return r ? r : strcmp(a, b);
}

static const NameEntry *repo_at(NameList *list, size_t index, bool *ret_end) {
        const NameEntry *e = name_list_at(list, index);

        *ret_end = !e;
        return e && e->kind == FORGE_REPO ? e : NULL;
}

/* In the order of the list. */
static size_t next_listed(NameList *list, size_t index, const char **ret, size_t max) {
        size_t n = 0;
        bool end = false;

        for (size_t i = index + 1; n < max && !end; i++) {
                const NameEntry *e = repo_at(list, i, &end);
                if (e)
                        ret[n++] = e->name;
        }
        return n;
}

/* In the order of names: keeps the first `max` of those behind `name`, sorted. */
static size_t next_sorted(NameList *list, const char *name, const char **ret, size_t max) {
        size_t n = 0;
        bool end = false;

        for (size_t i = 0; !end; i++) {
                const NameEntry *e = repo_at(list, i, &end);
                if (!e || compare_names(e->name, name) <= 0)
                        continue;
                size_t at = n;
                while (at > 0 && compare_names(e->name, ret[at - 1]) < 0)
                        at--;
                if (at == max)
                        continue;
                n = MIN(n + 1, max);
                memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof(*ret));
                ret[at] = e->name;
        }
        return n;
}

/* --- the walk --- */

typedef struct WalkStep {
        Task task;
        Namespace *ns;
        Owner *owner; /* a reference */
        char *from;   /* owned: the repository that was entered before */
        char to[];
} WalkStep;

static bool is_among(const char *name, const char *const *names, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(names[i], name) == 0)
                        return true;
        return false;
}

static unsigned larger_window(size_t window) {
        return window == 0 ? 1 : (unsigned) MIN(window * 2, (size_t) MAX_WINDOW);
}

/* What comes behind s->to, if it follows s->from closely. `window` as it was. */
static size_t what_next(const WalkStep *s, NameList *list, size_t window, const char **ret) {
        const NameEntry *from = name_list_find(list, s->from);
        const NameEntry *to = name_list_find(list, s->to);
        size_t tolerance = TOLERANCE + window;
        size_t larger = larger_window(window);

        if (!from || !to)
                return 0;
        if (to->index > from->index && to->index - from->index <= tolerance)
                return next_listed(list, to->index, ret, larger);
        if (name_list_count(list) > MAX_SORTED)
                return 0;
        size_t n = next_sorted(list, s->from, ret, tolerance);
        return is_among(s->to, ret, n) ? next_sorted(list, s->to, ret, larger) : 0;
}

static void take_step(const WalkStep *s) {
        const char *next[TOLERANCE + MAX_WINDOW];
        _cleanup_(name_list_unrefp) NameList *list = owner_list(s->owner);

        if (!list)
                return;
        mutex_lock(&s->owner->lock);
        size_t window = s->owner->walk_window;
        mutex_unlock(&s->owner->lock);
        size_t n = what_next(s, list, window, next);
        mutex_lock(&s->owner->lock);
        s->owner->walk_window = n > 0 ? larger_window(window) : 0;
        mutex_unlock(&s->owner->lock);
        for (size_t i = 0; i < n; i++)
                want_ahead(s->ns, s->owner, next[i]);
}

static void run_walk_step(Task *task) {
        WalkStep *s = container_of(task, WalkStep, task);
        Namespace *ns = s->ns;

        take_step(s);
        owner_unref(s->owner);
        free(s->from);
        free(s);
        ns_operation_end(ns);
}

/* Notes the name. Returns the one before, owned by the caller, if that was just now and another. */
static char *note_entered(Owner *owner, const char *name) {
        uint64_t now = now_usec();
        char *copy = strdup(name);

        MUTEX_GUARD(&owner->lock);
        char *before = owner->walk_last;
        bool same = before && strcmp(before, name) == 0;
        bool recent = owner->walk_usec + GAP_USEC > now;
        owner->walk_usec = now;
        if (!copy || same) {
                free(copy);
                return NULL;
        }
        owner->walk_last = copy;
        if (recent)
                return before;
        owner->walk_window = 0;
        free(before);
        return NULL;
}

void owner_walk_entered(Namespace *ns, Owner *owner, const char *name) {
        size_t len = strlen(name) + 1;
        void *memory;

        if (owner->org->config->kind == ORG_LOCAL || strchr(name, '@'))
                return;
        _cleanup_free_ char *before = note_entered(owner, name);
        if (!before || !ns_ahead(ns).children ||
            demand_begin(ns, sizeof(WalkStep) + len, &memory) < 0)
                return;
        WalkStep *s = memory;
        s->task.run = run_walk_step;
        s->ns = ns;
        s->owner = owner_ref(owner);
        s->from = TAKE_PTR(before);
        memcpy(s->to, name, len);
        pool_submit(ns->context->pool, &s->task, TASK_BACKGROUND);
}
