/* Three kinds of thread use a transfer:
 *
 * - the caller builds it;
 * - the network thread owns the easy handle, appends to the inbox, and finishes the transfer once:
 *   when curl is done with it, when its handler gave up, or when the client stops;
 * - the strand runs the pump, which swaps the inbox for an empty buffer and gives the bytes to the
 *   handler with no lock held. It sees `finished` last, so on_done is last.
 *
 * Back-pressure: a full inbox pauses the transfer in curl, which stops reading its socket; the pump
 * that empties the inbox asks the network thread to resume. */

#include "forge/http-transfer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
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
        buf_done(&t->body);
        buf_done(&t->inbox);
        buf_done(&t->draining);
        free(t->head.effective_url);
        free(t->origin);
        (void) strand_unref(t->strand);
        mutex_destroy(&t->mutex);
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

static void transfer_schedule_pump(HttpTransfer *t) {
        bool post;

        mutex_lock(&t->mutex);
        post = !t->pump_queued;
        t->pump_queued = true;
        mutex_unlock(&t->mutex);
        if (post) {
                ref_get(&t->ref);
                strand_post(t->strand, &t->pump);
        }
}

static void copy_content_type(char *out, size_t size, const char *value) {
        size_t n = value ? strcspn(value, "; \t\r\n") : 0;

        n = MIN(n, size - 1);
        for (size_t i = 0; i < n; i++)
                out[i] = (char) tolower((unsigned char) value[i]);
        out[n] = '\0';
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
        if (curl_easy_header(t->easy, "WWW-Authenticate", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
                (void) snprintf(
                        head->www_authenticate, sizeof(head->www_authenticate), "%s", h->value);
        text = NULL;
        (void) curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &text);
        head->effective_url = text ? strdup(text) : NULL; /* NULL is delivered as "" */
        http_headers_take(t->easy, &head->headers);

        MUTEX_GUARD(&t->mutex);
        t->head_ready = true;
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
        {
                MUTEX_GUARD(&t->mutex);
                if (t->dropping)
                        return 0;
                if (t->inbox.len > 0 && t->inbox.len + n > HTTP_INBOX_LIMIT) {
                        t->paused = true;
                        return CURL_WRITEFUNC_PAUSE;
                }
                if (buf_append(&t->inbox, data, n) < 0)
                        return 0;
        }
        transfer_schedule_pump(t);
        return n;
}

static void count_traffic(HttpTransfer *t, bool failed) {
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
        mutex_lock(&t->mutex);
        t->finished = true;
        t->result = result;
        t->failure = *failure;
        mutex_unlock(&t->mutex);
        transfer_schedule_pump(t);
        (void) http_transfer_unref(t);
}

/* --- strand --- */

static int deliver_head(HttpTransfer *t) {
        const HttpResponse response = {
                .code = t->head.code,
                .content_type = t->head.content_type,
                .www_authenticate = t->head.www_authenticate,
                .retry_after_usec = t->head.retry_after_usec,
                .effective_url = t->head.effective_url ? t->head.effective_url : "",
                .headers = &t->head.headers,
        };

        t->head_delivered = true;
        return t->handler.on_response ? t->handler.on_response(&response, t->userdata) : 0;
}

/* Hands on what has arrived; a handler that gives up ends the transfer. */
static void deliver(HttpTransfer *t, bool head_ready) {
        int r = 0;

        if (head_ready && !t->head_delivered)
                r = deliver_head(t);
        if (r >= 0 && t->draining.len > 0 && t->handler.on_data)
                r = t->handler.on_data(t->draining.data, t->draining.len, t->userdata);
        if (r >= 0)
                return;
        t->aborted = r;
        mutex_lock(&t->mutex);
        t->dropping = true;
        mutex_unlock(&t->mutex);
        http_client_command(t->client, t, TRANSFER_CANCEL);
}

static void deliver_done(HttpTransfer *t, int result, Failure *failure) {
        if (t->aborted < 0) {
                result = t->aborted;
                *failure = (Failure){.http_code = t->head.code};
        }
        t->handler.on_done(result, failure, t->userdata);
        http_client_transfer_done(t->client);
}

static void transfer_pump(StrandItem *item) {
        _cleanup_(http_transfer_unrefp) HttpTransfer *t = container_of(item, HttpTransfer, pump);

        for (;;) {
                t->draining.len = 0;
                mutex_lock(&t->mutex);
                Buf filled = t->inbox;
                t->inbox = t->draining;
                t->draining = filled;
                bool head_ready = t->head_ready, finished = t->finished;
                bool dropping = t->dropping, resume = t->paused;
                int result = t->result;
                Failure failure = t->failure;
                t->paused = false;
                /* Whatever comes from here on posts the pump again. */
                bool nothing = filled.len == 0 && (t->head_delivered || !head_ready);
                bool idle = !finished && (nothing || dropping);
                t->pump_queued = !idle;
                mutex_unlock(&t->mutex);

                if (resume)
                        http_client_command(t->client, t, TRANSFER_RESUME);
                if (!dropping)
                        deliver(t, head_ready);
                if (finished) {
                        deliver_done(t, result, &failure);
                        return;
                }
                if (idle)
                        return;
        }
}

/* --- construction --- */

static int add_header(struct curl_slist **list, const char *header) {
        struct curl_slist *longer = curl_slist_append(*list, header);
        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

static int set_headers(HttpTransfer *t, const HttpRequest *request) {
        char *line = NULL;

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
        http_wipe(line);
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

static CURLcode set_times(HttpTransfer *t, const HttpConfig *config) {
        CURLcode r = CURLE_OK;

        SET(t, r, CURLOPT_NOSIGNAL, 1L);
        SET(t, r, CURLOPT_TCP_KEEPALIVE, 1L);
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
                .handler = *handler,
                .userdata = userdata,
                .deadline_usec = request->deadline_usec,
                .pump.run = transfer_pump,
        };
        mutex_init(&fresh->mutex, LOCK_RANK_HTTP);

        _cleanup_(http_transfer_unrefp) HttpTransfer *t = fresh;
        int r = strand_new(pool, priority, &t->strand);
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
