/* Asking for things, part two: the names in an owner. A listing may take many requests, so there
 * are two flights: one for the whole of it, and one ("news") that lands each time that there is
 * more to show. Whoever reads waits for news only.
 *
 *      what was kept, if nothing is shown yet -> what the forge tells, page by page -> the end
 *
 * A listing asks nothing about the single names in it: that would cost a round trip or more for
 * each of thousands, of which few are ever opened, and one that is listed needs no look-up to
 * exist.
 *
 * News must not be missed: it lands after what is new is in place, and after the flight of the
 * whole listing in the end; who waits for it joins first and looks afterwards. */

#include <errno.h>
#include <string.h>

#include "tree/namespace-private.h"
#include "util/path.h"
#include "util/stats.h"

#define MAX_NAMES (1u << 20)
/* A list that repeats this much more than it says goes round in circles. */
#define MAX_REPEATED 1000

typedef struct ListOperation {
        ForgeList list;
        Namespace *ns;
        Owner *owner;
        FlightKey key;
        NameList *names;
        size_t n_repeated;
        bool stopped; /* found() said so: error tells why, whatever the forge makes of it */
        int error;
} ListOperation;

static void land_news(Namespace *ns, Owner *owner, int result, const Failure *failure) {
        FlightKey key = demand_key_name(owner, DEMAND_NEWS, "");

        flight_land(ns->flights, &key, result, failure);
}

static bool streams(const ListOperation *op) {
        return op->owner->org->forge->ops->revalidates;
}

static bool stop(ListOperation *op, int error) {
        op->stopped = true;
        op->error = error;
        return false;
}

static bool list_found(ForgeList *list, const ForgeEntry *entry) {
        ListOperation *op = container_of(list, ListOperation, list);
        const char *name = entry->name;

        if (op->stopped)
                return false;
        if (!name_is_valid(name) || strchr(name, '@') || ns_is_probe(name))
                return true; /* cannot be shown, or looked up: '@' would be read as a ref */
        int r = name_list_add(op->names, name, entry->kind);
        if (r < 0)
                return stop(op, r);
        size_t n = name_list_count(op->names);
        op->n_repeated += r == 0;
        if (n >= MAX_NAMES || op->n_repeated > n + MAX_REPEATED)
                return stop(op, 0);
        return true;
}

/* Names of which it was said that they do not exist do. */
static void show(ListOperation *op) {
        ns_drop_negatives(op->ns, op->owner, /* only_listed= */ true);
        land_news(op->ns, op->owner, 0, NULL);
}

static void list_page(ForgeList *list) {
        ListOperation *op = container_of(list, ListOperation, list);

        stat_add(STAT_LIST_PAGES, 1);
        /* A kept list comes at once, and may turn out to be damaged. */
        if (!streams(op) || list->kept || !name_list_show(op->names))
                return;
        if (owner_show_list(op->owner, op->names))
                show(op);
}

static void operation_end(ListOperation *op, int result, const Failure *failure) {
        Namespace *ns = op->ns;
        /* Where a list is kept, a failure is no news. */
        bool news = result >= 0 || !streams(op) || !owner_has_list(op->owner);

        owner_end_listing(op->owner);
        flight_land(ns->flights, &op->key, result, failure);
        land_news(ns, op->owner, news ? result : 0, failure);
        name_list_unref(op->names);
        owner_unref(op->owner);
        free(op);
        ns_operation_end(ns);
}

static void set_list(ListOperation *op, uint64_t now) {
        name_list_end(op->names, 0);
        bool changed = owner_set_list(op->owner, op->names, now);
        if (streams(op))
                ns_follow_list(op->ns, op->owner, op->names);
        if (changed)
                ns_owner_changed(op->ns, op->owner);
        show(op);
}

static void list_done(ForgeList *list, int result, const Failure *failure);

/* Begins an empty list, and asks for it. */
static void ask(ListOperation *op, bool kept) {
        NameList *names = NULL;

        int r = name_list_new(&names);
        if (r < 0) {
                operation_end(op, r, NULL);
                return;
        }
        name_list_unref(op->names);
        op->names = names;
        op->n_repeated = 0;
        op->stopped = false;
        op->error = 0;
        op->list.kept = kept;
        forge_list(op->owner->org->forge, &op->list);
}

/* Whatever is wrong with what was kept, the forge knows better. */
static void kept_done(ListOperation *op, int result) {
        if (result >= 0) {
                stat_add(STAT_LIST_KEPT, 1);
                set_list(op, 0);
                /* Nobody waits any more. */
                FetchPriority waiting = FETCH_WAITING;
                (void) atomic_compare_exchange_strong(/* or nobody did before */
                                                      &op->list.priority,
                                                      &waiting,
                                                      FETCH_REFRESH);
        }
        ask(op, /* kept= */ false);
}

