/* The table of servers in `gitfsctl status`. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/moment.h"
#include "ctl/table.h"
#include "ctl/verbs.h"

static void add_budget(Table *t, json_object *host, Moment now) {
        uint64_t limit = json_number(host, "limit");
        char reset[MOMENT_TEXT_MAX];

        if (limit == 0) { /* the server tells none */
                for (unsigned i = 0; i < 3; i++)
                        table_add(t, CELL_PLAIN, "-");
                return;
        }
        moment_format(json_number(host, "reset_usec"), now, reset);
        table_addf(t, "%" PRIu64, json_number(host, "remaining"));
        table_addf(t, "%" PRIu64, limit);
        table_add(t, CELL_PLAIN, reset);
}

static void add_state(Table *t, json_object *host, Moment now) {
        uint64_t until = json_number(host, "blocked_until_usec");
        bool down = json_flag(host, "down");
        char moment[MOMENT_TEXT_MAX];

        moment_format(until, now, moment);
        if (down && until > 0)
                table_addf(t, "does not answer, asked again %s", moment);
        else if (until > now.monotonic_usec)
                table_addf(t, "blocked until %s", moment);
        else
                table_add(t, down ? CELL_BAD : CELL_GOOD, down ? "does not answer" : "ok");
}

int show_hosts(json_object *hosts) {
        static const char *const headers[] = {
                "SERVER",
                "BUDGET",
                ">TOKEN",
                ">LEFT",
                ">LIMIT",
                "RESET",
                ">ACTIVE",
                ">WAITING",
                "STATE",
                NULL};
        _cleanup_(table_freep) Table *t = table_new(headers);
        Moment now = moment_now();

        for (size_t i = 0; t && i < json_object_array_length(hosts); i++) {
                json_object *h = json_object_array_get_idx(hosts, i);
                const char *resource = json_text(h, "resource");
                uint64_t account = json_number(h, "account");

                table_add(t, CELL_PLAIN, json_text(h, "host"));
                table_add(t, CELL_PLAIN, resource[0] ? resource : "-");
                if (account == 0)
                        table_add(t, CELL_PLAIN, "-");
                else
                        table_addf(t, "%" PRIu64, account);
                add_budget(t, h, now);
                table_addf(t, "%" PRIu64, json_number(h, "active"));
                table_addf(t, "%" PRIu64, json_number(h, "waiting"));
                add_state(t, h, now);
        }
        return show_finish(t);
}
