#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "forge/host-gate.h"
#include "forge/http.h"
#include "forge/json.h"
#include "forge/secret.h"
#include "util/buf.h"
#include "util/failure.h"

/* One question to a forge's HTTP API and its answer, however many requests that takes: it waits for
 * its turn at the gate, sends the org's token, tells the gate what is left of the budget, obeys
 * "come back later", follows redirects within the server, tries again after a lost connection or a
 * 5xx, and with a newly read token after a 401. Every forge asks through this. */

/* What is particular to a kind of forge. Constant. */
typedef struct ApiDialect {
        const char *name;           /* "GitHub": for texts */
        const char *const *headers; /* sent with everything; NULL-terminated */
        const char *accept;         /* unless the call says otherwise */
        const char *authorization;  /* "Authorization: Bearer ", followed by the token */
        const char *username;       /* for git over HTTP, beside the token as password */
        /* Tells more about an answer of 4xx (but 401) than its code: NULL, or fills the failure and
         * returns its errno; 0 leaves it to the general rules (api-error.c). json may be NULL. */
        int (*explain)(
                const HttpResponse *response, const Json *json, const char *what, Failure *failure);
} ApiDialect;

/* One server as one org sees it. */
typedef struct ApiServer {
        const ForgeContext *context;
        const ApiDialect *dialect;
        char *base;       /* "https://api.github.com", no slash behind; owned */
        char *origin;     /* of base, as the gate names it; owned */
        Secrets *secrets; /* a reference; NULL: nobody in particular asks */
} ApiServer;

int api_server_init(
        ApiServer *server,
        const ForgeContext *context,
        const ApiDialect *dialect,
        const char *base,
        Secrets *secrets);
void api_server_done(ApiServer *server);

/* Valid during done(). */
typedef struct ApiAnswer {
        int code;            /* 200, 202, 304, ...: never an error */
        const Json *json;    /* NULL for 304, raw answers and empty ones */
        const uint8_t *data; /* raw answers */
        size_t len;
        const char *etag, *last_modified; /* "" where there is none */
        const char *next; /* the URL of rel="next" in Link, verbatim, if it leads to this server;
                             else "" */
        bool more;        /* Link has rel="next", wherever it leads */
        bool moved; /* a permanent redirect was followed: what was asked for has another name */
        const char
                *sso; /* the rest of X-GitHub-SSO: "partial-results; organizations=..."; else "" */
} ApiAnswer;

typedef struct ApiCall ApiCall;
struct ApiCall {
        /* Set by the caller; strings are borrowed until done(): */
        const ApiServer *server;
        FetchPriority priority;
        /* As in GateTicket: whether somebody waits for it by now. NULL: nobody will. */
        bool (*is_waited)(const ApiCall *call);
        uint64_t deadline_usec;
        const char *what;   /* what is asked for, for texts: "repository acme/app" */
        const char *accept; /* NULL: the dialect's */
        const char *if_none_match, *if_modified_since; /* NULL or "": unconditional */
        const char *resource; /* whose budget it takes: "core", "graphql"; NULL: the server's */
        bool raw;             /* hand the bytes over instead of parsing them */
        size_t max_size;      /* of the answer; 0: API_MAX_SIZE */
        /* Bytes of a raw 200 as they come, in order, on pool threads; NULL: they are collected. A
         * negative return ends it with that, and whatever failure. start(): an attempt begins, the
         * first or another; what came so far is void. */
        int (*data)(ApiCall *call, const uint8_t *data, size_t len);
        void (*start)(ApiCall *call);
        /* Exactly once, last, on a pool thread, perhaps before api_call_start() has returned; may
         * free the call. answer is NULL unless result is 0. Results are those of the failure's
         * class (util/failure.h), but -ENODATA for 409: a repository without any content. */
        void (*done)(ApiCall *call, int result, const ApiAnswer *answer, const Failure *failure);

        struct ApiCallState *state; /* private */
};

/* An answer that has to be read as a whole; whatever a listing or a tree takes. */
#define API_MAX_SIZE (64u << 20)

/* path: "/repos/o/r", taken below the server's base; or an absolute URL that a former answer gave,
 * which must lead to this server. json_body: NULL: GET; else POST (GraphQL). Copied. Never blocks.
 * What GraphQL calls errors is for done() to read in the answer; but that the budget is used up is
 * treated like a 403.
 * 0; -EINVAL for what is no URL, or leads elsewhere; -ENOMEM: done() will not be called. */
int api_call_start(ApiCall *call, const char *path, const char *json_body);
