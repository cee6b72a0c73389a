#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/api.h"
#include "forge/retry.h"

/* Private to api*.c. */

struct ApiCallState {
        ApiCall *call;
        char *url;       /* of the next request; redirects change it */
        char *json_body; /* NULL: GET */

        GateTicket ticket;
        SecretWaiter waiter;
        Secret secret; /* what the request under way is sent with */
        Retry retry;
        unsigned refusals, redirects;
        Failure refused; /* the token before this one */
        bool moved;

        /* Of the request under way: */
        const HttpResponse *response; /* NULL until it comes; valid until on_done() has returned */
        Buf body;
        size_t dropped;  /* bytes of an error that nobody wants to read */
        Failure failure; /* why its body was given up */
};

/* True if both lead to the same scheme, host and port; url is not to hold a user name. */
bool api_url_same_server(const char *server, const char *url);

/* In api-limit.c. All times are on the monotonic clock, and `now` is given. */

/* What the answer says of the budget that the request was taken from. False where it says nothing,
 * or speaks of another one than `resource` (NULL: whatever there is). */
bool api_budget(const HttpResponse *response, const char *resource, uint64_t now, GateBudget *ret);
/* When to come back: the answer refuses because of too many requests. 0: it does not. json may be
 * NULL. */
uint64_t api_limited_until(
        const HttpResponse *response, const Json *json, const char *resource, uint64_t now);

/* In api-error.c. What an answer of 4xx or 5xx means: fills the failure and returns the errno.
 * `sent` is what the request went with; json may be NULL. */
int api_error(
        const ApiCall *call,
        const HttpResponse *response,
        const Json *json,
        const Secret *sent,
        Failure *ret);
/* The same for the errors in an answer of GraphQL; 0 where there are none, or it is good all the
 * same. */
int api_graphql_error(const ApiCall *call, const Json *json, Failure *ret);
