/* What clients send, read and bounded. Whether it makes sense is for the manager to say. */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "bus/bus-check.h"
#include "bus/bus-error.h"
#include "bus/bus-internal.h"
#include "config/config.h"

int bus_refuse(sd_bus_error *error, const char *fmt, ...) {
        char text[sizeof((Failure){0}.text)];
        va_list ap;
        Failure f;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap); /* cut short is fine */
        va_end(ap);
        (void) failure_set(&f, FAILURE_LOCAL, "%s", text); /* the errno is ours to choose */
        return bus_error_set(error, -EINVAL, &f);
}

int bus_read_bytes(sd_bus_message *m, char **ret, sd_bus_error *error) {
        const char *text;
        Failure f = {0};

        int r = sd_bus_message_read_basic(m, 's', &text);
        if (r < 0)
                return r;
        r = bus_check_bytes(text, ret, &f);
        return r < 0 ? bus_error_set(error, r, &f) : 0;
}

int bus_read_path(Bus *b, sd_bus_message *m, char **ret, sd_bus_error *error) {
        const char *text;
        Failure f = {0};

        int r = sd_bus_message_read_basic(m, 's', &text);
        if (r < 0)
                return r;
        r = bus_check_path(text, manager_mount_point(b->manager), ret, &f);
        return r < 0 ? bus_error_set(error, r, &f) : 0;
}

int bus_read_flags(sd_bus_message *m, uint64_t known, uint64_t *ret, sd_bus_error *error) {
        uint64_t flags;
        Failure f;

        int r = sd_bus_message_read_basic(m, 't', &flags);
        if (r < 0)
                return r;
        r = bus_check_flags(flags, known, &f);
        if (r < 0)
                return bus_error_set(error, r, &f);
        *ret = flags;
        return 0;
}

/* --- AddOrg() --- */

/* An array of strings; add() is called with each. */
static int read_list(
        sd_bus_message *m,
        OrgConfig *config,
        int (*add)(OrgConfig *config, const char *s),
        sd_bus_error *error) {
        unsigned n = 0;

        int r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_at_end(m, /* complete= */ false)) == 0) {
                _cleanup_free_ char *s = NULL;

                if (++n > BUS_MAX_ORG_NAMES)
                        return bus_refuse(error, "A list of more than %u", BUS_MAX_ORG_NAMES);
                r = bus_read_bytes(m, &s, error);
                if (r >= 0)
                        r = add(config, s);
                if (r == -E2BIG)
                        return bus_refuse(error, "A list of more than is allowed");
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* "" is unset, as in the file. */
static int read_string(sd_bus_message *m, char **field, sd_bus_error *error) {
        _cleanup_free_ char *s = NULL;

        int r = bus_read_bytes(m, &s, error);
        if (r < 0)
                return r;
        assert(s);
        free(*field);
        *field = s[0] ? TAKE_PTR(s) : NULL;
        return 0;
}

static int read_unless(sd_bus_message *m, bool *field) {
        int yes;

        int r = sd_bus_message_read_basic(m, 'b', &yes);
        if (r >= 0)
                *field = !yes;
        return r;
}

static int read_poll_interval(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return sd_bus_message_read_basic(m, 't', &c->poll_interval_usec);
}

static int read_api_url(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_string(m, &c->api_url, error);
}

static int read_owner(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_string(m, &c->owner, error);
}

static int read_include(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_list(m, c, org_config_add_include, error);
}

static int read_exclude(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_list(m, c, org_config_add_exclude, error);
}

static int read_archived(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_unless(m, &c->no_archived);
}

static int read_forks(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_unless(m, &c->no_forks);
}

static int read_client_id(sd_bus_message *m, OrgConfig *c, sd_bus_error *error) {
        return read_string(m, &c->client_id, error);
}

static const struct {
        const char *key, *type;
        int (*read)(sd_bus_message *m, OrgConfig *c, sd_bus_error *error);
} options[] = {
        {GITFS_BUS_OPTION_POLL_INTERVAL, "t", read_poll_interval},
        {GITFS_BUS_OPTION_API_URL, "s", read_api_url},
        {GITFS_BUS_OPTION_OWNER, "s", read_owner},
        {GITFS_BUS_OPTION_INCLUDE, "as", read_include},
        {GITFS_BUS_OPTION_EXCLUDE, "as", read_exclude},
        {GITFS_BUS_OPTION_ARCHIVED, "b", read_archived},
        {GITFS_BUS_OPTION_FORKS, "b", read_forks},
        {GITFS_BUS_OPTION_CLIENT_ID, "s", read_client_id},
};

static int read_option(sd_bus_message *m, OrgConfig *config, sd_bus_error *error) {
        const char *key;
        size_t i = 0;

        int r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        while (i < ELEMENTSOF(options) && strcmp(key, options[i].key) != 0)
                i++;
        if (i == ELEMENTSOF(options))
                return bus_refuse(error, "Unknown option \"%s\"", key);
        r = sd_bus_message_enter_container(m, 'v', options[i].type);
        if (r == -ENXIO)
                return bus_refuse(error, "Option \"%s\" is not of type %s", key, options[i].type);
        if (r >= 0)
                r = options[i].read(m, config, error);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_options(sd_bus_message *m, OrgConfig *config, sd_bus_error *error) {
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_option(m, config, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bus_read_org_config(sd_bus_message *m, OrgConfig **ret, sd_bus_error *error) {
        _cleanup_(org_config_freep) OrgConfig *config = NULL;
        _cleanup_free_ char *name = NULL, *url = NULL;
        const char *forge;

        int r = bus_read_bytes(m, &name, error);
        if (r >= 0)
                r = sd_bus_message_read_basic(m, 's', &forge);
        if (r >= 0)
                r = bus_read_bytes(m, &url, error);
        if (r < 0)
                return r;
        OrgKind kind = org_kind_from_string(forge);
        if (kind < 0)
                return bus_refuse(
                        error,
                        "\"%s\" is no kind of forge: local, git, github, gitlab, gitea or mesa",
                        forge);
        r = org_config_new(name, kind, url, &config);
        if (r >= 0)
                r = read_list(m, config, org_config_add_repo, error);
        if (r >= 0)
                r = read_options(m, config, error);
        if (r >= 0)
                *ret = TAKE_PTR(config);
        return r;
}
