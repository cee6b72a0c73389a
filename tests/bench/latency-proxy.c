/* A TCP proxy on the loopback that is as far away as it is told: every byte arrives half a round
 * trip after it was sent, a connection takes its handshake, and, if asked for, the window of a
 * connection grows as TCP's does. The kernel's own way, netem, is not there on many machines.
 *
 *      latency-proxy --target PORT [--rtt MS] [--handshakes N] [--slow-start] [--rate MB/S]
 *                    [--no-object-info]
 *
 * With the last option a git server seems not to tell sizes, which git 2.39 always does.
 *
 * Prints the port it listens on. For each line on standard input it prints its counters as JSON; it
 * ends with the end of standard input.
 *
 * One thread. Bytes of a direction go through two queues: what the window does not let out yet, and
 * what is on its way, each segment with the time it is due at the other end. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "util/clock.h"

#define SEGMENT_MAX (128u * 1024)
#define QUEUE_MAX (96u << 20) /* per direction: more than any delay times any rate here */
/* RFC 6928, and RFC 9293: after an idle retransmission timeout the window starts anew. */
#define INITIAL_WINDOW (10 * 1460)
#define WINDOW_MAX (32u << 20)
#define IDLE_USEC (200 * USEC_PER_MSEC)

typedef struct Segment {
        STAILQ_ENTRY(Segment) next;
        uint64_t due; /* at the other end */
        size_t len, offset;
        bool end; /* of the stream; then it has no bytes */
        uint8_t data[];
} Segment;

/* Tells the sender, when it is due, that so many bytes have arrived. */
typedef struct Ack {
        STAILQ_ENTRY(Ack) next;
        uint64_t due;
        size_t len;
} Ack;

typedef struct Flow {
        int from, to;
        bool is_up;
        bool read_end, written_end;
        bool blocked; /* the receiver takes no more just now */
        size_t held;  /* bytes in both queues */
        STAILQ_HEAD(, Segment) waiting, flying;
        STAILQ_HEAD(, Ack) acks;
        size_t window, in_flight;
        uint64_t last_sent;
} Flow;

typedef struct Connection {
        LIST_ENTRY(Connection) entry;
        Flow up, down;
        uint64_t opened; /* when the handshake is over */
        const Flow *speaker;
        bool dead;
} Connection;

static struct {
        uint16_t target;
        uint64_t delay; /* one way, microseconds */
        unsigned handshakes;
        bool slow_start;
        bool no_object_info;
        double rate; /* bytes per microsecond, all connections together; 0: no limit */
} options = {.handshakes = 1};

static struct {
        uint64_t connections, open, bytes_up, bytes_down;
        uint64_t turns; /* the client spoke after the server had: round trips of a request */
} counters;

static LIST_HEAD(, Connection) connections = LIST_HEAD_INITIALIZER(connections);
static uint64_t link_free[2]; /* when the link can take more; down, up */
static int poll_fd = -1;

static void *must(void *p) {
        if (!p) {
                (void) fputs("latency-proxy: out of memory\n", stderr);
                exit(EXIT_FAILURE);
        }
        return p;
}

static void watch(int fd, uint32_t events, void *userdata) {
        struct epoll_event e = {.events = events, .data.ptr = userdata};

        if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, fd, &e) < 0 &&
            epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
                perror("latency-proxy: epoll_ctl");
                exit(EXIT_FAILURE);
        }
}

/* --- one direction --- */

static Segment *segment_new(const uint8_t *data, size_t len) {
        Segment *s = must(malloc(sizeof(*s) + len));

        *s = (Segment){.len = len, .end = len == 0};
        memcpy(s->data, data, len);
        return s;
}

/* The segment leaves now, or as soon as the link is free and the handshake is over. */
static void flow_launch(Flow *f, const Connection *c, Segment *s, uint64_t now) {
        uint64_t start = f->is_up ? MAX(now, c->opened) : now;

        if (options.rate > 0) {
                start = MAX(start, link_free[f->is_up]);
                start += (uint64_t) ((double) s->len / options.rate);
                link_free[f->is_up] = start;
        }
        s->due = start + options.delay;
        STAILQ_INSERT_TAIL(&f->flying, s, next);
}

