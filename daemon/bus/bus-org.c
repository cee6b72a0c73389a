/* org.gitfs1.Org: one object per configured org. The manager is asked anew for each access; no
 * copy of an org is kept here that could go stale. */

#include <errno.h>
#include <stdlib.h>

#include "gitfs/bus-names.h"

#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "bus/bus-object.h"

static int append_name(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const OrgInfo *) info)->config->name);
}

static int append_forge(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "s", org_kind_name(((const OrgInfo *) info)->config->kind));
}

static int append_url(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, org_config_url(((const OrgInfo *) info)->config));
}

static int append_api_url(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const OrgInfo *) info)->config->api_url);
}

static int append_owner(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const OrgInfo *) info)->config->owner);
}

static int append_list(sd_bus_message *m, char *const *list) {
        int r = sd_bus_message_open_container(m, 'a', "s");
        for (; list && *list && r >= 0; list++)
                r = bus_append_bytes(m, *list);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_repos(sd_bus_message *m, const void *info) {
        return append_list(m, ((const OrgInfo *) info)->config->repos);
}

static int append_include(sd_bus_message *m, const void *info) {
        return append_list(m, ((const OrgInfo *) info)->config->include);
}

static int append_exclude(sd_bus_message *m, const void *info) {
        return append_list(m, ((const OrgInfo *) info)->config->exclude);
}

static int append_archived(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "b", (int) !((const OrgInfo *) info)->config->no_archived);
}

static int append_forks(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "b", (int) !((const OrgInfo *) info)->config->no_forks);
}

static int append_client_id(sd_bus_message *m, const void *info) {
        return bus_append_bytes(m, ((const OrgInfo *) info)->config->client_id);
}

static int append_poll_interval(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", ((const OrgInfo *) info)->poll_interval_usec);
}

/* Words for what is the matter. Where the way out differs the word does; the sentence says more. */
static const char *const words[_FAILURE_CLASS_MAX] = {
        [FAILURE_AUTH] = "forbidden",
        [FAILURE_TOKEN_MISSING] = "token-missing",
        [FAILURE_TOKEN_REFUSED] = "token-refused",
        [FAILURE_FORBIDDEN] = "forbidden",
        [FAILURE_SSO] = "sso-required",
        [FAILURE_BLOCKED] = "blocked",
        [FAILURE_RENAMED] = "renamed",
        [FAILURE_OFFLINE] = "unreachable",
        [FAILURE_TIMEOUT] = "timeout",
        [FAILURE_RATE_LIMITED] = "rate-limited",
};

/* The failure of an org that works is history, and would only puzzle. */
static const Failure *current_failure(const OrgInfo *info) {
        static const Failure none;
        bool matters = info->state == ORG_STATE_FAILING || info->state == ORG_STATE_NOTICE;

        return matters ? &info->failure : &none;
}

static const char *state_word(const OrgInfo *info) {
        const char *word = words[current_failure(info)->class];

        switch (info->state) {
        case ORG_STATE_IDLE:
                return "idle";
        case ORG_STATE_OK:
                return "ok";
        case ORG_STATE_NOTICE:
                return word ? word : "ok";
        default:
                return word ? word : "failing";
        }
}

static int append_state(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "s", state_word(info));
}

static int append_failing(sd_bus_message *m, const void *info) {
        bool failing = ((const OrgInfo *) info)->state == ORG_STATE_FAILING;
        return sd_bus_message_append(m, "b", (int) failing);
}

static int append_state_text(sd_bus_message *m, const void *info) {
        return bus_append_sentence(m, current_failure(info)->text);
}

static int append_failure(sd_bus_message *m, const void *info) {
        const Failure *f = current_failure(info);
        return sd_bus_message_append(
                m, "s", f->class == FAILURE_NONE ? "" : failure_class_name(f->class));
}

static int append_http_code(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "u", (uint32_t) current_failure(info)->http_code);
}

static int append_retry_at(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "t", current_failure(info)->retry_at_usec);
}

static int append_repo_count(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "u", (uint32_t) ((const OrgInfo *) info)->n_repos);
}

static int append_checkout_count(sd_bus_message *m, const void *info) {
        return sd_bus_message_append(m, "u", (uint32_t) ((const OrgInfo *) info)->n_checkouts);
}

static const BusProperty properties[] = {
        {"Name", "s", append_name},
        {"Forge", "s", append_forge},
        {"Url", "s", append_url},
        {"ApiUrl", "s", append_api_url},
        {"Owner", "s", append_owner},
        {"Repos", "as", append_repos},
        {"Include", "as", append_include},
        {"Exclude", "as", append_exclude},
        {"Archived", "b", append_archived},
        {"Forks", "b", append_forks},
        {"ClientId", "s", append_client_id},
        {"PollIntervalUSec", "t", append_poll_interval},
        {"State", "s", append_state},
        {"Failing", "b", append_failing},
        {"StateText", "s", append_state_text},
        {"Failure", "s", append_failure},
        {"HttpCode", "u", append_http_code},
        {"RetryAtUSec", "t", append_retry_at},
        {"RepoCount", "u", append_repo_count},
        {"CheckoutCount", "u", append_checkout_count},
};

int bus_org_append(sd_bus_message *m, const OrgInfo *info) {
        return bus_properties_append(m, properties, ELEMENTSOF(properties), info);
}

char *bus_org_path(const char *name) {
        char *path;

        return sd_bus_path_encode(GITFS_BUS_ORG_PREFIX, name, &path) < 0 ? NULL : path;
}

static int get_org(Bus *b, const char *path, OrgInfo *ret) {
        _cleanup_free_ char *name = NULL;

        int r = sd_bus_path_decode(path, GITFS_BUS_ORG_PREFIX, &name);
        return r <= 0 ? r : manager_get_org(b->manager, name, ret);
}

static int find_org(
        sd_bus *bus,
        const char *path,
        const char *interface,
        void *userdata,
        void **ret_found,
        sd_bus_error *error) {
        OrgInfo info;

        int r = get_org(userdata, path, &info);
        if (r > 0)
                *ret_found = userdata;
        return r;
}

static int get_property(
        sd_bus *bus,
        const char *path,
        const char *interface,
        const char *property,
        sd_bus_message *reply,
        void *userdata,
        sd_bus_error *error) {
        OrgInfo info;

        int r = get_org(userdata, path, &info);
        if (r <= 0)
                return bus_error_set(error, r < 0 ? r : -ENOENT, NULL);
        return bus_property_find(properties, ELEMENTSOF(properties), property)
                ->append(reply, &info);
}

static int collect_path(const OrgInfo *info, void *userdata) {
        return bus_paths_add(userdata, bus_org_path(info->config->name));
}

static int enumerate_orgs(
        sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        _cleanup_(bus_paths_done) BusPaths paths = {0};
        Bus *b = userdata;

        int r = manager_each_org(b->manager, collect_path, &paths);
        return r < 0 ? r : bus_paths_take(&paths, ret_nodes);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Forge", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Url", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ApiUrl", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Owner", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Repos", "as", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Include", "as", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Exclude", "as", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Archived", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Forks", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ClientId", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY(
                "PollIntervalUSec", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Failing", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("StateText", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Failure", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("HttpCode", "u", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("RetryAtUSec", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("RepoCount", "u", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("CheckoutCount", "u", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int bus_org_export(Bus *b, sd_bus *bus) {
        int r = sd_bus_add_fallback_vtable(
                bus, NULL, GITFS_BUS_ORG_PREFIX, GITFS_BUS_ORG, vtable, find_org, b);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus, NULL, GITFS_BUS_ORG_PREFIX, enumerate_orgs, b);
        return r;
}
