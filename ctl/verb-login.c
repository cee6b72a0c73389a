#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/job-wait.h"
#include "ctl/moment.h"
#include "ctl/verbs.h"
#include "util/text.h"

static int call_login(Ctl *ctl, const char *org, sd_bus_message **ret) {
        _cleanup_free_ char *name = text_escape(org);
        _cleanup_free_ char *id = ctl->client_id ? text_escape(ctl->client_id) : NULL;

        if (!name || (ctl->client_id && !id))
                return client_report(ctl, -ENOMEM, NULL);
        if (!id)
                return client_call(ctl, ret, "Login", "sa{sv}", name, 0);
        return client_call(
                ctl, ret, "Login", "sa{sv}", name, 1, GITFS_BUS_OPTION_CLIENT_ID, "s", id);
}

static int show_code(const char *code, const char *uri, uint64_t expires_usec) {
        char when[MOMENT_TEXT_MAX];

        moment_format(expires_usec, moment_now(), when);
        printf("Open %s in a browser, and type the code %s there, until %s.\n", uri, code, when);
        return ctl_flush(EXIT_SUCCESS);
}

static int report_end(json_object *job, const char *org) {
        const char *state = json_text(job, "state"), *text = json_text(job, "error_message");

        if (strcmp(state, "done") == 0) {
                printf("Signed in for \"%s\".\n", org);
                return ctl_flush(EXIT_SUCCESS);
        }
        ctl_error(
                "the sign-in for \"%s\" %s%s%s",
                org,
                strcmp(state, "cancelled") == 0 ? "was cancelled" : "failed",
                text[0] ? ": " : "",
                text);
        return EXIT_FAILURE;
}

int verb_login(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *job = NULL;
        const char *code, *uri, *path;
        bool changed = false;
        uint64_t expires;

        if (job_watch(ctl, &changed) < 0 || call_login(ctl, args[0], &reply) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "ssto", &code, &uri, &expires, &path);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        if (show_code(code, uri, expires) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (job_wait(ctl, path, &changed, &job) < 0)
                return EXIT_FAILURE;
        return report_end(job, args[0]);
}
