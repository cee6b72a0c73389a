/* The private socket: `control` in the runtime directory, one peer-to-peer D-Bus connection per
 * client with the same objects as on the session bus.
 *
 * Only its owner and root may talk to it: the directory is 0700, the socket 0600, and the peer's
 * credentials are checked besides. A client is closed when it hangs up, when it is one too many,
 * and when it lets signals or answers pile up unread.
 *
 * sd-bus (252 at least) can read a client's first call together with the last line of its
 * authentication, and then waits for the socket to become readable before it looks at what it has.
 * GDBus is fast enough for that. So each connection is driven, once it is connected, until it has
 * nothing left. If there is a descriptor with that call, sd-bus gives the connection up; nothing
 * can be done about that here, so org.gitfs1(5) asks for another call first. gitfsctl is no such
 * client: sd-bus sends no call before it has been let in. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gitfs/bus-names.h"

#include "bus/bus-internal.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"

/* Clients accepted in one turn of the main loop, and turns in a second: a client that connects in
 * a tight loop, or a full descriptor table, must not take the loop over. */
#define ACCEPT_BATCH 16
#define ACCEPT_TURNS_PER_SEC 100

struct BusClient {
        Bus *bus;
        sd_bus *connection;         /* owned */
        sd_event_source *leftovers; /* one shot: see above */
        bool deaf;                  /* does not read: to be closed */
        TAILQ_ENTRY(BusClient) link;
};

static BusClient *client_free(BusClient *c) {
        if (!c)
                return NULL;
        if (c->bus) {
                TAILQ_REMOVE(&c->bus->clients, c, link);
                c->bus->n_clients--;
        }
        sd_event_source_disable_unref(c->leftovers);
        sd_bus_close_unref(c->connection);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(BusClient *, client_free)

static void client_close_deaf(BusClient *c) {
        log_warning("a client of the private socket does not read; closing it");
        client_free(c);
}

static bool is_deaf(sd_bus *bus) {
        uint64_t queued = 0;

        return sd_bus_get_n_queued_write(bus, &queued) < 0 || queued > BUS_MAX_QUEUED_MESSAGES;
}

void bus_each_connection(Bus *b, int (*fn)(sd_bus *bus, void *userdata), void *userdata) {
        BusClient *next;

        if (b->session) {
                int r = fn(b->session, userdata);
                if (r < 0)
                        log_debug("cannot send a signal: %s, ignoring", strerrordesc_np(-r));
        }
        for (BusClient *c = TAILQ_FIRST(&b->clients); c; c = next) {
                next = TAILQ_NEXT(c, link);
                int r = fn(c->connection, userdata);
                if (r < 0)
                        log_debug("cannot send a signal: %s, ignoring", strerrordesc_np(-r));
                if (is_deaf(c->connection))
                        client_close_deaf(c);
        }
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        client_free(userdata);
        return 0;
}

static int on_connected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        BusClient *c = userdata;
        return sd_event_source_set_enabled(c->leftovers, SD_EVENT_ONESHOT);
}

/* Before each call: the answer would be one more that is not read. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        BusClient *c = userdata;

        if (!is_deaf(sd_bus_message_get_bus(m)))
                return 0;
        c->deaf = true; /* not freed here, where sd-bus still uses the connection */
        int r = sd_event_source_set_enabled(c->leftovers, SD_EVENT_ONESHOT);
        return r < 0 ? r : 1;
}

static int on_leftovers(sd_event_source *source, void *userdata) {
        BusClient *c = userdata;
        /* The client may hang up in what is handled now, and is freed then: this is the last
         * reference of the source in that case, and ends it. */
        _cleanup_(sd_event_source_unrefp) sd_event_source *own = sd_event_source_ref(source);

        if (c->deaf) {
                client_close_deaf(c);
                return 0;
        }
        int r = sd_bus_process(c->connection, NULL);
        /* An error has been seen by sd-bus too, which is closing the connection. */
        return r > 0 ? sd_event_source_set_enabled(own, SD_EVENT_ONESHOT) : 0;
}

static int
match_local(sd_bus *bus, const char *member, sd_bus_message_handler_t handler, void *userdata) {
        return sd_bus_match_signal_async(
                bus,
                NULL,
                "org.freedesktop.DBus.Local",
                "/org/freedesktop/DBus/Local",
                "org.freedesktop.DBus.Local",
                member,
                handler,
                NULL,
                userdata);
}

static int connection_new(Bus *b, BusClient *c, int *fd, sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        sd_id128_t id;

        int r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_description(bus, "private");
        if (r >= 0)
                r = sd_bus_set_fd(bus, *fd, *fd);
        if (r < 0)
                return r;
        (void) TAKE_FD(*fd); /* the connection's from here on */
        r = sd_bus_set_server(bus, true, id);
        if (r >= 0)
                r = sd_bus_set_close_on_exit(bus, false); /* bus_free() has answers to send */
        if (r >= 0)
                r = sd_bus_set_sender(bus, GITFS_BUS_NAME);
        if (r >= 0)
                r = sd_bus_add_filter(bus, NULL, on_message, c);
        if (r >= 0)
                r = match_local(bus, "Disconnected", on_disconnected, c);
        if (r >= 0)
                r = match_local(bus, "Connected", on_connected, c);
        if (r >= 0)
                r = sd_bus_set_connected_signal(bus, true);
        if (r >= 0)
                r = sd_event_add_defer(b->event, &c->leftovers, on_leftovers, c);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->leftovers, SD_EVENT_OFF);
        if (r >= 0)
                r = bus_export(b, bus);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, b->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                *ret = TAKE_PTR(bus);
        return r;
}

