/* Three kinds of thread use a transfer:
 *
 * - the caller builds it;
 * - the network thread owns the easy handle, fills the inbox, and finishes the transfer once: when
 *   curl is done with it, when its handler gave up, or when the client stops;
 * - the strand gives what is in the inbox to the handler with no lock held.
 *
 * A full inbox pauses the transfer in curl, which stops reading its socket. */

#include "forge/http-transfer.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/secret-memory.h"
#include "util/stats.h"

#define MAX_REDIRECTS 5L
#define READ_SIZE (128L * 1024)
#define GZIP_THRESHOLD 1024
/* libcurl keeps all headers; the version in Debian 12 has a limit of its own, but not for trailers.
 */
#define MAX_HEADER_BYTES ((size_t) 2 << 20)
#define MAX_RETRY_AFTER_SEC (24 * 3600)

static HttpTransfer *transfer_free(HttpTransfer *t) {
        curl_easy_cleanup(t->easy);
        http_slist_wipe(t->headers);
        buf_done(&t->head.headers);
        buf_wipe(&t->body);
        inbox_done(&t->inbox);
        free(t->head.effective_url);
        free(t->origin);
        (void) http_client_unref(t->client);
        free(t);
        return NULL;
}

HttpTransfer *http_transfer_unref(HttpTransfer *t) {
        if (t && ref_put(&t->ref))
                return transfer_free(t);
        return NULL;
}

/* --- network thread to strand --- */

static void copy_content_type(char *out, size_t size, const char *value) {
        size_t n = value ? strcspn(value, "; \t\r\n") : 0;

        n = MIN(n, size - 1);
        for (size_t i = 0; i < n; i++)
                out[i] = (char) tolower((unsigned char) value[i]);
        out[n] = '\0';
}

/* The connection is not counted. Neither are redirects, which curl adds up with the rest. */
static uint64_t first_byte_usec(const HttpTransfer *t) {
        curl_off_t ready = 0, first = 0;
        long redirects = 0;

        (void) curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &redirects);
        (void) curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
        (void) curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
        return redirects == 0 && ready > 0 && first > ready ? (uint64_t) (first - ready) : 0;
}

/* The headers of the final response are complete. */
static void transfer_take_head(HttpTransfer *t) {
        ResponseHead *head = &t->head;
        struct curl_header *h;
        const char *text = NULL;
        curl_off_t seconds = 0;
        long code = 0;

        if (t->head_ready)
                return; /* set by this thread only */
        (void) curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
        if (code == 0)
                return;
        head->code = (int) code;
        (void) curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &text);
        copy_content_type(head->content_type, sizeof(head->content_type), text);
        (void) curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &seconds);
        seconds = MIN(seconds, (curl_off_t) MAX_RETRY_AFTER_SEC);
        head->retry_after_usec = seconds > 0 ? (uint64_t) seconds * USEC_PER_SEC : 0;
        head->first_byte_usec = first_byte_usec(t);
        if (curl_easy_header(t->easy, "WWW-Authenticate", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
                (void) snprintf(
                        head->www_authenticate, sizeof(head->www_authenticate), "%s", h->value);
        text = NULL;
        (void) curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &text);
        head->effective_url = text ? strdup(text) : NULL; /* NULL is delivered as "" */
        http_headers_take(t->easy, &head->headers);

        atomic_store_explicit(&t->head_ready, true, memory_order_release);
}

static bool too_many_headers(const HttpTransfer *t) {
        return t->n_header > MAX_HEADER_BYTES;
}

static size_t on_curl_header(char *data, size_t size, size_t n_items, void *userdata) {
        HttpTransfer *t = userdata;
        size_t n = size * n_items;

        t->n_header += n;
        return too_many_headers(t) ? 0 : n;
}

static size_t on_curl_write(char *data, size_t size, size_t n_items, void *userdata) {
        HttpTransfer *t = userdata;
        size_t n = size * n_items;

        transfer_take_head(t);
        if (t->held)
                return CURL_WRITEFUNC_PAUSE;
        int r = inbox_put(&t->inbox, data, n);
        if (r == -EAGAIN)
                return CURL_WRITEFUNC_PAUSE;
        return r < 0 ? 0 : n;
}

