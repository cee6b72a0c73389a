#include <errno.h>
#include <string.h>

#include "ctl/bus-client.h"
#include "ctl/table.h"
#include "ctl/verbs.h"

int verb_stats(Ctl *ctl, char **args) {
        static const char *const headers[] = {"COUNTER", ">VALUE", NULL};
        _cleanup_(json_object_putp) json_object *stats = NULL;

        if (client_call_json(ctl, &stats, "Stats", NULL) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, stats);
        if (shown >= 0)
                return shown;

        _cleanup_(table_freep) Table *t = table_new(headers);
        json_object_object_foreach(stats, name, value) {
                if (!t)
                        break;
                table_add(t, CELL_PLAIN, name);
                table_add(t, CELL_PLAIN, json_object_get_string(value));
        }
        int r = t ? table_print(t, stdout) : -ENOMEM;
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        return ctl_flush(EXIT_SUCCESS);
}

int verb_reload(Ctl *ctl, char **args) {
        return client_call(ctl, NULL, "Reload", NULL) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
