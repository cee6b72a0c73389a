/* Calls over D-Bus, with any arguments that have the types of the interface, and sometimes others:
 * each gets one answer, which can be read, or an error with a name and a text. The manager is the
 * one of the tests of the bus, in memory.
 *
 * A call is a byte that says which, and its arguments, as next_string() and others read them. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gitfs/bus-names.h"
#include "gitfs/macro.h"

#include "bus/bus-internal.h"
#include "bus/bus-request.h"
#include "fuzz.h"
#include "util/clock.h"
#include "util/log.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"
#define CALLS_MAX 16u
#define LIST_MAX 8u

typedef struct Input {
        const uint8_t *data;
        size_t left;
} Input;

/* What a kind of call is made of; in signatures 'P' stands for a{sv} of AddOrg() and Login(). */
static const struct {
        const char *member, *signature;
} methods[] = {
        {"ListOrgs", ""},   {"GetOrg", "s"},   {"AddOrg", "sssAP"}, {"AddOrg", "sssAP"},
        {"RemoveOrg", "s"}, {"ListHosts", ""}, {"ListJobs", ""},    {"GetJob", "u"},
        {"Prefetch", "st"}, {"Verify", ""},    {"Flush", "ts"},     {"Refresh", "s"},
        {"Which", "s"},     {"Stats", ""},     {"Reload", ""},      {"Pin", "s"},
        {"Unpin", "s"},     {"ListPins", ""},  {"SetToken", "sh"},  {"ForgetToken", "s"},
        {"Login", "sP"},
};

static const char *const words[] = {
        "acme",
        "git",
        "github",
        "local",
        "gitlab",
        "gitea",
        "mesa",
        "https://example.org/acme",
        "/srv/git",
        "git@example.org:acme",
        "PollIntervalUSec",
        "ApiUrl",
        "Owner",
        "Include",
        "Exclude",
        "Archived",
        "Forks",
        "ClientId",
        "missing",
        "refused",
        "now",
        "fail/offline",
        "hosts",
        "full",
        "ready",
        "flap/acme",
        "trouble/auth/acme",
        "hold",
        "release",
        "forget/x",
        "broken",
        "/mnt/acme",
        "..",
        "",
};

static sd_event *event;
static sd_bus *client;
static Bus bus = {
        .clients = TAILQ_HEAD_INITIALIZER(bus.clients),
        .changes = TAILQ_HEAD_INITIALIZER(bus.changes),
        .requests = TAILQ_HEAD_INITIALIZER(bus.requests),
};
static unsigned n_answered;

/* --- arguments --- */

static uint8_t next_byte(Input *in) {
        if (in->left == 0)
                return 0;
        in->left--;
        return *in->data++;
}

static uint64_t next_number(Input *in) {
        uint64_t n = 0;

        for (unsigned i = next_byte(in) % 9; i > 0; i--)
                n = n << 8 | next_byte(in);
        return n;
}

/* One that means something, or any. */
static char *next_string(Input *in) {
        uint8_t first = next_byte(in);
        size_t len = MIN((size_t) first & 0x7f, in->left);

        if (first & 0x80)
                return strdup(words[(first & 0x7f) % ELEMENTSOF(words)]);
        char *s = strndup((const char *) in->data, len);
        in->data += len;
        in->left -= len;
        return s;
}

static int append_string(sd_bus_message *m, Input *in) {
        _cleanup_free_ char *s = next_string(in);

        return s ? sd_bus_message_append_basic(m, 's', s) : -ENOMEM;
}

