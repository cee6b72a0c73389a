/* pin, unpin, pins. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/bus-names.h"

#include "ctl/bus-client.h"
#include "ctl/job-wait.h"
#include "ctl/progress.h"
#include "ctl/verbs.h"

static int report_result(const Ctl *ctl, json_object *job) {
        const char *state = json_text(job, "state"), *text = json_text(job, "error_message");

        if (strcmp(state, "done") == 0) {
                printf("%" PRIu64 " files\n", json_number(job, "total"));
                return ctl_flush(EXIT_SUCCESS);
        }
        ctl_error(
                "\"%s\" is not complete: %s",
                json_text(job, "path"),
                text[0] ? text : "that was cancelled, and is tried again");
        return EXIT_FAILURE;
}

int verb_pin(Ctl *ctl, char **args) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *job = NULL;
        _cleanup_free_ char *path = NULL;
        const char *object;
        bool changed = false;
        uint32_t id;

        if (client_path(ctl, args[0], &path) < 0)
                return EXIT_FAILURE;
        if (ctl_has(ctl, OPTION_WAIT) && job_watch(ctl, &changed) < 0)
                return EXIT_FAILURE;
        if (client_call(ctl, &reply, "Pin", "s", path) < 0)
                return EXIT_FAILURE;
        int r = sd_bus_message_read(reply, "uo", &id, &object);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        if (!ctl_has(ctl, OPTION_WAIT)) {
                printf("%" PRIu32 "\n", id);
                return ctl_flush(EXIT_SUCCESS);
        }
        if (job_wait(ctl, object, &changed, &job) < 0)
                return EXIT_FAILURE;
        return report_result(ctl, job);
}

int verb_unpin(Ctl *ctl, char **args) {
        _cleanup_free_ char *path = NULL;

        if (client_path(ctl, args[0], &path) < 0 || client_call(ctl, NULL, "Unpin", "s", path) < 0)
                return EXIT_FAILURE;
        return EXIT_SUCCESS;
}

static void add_state(Table *t, json_object *pin) {
        const char *state = json_text(pin, "state");

        if (strcmp(state, "fetching") == 0 && json_number(pin, "total") > 0)
                table_addf(
                        t,
                        "fetching %" PRIu64 " of %" PRIu64,
                        json_number(pin, "done"),
                        json_number(pin, "total"));
        else
                table_add(
                        t,
                        strcmp(state, "complete") == 0     ? CELL_GOOD
                        : strcmp(state, "incomplete") == 0 ? CELL_BAD
                                                           : CELL_PLAIN,
                        state);
}

static int show_pins(json_object *pins) {
        static const char *const headers[] = {"PATH", "STATE", ">FILES", ">SIZE", "REASON", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        for (size_t i = 0; t && i < json_object_array_length(pins); i++) {
                json_object *o = json_object_array_get_idx(pins, i);
                char size[32];

                bytes_format(size, sizeof(size), json_number(o, "bytes"));
                table_add(t, CELL_PLAIN, json_text(o, "path"));
                add_state(t, o);
                table_addf(t, "%" PRIu64, json_number(o, "total"));
                table_add(t, CELL_PLAIN, size);
                table_add(t, CELL_PLAIN, json_text(o, "error_message"));
        }
        return show_finish(t);
}

int verb_pins(Ctl *ctl, char **args) {
        _cleanup_(json_object_putp) json_object *pins = NULL;

        if (client_call_json(ctl, &pins, "ListPins", NULL) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, pins);
        if (shown >= 0)
                return shown;
        return ctl_flush(show_pins(pins) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
