#include "ctl/bus-client.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gitfs/bus-names.h"

#include "ctl/path-argument.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/text.h"

/* Longer than the daemon itself waits for any server. */
#define CALL_TIMEOUT_USEC (120 * USEC_PER_SEC)

#define START_HINT                                                                                 \
        "start it with `systemctl --user start gitfsd`, or run `gitfsd` in another terminal"

/* What to do next, by error. */
static const struct {
        const char *name, *hint;
} hints[] = {
        {GITFS_BUS_ERROR_NOT_FOUND, "`gitfsctl org list` shows the configured orgs"},
        {GITFS_BUS_ERROR_EXISTS, "choose another name, or `gitfsctl org remove` the old one"},
        {GITFS_BUS_ERROR_OUTSIDE, "`gitfsctl path` prints the mount point"},
        {GITFS_BUS_ERROR_AUTH, "check the credentials that `git credential fill` finds for it"},
        {GITFS_BUS_ERROR_OFFLINE, "check the network, and the URL with `gitfsctl org list`"},
        {GITFS_BUS_ERROR_TIMEOUT, "try again; `gitfsctl status` shows which org does not answer"},
        {GITFS_BUS_ERROR_BUSY, "try again when other calls have ended"},
        {GITFS_BUS_ERROR_FAILED, "the log may tell more: `journalctl --user -u gitfsd`"},
};

static const char *hint_for(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(hints); i++)
                if (strcmp(hints[i].name, name) == 0)
                        return hints[i].hint;
        return NULL;
}

static bool is_absent(const sd_bus_error *e) {
        return sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
               sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER);
}

static bool is_failed_start(const sd_bus_error *e) {
        return strncmp(e->name, "org.freedesktop.systemd1.", 25) == 0 ||
               strncmp(e->name, "org.freedesktop.DBus.Error.Spawn.", 33) == 0;
}

static void report_absent(const Ctl *ctl) {
        if (ctl->runtime_directory)
                ctl_error(
                        "no gitfsd serves \"%s\": start one with `gitfsd --runtime-directory %s`, "
                        "or leave the option out",
                        ctl->runtime_directory,
                        ctl->runtime_directory);
        else
                ctl_error("gitfsd is not running: " START_HINT);
}

static void report_error(const Ctl *ctl, const sd_bus_error *error) {
        const char *text = error->message ? error->message : error->name;
        const char *hint = hint_for(error->name);

        if (is_absent(error))
                report_absent(ctl);
        else if (is_failed_start(error))
                ctl_error(
                        "gitfsd could not be started: %s; see `journalctl --user -u gitfsd`", text);
        else
                ctl_error("%s%s%s", text, hint ? "; " : "", hint ? hint : "");
}

int client_report(const Ctl *ctl, int r, const sd_bus_error *error) {
        /* NoReply is the bus's word for it; on the private socket the connection breaks. */
        if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
                ctl_error("gitfsd ended during the call: " START_HINT);
        else if (r == -ETIMEDOUT)
                ctl_error("gitfsd does not answer; restart it: `systemctl --user restart gitfsd`");
        else if (error && sd_bus_error_is_set(error))
                report_error(ctl, error);
        else
                ctl_error("%s", strerrordesc_np(-r));
        return r;
}

static int socket_address(const char *directory, struct sockaddr_un *ret) {
        _cleanup_free_ char *own = NULL, *path = NULL;

        if (!directory) {
                int r = path_runtime("gitfsd", &own);
                if (r < 0)
                        return r;
                directory = own;
        }
        path = path_join(directory, GITFS_BUS_SOCKET, NULL);
        if (!path)
                return -ENOMEM;
        if (strlen(path) >= sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(ret->sun_path, path, strlen(path) + 1);
        return 0;
}

/* In a directory that others can write to, such as /tmp, anybody may listen. */
static int check_peer(int fd) {
        struct ucred cred;
        socklen_t len = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
                return -errno;
        return cred.uid == getuid() || getuid() == 0 ? 0 : -EPERM;
}

/* A service that is shut in does not know root, as it knows no other user: so root calls as the one
 * whose service it is, for good. */
static int become_owner(const struct sockaddr_un *sa) {
        struct stat st;

        if (geteuid() != 0)
                return 0;
        if (lstat(sa->sun_path, &st) < 0)
                return -errno;
        if (st.st_uid == 0)
                return 0;
        if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
            setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
                return -errno;
        return 0;
}

static int connect_private(const char *directory, sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        struct sockaddr_un sa;

        int r = socket_address(directory, &sa);
        if (r < 0)
                return r;
        r = become_owner(&sa);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &sa, sizeof(sa)) < 0)
                return -errno;
        r = check_peer(fd);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0)
                return r;
        (void) TAKE_FD(fd); /* the connection's */
        r = sd_bus_start(bus);
        if (r >= 0)
                *ret = TAKE_PTR(bus);
        return r;
}