static int append_strings(sd_bus_message *m, Input *in) {
        int r = sd_bus_message_open_container(m, 'a', "s");

        for (unsigned n = next_byte(in) % LIST_MAX; n > 0 && r >= 0; n--)
                r = append_string(m, in);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_variant(sd_bus_message *m, Input *in) {
        static const char *const types[] = {"s", "as", "b", "t", "u"};
        const char *type = types[next_byte(in) % ELEMENTSOF(types)];
        uint64_t number;
        int flag, r = sd_bus_message_open_container(m, 'v', type);

        if (r < 0)
                return r;
        switch (type[0]) {
        case 's':
                r = append_string(m, in);
                break;
        case 'a':
                r = append_strings(m, in);
                break;
        case 'b':
                flag = next_byte(in) & 1;
                r = sd_bus_message_append_basic(m, 'b', &flag);
                break;
        default:
                number = next_number(in);
                r = sd_bus_message_append_basic(m, type[0], &number);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_options(sd_bus_message *m, Input *in) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        for (unsigned n = next_byte(in) % LIST_MAX; n > 0 && r >= 0; n--) {
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = append_string(m, in);
                if (r >= 0)
                        r = append_variant(m, in);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_token(sd_bus_message *m, Input *in) {
        _cleanup_free_ char *token = next_string(in);
        int fds[2];

        FUZZ_CHECK(token && pipe2(fds, O_CLOEXEC) == 0);
        FUZZ_CHECK(write(fds[1], token, strlen(token)) == (ssize_t) strlen(token));
        (void) close(fds[1]);
        int r = sd_bus_message_append_basic(m, 'h', &fds[0]); /* a copy of it */
        (void) close(fds[0]);
        return r;
}

static int append(sd_bus_message *m, const char *signature, Input *in) {
        int r = 0;

        for (; *signature && r >= 0; signature++) {
                uint64_t number;

                switch (*signature) {
                case 's':
                        r = append_string(m, in);
                        break;
                case 'A':
                        r = append_strings(m, in);
                        break;
                case 'P':
                        r = append_options(m, in);
                        break;
                case 'h':
                        r = append_token(m, in);
                        break;
                default:
                        number = next_number(in);
                        r = sd_bus_message_append_basic(m, *signature, &number);
                }
        }
        return r;
}

/* --- calls --- */

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        const char *types = sd_bus_message_get_signature(m, /* complete= */ true);

        n_answered++;
        if (error) {
                FUZZ_CHECK(error->name && strchr(error->name, '.'));
                FUZZ_CHECK(error->message && error->message[0]);
        } else if (types[0])
                FUZZ_CHECK(sd_bus_message_skip(m, types) >= 0);
        return 1;
}

/* A property of any of the objects, of which some exist. */
static int make_get(Input *in, sd_bus_message **ret) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ char *name = next_string(in);
        const char *interface = GITFS_BUS_ORG;
        uint8_t kind = next_byte(in);
        int r;

        FUZZ_CHECK(name);
        if (kind & 1)
                r = sd_bus_path_encode(GITFS_BUS_ORG_PREFIX, name, &path);
        else {
                interface = GITFS_BUS_JOB;
                r = asprintf(&path, GITFS_BUS_JOB_PREFIX "/%s", name);
        }
        if (r < 0)
                return -ENOMEM;
        r = sd_bus_message_new_method_call(
                client, ret, NULL, path, PROPERTIES, kind & 2 ? "GetAll" : "Get");
        if (r >= 0)
                r = sd_bus_message_append_basic(*ret, 's', interface);
        return r < 0 || kind & 2 ? r : append_string(*ret, in);
}

static int make_call(Input *in, sd_bus_message **ret) {
        uint8_t kind = next_byte(in);
        size_t i = kind % (ELEMENTSOF(methods) + 1);

        if (i == ELEMENTSOF(methods))
                return make_get(in, ret);
        int r = sd_bus_message_new_method_call(
                client, ret, NULL, GITFS_BUS_PATH, GITFS_BUS_MANAGER, methods[i].member);
        if (r < 0)
                return r;
        /* Now and then, arguments of another method. */
        if (kind >= 252)
                i = next_byte(in) % ELEMENTSOF(methods);
        return append(*ret, methods[i].signature, in);
}

/* 1 if it was sent. */
static unsigned call(Input *in) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        /* What is no D-Bus message cannot be sent. */
        if (make_call(in, &m) < 0)
                return 0;
        return sd_bus_call_async(client, NULL, m, on_answer, NULL, USEC_INFINITY) >= 0;
}

static void run_until_answered(unsigned n, uint64_t timeout_usec) {
        while (n_answered < n && sd_event_run(event, timeout_usec) > 0)
                ;
}

/* --- the connection --- */

static int connect_to(int fd, bool server, sd_bus **ret) {
        sd_id128_t id;

        int r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(ret);
        if (r >= 0)
                r = sd_bus_set_fd(*ret, fd, fd);
        if (r >= 0 && server)
                r = sd_bus_set_server(*ret, true, id);
        if (r >= 0)
                r = sd_bus_negotiate_fds(*ret, true);
        if (r >= 0 && server)
                r = sd_bus_set_sender(*ret, GITFS_BUS_NAME);
        if (r >= 0 && server)
                r = bus_export(&bus, *ret);
        if (r >= 0)
                r = sd_bus_start(*ret);
        return r < 0 ? r : sd_bus_attach_event(*ret, event, SD_EVENT_PRIORITY_NORMAL);
}

static void clean_up(void) {
        sd_bus_close_unref(client);
        sd_bus_close_unref(bus.session);
        sd_event_unref(event);
}

static void begin(void) {
        const ManagerOptions options = {
                .runtime_directory = "/nonexistent", /* where it would keep tokens */
                .mount_point = "/mnt",
                .inherited = MOUNT_FDS_NONE,
        };

        FUZZ_CHECK(manager_new(event, &options, &bus.manager) == 0);
        FUZZ_CHECK(bus_notify_start(&bus) >= 0);
        n_answered = 0;
}

static void end(void) {
        bus_notify_stop(&bus);
        request_cancel_all(&bus);
        bus.manager = manager_free(bus.manager);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        int fds[2];

        log_set_max_level(LOG_CRIT);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ||
            sd_event_new(&event) < 0)
                abort();
        bus.event = event;
        if (connect_to(fds[0], true, &bus.session) < 0 || connect_to(fds[1], false, &client) < 0)
                abort();
        return atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = {data, size};
        unsigned n = 0;

        begin();
        for (unsigned i = 0; i < CALLS_MAX && in.left > 0; i++) {
                n += call(&in);
                run_until_answered(n, 0);
        }
        /* What waits until somebody else is done is cancelled, and answered with that. */
        run_until_answered(n, 0);
        end();
        run_until_answered(n, USEC_INFINITY);
        FUZZ_CHECK(n_answered == n);
        return 0;
}
