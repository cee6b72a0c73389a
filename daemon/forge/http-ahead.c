/* Connections that are made before anybody asks: to connect costs a round trip, and who is about to
 * ask would wait for it. curl makes them as it makes others (names, proxies, both families), for
 * transfers that end when they are connected; a copy of the socket is kept, and given to curl when
 * it next connects to the same address. TLS is left to whoever uses it.
 *
 * All of this is the network thread's. What is not used is closed after KEEP_USEC, before servers
 * do, and a server that did is noticed. Where there was a transfer lately curl has connections of
 * its own. */

#include "forge/http-ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/htable.h"
#include "util/stats.h"

#define KEEP_USEC (15 * USEC_PER_SEC)
/* Servers keep idle connections that long, at least most of them. */
#define SPOKEN_USEC (60 * USEC_PER_SEC)

/* Of host and port: nothing of a scheme was said yet. */
static uint64_t origin_hash(const char *origin) {
        const char *host = strstr(origin, "://");

        return hash_bytes(host, strlen(host), 0);
}

static void forget(HttpSpare *spare) {
        (void) close(spare->fd); /* nothing was written */
        *spare = (HttpSpare){.fd = -1};
}

void http_ahead_init(HttpAhead *a) {
        *a = (HttpAhead){0};
        for (size_t i = 0; i < ELEMENTSOF(a->spares); i++)
                a->spares[i].fd = -1;
}

void http_ahead_done(HttpAhead *a) {
        for (size_t i = 0; i < ELEMENTSOF(a->spares); i++)
                if (a->spares[i].fd >= 0)
                        forget(&a->spares[i]);
}

void http_ahead_expire(HttpAhead *a, uint64_t now) {
        for (size_t i = 0; i < ELEMENTSOF(a->spares); i++)
                if (a->spares[i].fd >= 0 && a->spares[i].usec + KEEP_USEC <= now)
                        forget(&a->spares[i]);
}

void http_ahead_spoken(HttpAhead *a, const char *origin) {
        uint64_t hash = origin_hash(origin);
        size_t at = 0;

        for (size_t i = 0; i < ELEMENTSOF(a->spoken); i++) {
                if (a->spoken[i].origin == hash) {
                        at = i;
                        break;
                }
                if (a->spoken[i].usec < a->spoken[at].usec)
                        at = i;
        }
        a->spoken[at].origin = hash;
        a->spoken[at].usec = now_usec();
}

bool http_ahead_is_needed(const HttpAhead *a, const char *origin, unsigned n_coming) {
        uint64_t hash = origin_hash(origin), now = now_usec();

        for (size_t i = 0; i < ELEMENTSOF(a->spoken); i++)
                if (a->spoken[i].origin == hash && a->spoken[i].usec + SPOKEN_USEC > now)
                        return false;
        for (size_t i = 0; i < ELEMENTSOF(a->spares); i++)
                n_coming += a->spares[i].fd >= 0 && a->spares[i].origin == hash;
        return n_coming < HTTP_AHEAD_PER_ORIGIN;
}

void http_ahead_keep(HttpAhead *a, CURL *easy, const char *origin) {
        HttpSpare *spare = NULL;
        curl_socket_t fd = CURL_SOCKET_BAD;

        for (size_t i = 0; i < ELEMENTSOF(a->spares) && !spare; i++)
                if (a->spares[i].fd < 0)
                        spare = &a->spares[i];
        if (!spare || curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
            fd == CURL_SOCKET_BAD)
                return;
        spare->peer_len = sizeof(spare->peer);
        if (getpeername(fd, (struct sockaddr *) &spare->peer, &spare->peer_len) < 0)
                return;
        /* curl closes its own. */
        spare->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (spare->fd < 0)
                return; /* one more descriptor is one too many */
        spare->origin = origin_hash(origin);
        spare->usec = now_usec();
        stat_add(STAT_HTTP_AHEAD, 1);
}

/* The other end has neither closed it nor said anything, which would be an error. */
static bool is_silent(int fd) {
        char byte;

        return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

int http_ahead_take(
        HttpAhead *a, const struct sockaddr *peer, socklen_t peer_len, uint64_t after_usec) {
        for (size_t i = 0; i < ELEMENTSOF(a->spares); i++) {
                HttpSpare *spare = &a->spares[i];
                if (spare->fd < 0 || spare->peer_len != peer_len ||
                    memcmp(&spare->peer, peer, peer_len) != 0)
                        continue;
                if (spare->usec <= after_usec || !is_silent(spare->fd)) {
                        forget(spare);
                        continue;
                }
                int fd = spare->fd;
                *spare = (HttpSpare){.fd = -1};
                stat_add(STAT_HTTP_AHEAD_USED, 1);
                return fd;
        }
        return -1;
}
