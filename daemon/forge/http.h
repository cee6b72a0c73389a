#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "forge/inbox.h"
#include "util/buf.h"
#include "util/failure.h"
#include "work/pool.h"

/* HTTP for everything: one network thread around one curl multi handle, which only moves bytes. The
 * only user of libcurl. Callbacks run on pool threads, serialised per transfer (a strand), so they
 * may parse, hash and touch the disk. A transfer whose handler is slower than the network is
 * paused: at most INBOX_LIMIT (inbox.h) bytes wait per transfer. */
typedef struct HttpClient HttpClient;

typedef struct HttpConfig {
        uint64_t connect_timeout_usec;
        uint64_t stall_timeout_usec; /* no byte in either direction for that long */
        const char *ca_file;         /* NULL: the system's */
        const char *user_agent;
        unsigned max_idle;   /* connections that are kept; 0: as many as a few servers need */
        InboxBudget *budget; /* outlives the client; NULL: no limit */
} HttpConfig;

/* What a transfer is for: see http-flow.c for what becomes of it. */
typedef enum HttpUrgency {
        HTTP_WAITED_FOR,
        HTTP_READ_AHEAD,
        HTTP_BACKGROUND,
} HttpUrgency;

typedef struct HttpRequest {
        const char *url;            /* copied */
        const char *const *headers; /* "Name: value", NULL-terminated, copied; may be NULL */
        const char *username,
                *password; /* Basic, sent at once, never to another host; NULL: anonymous */
        const void *body;  /* copied; NULL with body_len 0: a GET */
        size_t body_len;
        bool gzip_body; /* compress the body when it is larger than 1 KiB */
        /* The caller looks at redirects itself: 3xx is an answer like others. Else they are
         * followed, to https or within the same scheme, and secrets go to no other host. */
        bool no_redirects;
        /* The value of an Authorization header, or "Name: value"; copied, and the copy is wiped
         * when the transfer is over. It goes to no other host; another header than Authorization
         * therefore needs no_redirects. NULL: none. */
        const char *authorization;
        uint64_t deadline_usec; /* monotonic; the whole transfer; USEC_INFINITY: none */
        HttpUrgency urgency;
        bool connect_only; /* private: see http_expect() */
        /* While this is true, it is waited for all the same. Borrowed until on_done; NULL: that
         * does not happen. */
        const atomic_bool *waited;
} HttpRequest;

/* What is known when the headers of the final response (after redirects) are complete. Stays as it
 * is until on_done() has returned. */
typedef struct HttpResponse {
        int code;
        const char *content_type;     /* "" when absent; without parameters, lower case */
        const char *www_authenticate; /* "" when absent */
        uint64_t retry_after_usec;    /* relative; 0 when absent */
        uint64_t first_byte_usec;     /* from the request to the answer; 0: not measured */
        const char *effective_url;    /* where redirects led */
        const struct Buf *headers;    /* private: http_response_header() */
} HttpResponse;

/* Another header of the response, by its name in any case; "" when absent. Valid as long as
 * the response. Of several of one name the last. What goes beyond HTTP_HEADERS_LIMIT is absent. */
#define HTTP_HEADERS_LIMIT (64u << 10)
const char *http_response_header(const HttpResponse *response, const char *name);

typedef struct HttpHandler {
        /* Once, before any data, if there was a response at all. Negative aborts the transfer and
         * becomes its result. May be NULL. */
        int (*on_response)(const HttpResponse *response, void *userdata);
        /* Body bytes, decoded. Negative aborts likewise. May be NULL: the body is dropped. */
        int (*on_data)(const uint8_t *data, size_t len, void *userdata);
        /* Exactly once, last. result: 0 when the transfer ended well at HTTP level, whatever the
         * status code; else a negative errno with *failure (offline, timeout, cancelled, too large,
         * or what a callback returned, then with class FAILURE_NONE). http_code in failure is set
         * when known. */
        void (*on_done)(int result, const Failure *failure, void *userdata);
} HttpHandler;

int http_client_new(const HttpConfig *config, Pool *pool, HttpClient **ret);
/* Cancels every transfer, delivers every on_done, joins the thread. The pool must still run. */
void http_client_stop(HttpClient *client);
/* Connections that are idle now are not used any more: the network is another one. Any thread. */
void http_client_renew(HttpClient *client);
/* Stops if that was not done. NULL-safe, returns NULL. */
HttpClient *http_client_free(HttpClient *client);
DEFINE_CLEANUP(HttpClient *, http_client_free)

/* Starts a transfer; returns at once, never blocks. The handler must live until on_done. 0,
 * -ENOMEM, -ESHUTDOWN, -EINVAL for a URL or an authorization that is none. On failure no callback
 * is ever made. */
int http_start(
        HttpClient *client,
        const HttpRequest *request,
        TaskPriority priority,
        const HttpHandler *handler,
        void *userdata);

/* Somebody is about to ask this server, as it seems: connects to it, unless that was done, or there
 * was a transfer lately; not through proxies. Nobody hears of it. Never blocks. */
void http_expect(HttpClient *client, const char *url);

/* "scheme://host:port" of a URL, in lower case and with the port always there; owned by the caller.
 * 0, -EINVAL where it is no URL with a host, -ENOMEM. */
int http_url_origin(const char *url, char **ret);
/* What a URL that stands in an answer from `base` means there; owned by the caller. 0, -EINVAL for
 * what is no URL, -ENOMEM. */
int http_url_resolve(const char *base, const char *url, char **ret);
/* Seconds since the epoch of a date as in a Date header. -EINVAL for what is none. */
int http_parse_date(const char *text, int64_t *ret);