void http_transfer_hold(HttpTransfer *t, bool hold) {
        t->held = hold;
        inbox_hold(&t->inbox, hold);
        /* What is to be held is paused by the next piece that comes. curl ends it if this fails. */
        if (!hold)
                (void) curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

static void count_traffic(HttpTransfer *t, bool failed) {
        if (t->connect_only)
                return;
        curl_off_t down = 0, up = 0;
        long header = 0, request = 0, redirects = 0;

        (void) curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
        (void) curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
        (void) curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &header);
        (void) curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request);
        (void) curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &redirects);
        stat_add(STAT_HTTP_BYTES_IN, down + header);
        stat_add(STAT_HTTP_BYTES_OUT, up + request);
        stat_add(STAT_HTTP_REQUESTS, redirects);
        if (failed || t->head.code >= 400)
                stat_add(STAT_HTTP_ERRORS, 1);
}

int http_transfer_result(HttpTransfer *t, CURLcode code, Failure *ret_failure) {
        curl_off_t pretransfer = 0;
        long status = 0;

        /* What is known of a transfer that failed in its headers, or on the way along redirects, is
         * no answer, unless it is a refusal. */
        (void) curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        if (code == CURLE_OK || status >= 400)
                transfer_take_head(t);
        if (code == CURLE_OK)
                return 0;
        if (too_many_headers(t))
                return failure_set(
                        ret_failure, FAILURE_SERVER, "%s: headers without end", t->origin);
        (void) curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer);
        int r = http_error(code, t->origin, t->curl_error, pretransfer > 0, ret_failure);
        ret_failure->http_code = t->head.code;
        return r;
}

void http_transfer_finish(HttpTransfer *t, int result, const Failure *failure) {
        count_traffic(t, result < 0);
        curl_easy_cleanup(TAKE_PTR(t->easy));
        http_slist_wipe(TAKE_PTR(t->headers));
        inbox_wake(&t->inbox); /* there may be a head, and no body */
        inbox_finish(&t->inbox, result, failure);
        (void) http_transfer_unref(t);
}

/* --- strand --- */

static int deliver_head(HttpTransfer *t) {
        t->response = (HttpResponse){
                .code = t->head.code,
                .content_type = t->head.content_type,
                .www_authenticate = t->head.www_authenticate,
                .retry_after_usec = t->head.retry_after_usec,
                .first_byte_usec = t->head.first_byte_usec,
                .effective_url = t->head.effective_url ? t->head.effective_url : "",
                .headers = &t->head.headers,
        };

        t->head_delivered = true;
        return t->handler.on_response ? t->handler.on_response(&t->response, t->userdata) : 0;
}

static HttpTransfer *transfer_of(Inbox *inbox) {
        return container_of(inbox, HttpTransfer, inbox);
}

static int transfer_data(Inbox *inbox, const uint8_t *data, size_t len) {
        HttpTransfer *t = transfer_of(inbox);
        int r = 0;

        if (!t->head_delivered && atomic_load_explicit(&t->head_ready, memory_order_acquire))
                r = deliver_head(t);
        if (r >= 0 && len > 0 && t->handler.on_data)
                r = t->handler.on_data(data, len, t->userdata);
        return r;
}

static void transfer_given_up(Inbox *inbox) {
        HttpTransfer *t = transfer_of(inbox);

        command_queue_add(http_client_queue(t->client), &t->command, TRANSFER_CANCEL);
}

static void transfer_resume(Inbox *inbox) {
        HttpTransfer *t = transfer_of(inbox);

        command_queue_add(http_client_queue(t->client), &t->command, TRANSFER_RESUME);
}

static void transfer_ended(Inbox *inbox, int result, Failure *failure) {
        HttpTransfer *t = transfer_of(inbox);

        if (inbox->aborted < 0)
                failure->http_code = t->head.code;
        t->handler.on_done(result, failure, t->userdata);
        command_queue_ended(http_client_queue(t->client));
}

