/* The network thread. It alone touches the multi handle and the easy handles in it; other threads
 * queue a command for a transfer and wake it. It moves bytes and nothing else, so
 * one thread serves all servers.
 *
 * A transfer is `live` from http_start() until its on_done has returned; http_client_free() waits
 * for the last, which is why the pool must still run then. */

#include "forge/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "forge/http-ahead.h"
#include "forge/http-transfer.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret-memory.h"
#include "util/stats.h"
#include "util/thread.h"

#define POLL_MSEC 10000
#define MIN_IDLE_CONNECTIONS 32L
#define MAX_IDLE_SEC 118 /* the default of CURLOPT_MAXAGE_CONN */

struct HttpClient {
        Ref ref; /* the owner's and one per transfer */
        Pool *pool;
        HttpConfig config; /* strings owned */
        bool proxied;      /* the environment names a proxy for some servers at least; constant */
        CURLM *multi;
        pthread_t thread;

        HttpTransferList active; /* the network thread's; so is */
        HttpAhead ahead;
        atomic_uint_least64_t renewed_usec; /* when the network changed; 0 never */

        CommandQueue queue;
};

HttpClient *http_client_ref(HttpClient *c) {
        ref_get(&c->ref);
        return c;
}

HttpClient *http_client_unref(HttpClient *c) {
        if (!c || !ref_put(&c->ref))
                return NULL;
        if (c->multi)
                (void) curl_multi_cleanup(c->multi); /* holds no easy handles any more */
        http_ahead_done(&c->ahead);
        command_queue_done(&c->queue);
        free((char *) c->config.ca_file);
        free((char *) c->config.user_agent);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(HttpClient *, http_client_unref)

static void wake(CommandQueue *q) {
        /* Fails only where the poll would, too. */
        (void) curl_multi_wakeup(container_of(q, HttpClient, queue)->multi);
}

CommandQueue *http_client_queue(HttpClient *c) {
        return &c->queue;
}

int http_start(
        HttpClient *c,
        const HttpRequest *request,
        TaskPriority priority,
        const HttpHandler *handler,
        void *userdata) {
        _cleanup_(http_transfer_unrefp) HttpTransfer *t = NULL;

        int r = http_transfer_new(c, &c->config, c->pool, request, priority, handler, userdata, &t);
        return r < 0 ? r : command_queue_start(&c->queue, &t->command, TRANSFER_START);
}

/* --- connections ahead --- */

static void on_connected(int result, const Failure *failure, void *userdata) {
        /* Kept by then, or as good as never tried. */
}

void http_expect(HttpClient *c, const char *url) {
        static const HttpHandler nobody = {.on_done = on_connected};
        _cleanup_free_ char *origin = NULL, *plain = NULL;

        /* A connection through a proxy is the server's own, and good for nothing else. */
        if (c->proxied || http_url_origin(url, &origin) < 0)
                return;
        /* TLS is for whoever uses it; so is sharing, for which one is enough. */
        bool https = strncmp(origin, "https:", strlen("https:")) == 0;
        if (asprintf(&plain, "http%s", strstr(origin, "://")) < 0) {
                plain = NULL; /* undefined after a failure */
                return;
        }
        const HttpRequest request = {
                .url = plain,
                .deadline_usec = now_usec() + c->config.connect_timeout_usec,
                .urgency = HTTP_READ_AHEAD,
                .connect_only = true,
        };
        for (unsigned n = https ? 1 : HTTP_AHEAD_PER_ORIGIN; n > 0; n--)
                (void) http_start(c, &request, TASK_BACKGROUND, &nobody, NULL); /* or not */
}

/* --- network thread --- */

int http_client_take_spare(HttpClient *c, const struct sockaddr *peer, socklen_t peer_len) {
        return http_ahead_take(&c->ahead, peer, peer_len, atomic_load(&c->renewed_usec));
}

static bool is_needed(const HttpClient *c, const HttpTransfer *t) {
        const HttpTransfer *other;
        unsigned n = 0;

        LIST_FOREACH (other, &c->active, active_entry)
                n += other->connect_only && strcmp(other->origin, t->origin) == 0;
        return http_ahead_is_needed(&c->ahead, t->origin, n);
}

static void finish(HttpClient *c, HttpTransfer *t, int result, const Failure *failure) {
        if (t->active) {
                (void) curl_multi_remove_handle(c->multi, t->easy); /* it is in there */
                LIST_REMOVE(t, active_entry);
                t->active = false;
                stat_add(STAT_HTTP_ACTIVE_NOW, -!t->connect_only);
        }
        http_transfer_finish(t, result, failure);
}

static void finish_cancelled(HttpClient *c, HttpTransfer *t) {
        Failure failure;
        (void) failure_set(&failure, FAILURE_CANCELLED, "%s: cancelled", t->origin);
        finish(c, t, -ECANCELED, &failure);
}

/* libcurl counts how long a connection was idle in whole seconds, and throws out what was so for
 * MAX_IDLE_SEC in any case. */
static void avoid_old_connections(HttpClient *c, HttpTransfer *t) {
        uint64_t renewed = atomic_load(&c->renewed_usec);
        uint64_t sec = (now_usec() - renewed) / USEC_PER_SEC;

        if (renewed == 0 || sec > MAX_IDLE_SEC)
                return;
        /* Neither can fail: they are numbers, and in range. */
        if (sec < 2)
                (void) curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
        else
                (void) curl_easy_setopt(t->easy, CURLOPT_MAXAGE_CONN, (long) sec - 1);
}

static void start(HttpClient *c, HttpTransfer *t) {
        Failure failure;

        ref_get(&t->ref); /* dropped by http_transfer_finish() */
        if (t->deadline_usec != USEC_INFINITY) {
                uint64_t now = now_usec();
                if (t->deadline_usec <= now) {
                        int r = failure_set(
                                &failure, FAILURE_TIMEOUT, "%s: no time left", t->origin);
                        finish(c, t, r, &failure);
                        return;
                }
                uint64_t msec = (t->deadline_usec - now) / USEC_PER_MSEC + 1;
                (void) curl_easy_setopt(
                        t->easy, CURLOPT_TIMEOUT_MS, (long) MIN(msec, (uint64_t) INT32_MAX));
        }
        if (t->connect_only && !is_needed(c, t)) {
                finish_cancelled(c, t);
                return;
        }
        if (!t->connect_only)
                http_ahead_spoken(&c->ahead, t->origin);
        avoid_old_connections(c, t);
        if (curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) {
                int r = failure_set(&failure, FAILURE_LOCAL, "%s: out of memory", t->origin);
                finish(c, t, r, &failure);
                return;
        }
        t->active = true;
        LIST_INSERT_HEAD(&c->active, t, active_entry);
        (void) http_flow_run(&c->active); /* before its first byte; the loop asks for the time */
        stat_add(STAT_HTTP_ACTIVE_NOW, !t->connect_only);
        stat_add(STAT_HTTP_REQUESTS, !t->connect_only);
}

/* False once the client shuts down. */
static bool run_commands(HttpClient *c) {
        /* Looked at first: what comes before that is still in the queue then. */
        bool shut = command_queue_is_shut(&c->queue);
        unsigned commands;
        Command *command;

        while ((command = command_queue_take(&c->queue, &commands))) {
                HttpTransfer *t = container_of(command, HttpTransfer, command);
                if (commands & TRANSFER_START)
                        start(c, t);
                if (t->active && !t->held && (commands & TRANSFER_RESUME))
                        http_transfer_hold(t, false);
                if (t->active && (commands & TRANSFER_CANCEL))
                        finish_cancelled(c, t);
                (void) http_transfer_unref(t);
        }
        return !shut;
}

static void reap(HttpClient *c) {
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(c->multi, &left))) {
                HttpTransfer *t = NULL;
                Failure failure = {0};
                CURLcode code = message->data.result;

                (void) curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
                if (t->connect_only && code == CURLE_OK)
                        http_ahead_keep(&c->ahead, t->easy, t->origin);
                int r = http_transfer_result(t, code, &failure);
                finish(c, t, r, &failure);
        }
}

