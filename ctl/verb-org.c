#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/path-argument.h"
#include "ctl/verbs.h"
#include "util/clock.h"
#include "util/text.h"

/* A directory is as the caller sees it; the daemon sits elsewhere. */
static int resolve_url(const char *url, char **ret) {
        _cleanup_free_ char *path = NULL;

        if (!strstr(url, "://")) {
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

static int append_org(Ctl *ctl, sd_bus_message *m, const char *name, const char *url) {
        int r = append_bytes(m, name);
        if (r >= 0)
                r = append_bytes(m, ctl->forge);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", url);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < ctl->n_repos && r >= 0; i++)
                r = append_bytes(m, ctl->repos[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        if (!ctl_has(ctl, OPTION_POLL_INTERVAL))
                return sd_bus_message_append(m, "a{sv}", 0);
        return sd_bus_message_append(
                m, "a{sv}", 1, GITFS_BUS_OPTION_POLL_INTERVAL, "t", ctl->poll_interval_usec);
}

int verb_org_add(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *url = NULL;

        int r = resolve_url(ctl->url, &url);
        if (r >= 0)
                r = sd_bus_message_new_method_call(
                        ctl->bus, &m, GITFS_BUS_NAME, GITFS_BUS_PATH, GITFS_BUS_MANAGER, "AddOrg");
        if (r >= 0)
                r = append_org(ctl, m, args[0], url);
        if (r >= 0)
                r = sd_bus_call(ctl->bus, m, 0, &error, NULL);
        if (r < 0)
                return client_report(ctl, r, &error), EXIT_FAILURE;
        if (client_mount_point(ctl) < 0)
                return EXIT_FAILURE;
        printf("%s/%s\n", ctl->mount_point, args[0]);
        return ctl_flush(EXIT_SUCCESS);
}

int verb_org_remove(Ctl *ctl, char **args) {
        int status = EXIT_SUCCESS;

        for (; *args; args++) {
                _cleanup_free_ char *name = text_escape(*args);
                if (!name)
                        return client_report(ctl, -ENOMEM, NULL), EXIT_FAILURE;
                if (client_call(ctl, NULL, "RemoveOrg", "s", name) < 0)
                        status = EXIT_FAILURE;
        }
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

static int add_poll_text(json_object *org) {
        uint64_t usec = json_number(org, "poll_interval_usec");
        char text[64] = "never";

        if (usec > 0)
                (void) snprintf(text, sizeof(text), "every %" PRIu64 " s", usec / USEC_PER_SEC);
        json_object *o = json_object_new_string(text);
        return !o || json_object_object_add(org, "poll", o) < 0 ? -ENOMEM : 0;
}

int verb_org_show(Ctl *ctl, char **args) {
        static const Field fields[] = {
                {"name", "Org"},
                {"forge", "Forge"},
                {"url", "URL"},
                {"repos", "Repositories"},
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
        r = add_poll_text(org);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        r = show_fields(org, fields, ELEMENTSOF(fields));
        return ctl_flush(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
