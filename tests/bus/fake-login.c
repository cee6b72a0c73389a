/* Tokens for the fake manager: one that is set is left in the file token-ORG of the runtime
 * directory, for the test to look at. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/manager-login.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"

static char *token_path(const Manager *m, const char *org) {
        char name[256];

        (void) snprintf(name, sizeof(name), "token-%s", org); /* test names are short */
        return path_join(manager_runtime_directory(m), name, NULL);
}

static int no_org(const char *org, Failure *ret_failure) {
        return failure_set(ret_failure, FAILURE_NOT_FOUND, "there is no org \"%s\"", org);
}

int manager_set_token(
        Manager *m,
        const char *org,
        int owned_fd,
        ManagerDone done,
        void *userdata,
        Failure *ret_failure) {
        _cleanup_close_ int fd = owned_fd;
        _cleanup_free_ char *path = token_path(m, org);
        Failure failure = {0};
        OrgInfo info;
        char token[100];

        if (manager_get_org(m, org, &info) <= 0)
                return no_org(org, ret_failure);
        ssize_t n = read(fd, token, sizeof(token));
        int r = n < 0 ? -errno : 0;
        if (n == 0 || (n == 8 && memcmp(token, "unwanted", 8) == 0)) {
                (void) failure_set(&failure, FAILURE_LOCAL, "that is no token");
                r = -EINVAL;
        } else if (n > 0)
                r = write_file_atomic(path, token, (size_t) n, 0600);
        done(r, &failure, userdata);
        return 0;
}

int manager_forget_token(Manager *m, const char *org, Failure *ret_failure) {
        _cleanup_free_ char *path = token_path(m, org);
        OrgInfo info;

        if (manager_get_org(m, org, &info) <= 0)
                return no_org(org, ret_failure);
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* A job of the fake manager takes its end from its path; here the client id is that. */
int manager_login(
        Manager *m,
        const char *org,
        const char *client_id,
        ManagerLoginDone done,
        void *userdata,
        Failure *ret_failure) {
        LoginInfo info = {
                .user_code = "WDJB-MJHT",
                .verification_uri = "https://example.org/login/device",
                .expires_usec = now_usec() + 900 * USEC_PER_SEC,
        };
        Failure none = {0};
        OrgInfo unused;

        if (manager_get_org(m, org, &unused) <= 0)
                return no_org(org, ret_failure);
        if (!client_id) {
                (void) failure_set(ret_failure, FAILURE_LOCAL, "no client id is known");
                return -EINVAL;
        }
        int r = manager_prefetch(m, client_id, false, &info.job, ret_failure);
        if (r >= 0)
                done(0, &info, &none, userdata);
        return r;
}
