#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/job-wait.h"
#include "ctl/progress.h"
#include "ctl/verbs.h"

/* Damage is a failure of the disk, though not of the verification. */
static int report_result(const Ctl *ctl, json_object *job) {
        const char *state = json_text(job, "state"), *text = json_text(job, "error_message");
        uint64_t damaged = json_number(job, "damaged");
        char amount[32];

        if (ctl_has(ctl, OPTION_JSON)) {
                if (show_json(ctl, job) != EXIT_SUCCESS)
                        return EXIT_FAILURE;
        } else {
                bytes_format(amount, sizeof(amount), json_number(job, "bytes"));
                printf("%" PRIu64 " objects checked, %s\n", json_number(job, "done"), amount);
        }
        if (damaged > 0)
                ctl_error(
                        "%" PRIu64 " were damaged, and dropped: they are fetched again when "
                        "somebody reads them",
                        damaged);
        if (strcmp(state, "done") != 0) {
                ctl_error(
                        "the verification %s%s%s",
                        strcmp(state, "cancelled") == 0 ? "was cancelled" : "failed",
                        text[0] ? ": " : "",
                        text);
                return EXIT_FAILURE;
        }
        return ctl_flush(damaged > 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

int verb_verify(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *job = NULL;
        const char *object;
        bool changed = false;
        uint32_t id;

        if (job_watch(ctl, &changed) < 0)
                return EXIT_FAILURE;
        if (client_call(ctl, &reply, "Verify", NULL) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "uo", &id, &object);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        if (job_wait(ctl, object, &changed, &job) < 0)
                return EXIT_FAILURE;
        return report_result(ctl, job);
}
