/* rtnetlink tells more than matters. What an address brings along (the local table, IPv6 addresses
 * whose lifetime was only prolonged) says nothing new: the routes that come and go with it do. */

#include "manager/network-watch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

/* Between two readings of the clocks, whatever the scheduler does. */
#define SLEPT_MIN_USEC (1 * USEC_PER_SEC)

struct NetworkWatch {
        sd_event_source *source; /* owns the socket; NULL: nothing is told */
        uint64_t asleep_usec;    /* since the machine was started, as of the last look */
        bool changed;
};

static uint64_t asleep_usec(void) {
        struct timespec ts;

        if (clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
                return 0;
        uint64_t boot = (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
        uint64_t awake = now_usec();
        return boot > awake ? boot - awake : 0;
}

static bool says_something(const struct nlmsghdr *m) {
        switch (m->nlmsg_type) {
        case RTM_NEWADDR: {
                const struct ifaddrmsg *address = NLMSG_DATA(m);
                return m->nlmsg_len >= NLMSG_LENGTH(sizeof(*address)) &&
                       address->ifa_family == AF_INET;
        }
        case RTM_DELADDR:
                return true;
        case RTM_NEWROUTE:
        case RTM_DELROUTE: {
                const struct rtmsg *route = NLMSG_DATA(m);
                return m->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)) &&
                       route->rtm_table != RT_TABLE_LOCAL && !(route->rtm_flags & RTM_F_CLONED);
        }
        default:
                return false;
        }
}

/* NLMSG_NEXT() by hand: its cast is none that clang accepts. */
bool network_watch_is_news(const void *messages, size_t size) {
        const char *bytes = messages;

        while (size >= sizeof(struct nlmsghdr)) {
                const struct nlmsghdr *m = (const void *) bytes;
                size_t len = NLMSG_ALIGN((size_t) m->nlmsg_len);

                if (m->nlmsg_len < sizeof(*m) || m->nlmsg_len > size)
                        return false;
                if (says_something(m))
                        return true;
                bytes += MIN(len, size);
                size -= MIN(len, size);
        }
        return false;
}

static int on_message(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        NetworkWatch *w = userdata;
        union {
                struct nlmsghdr first;
                char bytes[8192];
        } buffer;

        for (;;) {
                ssize_t n = recv(fd, &buffer, sizeof(buffer), MSG_DONTWAIT);
                if (n < 0) {
                        /* So much was told that some of it was dropped. */
                        w->changed = w->changed || errno == ENOBUFS;
                        if (errno == EINTR || errno == ENOBUFS)
                                continue;
                        return 0; /* EAGAIN: that was all */
                }
                w->changed = network_watch_is_news(&buffer, (size_t) n) || w->changed;
        }
}

static int listen_to_kernel(NetworkWatch *w, sd_event *event) {
        const struct sockaddr_nl address = {
                .nl_family = AF_NETLINK,
                .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                             RTMGRP_IPV6_ROUTE,
        };
        _cleanup_close_ int fd =
                socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        int r = sd_event_add_io(event, &w->source, fd, EPOLLIN, on_message, w);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(w->source, true);
        if (r >= 0)
                TAKE_FD(fd);
        return r;
}

int network_watch_new(sd_event *event, NetworkWatch **ret) {
        NetworkWatch *w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->asleep_usec = asleep_usec();
        int r = listen_to_kernel(w, event);
        if (r < 0) {
                w->source = sd_event_source_disable_unref(w->source);
                log_debug("the kernel does not tell of routes: %s, ignoring", strerrorname_np(-r));
        }
        *ret = w;
        return 0;
}

NetworkWatch *network_watch_free(NetworkWatch *w) {
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->source);
        free(w);
        return NULL;
}

bool network_watch_changed(NetworkWatch *w, uint64_t *ret_slept_usec) {
        uint64_t asleep = asleep_usec();
        uint64_t slept = asleep > w->asleep_usec ? asleep - w->asleep_usec : 0;
        bool changed = w->changed || slept >= SLEPT_MIN_USEC;

        *ret_slept_usec = slept >= SLEPT_MIN_USEC ? slept : 0;
        w->asleep_usec = asleep;
        w->changed = false;
        return changed;
}
