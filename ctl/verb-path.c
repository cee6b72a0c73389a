/* which and path. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/bus-client.h"
#include "ctl/verbs.h"
#include "util/text.h"

int verb_which(Ctl *ctl, char **args) {
        static const Field fields[] = {
                {"path", "Path"},
                {"type", "Type"},
                {"org", "Org"},
                {"owner", "Owner"},
                {"repo", "Repository"},
                {"url", "URL"},
                {"ref", "Ref"},
                {"commit", "Commit"},
                {"oid", "Object"},
                {"size", "Size"},
                {"resident", "Resident"},
        };
        _cleanup_(json_object_putp) json_object *info = NULL;
        _cleanup_free_ char *path = NULL;

        if (client_path(ctl, args[0], &path) < 0 ||
            client_call_json(ctl, &info, "Which", "s", path) < 0)
                return EXIT_FAILURE;
        int shown = show_json(ctl, info);
        if (shown >= 0)
                return shown;
        int r = show_fields(info, fields, ELEMENTSOF(fields));
        return ctl_flush(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* For $(...): the bytes themselves. Whether anything is there is not looked at. ORG/REPO means the
 * same in every directory, also inside the mount. */
int verb_path(Ctl *ctl, char **args) {
        _cleanup_free_ char *relative = NULL;

        if (client_mount_point(ctl) < 0)
                return EXIT_FAILURE;
        if (!args[0]) {
                printf("%s\n", ctl->mount_point);
                return ctl_flush(EXIT_SUCCESS);
        }
        if (client_path_from(ctl, NULL, args[0], &relative) < 0)
                return EXIT_FAILURE;
        int r = text_unescape(relative);
        if (r < 0)
                return client_report(ctl, r, NULL), EXIT_FAILURE;
        printf("%s%s%s\n", ctl->mount_point, relative[0] ? "/" : "", relative);
        return ctl_flush(EXIT_SUCCESS);
}
