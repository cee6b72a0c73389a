/* The hosts and budgets that there are, and what is told of them. */

#include <errno.h>
#include <string.h>

#include "forge/host-gate-private.h"
#include "util/clock.h"

#define IDLE_USEC (3600 * USEC_PER_SEC)

Host *gate_host_find(HostGates *g, const char *name) {
        uint64_t hash = hash_string(name);

        HTABLE_FOREACH (l, &g->hosts, hash) {
                Host *host = container_of(l, Host, link);
                if (strcmp(host->name, name) == 0)
                        return host;
        }

        Host *host = calloc(1, sizeof(*host));
        if (!host)
                return NULL;
        for (unsigned i = 0; i < N_PRIORITIES; i++)
                TAILQ_INIT(&host->waiting[i]);
        TAILQ_INIT(&host->budgets);
        host->gates = g;
        host->name = strdup(name);
        if (!host->name || htable_add(&g->hosts, &host->link, hash) < 0) {
                free(host->name);
                free(host);
                return NULL;
        }
        TAILQ_INSERT_TAIL(&g->order, host, entry);
        return host;
}

Budget *gate_budget_find(Host *host, const char *resource, uint64_t account) {
        Budget *b;

        if (!resource)
                resource = "";
        TAILQ_FOREACH (b, &host->budgets, entry)
                if (b->account == account && strcmp(b->resource, resource) == 0)
                        return b;
        b = calloc(1, sizeof(*b));
        if (!b)
                return NULL;
        b->account = account;
        b->resource = strdup(resource);
        if (!b->resource) {
                free(b);
                return NULL;
        }
        TAILQ_INSERT_TAIL(&host->budgets, b, entry);
        return b;
}

static void budget_free(Host *host, Budget *b) {
        TAILQ_REMOVE(&host->budgets, b, entry);
        free(b->resource);
        free(b);
}

void gate_host_free(HostGates *g, Host *host) {
        for (Budget *b; (b = TAILQ_FIRST(&host->budgets));)
                budget_free(host, b);
        htable_remove(&g->hosts, &host->link);
        TAILQ_REMOVE(&g->order, host, entry);
        free(host->name);
        free(host);
}

bool gate_host_has_waiting(const Host *host) {
        for (unsigned i = 0; i < N_PRIORITIES; i++)
                if (!TAILQ_EMPTY(&host->waiting[i]))
                        return true;
        return false;
}

static void forget_idle_budgets(Host *host, uint64_t now) {
        for (Budget *b = TAILQ_FIRST(&host->budgets), *next; b; b = next) {
                next = TAILQ_NEXT(b, entry);
                bool idle = now - b->used_usec >= IDLE_USEC;
                bool known = b->told.limit > 0 || b->limited_until > now;
                if (b->active == 0 && b->waiting == 0 && (idle || !known))
                        budget_free(host, b);
        }
}

void gate_forget_idle(HostGates *g, uint64_t now) {
        for (Host *host = TAILQ_FIRST(&g->order), *next; host; host = next) {
                next = TAILQ_NEXT(host, entry);
                if (host->active > 0 || gate_host_has_waiting(host))
                        continue;
                forget_idle_budgets(host, now);
                bool idle = now - host->used_usec >= IDLE_USEC;
                bool known = host->failures > 0 || host->limited_until > now ||
                             host->rate_usec > now || !TAILQ_EMPTY(&host->budgets);
                if (idle || !known)
                        gate_host_free(g, host);
        }
}

/* --- for people --- */

/* A GateInfo whose strings are its own. */
typedef struct InfoCopy {
        GateInfo info;
        char *host, *resource;
} InfoCopy;

typedef struct InfoList {
        InfoCopy *items;
        size_t n;
} InfoList;

static void info_list_done(InfoList *list) {
        for (size_t i = 0; i < list->n; i++) {
                free(list->items[i].host);
                free(list->items[i].resource);
        }
        free(list->items);
}

static int info_list_add(InfoList *list, const GateInfo *info) {
        InfoCopy *copy = &list->items[list->n];

        *copy = (InfoCopy){
                .info = *info, .host = strdup(info->host), .resource = strdup(info->resource)};
        list->n++;
        copy->info.host = copy->host;
        copy->info.resource = copy->resource;
        return copy->host && copy->resource ? 0 : -ENOMEM;
}

static uint64_t if_ahead(uint64_t when, uint64_t now) {
        return when > now ? when : 0;
}

/* What is known of the budget, if that is not out of date. */
static void describe_budget(const Budget *b, uint64_t now, GateInfo *info) {
        if (b->told.reset_usec > now)
                info->budget = b->told;
        info->blocked_until_usec =
                MAX(info->blocked_until_usec,
                    if_ahead(gate_budget_blocked_until(b, FETCH_WAITING, now), now));
}

/* The host itself, with the budget that has no name, and then the budgets that have one. */
static int info_list_add_host(InfoList *list, const Host *host, uint64_t now) {
        const Budget *b;
        GateInfo info = {
                .host = host->name,
                .resource = "",
                .n_active = host->active,
                .blocked_until_usec = if_ahead(host->limited_until, now),
                .down = host->open_for > 0,
        };

        if (info.down)
                info.blocked_until_usec =
                        MAX(info.blocked_until_usec, if_ahead(host->open_until, now));
        TAILQ_FOREACH (b, &host->budgets, entry) {
                info.n_waiting += b->waiting;
                if (b->account == 0 && b->resource[0] == '\0')
                        describe_budget(b, now, &info);
        }
        int r = info_list_add(list, &info);
        TAILQ_FOREACH (b, &host->budgets, entry) {
                GateInfo of_budget = {
                        .host = host->name,
                        .resource = b->resource,
                        .account = b->account,
                        .n_active = b->active,
                        .n_waiting = b->waiting,
                        .down = info.down,
                };
                if (r < 0 || (b->account == 0 && b->resource[0] == '\0'))
                        continue;
                describe_budget(b, now, &of_budget);
                r = info_list_add(list, &of_budget);
        }
        return r;
}

static int info_list_fill(HostGates *g, InfoList *list) {
        const Host *host;
        const Budget *b;
        size_t n = 0;

        MUTEX_GUARD(&g->mutex);
        uint64_t now = g->now();
        TAILQ_FOREACH (host, &g->order, entry) {
                n++;
                TAILQ_FOREACH (b, &host->budgets, entry)
                        n++;
        }
        list->items = calloc(MAX(n, (size_t) 1), sizeof(*list->items));
        if (!list->items)
                return -ENOMEM;
        TAILQ_FOREACH (host, &g->order, entry) {
                int r = info_list_add_host(list, host, now);
                if (r < 0)
                        return r;
        }
        return 0;
}

int host_gates_each(HostGates *g, int (*fn)(const GateInfo *info, void *userdata), void *userdata) {
        _cleanup_(info_list_done) InfoList list = {0};

        int r = info_list_fill(g, &list);
        for (size_t i = 0; r >= 0 && i < list.n; i++)
                r = fn(&list.items[i].info, userdata);
        return r;
}
