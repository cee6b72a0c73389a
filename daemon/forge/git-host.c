/* One entry per host, never removed: flights know hosts by the address of their entry. There are as
 * many as people configure orgs; past MAX_HOSTS nothing is kept, and every repository asks for
 * itself.
 *
 * What is kept errs on the side of too much. A server that lacks what is asked of it answers badly,
 * which is noticed and put right for the repository in question; that it could have done more would
 * never be noticed. So the less able of two repositories does not spoil the host for the others,
 * unless what is kept is from an earlier life: then the server may have changed. */

#include "forge/git-host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"

#define MAX_HOSTS 1000
/* A network that has become slower is noticed within two of these. */
#define RTT_PERIOD_USEC (60 * USEC_PER_SEC)
#define KEPT_SEC ((int64_t) 24 * 3600)
#define DOCUMENT_KEY "git-capabilities "

typedef struct GitHost {
        LIST_ENTRY(GitHost) entry;
        char *origin;
        /* Guarded by the mutex of the hosts: */
        bool looked_for; /* on disk */
        bool types_refused;
        bool known;
        bool ours; /* told to this process, not to an earlier one */
        int64_t learnt_sec;
        GitCapabilities capabilities;
        /* The least time of an answer: since the period began, and in the one before. */
        uint64_t rtt_usec, last_rtt_usec;
        uint64_t period_usec; /* when it began */
} GitHost;

struct GitHosts {
        Documents *documents;
        FlightTable *flights;
        Mutex mutex;
        LIST_HEAD(, GitHost) hosts; /* guarded by mutex; so is the next */
        size_t n_hosts;
};

/* The wall clock, because documents outlive the process. */
static int64_t now_sec(void) {
        return (int64_t) time(NULL);
}

static bool is_fresh(int64_t learnt_sec) {
        int64_t age = now_sec() - learnt_sec;

        return age >= 0 && age < KEPT_SEC;
}

/* --- documents --- */

static int make_key(const char *origin, char **ret) {
        return asprintf(ret, DOCUMENT_KEY "%s", origin) < 0 ? -ENOMEM : 0;
}

/* "<time> <word>...": what is broken is as good as nothing. */
static bool parse_document(const char *text, int64_t *ret_sec, GitCapabilities *ret) {
        int64_t sec;
        int n = 0;

        if (sscanf(text, "%" SCNd64 " %n", &sec, &n) != 1 || n == 0 || !is_fresh(sec))
                return false;
        if (git_capabilities_parse(text + n, ret) < 0)
                return false;
        *ret_sec = sec;
        return true;
}

static bool read_document(GitHosts *h, const char *origin, int64_t *ret_sec, GitCapabilities *ret) {
        _cleanup_free_ char *key = NULL;
        _cleanup_buf_ Buf text = {0};

        if (!h->documents || make_key(origin, &key) < 0)
                return false;
        int r = documents_get(h->documents, key, &text);
        if (r < 0)
                log_debug("%s: %s, ignoring", key, strerrordesc_np(-r));
        return r > 0 && buf_str(&text) && parse_document((const char *) text.data, ret_sec, ret);
}

static void write_document(GitHosts *h, const char *origin, const GitCapabilities *c) {
        _cleanup_free_ char *key = NULL;
        _cleanup_buf_ Buf text = {0};

        if (!h->documents)
                return;
        int r = make_key(origin, &key);
        if (r >= 0)
                r = buf_appendf(&text, "%" PRId64 " ", now_sec());
        if (r >= 0)
                r = git_capabilities_format(c, &text);
        if (r >= 0)
                r = documents_put(h->documents, key, text.data, text.len);
        if (r < 0)
                log_debug(
                        "%s: cannot keep what it can do: %s, ignoring",
                        origin,
                        strerrordesc_np(-r));
}

/* --- hosts --- */

static GitHost *find_host(GitHosts *h, const char *origin) {
        GitHost *host;

        LIST_FOREACH (host, &h->hosts, entry)
                if (strcmp(host->origin, origin) == 0)
                        return host;
        return NULL;
}

/* Under the mutex. NULL where there is no room for another. */
static GitHost *find_or_make_host(GitHosts *h, const char *origin) {
        GitHost *host = find_host(h, origin);

        if (host || h->n_hosts >= MAX_HOSTS)
                return host;
        host = calloc(1, sizeof(*host));
        char *copy = strdup(origin);
        if (!host || !copy) {
                free(host);
                free(copy);
                return NULL;
        }
        host->origin = copy;
        LIST_INSERT_HEAD(&h->hosts, host, entry);
        h->n_hosts++;
        return host;
}