static void flow_take_acks(Flow *f, uint64_t now) {
        Ack *a;

        while ((a = STAILQ_FIRST(&f->acks)) && a->due <= now) {
                STAILQ_REMOVE_HEAD(&f->acks, next);
                f->in_flight -= a->len;
                f->window = MIN(f->window + a->len, (size_t) WINDOW_MAX);
                free(a);
        }
}

/* As much of the first waiting segment as the window has room for. */
static Segment *flow_next_segment(Flow *f) {
        Segment *s = STAILQ_FIRST(&f->waiting);
        size_t room = f->window > f->in_flight ? f->window - f->in_flight : 0;

        if (!s || (room == 0 && !s->end))
                return NULL;
        if (options.slow_start && s->len - s->offset > room) {
                Segment *part = segment_new(s->data + s->offset, room);
                s->offset += room;
                return part;
        }
        STAILQ_REMOVE_HEAD(&f->waiting, next);
        return s;
}

static void flow_send(Flow *f, const Connection *c, uint64_t now) {
        Segment *s;

        flow_take_acks(f, now);
        while ((s = flow_next_segment(f))) {
                size_t len = s->len - s->offset;
                flow_launch(f, c, s, now);
                f->last_sent = now;
                if (!options.slow_start || len == 0)
                        continue;
                f->in_flight += len;
                Ack *a = must(malloc(sizeof(*a)));
                *a = (Ack){.due = s->due + options.delay, .len = len};
                STAILQ_INSERT_TAIL(&f->acks, a, next);
        }
}

/* The capability gets a name that nobody knows. An advertisement comes in one piece. */
static void hide_object_info(uint8_t *data, size_t len) {
        static const char capability[] = "0010object-info";
        size_t n = strlen(capability);

        char *at = memmem(data, len, capability, n);
        if (at)
                at[n - 1] = 'x';
}

static void flow_read(Flow *f, Connection *c) {
        uint8_t data[SEGMENT_MAX];

        for (unsigned i = 0; i < 8 && !f->read_end && f->held < QUEUE_MAX; i++) {
                ssize_t n = read(f->from, data, sizeof(data));
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                n = MAX(n, 0); /* a reset ends the stream, too */
                if (options.no_object_info && !f->is_up)
                        hide_object_info(data, (size_t) n);
                f->read_end = n == 0;
                f->held += (size_t) n;
                *(f->is_up ? &counters.bytes_up : &counters.bytes_down) += (uint64_t) n;
                if (n > 0) {
                        counters.turns += f->is_up && c->speaker != f;
                        c->speaker = f;
                }
                uint64_t now = now_usec();
                if (now - f->last_sent > IDLE_USEC + 2 * options.delay && f->in_flight == 0)
                        f->window = options.slow_start ? INITIAL_WINDOW : SIZE_MAX;
                Segment *s = segment_new(data, (size_t) n);
                STAILQ_INSERT_TAIL(&f->waiting, s, next);
                flow_send(f, c, now);
        }
}

/* Delivers what is due. Returns when there is more to do, 0: when something happens. */
static uint64_t flow_write(Flow *f, Connection *c, uint64_t now) {
        Segment *s;

        flow_send(f, c, now);
        f->blocked = false;
        while ((s = STAILQ_FIRST(&f->flying)) && s->due <= now) {
                if (s->end) {
                        /* Fails where the other end is gone; then the other flow tells. */
                        (void) shutdown(f->to, SHUT_WR);
                        f->written_end = true;
                } else {
                        ssize_t n = write(f->to, s->data + s->offset, s->len - s->offset);
                        if (n < 0 && errno != EAGAIN && errno != EINTR)
                                c->dead = true;
                        if (n > 0) {
                                s->offset += (size_t) n;
                                f->held -= (size_t) n;
                        }
                        if (s->offset < s->len) {
                                f->blocked = true;
                                return 0;
                        }
                }
                STAILQ_REMOVE_HEAD(&f->flying, next);
                free(s);
        }
        uint64_t due = s ? s->due : 0;
        const Ack *a = STAILQ_FIRST(&f->acks);
        if (a && !STAILQ_EMPTY(&f->waiting) && (due == 0 || a->due < due))
                due = a->due;
        return due;
}

