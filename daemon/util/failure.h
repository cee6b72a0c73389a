#pragma once

#include <stdint.h>

#include "gitfs/macro.h"

/* Why something failed, beside the negative errno that says that it did. Filled where the cause is
 * known (a forge, the store), carried by value in the job, and turned into words or a kernel errno
 * at the edge: fuse/reply.c and bus/bus-error.c. Never holds a secret: set it through
 * failure_set(), which redacts. */
typedef enum FailureClass {
        FAILURE_NONE = 0,
        FAILURE_NOT_FOUND,     /* the server says there is no such repository, ref or object */
        FAILURE_AUTH,          /* access is refused, and nobody said why */
        FAILURE_TOKEN_MISSING, /* the server wants to know who asks, and no token or password is set
                                */
        FAILURE_TOKEN_REFUSED, /* the token or password is wrong, expired or revoked */
        FAILURE_FORBIDDEN,     /* the token is good, but its permissions do not reach that far */
        FAILURE_SSO, /* the token must be authorized for single sign-on first; the text holds the
                        URL */
        FAILURE_BLOCKED,      /* taken down or disabled by the forge */
        FAILURE_RENAMED,      /* lives under another name now, which the text tells */
        FAILURE_OFFLINE,      /* no connection: DNS, refused, unreachable, breaker open */
        FAILURE_TIMEOUT,      /* no answer before the deadline */
        FAILURE_RATE_LIMITED, /* told to come back at retry_at_usec */
        FAILURE_BUSY,        /* the server is not ready with this one thing yet: again in a while */
        FAILURE_TOO_LARGE,   /* over a limit, ours or the server's */
        FAILURE_SERVER,      /* 5xx, or an answer that makes no sense */
        FAILURE_CORRUPT,     /* bytes that do not match their id, malformed objects */
        FAILURE_UNSUPPORTED, /* for example a SHA-256 repository */
        FAILURE_CANCELLED,   /* interrupted, or the daemon is stopping */
        FAILURE_LOCAL,       /* memory, disk, permissions of this machine */
        _FAILURE_CLASS_MAX,
} FailureClass;

typedef struct Failure {
        FailureClass class;
        int http_code;          /* 0 when there was none */
        uint64_t retry_at_usec; /* monotonic; 0 when unknown */
        char text[400];         /* one sentence for people, no trailing period, no secrets */
} Failure;

/* Fills f (which may be NULL) and returns the negative errno that belongs to the class, so that a
 * caller can fail in one line. The text is redacted, truncated to fit, and made printable UTF-8: it
 * may hold what a server said. */
int failure_set(Failure *f, FailureClass class, const char *fmt, ...) _printf_(3, 4);
/* The negative errno of a class: the table in failure.c. */
int failure_errno(FailureClass class);
/* "not-found", "auth", ...: for logs, the bus and JSON. */
const char *failure_class_name(FailureClass class);
