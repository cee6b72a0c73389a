/* What is known of the servers: how much may be asked of each, and whether it answers. No objects,
 * as there is nothing to follow or to do: a list. */

#include "bus/bus-internal.h"
#include "bus/bus-object.h"

#define MAX_ACCOUNTS 1000u

/* Accounts are numbered within one answer. The number that a gate knows one by comes from its
 * token, and is nobody's business. */
typedef struct HostList {
        sd_bus_message *reply;
        uint64_t accounts[MAX_ACCOUNTS];
        uint32_t n_accounts;
} HostList;

typedef struct HostEntry {
        const GateInfo *info;
        uint32_t account;
} HostEntry;

static const GateInfo *info_of(const void *entry) {
        return ((const HostEntry *) entry)->info;
}

static int append_host(sd_bus_message *m, const void *entry) {
        return bus_append_bytes(m, info_of(entry)->host);
}

static int append_resource(sd_bus_message *m, const void *entry) {
        return bus_append_bytes(m, info_of(entry)->resource);
}

static int append_account(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "u", ((const HostEntry *) entry)->account);
}

static int append_limit(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "t", info_of(entry)->budget.limit);
}

static int append_remaining(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "t", info_of(entry)->budget.remaining);
}

static int append_reset(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "t", info_of(entry)->budget.reset_usec);
}

static int append_active(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "u", (uint32_t) info_of(entry)->n_active);
}

static int append_waiting(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "u", (uint32_t) info_of(entry)->n_waiting);
}

static int append_blocked_until(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "t", info_of(entry)->blocked_until_usec);
}

static int append_down(sd_bus_message *m, const void *entry) {
        return sd_bus_message_append(m, "b", (int) info_of(entry)->down);
}

static const BusProperty properties[] = {
        {"Host", "s", append_host},
        {"Resource", "s", append_resource},
        {"Account", "u", append_account},
        {"Limit", "t", append_limit},
        {"Remaining", "t", append_remaining},
        {"ResetUSec", "t", append_reset},
        {"Active", "u", append_active},
        {"Waiting", "u", append_waiting},
        {"BlockedUntilUSec", "t", append_blocked_until},
        {"Down", "b", append_down},
};

/* 0 is nobody's; those that there are too many of share the last number. */
static uint32_t number_of(HostList *l, uint64_t account) {
        if (account == 0)
                return 0;
        for (uint32_t i = 0; i < l->n_accounts; i++)
                if (l->accounts[i] == account)
                        return i + 1;
        if (l->n_accounts < MAX_ACCOUNTS)
                l->accounts[l->n_accounts++] = account;
        return l->n_accounts;
}

static int append_entry(const GateInfo *info, void *userdata) {
        HostList *l = userdata;
        const HostEntry entry = {.info = info, .account = number_of(l, info->account)};

        return bus_properties_append(l->reply, properties, ELEMENTSOF(properties), &entry);
}

int bus_hosts_append(sd_bus_message *reply, Manager *manager) {
        HostList list = {.reply = reply};

        return manager_each_host(manager, append_entry, &list);
}
