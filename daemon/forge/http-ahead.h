#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Connections that nobody uses yet, private to http*.c; the network thread's. */

/* To one server: what is not known of it is asked in two questions at once. */
#define HTTP_AHEAD_PER_ORIGIN 2

/* A connected socket. */
typedef struct HttpSpare {
        int fd; /* owned; -1: none */
        struct sockaddr_storage peer;
        socklen_t peer_len;
        uint64_t origin; /* its hash */
        uint64_t usec;   /* since when */
} HttpSpare;

typedef struct HttpAhead {
        HttpSpare spares[16];
        struct {
                uint64_t origin, usec;
        } spoken[16]; /* the origins of the last transfers */
} HttpAhead;

void http_ahead_init(HttpAhead *a);
void http_ahead_done(HttpAhead *a);
/* Closes what has waited for too long. */
void http_ahead_expire(HttpAhead *a, uint64_t now);

/* A transfer to there begins: no connection need be made ahead for a while. */
void http_ahead_spoken(HttpAhead *a, const char *origin);
/* Whether one more would be of use, where n_coming are being made. */
bool http_ahead_is_needed(const HttpAhead *a, const char *origin, unsigned n_coming);
/* The transfer has connected, and does nothing else: keeps the connection, if there is room. */
void http_ahead_keep(HttpAhead *a, CURL *easy, const char *origin);
/* A connection to that address that was made after after_usec, now the caller's; or -1. */
int http_ahead_take(
        HttpAhead *a, const struct sockaddr *peer, socklen_t peer_len, uint64_t after_usec);
