#pragma once

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "forge/command-queue.h"
#include "forge/http.h"
#include "forge/inbox.h"
#include "util/buf.h"
#include "util/failure.h"
#include "util/mutex.h"
#include "util/ref.h"

/* One request and its answer, private to http*.c. Bytes go from the network thread through the
 * inbox to the strand, where the handler sees them. */

/* What the network thread is asked to do with a transfer; bits. */
typedef enum TransferCommand {
        TRANSFER_START = 1 << 0,
        TRANSFER_RESUME = 1 << 1, /* the inbox has room again */
        TRANSFER_CANCEL = 1 << 2,
} TransferCommand;

typedef struct ResponseHead {
        int code;
        char content_type[128];
        char www_authenticate[256];
        uint64_t retry_after_usec;
        uint64_t first_byte_usec;
        char *effective_url; /* owned */
        Buf headers;         /* name, NUL, value, NUL; and so on */
} ResponseHead;

typedef LIST_HEAD(HttpTransferList, HttpTransfer) HttpTransferList;

typedef struct HttpTransfer {
        Ref ref;            /* the client's until finished, the queued pump's */
        HttpClient *client; /* a reference */
        HttpHandler handler;
        void *userdata;
        Inbox inbox; /* from the network thread to the strand */
        uint64_t deadline_usec;
        char *origin; /* "scheme://host:port", for texts */

        /* Built by the caller of http_start(), then the network thread's: */
        CURL *easy;
        struct curl_slist *headers;
        Buf body;
        unsigned unacknowledged_msec;
        char curl_error[CURL_ERROR_SIZE];
        bool active; /* in the multi handle */
        HttpUrgency urgency;
        const atomic_bool *waited; /* as in the request */
        bool held;                 /* it stands back */
        bool connect_only;         /* constant */
        int spare_fd;              /* a connection that was made ahead, until curl has it; -1 */
        uint64_t back_since_usec;  /* 0: it need not */
        size_t n_header; /* bytes of headers and trailers, of all answers along redirects */
        LIST_ENTRY(HttpTransfer) active_entry;

        Command command; /* TransferCommand bits */

        ResponseHead head; /* the network thread's until head_ready */
        atomic_bool head_ready;
        HttpResponse response; /* refers to head; the strand's */
        bool head_delivered;   /* the strand's */
} HttpTransfer;

/* The easy handle is ready to be added when this returns. 0 or a negative errno. */
int http_transfer_new(
        HttpClient *client,
        const HttpConfig *config,
        Pool *pool,
        const HttpRequest *request,
        TaskPriority priority,
        const HttpHandler *handler,
        void *userdata,
        HttpTransfer **ret);
HttpTransfer *http_transfer_unref(HttpTransfer *t);
DEFINE_CLEANUP(HttpTransfer *, http_transfer_unref)
/* Network thread: stops reading it, or goes on, also after its inbox was full. */
void http_transfer_hold(HttpTransfer *t, bool hold);
/* Network thread: the transfer has left the multi handle and ended with this. */
void http_transfer_finish(HttpTransfer *t, int result, const Failure *failure);
/* Network thread: curl ended the transfer with this code; fills failure. */
int http_transfer_result(HttpTransfer *t, CURLcode code, Failure *ret_failure);

/* In http.c. Network thread: a socket that is connected to there; or -1. */
int http_client_take_spare(HttpClient *client, const struct sockaddr *peer, socklen_t peer_len);
/* The way to the network thread. */
CommandQueue *http_client_queue(HttpClient *client);
HttpClient *http_client_ref(HttpClient *client);
HttpClient *http_client_unref(HttpClient *client);

/* In http-flow.c; network thread. Lets transfers stand back, and go on. Returns after how many
 * milliseconds it wants to be called again at the latest; -1: that does not matter. */
int http_flow_run(const HttpTransferList *active);

/* In http-error.c. What a failed transfer means, with a text that names the server and the cause.
 * `connected` tells a connection that could not be made from one that fell silent. -ECONNRESET when
 * the connection was lost, which is worth another try; else the errno of the class. */
int http_error(
        CURLcode code,
        const char *origin,
        const char *detail,
        bool connected,
        Failure *ret_failure);

/* In http-header.c. Copies the headers of the last response of this handle. Network thread. */
void http_headers_take(CURL *easy, Buf *ret);
/* The line that carries the request's authorization, for curl, in secret memory. 0; -EINVAL for
 * what would break the line, or would follow a redirect to another host; -ENOMEM. */
int http_authorization_line(const HttpRequest *request, char **ret);
/* Frees the list, and overwrites it before that: secrets are in there. */
void http_slist_wipe(struct curl_slist *list);

/* In http-body.c: gzip. 0 or -ENOMEM. */
int http_body_compress(const void *data, size_t len, Buf *ret);
