#pragma once

#include "forge/git-exchange.h"

/* How an exchange's requests get to a server and their answers back: smart HTTP, or ssh. Private to
 * git-exchange.c and the transports, which it tells apart by the URL. */
typedef struct GitTransport {
        /* What the gate knows the host by; owned by the caller. 0, -EINVAL, -ENOMEM. */
        int (*origin)(const char *base, char **ret);
        /* Sends one request: x->base, x->body, x->auth. Never blocks. 0: git_exchange_data() for
         * the bytes of a good answer and then git_exchange_ended() follow, one after the other, on
         * pool threads. Else no callback is ever made. */
        int (*send)(GitExchange *x);
} GitTransport;

extern const GitTransport git_http_transport, git_ssh_transport;

const GitTransport *git_transport_for(const char *base);

/* Negative: the transport ends the request with this result. */
int git_exchange_data(GitExchange *x, const uint8_t *data, size_t len);
/* The request is over. failure has no class when result is good, or is what git_exchange_data()
 * returned. */
void git_exchange_ended(GitExchange *x, int result, const Failure *failure);
/* The repository has moved there, behind a redirect. 0, -EINVAL, -ENOMEM. */
int git_exchange_move(GitExchange *x, const char *base, size_t len);