static void *network_thread(void *arg) {
        HttpClient *c = arg;

        while (run_commands(c)) {
                int running;
                CURLMcode r = curl_multi_perform(c->multi, &running);
                if (r != CURLM_OK)
                        log_debug("curl_multi_perform: %s, ignoring", curl_multi_strerror(r));
                reap(c);
                http_ahead_expire(&c->ahead, now_usec());
                int wait_msec = http_flow_run(&c->active);
                r = curl_multi_poll(c->multi, NULL, 0, wait_msec < 0 ? POLL_MSEC : wait_msec, NULL);
                if (r != CURLM_OK)
                        log_debug("curl_multi_poll: %s, ignoring", curl_multi_strerror(r));
        }
        while (!LIST_EMPTY(&c->active))
                finish_cancelled(c, LIST_FIRST(&c->active));
        return NULL;
}

/* --- life --- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_free_memory(void *p) {
        secret_free(p);
}

/* libcurl copies tokens and passwords into headers and buffers, and keeps some with an idle
 * connection: all that it allocates is secret memory. */
static void curl_init(void) {
        curl_ready = curl_global_init_mem(
                CURL_GLOBAL_DEFAULT,
                secret_alloc,
                curl_free_memory,
                secret_realloc,
                secret_strdup,
                secret_calloc);
}

static const char *variable(const char *name) {
        const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets any

        return value ? value : "";
}

/* As curl looks for one. */
static bool names_proxy(void) {
        static const char *const variables[] = {
                "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
        bool found = false;

        for (size_t i = 0; i < ELEMENTSOF(variables); i++)
                found = found || variable(variables[i])[0] != '\0';
        return found && strcmp(variable("no_proxy"), "*") != 0;
}

int http_client_new(const HttpConfig *config, Pool *pool, HttpClient **ret) {
        (void) pthread_once(&curl_once, curl_init);
        if (curl_ready != CURLE_OK)
                return -EIO;

        HttpClient *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        *fresh = (HttpClient){.ref = REF_INIT, .pool = pool, .config = *config};
        fresh->config.ca_file = config->ca_file ? strdup(config->ca_file) : NULL;
        fresh->config.user_agent = strdup(config->user_agent ? config->user_agent : "git/gitfs");
        LIST_INIT(&fresh->active);
        fresh->proxied = names_proxy();
        http_ahead_init(&fresh->ahead);
        command_queue_init(&fresh->queue, wake);

        _cleanup_(http_client_unrefp) HttpClient *c = fresh;
        c->multi = curl_multi_init();
        if (!c->multi || !c->config.user_agent || (config->ca_file && !c->config.ca_file))
                return -ENOMEM;
        long max_idle = MAX((long) config->max_idle, MIN_IDLE_CONNECTIONS);
        if (curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, max_idle) != CURLM_OK)
                return -EIO;
        int r = thread_start(&c->thread, "gitfs-net", network_thread, c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

void http_client_renew(HttpClient *c) {
        atomic_store(&c->renewed_usec, now_usec());
}

void http_client_stop(HttpClient *c) {
        if (!command_queue_shut(&c->queue))
                return;
        (void) pthread_join(c->thread, NULL);
        command_queue_wait(&c->queue);
}

HttpClient *http_client_free(HttpClient *c) {
        if (!c)
                return NULL;
        http_client_stop(c);
        return http_client_unref(c);
}
