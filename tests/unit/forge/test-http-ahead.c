/* What becomes of connections that were made before anybody asked. How they are made: test-http. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "forge/http-ahead.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define ORIGIN "http://example.org:80"

typedef struct Fixture {
        HttpAhead ahead;
        int listener;
        struct sockaddr_in address;
} Fixture;

static void init(Fixture *f) {
        socklen_t len = sizeof(f->address);

        *f = (Fixture){.address = {.sin_family = AF_INET}};
        f->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        http_ahead_init(&f->ahead);
        f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(f->listener, 0);
        ck_assert_int_eq(bind(f->listener, (void *) &f->address, len), 0);
        ck_assert_int_eq(listen(f->listener, 4), 0);
        ck_assert_int_eq(getsockname(f->listener, (void *) &f->address, &len), 0);
}

static void done(Fixture *f) {
        http_ahead_done(&f->ahead);
        (void) close(f->listener);
}

/* As if curl had made it; returns the server's end. */
static int add_spare(Fixture *f, size_t at, uint64_t usec) {
        HttpSpare *spare = &f->ahead.spares[at];

        spare->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(spare->fd, 0);
        ck_assert_int_eq(connect(spare->fd, (void *) &f->address, sizeof(f->address)), 0);
        memcpy(&spare->peer, &f->address, sizeof(f->address));
        spare->peer_len = sizeof(f->address);
        spare->usec = usec;
        int fd = accept(f->listener, NULL, NULL);
        ck_assert_int_ge(fd, 0);
        return fd;
}

static int take(Fixture *f, uint64_t after_usec) {
        return http_ahead_take(&f->ahead, (void *) &f->address, sizeof(f->address), after_usec);
}

static bool is_open(int fd) {
        return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(it_is_given_once_and_for_its_address) {
        Fixture f;

        init(&f);
        int server = add_spare(&f, 3, now_usec()), fd = f.ahead.spares[3].fd;
        struct sockaddr_in other = f.address;
        other.sin_port = (in_port_t) ~other.sin_port;
        ck_assert_int_eq(http_ahead_take(&f.ahead, (void *) &other, sizeof(other), 0), -1);
        ck_assert_int_eq(take(&f, 0), fd);
        ck_assert_int_eq(take(&f, 0), -1);
        ck_assert(is_open(fd));
        (void) close(fd);
        (void) close(server);
        done(&f);
}
END_TEST

/* The server has closed it, or says something before it was asked; or the network is another. */
START_TEST(what_is_no_good_is_closed) {
        Fixture f;

        init(&f);
        int server = add_spare(&f, 0, now_usec()), fd = f.ahead.spares[0].fd;
        if (_i == 0)
                ck_assert_int_eq(shutdown(server, SHUT_WR), 0);
        else if (_i == 1)
                ck_assert_int_eq(write(server, "x", 1), 1);
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (_i < 2)
                ck_assert_int_eq(poll(&readable, 1, -1), 1);
        ck_assert_int_eq(take(&f, _i < 2 ? 0 : now_usec()), -1);
        ck_assert(!is_open(fd));
        (void) close(server);
        done(&f);
}
END_TEST

START_TEST(nobody_comes_for_it) {
        Fixture f;

        init(&f);
        uint64_t now = now_usec();
        int server = add_spare(&f, 0, now), fd = f.ahead.spares[0].fd;
        http_ahead_expire(&f.ahead, now);
        ck_assert(is_open(fd));
        http_ahead_expire(&f.ahead, now + 60 * USEC_PER_SEC);
        ck_assert(!is_open(fd));
        ck_assert_int_eq(take(&f, 0), -1);
        (void) close(server);
        done(&f);
}
END_TEST

/* The scheme does not matter: the connection is that of TCP. */
START_TEST(who_was_spoken_to_needs_none) {
        Fixture f;

        init(&f);
        ck_assert(http_ahead_is_needed(&f.ahead, ORIGIN, 0));
        ck_assert(http_ahead_is_needed(&f.ahead, ORIGIN, HTTP_AHEAD_PER_ORIGIN - 1));
        ck_assert(!http_ahead_is_needed(&f.ahead, ORIGIN, HTTP_AHEAD_PER_ORIGIN));
        http_ahead_spoken(&f.ahead, "https://example.org:80");
        ck_assert(!http_ahead_is_needed(&f.ahead, ORIGIN, 0));
        ck_assert(http_ahead_is_needed(&f.ahead, "http://example.org:81", 0));
        done(&f);
}
END_TEST

/* Of many servers the last are known. */
START_TEST(the_oldest_is_forgotten) {
        Fixture f;
        char origin[40];

        init(&f);
        for (unsigned i = 0; i < 100; i++) {
                (void) snprintf(origin, sizeof(origin), "http://host%u:80", i);
                http_ahead_spoken(&f.ahead, origin);
                ck_assert(!http_ahead_is_needed(&f.ahead, origin, 0));
        }
        ck_assert(http_ahead_is_needed(&f.ahead, "http://host0:80", 0));
        done(&f);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, it_is_given_once_and_for_its_address);
        tcase_add_loop_test(tc, what_is_no_good_is_closed, 0, 3);
        tcase_add_test(tc, nobody_comes_for_it);
        tcase_add_test(tc, who_was_spoken_to_needs_none);
        tcase_add_test(tc, the_oldest_is_forgotten);
}

CHECK_MAIN("forge/http-ahead", add_tests)