static int get_from_memory(GitHosts *h, const char *origin, GitCapabilities *ret, bool *ret_look) {
        MUTEX_GUARD(&h->mutex);
        GitHost *host = find_or_make_host(h, origin);

        *ret_look = host && !host->looked_for;
        if (host)
                host->looked_for = true;
        if (!host || !host->known || !is_fresh(host->learnt_sec))
                return 0;
        *ret = host->capabilities;
        return 1;
}

int git_hosts_get(GitHosts *h, const char *origin, GitCapabilities *ret) {
        GitCapabilities kept;
        int64_t sec;
        bool look;

        int r = get_from_memory(h, origin, ret, &look);
        if (r > 0 || !look || !read_document(h, origin, &sec, &kept))
                return r;
        {
                MUTEX_GUARD(&h->mutex);
                GitHost *host = find_host(h, origin);
                if (!host->known) {
                        host->known = true;
                        host->learnt_sec = sec;
                        host->capabilities = kept;
                }
                *ret = host->capabilities;
        }
        return 1;
}

void git_hosts_learn(GitHosts *h, const char *origin, const GitCapabilities *c) {
        bool news;

        {
                MUTEX_GUARD(&h->mutex);
                GitHost *host = find_or_make_host(h, origin);
                if (!host)
                        return;
                bool valid = host->known && host->ours && is_fresh(host->learnt_sec);
                news = !valid || (git_capabilities_cover(c, &host->capabilities) &&
                                  !git_capabilities_cover(&host->capabilities, c));
                if (news) {
                        host->known = host->ours = host->looked_for = true;
                        host->learnt_sec = now_sec();
                        host->capabilities = *c;
                }
        }
        if (news)
                write_document(h, origin, c);
}

/* --- round trips --- */

static uint64_t least_known(uint64_t a, uint64_t b) {
        return a == 0 || (b > 0 && b < a) ? b : a;
}

uint64_t git_hosts_measure(GitHosts *h, const char *origin, uint64_t sample_usec) {
        MUTEX_GUARD(&h->mutex);
        GitHost *host = find_or_make_host(h, origin);

        if (!host)
                return sample_usec;
        uint64_t now = now_usec();
        /* Periods without an answer tell nothing, and do not count. */
        if (sample_usec > 0 && now - host->period_usec >= RTT_PERIOD_USEC) {
                host->last_rtt_usec = host->rtt_usec;
                host->rtt_usec = 0;
                host->period_usec = now;
        }
        host->rtt_usec = least_known(host->rtt_usec, sample_usec);
        return least_known(host->rtt_usec, host->last_rtt_usec);
}

void git_hosts_refuse_types(GitHosts *h, const char *origin) {
        MUTEX_GUARD(&h->mutex);
        GitHost *host = find_or_make_host(h, origin);

        if (host)
                host->types_refused = true;
}

bool git_hosts_refuses_types(GitHosts *h, const char *origin) {
        MUTEX_GUARD(&h->mutex);
        const GitHost *host = find_host(h, origin);

        return host && host->types_refused;
}

/* --- flights --- */

const void *git_hosts_scope(GitHosts *h, const char *origin) {
        MUTEX_GUARD(&h->mutex);
        const GitHost *host = find_or_make_host(h, origin);

        return host ? (const void *) host : h; /* all that found no room share a flight */
}

int git_hosts_join(GitHosts *h, const void *scope, FlightWaiter *waiter) {
        const FlightKey key = {.scope = scope};

        return flight_join(h->flights, &key, waiter);
}

void git_hosts_land(GitHosts *h, const void *scope, int result, const Failure *failure) {
        const FlightKey key = {.scope = scope};

        flight_land(h->flights, &key, result, failure);
}

/* --- life --- */

int git_hosts_new(Pool *pool, Documents *documents, GitHosts **ret) {
        GitHosts *h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        int r = flight_table_new(pool, &h->flights);
        if (r < 0) {
                free(h);
                return r;
        }
        h->documents = documents;
        mutex_init(&h->mutex, LOCK_RANK_FORGE);
        LIST_INIT(&h->hosts);
        *ret = h;
        return 0;
}

GitHosts *git_hosts_free(GitHosts *h) {
        if (!h)
                return NULL;
        while (!LIST_EMPTY(&h->hosts)) {
                GitHost *host = LIST_FIRST(&h->hosts);
                LIST_REMOVE(host, entry);
                free(host->origin);
                free(host);
        }
        (void) flight_table_free(h->flights);
        mutex_destroy(&h->mutex);
        free(h);
        return NULL;
}