static void list_done(ForgeList *list, int result, const Failure *failure) {
        ListOperation *op = container_of(list, ListOperation, list);

        if (op->stopped)
                result = op->error;
        if (list->kept) {
                kept_done(op, result);
                return;
        }
        /* Nothing tells what is in it: only what look-ups find is. */
        if (result == -EOPNOTSUPP) {
                result = 0;
                failure = NULL;
        }
        stat_add(STAT_LIST_FAILED, result < 0);
        ns_report_listing(op->ns, op->owner, result, failure);
        if (result >= 0) {
                if (!streams(op))
                        name_list_sort(op->names);
                set_list(op, now_usec());
        } else {
                name_list_end(op->names, result); /* for who reads it already */
                if (result == -ENOENT)
                        ns_doubt_owner(op->ns, op->owner);
        }
        operation_end(op, result, failure);
}

/* The caller has started the flight. */
static void start(Namespace *ns, Owner *owner, FetchPriority priority, const FlightKey *key) {
        void *memory = NULL;

        int r = demand_begin(ns, sizeof(ListOperation), &memory);
        if (r < 0) {
                flight_land(ns->flights, key, r, NULL);
                land_news(ns, owner, r, NULL);
                return;
        }
        ListOperation *op = memory;
        op->ns = ns;
        op->owner = owner_ref(owner);
        op->key = *key;
        op->list.owner = owner->path;
        op->list.found = list_found;
        op->list.page = list_page;
        op->list.done = list_done;
        atomic_init(&op->list.priority, priority);
        stat_add(STAT_LIST_RUNS, 1);
        owner_begin_listing(owner, &op->list, now_usec());
        ask(op, streams(op) && !owner_has_list(owner));
}

static FlightKey list_key(const Owner *owner) {
        return demand_key_name(owner, DEMAND_LIST, "");
}

int demand_list(Namespace *ns, const NsCall *call, Owner *owner) {
        FlightKey key = list_key(owner);
        uint64_t asked = now_usec();

        int r = demand_join(ns, call, &key);
        if (r == NS_PARKED)
                owner_hurry_listing(owner);
        if (r <= 0)
                return r;
        if (owner_was_listed(owner, asked)) {
                flight_land(ns->flights, &key, 0, NULL);
                land_news(ns, owner, 0, NULL);
        } else
                start(ns, owner, FETCH_WAITING, &key);
        return NS_PARKED;
}

void demand_list_ahead(Namespace *ns, Owner *owner, FetchPriority priority) {
        FlightKey key = list_key(owner);

        /* Out of memory: whoever wants it asks for it himself. */
        if (flight_join(ns->flights, &key, NULL) > 0)
                start(ns, owner, priority, &key);
}

bool ns_can_list(Owner *owner, uint64_t since) {
        if (!owner->org->forge->ops->revalidates)
                return owner_was_listed(owner, since);
        _cleanup_(name_list_unrefp) NameList *list = owner_list(owner);
        return list && name_list_state(list).error == 0;
}

/* There is nothing to show: somebody must be asking. */
static void start_for_news(Namespace *ns, Owner *owner, uint64_t since) {
        FlightKey key = list_key(owner);

        int r = flight_join(ns->flights, &key, NULL);
        if (r == 0 && ns_can_list(owner, since))
                land_news(ns, owner, 0, NULL);
        else if (r == 0)
                owner_hurry_listing(owner); /* its end lands the news, if nothing before */
        else if (r < 0)
                land_news(ns, owner, r, NULL);
        else if (ns_can_list(owner, since)) {
                flight_land(ns->flights, &key, 0, NULL);
                land_news(ns, owner, 0, NULL);
        } else
                start(ns, owner, FETCH_WAITING, &key);
}

int demand_news(
        Namespace *ns,
        const NsCall *call,
        Owner *owner,
        NameList *list,
        size_t n_seen,
        uint64_t since) {
        FlightKey key = demand_key_name(owner, DEMAND_NEWS, "");

        int r = demand_join(ns, call, &key);
        if (r <= 0)
                return r;
        if (!list) {
                start_for_news(ns, owner, since);
                return NS_PARKED;
        }
        const NameListState state = name_list_state(list);
        if (state.ended || state.n_shown > n_seen)
                land_news(ns, owner, 0, NULL);
        else
                owner_hurry_listing(owner);
        return NS_PARKED;
}