static bool peer_allowed(int fd) {
        struct ucred cred;
        socklen_t len = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
                return false;
        return cred.uid == getuid() || cred.uid == 0;
}

/* Takes the descriptor. */
static int client_add(Bus *b, int owned_fd) {
        _cleanup_close_ int fd = owned_fd;

        if (!peer_allowed(fd)) {
                log_warning("refused a client of another user on the private socket");
                return 0;
        }
        if (b->n_clients >= BUS_MAX_CLIENTS) {
                log_warning("refused a client: %u use the private socket", b->n_clients);
                return 0;
        }
        _cleanup_(client_freep) BusClient *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        int r = connection_new(b, c, &fd, &c->connection);
        if (r < 0)
                return r;
        c->bus = b;
        TAILQ_INSERT_TAIL(&b->clients, c, link);
        b->n_clients++;
        (void) TAKE_PTR(c); /* on the list */
        return 0;
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata) {
        Bus *b = userdata;

        for (int i = 0; i < ACCEPT_BATCH; i++) {
                // cppcheck-suppress nullPointer ; the address of the peer is optional
                int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                int r = fd < 0 ? -errno : client_add(b, fd);
                if (r == -EAGAIN)
                        break;
                if (r < 0) {
                        log_warning("cannot take a client: %s, ignoring", strerrordesc_np(-r));
                        break;
                }
        }
        return 0;
}

static int check_directory(const char *directory) {
        struct stat st;

        int r = mkdir_parents(directory, 0700);
        if (r < 0) {
                log_error("cannot create \"%s\": %s", directory, strerrordesc_np(-r));
                return r;
        }
        if (lstat(directory, &st) < 0) {
                r = -errno;
                log_error("cannot look at \"%s\": %s", directory, strerrordesc_np(-r));
                return r;
        }
        if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077) != 0) {
                log_error(
                        "\"%s\" is not a directory that only you may enter (mode 0700)", directory);
                return -EPERM;
        }
        return 0;
}

/* A socket file that nobody listens on is what a killed daemon left behind. */
static int remove_stale(const struct sockaddr_un *sa) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* EAGAIN is a full backlog: somebody listens. */
        if (connect(fd, (const struct sockaddr *) sa, sizeof(*sa)) == 0 || errno == EAGAIN)
                return -EADDRINUSE;
        if (errno == ENOENT)
                return 0;
        if (errno != ECONNREFUSED)
                return -errno;
        return unlink(sa->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_on(const struct sockaddr_un *sa, int *ret) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* Before bind(): the file is never there with a wider mode. */
        if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *) sa, sizeof(*sa)) < 0 ||
            listen(fd, SOMAXCONN) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int open_socket(Bus *b, int *ret) {
        const char *directory = manager_runtime_directory(b->manager);
        _cleanup_free_ char *path = path_join(directory, GITFS_BUS_SOCKET, NULL);
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        struct stat st;

        if (!path)
                return -ENOMEM;
        if (strlen(path) >= sizeof(sa.sun_path)) {
                log_error(
                        "\"%s\" is too long for a socket (%zu bytes at most)",
                        path,
                        sizeof(sa.sun_path) - 1);
                return -ENAMETOOLONG;
        }
        memcpy(sa.sun_path, path, strlen(path) + 1);

        int r = check_directory(directory);
        if (r < 0)
                return r;
        r = remove_stale(&sa);
        if (r >= 0)
                r = listen_on(&sa, ret);
        if (r >= 0 && lstat(path, &st) < 0)
                r = -errno;
        if (r == -EADDRINUSE)
                log_error("another gitfsd listens on \"%s\"; stop it first", path);
        else if (r < 0)
                log_error("cannot listen on \"%s\": %s", path, strerrordesc_np(-r));
        if (r < 0)
                return r;
        b->socket_dev = st.st_dev;
        b->socket_ino = st.st_ino;
        b->socket_path = TAKE_PTR(path);
        return 0;
}

int bus_server_start(Bus *b) {
        _cleanup_close_ int fd = -1;

        int r = open_socket(b, &fd);
        if (r < 0)
                return r;
        r = sd_event_add_io(b->event, &b->listen_source, fd, EPOLLIN, on_connect, b);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(b->listen_source, true);
        if (r >= 0) {
                (void) TAKE_FD(fd);
                r = sd_event_source_set_ratelimit(
                        b->listen_source, USEC_PER_SEC, ACCEPT_TURNS_PER_SEC);
        }
        if (r < 0)
                log_error("cannot watch the private socket: %s", strerrordesc_np(-r));
        return r;
}

void bus_server_stop(Bus *b) {
        BusClient *c;
        struct stat st;

        b->listen_source = sd_event_source_disable_unref(b->listen_source);
        /* No sd_bus_flush(): it would wait for a client that does not read, and an answer to one
         * that does is in the socket already. */
        while ((c = TAILQ_FIRST(&b->clients)))
                client_free(c);
        /* Not the file of a successor that has replaced ours. */
        if (b->socket_path && lstat(b->socket_path, &st) == 0 && st.st_dev == b->socket_dev &&
            st.st_ino == b->socket_ino)
                (void) unlink(b->socket_path); /* a stale one is replaced at the next start */
        free(b->socket_path);
        b->socket_path = NULL;
}