static void flow_init(Flow *f, int from, int to, bool is_up) {
        *f = (Flow){
                .from = from,
                .to = to,
                .is_up = is_up,
                .window = options.slow_start ? INITIAL_WINDOW : SIZE_MAX,
        };
        STAILQ_INIT(&f->waiting);
        STAILQ_INIT(&f->flying);
        STAILQ_INIT(&f->acks);
}

static void flow_done(Flow *f) {
        STAILQ_CONCAT(&f->flying, &f->waiting);
        for (Segment *s; (s = STAILQ_FIRST(&f->flying));) {
                STAILQ_REMOVE_HEAD(&f->flying, next);
                free(s);
        }
        for (Ack *a; (a = STAILQ_FIRST(&f->acks));) {
                STAILQ_REMOVE_HEAD(&f->acks, next);
                free(a);
        }
        (void) close(f->from);
}

/* --- connections --- */

static struct sockaddr_in loopback(uint16_t port) {
        return (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
}

static void connection_new(int client) {
        const struct sockaddr_in target = loopback(options.target);
        static const int on = 1;

        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (server < 0 || connect(server, (const void *) &target, sizeof(target)) < 0 ||
            fcntl(server, F_SETFL, O_NONBLOCK) < 0) {
                (void) close(client);
                if (server >= 0)
                        (void) close(server);
                return;
        }
        /* Without it segments are only put together: the delays would be wrong, and nothing else.
         */
        (void) setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void) setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        Connection *c = must(calloc(1, sizeof(*c)));
        c->opened = now_usec() + options.handshakes * 2 * options.delay;
        flow_init(&c->up, client, server, true);
        flow_init(&c->down, server, client, false);
        LIST_INSERT_HEAD(&connections, c, entry);
        counters.connections++;
        counters.open++;
}

static void connection_free(Connection *c) {
        LIST_REMOVE(c, entry);
        flow_done(&c->up);
        flow_done(&c->down);
        free(c);
        counters.open--;
}

static void connection_watch(Connection *c) {
        Flow *flows[] = {&c->up, &c->down};

        for (size_t i = 0; i < ELEMENTSOF(flows); i++) {
                const Flow *in = flows[i], *out = flows[1 - i];
                uint32_t events = !in->read_end && in->held < QUEUE_MAX ? EPOLLIN : 0;
                watch(in->from, events | (out->blocked ? EPOLLOUT : 0), c);
        }
}

/* Moves what is due everywhere; returns the time of what is due next, 0: nothing. */
static uint64_t move_all(uint64_t now) {
        uint64_t next = 0;

        for (Connection *c = LIST_FIRST(&connections), *after; c; c = after) {
                after = LIST_NEXT(c, entry);
                const uint64_t dues[] = {flow_write(&c->up, c, now), flow_write(&c->down, c, now)};
                if (c->dead || (c->up.written_end && c->down.written_end)) {
                        connection_free(c);
                        continue;
                }
                for (size_t i = 0; i < ELEMENTSOF(dues); i++)
                        if (dues[i] > 0 && (next == 0 || dues[i] < next))
                                next = dues[i];
                connection_watch(c);
        }
        return next;
}

/* --- the program --- */

static int listen_on_loopback(uint16_t *ret_port) {
        struct sockaddr_in a = loopback(0);
        socklen_t len = sizeof(a);

        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (const void *) &a, sizeof(a)) < 0 || listen(fd, 256) < 0 ||
            getsockname(fd, (void *) &a, &len) < 0) {
                perror("latency-proxy: cannot listen");
                exit(EXIT_FAILURE);
        }
        *ret_port = ntohs(a.sin_port);
        return fd;
}

