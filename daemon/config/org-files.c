/* The orgs of a user: the files of two directories, of which the user's wins by name, as systemd
 * does with its units. So the system can come with an org, and who does not want it hides it. */

#include <errno.h>
#include <string.h>

#include "config/conf-dir.h"
#include "config/config.h"
#include "config/string-list.h"
#include "util/path.h"

static int list_orgs(const char *config, char **ret_dir, char ***ret_names) {
        _cleanup_free_ char *dir = path_join(config, "orgs.d", NULL);

        if (!dir)
                return -ENOMEM;
        int r = conf_dir_list(dir, ret_names);
        if (r >= 0)
                *ret_dir = TAKE_PTR(dir);
        return r;
}

/* 1; 0: it is no org, or was removed meanwhile. */
static int load_one(const char *dir, const char *file, OrgConfig **ret, ConfigError *ret_error) {
        _cleanup_free_ char *path = path_join(dir, file, NULL);
        _cleanup_free_ char *name = strndup(file, strlen(file) - strlen(".conf"));
        _cleanup_buf_ Buf text = {0};

        if (!path || !name)
                return -ENOMEM;
        int r = conf_file_read(path, &text, ret_error);
        if (r == -ENOENT || (r >= 0 && text.len == 0))
                return 0;
        if (r < 0)
                return r;
        r = org_config_parse(name, (const char *) text.data, text.len, path, ret, ret_error);
        return r < 0 ? r : 1;
}

int org_config_load_all(
        const char *system_config,
        const char *config_home,
        void (*on_error)(const ConfigError *error, void *userdata),
        void *userdata,
        OrgConfig ***ret,
        size_t *ret_n) {
        _cleanup_free_ char *system_dir = NULL;
        _cleanup_free_ char *user_dir = NULL;
        _cleanup_(string_list_freep) char **system_names = NULL;
        _cleanup_(string_list_freep) char **user_names = NULL;
        size_t n = 0;

        int r = list_orgs(system_config, &system_dir, &system_names);
        if (r >= 0)
                r = list_orgs(config_home, &user_dir, &user_names);
        if (r < 0)
                return r;
        size_t max = string_list_length(system_names) + string_list_length(user_names);
        OrgConfig **orgs = calloc(max + 1, sizeof(*orgs));
        if (!orgs)
                return -ENOMEM;

        char **s = system_names, **u = user_names;
        while (*s || *u) {
                int order = !*s ? -1 : !*u ? 1 : strcmp(*u, *s);
                const char *dir = order <= 0 ? user_dir : system_dir;
                const char *name = order <= 0 ? *u : *s;
                ConfigError e;
                r = load_one(dir, name, &orgs[n], &e);
                if (r == -ENOMEM)
                        break;
                if (r > 0)
                        n++;
                else if (r < 0)
                        on_error(&e, userdata);
                u += order <= 0;
                s += order >= 0;
        }
        if (r == -ENOMEM) {
                while (n > 0)
                        org_config_free(orgs[--n]);
                free(orgs);
                return r;
        }
        *ret = orgs;
        *ret_n = n;
        return 0;
}