int client_connect(Ctl *ctl) {
        int r = connect_private(ctl->runtime_directory, &ctl->bus);
        bool absent = r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR;

        if (absent && !ctl->runtime_directory && sd_bus_open_user(&ctl->bus) >= 0)
                r = 0; /* calls over the bus start the service */
        else if (absent)
                report_absent(ctl);
        else if (r == -EPERM || r == -EACCES)
                ctl_error("the control socket belongs to another user: run gitfsctl as that user");
        else if (r == -ENAMETOOLONG)
                ctl_error("the runtime directory's path is too long for a socket");
        else if (r < 0)
                ctl_error("cannot connect to gitfsd: %s", strerrordesc_np(-r));
        if (r < 0)
                return r;
        r = sd_bus_set_method_call_timeout(ctl->bus, CALL_TIMEOUT_USEC);
        return r < 0 ? client_report(ctl, r, NULL) : 0;
}

static int
callv(Ctl *ctl, sd_bus_message **ret, const char *member, const char *types, va_list ap) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        int r = sd_bus_call_methodv(
                ctl->bus,
                GITFS_BUS_NAME,
                GITFS_BUS_PATH,
                GITFS_BUS_MANAGER,
                member,
                &error,
                ret,
                types,
                ap);
        return r < 0 ? client_report(ctl, r, &error) : 0;
}

int client_call(Ctl *ctl, sd_bus_message **ret, const char *member, const char *types, ...) {
        va_list ap;

        va_start(ap, types);
        int r = callv(ctl, ret, member, types, ap);
        va_end(ap);
        return r;
}

int client_call_json(Ctl *ctl, json_object **ret, const char *member, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        va_list ap;

        va_start(ap, types);
        int r = callv(ctl, &reply, member, types, ap);
        va_end(ap);
        if (r < 0)
                return r;
        r = json_from_message(reply, ret);
        return r < 0 ? client_report(ctl, r, NULL) : 0;
}

int client_get_all(Ctl *ctl, const char *path, const char *interface, json_object **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        int r = sd_bus_call_method(
                ctl->bus,
                GITFS_BUS_NAME,
                path,
                "org.freedesktop.DBus.Properties",
                "GetAll",
                &error,
                &reply,
                "s",
                interface);
        if (r >= 0)
                r = json_from_message(reply, ret);
        return r < 0 ? client_report(ctl, r, &error) : 0;
}

int client_poke(Ctl *ctl, const char *path, const char *interface, const char *member) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        int r = sd_bus_call_method(
                ctl->bus, GITFS_BUS_NAME, path, interface, member, &error, NULL, NULL);
        return r < 0 ? client_report(ctl, r, &error) : 0;
}

int client_mount_point(Ctl *ctl) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *text = NULL;

        if (ctl->mount_point)
                return 0;
        int r = sd_bus_get_property_string(
                ctl->bus,
                GITFS_BUS_NAME,
                GITFS_BUS_PATH,
                GITFS_BUS_MANAGER,
                "MountPoint",
                &error,
                &text);
        if (r >= 0)
                r = text_unescape(text);
        if (r < 0)
                return client_report(ctl, r, &error);
        ctl->mount_point = TAKE_PTR(text);
        return 0;
}

int client_path_from(Ctl *ctl, const char *cwd, const char *arg, char **ret) {
        _cleanup_free_ char *path = NULL;

        int r = client_mount_point(ctl);
        if (r < 0)
                return r;
        r = path_argument(ctl->mount_point, cwd, arg, &path);
        if (r == -EXDEV) {
                ctl_error(
                        "\"%s\" is outside of the mount, \"%s\"; name a path below it, or ORG/REPO",
                        arg,
                        ctl->mount_point);
                return r;
        }
        char *text = r < 0 ? NULL : text_escape(path);
        if (!text)
                return client_report(ctl, -ENOMEM, NULL);
        *ret = text;
        return 0;
}

int client_path(Ctl *ctl, const char *arg, char **ret) {
        /* The kernel knows it without asking the file system. */
        _cleanup_free_ char *cwd = getcwd(NULL, 0);

        return client_path_from(ctl, cwd, arg, ret);
}