/* False at the end of standard input. */
static bool answer_questions(void) {
        char data[256];

        ssize_t n = read(STDIN_FILENO, data, sizeof(data));
        for (ssize_t i = 0; i < n; i++)
                if (data[i] == '\n')
                        (void) printf(
                                "{\"connections\": %" PRIu64 ", \"open\": %" PRIu64
                                ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64
                                ", \"turns\": %" PRIu64 "}\n",
                                counters.connections,
                                counters.open,
                                counters.bytes_up,
                                counters.bytes_down,
                                counters.turns);
        return fflush(stdout) == 0 && n > 0;
}

static void accept_all(int listener) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        int client;

        while ((client = accept4(listener, (void *) &peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
               0)
                connection_new(client);
}

static int wait_until(uint64_t due, struct epoll_event *events, int n) {
        uint64_t now = now_usec(), left = due > now ? due - now : 0;
        const struct timespec timeout = {
                .tv_sec = (time_t) (left / USEC_PER_SEC),
                .tv_nsec = (long) (left % USEC_PER_SEC * 1000),
        };

        return epoll_pwait2(poll_fd, events, n, due > 0 ? &timeout : NULL, NULL);
}

static void run(int listener) {
        static char is_listener, is_stdin;
        struct epoll_event events[64];

        watch(listener, EPOLLIN, &is_listener);
        watch(STDIN_FILENO, EPOLLIN, &is_stdin);
        for (;;) {
                int n = wait_until(move_all(now_usec()), events, ELEMENTSOF(events));
                for (int i = 0; i < n; i++) {
                        void *what = events[i].data.ptr;
                        if (what == &is_listener)
                                accept_all(listener);
                        else if (what != &is_stdin) {
                                Connection *c = what;
                                flow_read(&c->up, c);
                                flow_read(&c->down, c);
                                c->dead |= (events[i].events & EPOLLERR) != 0;
                        } else if (!answer_questions())
                                return;
                }
        }
}

static double number(const char *text) {
        char *end;

        double value = strtod(text, &end);
        if (*end != '\0' || end == text || value < 0) {
                (void) fprintf(stderr, "latency-proxy: \"%s\" is no number\n", text);
                exit(EXIT_FAILURE);
        }
        return value;
}

static void parse_options(int argc, char **argv) {
        static const struct option table[] = {
                {"target", required_argument, NULL, 't'},
                {"rtt", required_argument, NULL, 'r'},
                {"handshakes", required_argument, NULL, 'h'},
                {"slow-start", no_argument, NULL, 's'},
                {"rate", required_argument, NULL, 'm'},
                {"no-object-info", no_argument, NULL, 'o'},
                {NULL, 0, NULL, 0},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) /* one thread */
                switch (c) {
                case 't':
                        options.target = (uint16_t) number(optarg);
                        break;
                case 'r':
                        options.delay = (uint64_t) (number(optarg) * USEC_PER_MSEC / 2);
                        break;
                case 'h':
                        options.handshakes = (unsigned) number(optarg);
                        break;
                case 's':
                        options.slow_start = true;
                        break;
                case 'm':
                        options.rate = number(optarg);
                        break;
                case 'o':
                        options.no_object_info = true;
                        break;
                default:
                        exit(EXIT_FAILURE);
                }
        if (options.target == 0 || optind < argc) {
                (void) fputs("latency-proxy: --target PORT is missing\n", stderr);
                exit(EXIT_FAILURE);
        }
}

int main(int argc, char **argv) {
        uint16_t port;

        parse_options(argc, argv);
        (void) signal(SIGPIPE, SIG_IGN); /* cannot fail for this signal */
        poll_fd = epoll_create1(EPOLL_CLOEXEC);
        int listener = listen_on_loopback(&port);
        if (poll_fd < 0 || printf("%u\n", port) < 0 || fflush(stdout) != 0)
                return EXIT_FAILURE;
        run(listener);
        return EXIT_SUCCESS;
}
