#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/path-argument.h"
#include "ctl/token.h"
#include "ctl/verbs.h"
#include "util/clock.h"
#include "util/secret-memory.h"
#include "util/text.h"

int check_org_add(const Ctl *ctl) {
        static const char *const without_instance[] = {"local", "git", "gitea"};

        for (size_t i = 0; i < ELEMENTSOF(without_instance) && !ctl_has(ctl, OPTION_URL); i++)
                if (strcmp(ctl->forge, without_instance[i]) == 0)
                        return ctl_usage_error("`org add --forge %s` needs --url", ctl->forge);
        return EXIT_SUCCESS;
}

/* A directory is as the caller sees it; the daemon sits elsewhere. */
static int resolve_url(const Ctl *ctl, char **ret) {
        _cleanup_free_ char *path = NULL;
        const char *url = ctl->url ? ctl->url : "";

        if (strcmp(ctl->forge, "local") == 0) {
                _cleanup_free_ char *cwd = getcwd(NULL, 0);
                if (!cwd)
                        return -errno;
                path = path_absolute(cwd, url);
                if (!path)
                        return -ENOMEM;
        }
        char *text = text_escape(path ? path : url);
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

static int append_bytes(sd_bus_message *m, const char *bytes) {
        _cleanup_free_ char *text = text_escape(bytes);
        return text ? sd_bus_message_append_basic(m, 's', text) : -ENOMEM;
}

static int append_list(sd_bus_message *m, const CtlList *list) {
        int r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < list->n && r >= 0; i++)
                r = append_bytes(m, list->items[i]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, const char *type, const void *value) {
        switch (type[0]) {
        case 's':
                return append_bytes(m, *(const char *const *) value);
        case 'b':
                return sd_bus_message_append(m, "b", (int) *(const bool *) value);
        case 't':
                return sd_bus_message_append_basic(m, 't', value);
        default:
                return append_list(m, value);
        }
}

static int append_option(sd_bus_message *m, const char *key, const char *type, const void *value) {
        int r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
                r = append_value(m, type, value);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_options(const Ctl *ctl, sd_bus_message *m) {
        const struct {
                CtlOption option;
                const char *key, *type;
                const void *value;
        } all[] = {
                {OPTION_POLL_INTERVAL,
                 GITFS_BUS_OPTION_POLL_INTERVAL,
                 "t",
                 &ctl->poll_interval_usec},
                {OPTION_API_URL, GITFS_BUS_OPTION_API_URL, "s", &ctl->api_url},
                {OPTION_OWNER, GITFS_BUS_OPTION_OWNER, "s", &ctl->owner},
                {OPTION_INCLUDE, GITFS_BUS_OPTION_INCLUDE, "as", &ctl->include},
                {OPTION_EXCLUDE, GITFS_BUS_OPTION_EXCLUDE, "as", &ctl->exclude},
                {OPTION_ARCHIVED, GITFS_BUS_OPTION_ARCHIVED, "b", &ctl->archived},
                {OPTION_FORKS, GITFS_BUS_OPTION_FORKS, "b", &ctl->forks},
                {OPTION_CLIENT_ID, GITFS_BUS_OPTION_CLIENT_ID, "s", &ctl->client_id},
        };

        int r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (size_t i = 0; i < ELEMENTSOF(all) && r >= 0; i++)
                if (ctl_has(ctl, all[i].option))
                        r = append_option(m, all[i].key, all[i].type, all[i].value);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_org(Ctl *ctl, sd_bus_message *m, const char *name, const char *url) {
        int r = append_bytes(m, name);
        if (r >= 0)
                r = append_bytes(m, ctl->forge);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", url);
        if (r >= 0)
                r = append_list(m, &ctl->repos);
        return r < 0 ? r : append_options(ctl, m);
}

static int add_org(Ctl *ctl, const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *url = NULL;

        int r = resolve_url(ctl, &url);
        if (r >= 0)
                r = sd_bus_message_new_method_call(
                        ctl->bus, &m, GITFS_BUS_NAME, GITFS_BUS_PATH, GITFS_BUS_MANAGER, "AddOrg");
        if (r >= 0)
                r = append_org(ctl, m, name, url);
        if (r >= 0)
                r = sd_bus_call(ctl->bus, m, 0, &error, NULL);
        return r < 0 ? client_report(ctl, r, &error) : 0;
}

static int remove_org(Ctl *ctl, const char *org) {
        _cleanup_free_ char *name = text_escape(org);

        return name ? client_call(ctl, NULL, "RemoveOrg", "s", name)
                    : client_report(ctl, -ENOMEM, NULL);
}

int verb_org_add(Ctl *ctl, char **args) {
        _cleanup_secret_free_ char *token = NULL;

        /* First: an org without the token that belongs to it would fail at once. */
        if (ctl_has(ctl, OPTION_TOKEN_STDIN) && token_read(args[0], &token) < 0)
                return EXIT_FAILURE;
        if (add_org(ctl, args[0]) < 0)
                return EXIT_FAILURE;
        if (token && token_send(ctl, args[0], token) < 0) {
                (void) remove_org(ctl, args[0]); /* has told what went wrong with that, too */
                return EXIT_FAILURE;
        }
        if (client_mount_point(ctl) < 0)
                return EXIT_FAILURE;
        printf("%s/%s\n", ctl->mount_point, args[0]);
        return ctl_flush(EXIT_SUCCESS);
}

int verb_org_remove(Ctl *ctl, char **args) {
        int status = EXIT_SUCCESS;

        for (; *args; args++)
                if (remove_org(ctl, *args) < 0)
                        status = EXIT_FAILURE;
        return status;
}

int verb_org_list(Ctl *ctl, char **args) {
        _cleanup_(json_object_putp) json_object *orgs = NULL;

        if (client_call_json(ctl, &orgs, "ListOrgs", NULL) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, orgs);
        if (shown >= 0)
                return shown;
        return ctl_flush(show_orgs(orgs) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static int set_text(json_object *org, const char *key, const char *text) {
        json_object *o = json_object_new_string(text);
        return !o || json_object_object_add(org, key, o) < 0 ? -ENOMEM : 0;
}

/* What people read instead of numbers; and what everybody expects is not worth a line. */
static int add_texts(json_object *org) {
        uint64_t usec = json_number(org, "poll_interval_usec");
        char poll[64] = "never", state[STATE_TEXT_MAX];

        if (usec > 0)
                (void) snprintf(poll, sizeof(poll), "every %" PRIu64 " s", usec / USEC_PER_SEC);
        org_state_text(org, state);
        int r = set_text(org, "poll", poll);
        if (r >= 0)
                r = set_text(org, "state", state);
        if (json_flag(org, "archived"))
                json_object_object_del(org, "archived");
        if (json_flag(org, "forks"))
                json_object_object_del(org, "forks");
        return r;
}

int verb_org_show(Ctl *ctl, char **args) {
        static const Field fields[] = {
                {"name", "Org"},
                {"forge", "Forge"},
                {"url", "URL"},
                {"api_url", "API"},
                {"owner", "Owner"},
                {"repos", "Repositories"},
                {"include", "Include"},
                {"exclude", "Exclude"},
                {"archived", "Archived"},
                {"forks", "Forks"},
                {"client_id", "OAuth application"},
                {"poll", "Polled"},
                {"state", "State"},
                {"state_text", "Reason"},
                {"repo_count", "Repositories seen"},
                {"checkout_count", "Checkouts open"},
        };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *org = NULL;
        _cleanup_free_ char *name = text_escape(args[0]);
        const char *path;

        if (!name)
                return client_report(ctl, -ENOMEM, NULL), EXIT_FAILURE;
        if (client_call(ctl, &reply, "GetOrg", "s", name) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        if (client_get_all(ctl, path, GITFS_BUS_ORG, &org) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, org);
        if (shown >= 0)
                return shown;
        r = add_texts(org);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        r = show_fields(org, fields, ELEMENTSOF(fields));
        return ctl_flush(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