static void transfer_ref(Inbox *inbox) {
        ref_get(&transfer_of(inbox)->ref);
}

static void transfer_unref(Inbox *inbox) {
        (void) http_transfer_unref(transfer_of(inbox));
}

static const InboxOps inbox_ops = {
        .data = transfer_data,
        .ended = transfer_ended,
        .resume = transfer_resume,
        .given_up = transfer_given_up,
        .ref = transfer_ref,
        .unref = transfer_unref,
};

/* --- construction --- */

static int add_header(struct curl_slist **list, const char *header) {
        struct curl_slist *longer = curl_slist_append(*list, header);
        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

static int set_headers(HttpTransfer *t, const HttpRequest *request) {
        _cleanup_secret_free_ char *line = NULL;

        for (const char *const *h = request->headers; h && *h; h++) {
                int r = add_header(&t->headers, *h);
                if (r < 0)
                        return r;
        }
        if (!request->authorization)
                return 0;
        int r = http_authorization_line(request, &line);
        if (r >= 0)
                r = add_header(&t->headers, line);
        return r;
}

static int set_body(HttpTransfer *t, const HttpRequest *request) {
        int r;

        /* Without this curl waits for "100 Continue" before a large body: a round trip. */
        r = add_header(&t->headers, "Expect:");
        if (r < 0 || !request->body)
                return r;
        if (request->gzip_body && request->body_len > GZIP_THRESHOLD) {
                r = http_body_compress(request->body, request->body_len, &t->body);
                if (r >= 0)
                        r = add_header(&t->headers, "Content-Encoding: gzip");
        } else
                r = buf_append(&t->body, request->body, request->body_len);
        return r;
}

/* Options fail only for want of memory, or for an option that this libcurl lacks, which the version
 * check of the build excludes. So the first failure sticks and is looked at once. */
#define SET(t, r, option, value)                                                                   \
        do {                                                                                       \
                if ((r) == CURLE_OK)                                                               \
                        (r) = curl_easy_setopt((t)->easy, (option), (value));                      \
        } while (0)

static CURLcode
set_security(HttpTransfer *t, const HttpConfig *config, const HttpRequest *request) {
        bool https = strncmp(request->url, "https:", 6) == 0;
        CURLcode r = CURLE_OK;

        SET(t, r, CURLOPT_PROTOCOLS_STR, "http,https");
        SET(t, r, CURLOPT_FOLLOWLOCATION, request->no_redirects ? 0L : 1L);
        SET(t, r, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
        SET(t, r, CURLOPT_POSTREDIR, (long) CURL_REDIR_POST_ALL);
        SET(t, r, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
        SET(t, r, CURLOPT_UNRESTRICTED_AUTH, 0L);
        if (config->ca_file)
                SET(t, r, CURLOPT_CAINFO, config->ca_file);
        if (request->username) {
                SET(t, r, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
                SET(t, r, CURLOPT_USERNAME, request->username);
                SET(t, r, CURLOPT_PASSWORD, request->password ? request->password : "");
        }
        /* Worth waiting for a connection that can be shared, where there may be one. */
        SET(t, r, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
        SET(t, r, CURLOPT_PIPEWAIT, https ? 1L : 0L);
        return r;
}

static curl_socket_t
on_curl_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
        HttpTransfer *t = userdata;

        if (!t->connect_only)
                t->spare_fd = http_client_take_spare(t->client, &address->addr, address->addrlen);
        if (t->spare_fd >= 0)
                return t->spare_fd;
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What was sent and nobody acknowledges: the way there is gone. Else the kernel tries for a quarter
 * of an hour, and a connection that did not survive a sleep is noticed at the deadline only. */
static int on_curl_socket(void *userdata, curl_socket_t fd, curlsocktype purpose) {
        HttpTransfer *t = userdata;

        /* Not every socket is one of TCP's, and then it does not matter. */
        (void) setsockopt(
                fd,
                IPPROTO_TCP,
                TCP_USER_TIMEOUT,
                &t->unacknowledged_msec,
                sizeof(t->unacknowledged_msec));
        bool connected = fd == t->spare_fd;
        t->spare_fd = -1;
        return connected ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

static CURLcode set_times(HttpTransfer *t, const HttpConfig *config) {
        CURLcode r = CURLE_OK;

        SET(t, r, CURLOPT_NOSIGNAL, 1L);
        SET(t, r, CURLOPT_TCP_KEEPALIVE, 1L);
        t->unacknowledged_msec = (unsigned) (config->connect_timeout_usec / USEC_PER_MSEC);
        SET(t, r, CURLOPT_OPENSOCKETFUNCTION, on_curl_open);
        SET(t, r, CURLOPT_OPENSOCKETDATA, t);
        SET(t, r, CURLOPT_SOCKOPTFUNCTION, on_curl_socket);
        SET(t, r, CURLOPT_SOCKOPTDATA, t);
        SET(t, r, CURLOPT_CONNECTTIMEOUT_MS, (long) (config->connect_timeout_usec / USEC_PER_MSEC));
        SET(t, r, CURLOPT_LOW_SPEED_LIMIT, 1L);
        SET(t,
            r,
            CURLOPT_LOW_SPEED_TIME,
            (long) ((config->stall_timeout_usec + USEC_PER_SEC - 1) / USEC_PER_SEC));
        return r;
}

static int set_options(HttpTransfer *t, const HttpConfig *config, const HttpRequest *request) {
        CURLcode r = CURLE_OK;

        SET(t, r, CURLOPT_URL, request->url);
        SET(t, r, CURLOPT_PRIVATE, t);
        SET(t, r, CURLOPT_ERRORBUFFER, t->curl_error);
        SET(t, r, CURLOPT_HTTPHEADER, t->headers);
        SET(t, r, CURLOPT_USERAGENT, config->user_agent);
        SET(t, r, CURLOPT_ACCEPT_ENCODING, "");
        SET(t, r, CURLOPT_BUFFERSIZE, READ_SIZE);
        SET(t, r, CURLOPT_WRITEFUNCTION, on_curl_write);
        SET(t, r, CURLOPT_WRITEDATA, t);
        SET(t, r, CURLOPT_HEADERFUNCTION, on_curl_header);
        SET(t, r, CURLOPT_HEADERDATA, t);
        if (request->body) {
                SET(t, r, CURLOPT_POST, 1L);
                SET(t, r, CURLOPT_POSTFIELDS, (char *) t->body.data);
                SET(t, r, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) t->body.len);
        }
        if (request->connect_only)
                SET(t, r, CURLOPT_CONNECT_ONLY, 1L);
        if (r == CURLE_OK)
                r = set_security(t, config, request);
        if (r == CURLE_OK)
                r = set_times(t, config);
        return r == CURLE_OK ? 0 : -ENOMEM;
}

int http_transfer_new(
        HttpClient *client,
        const HttpConfig *config,
        Pool *pool,
        const HttpRequest *request,
        TaskPriority priority,
        const HttpHandler *handler,
        void *userdata,
        HttpTransfer **ret) {
        HttpTransfer *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        *fresh = (HttpTransfer){
                .ref = REF_INIT,
                .client = http_client_ref(client),
                .command.ref = &fresh->ref,
                .handler = *handler,
                .userdata = userdata,
                .deadline_usec = request->deadline_usec,
                .urgency = request->urgency,
                .waited = request->waited,
                .connect_only = request->connect_only,
                .spare_fd = -1,
        };

        _cleanup_(http_transfer_unrefp) HttpTransfer *t = fresh;
        int r = inbox_init(&t->inbox, &inbox_ops, pool, priority, config->budget);
        if (r < 0)
                return r;
        r = http_url_origin(request->url, &t->origin);
        if (r < 0)
                return r;
        t->easy = curl_easy_init();
        if (!t->easy)
                return -ENOMEM;
        r = set_headers(t, request);
        if (r < 0)
                return r;
        r = set_body(t, request);
        if (r < 0)
                return r;
        r = set_options(t, config, request);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}
