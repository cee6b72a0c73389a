#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/table.h"
#include "ctl/verbs.h"

static int collect(Ctl *ctl, json_object **ret) {
        _cleanup_(json_object_putp) json_object *status = NULL, *orgs = NULL, *jobs = NULL,
                                                *hosts = NULL;

        int r = client_get_all(ctl, GITFS_BUS_PATH, GITFS_BUS_MANAGER, &status);
        if (r >= 0)
                r = client_call_json(ctl, &orgs, "ListOrgs", NULL);
        if (r >= 0)
                r = client_call_json(ctl, &jobs, "ListJobs", NULL);
        if (r >= 0)
                r = client_call_json(ctl, &hosts, "ListHosts", NULL);
        if (r < 0)
                return r;
        if (json_object_object_add(status, "orgs", json_object_get(orgs)) < 0 ||
            json_object_object_add(status, "jobs", json_object_get(jobs)) < 0 ||
            json_object_object_add(status, "hosts", json_object_get(hosts)) < 0)
                return client_report(ctl, -ENOMEM, NULL);
        *ret = TAKE_PTR(status);
        return 0;
}

static void print_troubles(json_object *orgs) {
        for (size_t i = 0; i < json_object_array_length(orgs); i++) {
                json_object *o = json_object_array_get_idx(orgs, i);
                const char *text = json_text(o, "state_text");
                char state[STATE_TEXT_MAX];

                if (!text[0])
                        continue;
                org_state_text(o, state);
                printf("\n%s: %s%s: %s\n",
                       json_text(o, "name"),
                       state,
                       json_flag(o, "failing") ? "" : ", but works",
                       text);
        }
}

static int print_section(json_object *list, int (*show)(json_object *list)) {
        if (json_object_array_length(list) == 0)
                return 0;
        printf("\n");
        return show(list);
}

int verb_status(Ctl *ctl, char **args) {
        _cleanup_(json_object_putp) json_object *status = NULL;

        if (collect(ctl, &status) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, status);
        if (shown >= 0)
                return shown;

        json_object *orgs = json_object_object_get(status, "orgs");
        printf("gitfsd %s, process %" PRIu64 ", %s %s\n",
               json_text(status, "version"),
               json_number(status, "pid"),
               json_flag(status, "ready") ? "serves" : "is about to serve",
               json_text(status, "mount_point"));
        if (json_text(status, "cache_error")[0])
                printf("\nWhat is fetched stays in memory, as \"%s\" takes nothing: %s\n",
                       json_text(status, "cache_directory"),
                       json_text(status, "cache_error"));
        if (json_object_array_length(orgs) == 0)
                printf("\nNo org is configured: add one with `gitfsctl org add`.\n");
        int r = print_section(orgs, show_orgs);
        print_troubles(orgs);
        if (r >= 0)
                r = print_section(json_object_object_get(status, "hosts"), show_hosts);
        if (r >= 0)
                r = print_section(json_object_object_get(status, "jobs"), show_jobs);
        return r < 0 ? EXIT_FAILURE : ctl_flush(EXIT_SUCCESS);
}
