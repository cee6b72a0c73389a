/* What several verbs print. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/moment.h"
#include "ctl/table.h"
#include "ctl/verbs.h"
#include "util/clock.h"

int show_finish(Table *t) {
        int r = t ? table_print(t, stdout) : -ENOMEM;
        if (r < 0)
                ctl_error("%s", strerrordesc_np(-r));
        return r;
}

int show_json(const Ctl *ctl, json_object *object) {
        if (!ctl_has(ctl, OPTION_JSON))
                return -1;
        int r = json_print(object);
        if (r < 0)
                ctl_error("%s", strerrordesc_np(-r));
        return ctl_flush(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

void org_state_text(json_object *org, char ret[STATE_TEXT_MAX]) {
        const char *state = json_text(org, "state");
        uint64_t retry_at = json_number(org, "retry_at_usec");
        char moment[MOMENT_TEXT_MAX];

        moment_format(retry_at, moment_now(), moment);
        /* Cut short is fine: the words are gitfsd's, and short. */
        if (retry_at > 0)
                (void) snprintf(ret, STATE_TEXT_MAX, "%s until %s", state, moment);
        else
                (void) snprintf(ret, STATE_TEXT_MAX, "%s", state);
}

static const char *or_dash(const char *text) {
        return text[0] ? text : "-";
}

int show_orgs(json_object *orgs) {
        static const char *const headers[] = {
                "NAME", "FORGE", "OWNER", "STATE", ">REPOS", ">OPEN", "URL", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        for (size_t i = 0; t && i < json_object_array_length(orgs); i++) {
                json_object *o = json_object_array_get_idx(orgs, i);
                bool good = strcmp(json_text(o, "state"), "ok") == 0;
                char state[STATE_TEXT_MAX];

                org_state_text(o, state);
                table_add(t, CELL_PLAIN, json_text(o, "name"));
                table_add(t, CELL_PLAIN, json_text(o, "forge"));
                table_add(t, CELL_PLAIN, or_dash(json_text(o, "owner")));
                table_add(
                        t,
                        json_flag(o, "failing") ? CELL_BAD
                        : good                  ? CELL_GOOD
                                                : CELL_PLAIN,
                        state);
                table_addf(t, "%" PRIu64, json_number(o, "repo_count"));
                table_addf(t, "%" PRIu64, json_number(o, "checkout_count"));
                table_add(t, CELL_PLAIN, json_text(o, "url"));
        }
        return show_finish(t);
}

int show_jobs(json_object *jobs) {
        static const char *const headers[] = {
                ">ID", "KIND", "STATE", ">DONE", ">TOTAL", ">BYTES", "PATH", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        for (size_t i = 0; t && i < json_object_array_length(jobs); i++) {
                json_object *o = json_object_array_get_idx(jobs, i);
                const char *state = json_text(o, "state");

                table_addf(t, "%" PRIu64, json_number(o, "id"));
                table_add(t, CELL_PLAIN, json_text(o, "kind"));
                table_add(t, strcmp(state, "failed") == 0 ? CELL_BAD : CELL_PLAIN, state);
                table_addf(t, "%" PRIu64, json_number(o, "done"));
                table_addf(t, "%" PRIu64, json_number(o, "total"));
                table_addf(t, "%" PRIu64, json_number(o, "bytes"));
                table_add(t, CELL_PLAIN, json_text(o, "path"));
        }
        return show_finish(t);
}

static void add_value(Table *t, json_object *value) {
        if (json_object_is_type(value, json_type_boolean))
                table_add(t, CELL_PLAIN, json_object_get_boolean(value) ? "yes" : "no");
        else
                table_add(t, CELL_PLAIN, json_object_get_string(value));
}

static bool is_empty(json_object *value) {
        return !value ||
               (json_object_is_type(value, json_type_string) &&
                json_object_get_string_len(value) == 0) ||
               (json_object_is_type(value, json_type_array) &&
                json_object_array_length(value) == 0);
}

int show_fields(json_object *object, const Field *fields, size_t n) {
        static const char *const headers[] = {">", "", NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);

        for (size_t i = 0; t && i < n; i++) {
                json_object *value = json_object_object_get(object, fields[i].key);
                bool list = json_object_is_type(value, json_type_array);

                if (is_empty(value))
                        continue;
                for (size_t k = 0; k < (list ? json_object_array_length(value) : 1); k++) {
                        if (k == 0)
                                table_addf(t, "%s:", fields[i].title);
                        else
                                table_add(t, CELL_PLAIN, "");
                        add_value(t, list ? json_object_array_get_idx(value, k) : value);
                }
        }
        return show_finish(t);
}
