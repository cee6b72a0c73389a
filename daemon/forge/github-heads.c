/* One GraphQL request for the default branches of up to fifty repositories: the one that is wanted,
 * and those that stand around it in the kept listing. The answer is good for a minute, or until the
 * repository would be polled, and for one question: whoever asks again wants news.
 *
 * A batch gathers wants from when it is made until it is sent, a task later; while it is on its way
 * others may still wait for what is in it, unless they want news. The mutex guards the batches that
 * are open, who waits for them, and what is known. What is in a batch is fixed when it is sent.
 *
 * A batch that was begun in the background is raised as soon as one of those in it is waited for,
 * which the gate finds out by itself: it may take no lock, so the flags to look at are in an array.
 *
 * Whatever goes wrong here goes to git instead, as if nobody had asked. A server that has no
 * GraphQL, or lets nobody use it, is left alone for a while. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "forge/api-forge-private.h"
#include "forge/api-listing.h"
#include "forge/git-refs.h"
#include "forge/github.h"
#include "util/clock.h"
#include "util/htable.h"

#define BATCH_MAX 50
#define HEADS_MAX 4096
#define VALID_USEC (60 * USEC_PER_SEC)
#define OFF_USEC (600 * USEC_PER_SEC)  /* there is no GraphQL */
#define PAUSE_USEC (60 * USEC_PER_SEC) /* there is, but not now */

typedef struct Head {
        HTableLink link;
        uint64_t valid_until;
        Oid commit;
        char name[256]; /* "refs/heads/main" */
        char *path;     /* "owner/name"; owned */
} Head;

typedef struct Waiter {
        STAILQ_ENTRY(Waiter) entry;
        ApiSource *source; /* a reference */
        Fetch *fetch;
        size_t index; /* in the batch */
} Waiter;

typedef struct Batch {
        Task task;
        GithubHeads *heads;
        ApiForge *forge; /* a reference */
        TAILQ_ENTRY(Batch) entry;
        bool sent; /* guarded by the mutex, as is the next */
        STAILQ_HEAD(, Waiter) waiters;
        bool for_news; /* only of what is wanted; no neighbours */
        FetchPriority priority;
        char *owner;
        char *names[BATCH_MAX]; /* owned; guarded until it is sent, and constant then */
        size_t n;               /* likewise */
        /* For each name, as in Fetch; NULL where nobody is to wait. Set under the mutex, looked at
         * without. */
        _Atomic(const atomic_bool *) waited[BATCH_MAX];
        char *path, *body; /* of the request */
} Batch;

struct GithubHeads {
        ApiForge *forge; /* borrowed: it owns this */
        char *url;       /* of GraphQL */
        Mutex mutex;
        HTable known; /* of Head; guarded by mutex, as is the rest */
        TAILQ_HEAD(, Batch) batches;
        uint64_t off_until;
};

/* --- what is known --- */

static Head *find_head(GithubHeads *h, const char *path) {
        HTABLE_FOREACH (l, &h->known, hash_string(path)) {
                Head *head = container_of(l, Head, link);
                if (strcmp(head->path, path) == 0)
                        return head;
        }
        return NULL;
}

static void drop_head(GithubHeads *h, Head *head) {
        htable_remove(&h->known, &head->link);
        free(head->path);
        free(head);
}

static void drop_if_old(HTableLink *link, void *userdata) {
        GithubHeads *h = userdata;
        Head *head = container_of(link, Head, link);

        if (head->valid_until <= now_usec())
                drop_head(h, head);
}

static void drop_any(HTableLink *link, void *userdata) {
        drop_head(userdata, container_of(link, Head, link));
}

static uint64_t validity(const ApiForge *forge) {
        uint64_t poll = forge->org->poll_interval_usec;

        if (poll == ORG_POLL_DEFAULT)
                poll = forge->context->config->poll_interval_usec;
        return poll > 0 ? MIN(poll, VALID_USEC) : VALID_USEC;
}

/* Takes path over. Not being able to is no loss. */
static void learn_head(GithubHeads *h, char *path, const Fetch *answer) {
        if (h->known.n_entries >= HEADS_MAX)
                htable_each(&h->known, drop_if_old, h);
        Head *head = find_head(h, path);
        if (head)
                drop_head(h, head);
        head = h->known.n_entries < HEADS_MAX ? calloc(1, sizeof(*head)) : NULL;
        if (!head) {
                free(path);
                return;
        }
        *head = (Head){
                .valid_until = now_usec() + validity(h->forge),
                .commit = answer->commit,
                .path = path,
        };
        memcpy(head->name, answer->resolved, sizeof(head->name));
        if (htable_add(&h->known, &head->link, hash_string(path)) < 0) {
                free(head->path);
                free(head);
        }
}

/* True if the answer is here; it is used up then. */
static bool take_head(GithubHeads *h, const char *path, Fetch *fetch) {
        Head *head = find_head(h, path);
        if (!head)
                return false;
        bool valid = head->valid_until > now_usec() && fetch->priority != FETCH_REFRESH;
        if (valid) {
                fetch->commit = head->commit;
                fetch->moves = true;
                memcpy(fetch->resolved, head->name, sizeof(fetch->resolved));
        }
        drop_head(h, head);
        return valid;
}

/* --- batches --- */

static void batch_free(Batch *batch) {
        for (size_t i = 0; i < batch->n; i++)
                free(batch->names[i]);
        free(batch->owner);
        free(batch->path);
        free(batch->body);
        (void) forge_unref(&batch->forge->forge);
        free(batch);
}

static bool find_name(const Batch *batch, const char *name, size_t *ret) {
        for (size_t i = 0; i < batch->n; i++)
                if (strcmp(batch->names[i], name) == 0) {
                        *ret = i;
                        return true;
                }
        return false;
}

static bool add_name(Batch *batch, const char *name, size_t *ret) {
        char *copy = batch->n < BATCH_MAX ? strdup(name) : NULL;
        if (!copy)
                return false;
        *ret = batch->n;
        batch->names[batch->n++] = copy;
        return true;
}

/* A batch that brings the answer, or can be made to. */
static Batch *
find_batch(GithubHeads *h, const ApiSource *source, const Fetch *fetch, size_t *ret_index) {
        bool for_news = fetch->priority == FETCH_REFRESH;
        Batch *batch;

        TAILQ_FOREACH (batch, &h->batches, entry) {
                if (strcmp(batch->owner, source->owner) != 0 || (batch->sent && for_news))
                        continue;
                if (find_name(batch, source->name, ret_index))
                        return batch;
                if (!batch->sent && batch->for_news == for_news &&
                    add_name(batch, source->name, ret_index))
                        return batch;
        }
        return NULL;
}

static bool batch_is_waited(const void *userdata) {
        const Batch *batch = userdata;

        for (size_t i = 0; i < BATCH_MAX; i++) {
                const atomic_bool *waited = atomic_load(&batch->waited[i]);
                if (waited && atomic_load_explicit(waited, memory_order_relaxed))
                        return true;
        }
        return false;
}

static void batch_run(Task *task);

static Batch *make_batch(GithubHeads *h, const ApiSource *source, const Fetch *fetch) {
        Batch *batch = calloc(1, sizeof(*batch));
        size_t index;

        if (!batch)
                return NULL;
        *batch = (Batch){
                .task.run = batch_run,
                .heads = h,
                .forge = h->forge,
                .for_news = fetch->priority == FETCH_REFRESH,
                .priority = fetch->priority,
                .owner = strdup(source->owner),
        };
        (void) forge_ref(&h->forge->forge);
        STAILQ_INIT(&batch->waiters);
        if (!batch->owner || !add_name(batch, source->name, &index)) {
                batch_free(batch);
                return NULL;
        }
        return batch;
}

/* --- the question --- */

typedef struct Neighbours {
        const Batch *batch;
        char (*strings)[NAME_MAX + 1]; /* a ring of BATCH_MAX */
        size_t n_seen;
        size_t n_after; /* the wanted one, once it was seen */
        bool seen;
} Neighbours;

/* Keeps the last BATCH_MAX entries, until half of them stand behind the wanted one. */
static bool on_neighbour(const ApiEntry *entry, void *userdata) {
        Neighbours *n = userdata;
        const ApiForge *forge = n->batch->forge;
        const char *below = forge->org->owner ? "" : n->batch->owner;

        if (entry->kind != FORGE_REPO || entry->flags & (API_ENTRY_DISABLED | API_ENTRY_EMPTY) ||
            !api_entry_is_shown(forge->org, below, entry) || !github_repo_is_possible(entry->name))
                return true;
        (void) snprintf(
                n->strings[n->n_seen % BATCH_MAX], sizeof(n->strings[0]), "%s", entry->name);
        n->n_seen++;
        if (n->seen)
                n->n_after++;
        else
                n->seen = strcmp(entry->name, n->batch->names[0]) == 0;
        return n->n_after < BATCH_MAX / 2;
}

/* Whoever wants this one wants those around it next, if they are in the same listing. Their names
 * are in strings then, the first *ret_n of them. */
static void find_neighbours(Batch *batch, char (*strings)[NAME_MAX + 1], size_t *ret_n) {
        const ApiForge *forge = batch->forge;
        const char *owner = forge->org->owner;
        _cleanup_api_pages_ ApiPages pages = {0};
        Neighbours n = {.batch = batch, .strings = strings};

        *ret_n = 0;
        if (!owner || strcmp(owner, ORG_OWNER_ME) != 0)
                owner = batch->owner;
        if (!api_pages_load(forge, owner, &pages))
                return;
        for (size_t i = 0; i < pages.n_pages; i++)
                if (!api_page_each(&pages.pages[i], on_neighbour, &n))
                        break;
        if (n.seen)
                *ret_n = MIN(n.n_seen, (size_t) BATCH_MAX);
}

/* From here on the batch is what it is; only more may wait for it. */
static void close_batch(Batch *batch) {
        _cleanup_free_ char(*strings)[NAME_MAX + 1] = calloc(BATCH_MAX, sizeof(*strings));
        size_t n = 0, index;

        if (strings && !batch->for_news)
                find_neighbours(batch, strings, &n);
        MUTEX_GUARD(&batch->heads->mutex);
        batch->sent = true;
        for (size_t i = 0; i < n; i++)
                if (!find_name(batch, strings[i], &index))
                        (void) add_name(batch, strings[i], &index); /* it may be full */
}

/* The names hold nothing that has to be escaped. */
static int format_query(Batch *batch) {
        _cleanup_buf_ Buf b = {0};

        int r = buf_append_str(&b, "{\"query\":\"query{");
        for (size_t i = 0; i < batch->n && r >= 0; i++)
                r = buf_appendf(
                        &b,
                        "r%zu:repository(owner:\\\"%s\\\",name:\\\"%s\\\")"
                        "{defaultBranchRef{name target{oid}}}",
                        i,
                        batch->owner,
                        batch->names[i]);
        if (r >= 0)
                r = buf_append_str(&b, "}\"}");
        if (r < 0 || !buf_str(&b))
                return -ENOMEM;
        batch->body = (char *) TAKE_PTR(b.data);
        return 0;
}

static void on_heads(void *userdata, int result, const ApiAnswer *answer, const Failure *failure);

static void batch_run(Task *task) {
        Batch *batch = container_of(task, Batch, task);
        GithubHeads *h = batch->heads;
        Failure failure;

        close_batch(batch);
        if (format_query(batch) < 0) {
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                on_heads(batch, -ENOMEM, NULL, &failure);
                return;
        }
        const ApiAsk ask = {
                .path = h->url,
                .json_body = batch->body,
                .what = "default branches",
                .resource = "graphql",
                .priority = batch->priority,
                .is_waited = batch_is_waited,
                .deadline_usec = api_forge_deadline(batch->forge),
                .done = on_heads,
                .userdata = batch,
        };
        api_ask(batch->forge, &ask);
}

/* --- the answer --- */

bool github_head_read(const Json *data, size_t i, Fetch *ret) {
        char alias[24];

        (void) snprintf(alias, sizeof(alias), "r%zu", i);
        const Json *branch = json_get_object(json_get_object(data, alias), "defaultBranchRef");
        const char *name = json_get_string(branch, "name");
        const char *oid = json_get_string(json_get_object(branch, "target"), "oid");
        *ret = (Fetch){.moves = true};
        if (!name || !oid || oid_from_hex(&ret->commit, oid, strlen(oid)) < 0 ||
            ret->commit.algo != OID_SHA1)
                return false;
        int n = snprintf(ret->resolved, sizeof(ret->resolved), "refs/heads/%s", name);
        return n < (int) sizeof(ret->resolved) && git_refname_is_valid(ret->resolved);
}

/* Answers those who wait, or hands them on to git; the rest is remembered. */
static void batch_land(Batch *batch, const Fetch *answers, const bool *known) {
        GithubHeads *h = batch->heads;
        bool used[BATCH_MAX] = {false};
        STAILQ_HEAD(, Waiter) waiters = STAILQ_HEAD_INITIALIZER(waiters);
        Waiter *w;

        {
                MUTEX_GUARD(&h->mutex);
                TAILQ_REMOVE(&h->batches, batch, entry);
                STAILQ_CONCAT(&waiters, &batch->waiters);
                STAILQ_FOREACH (w, &waiters, entry)
                        used[w->index] = true;
                for (size_t i = 0; i < batch->n; i++) {
                        char *path;
                        if (known[i] && !used[i] &&
                            asprintf(&path, "%s/%s", batch->owner, batch->names[i]) >= 0)
                                learn_head(h, path, &answers[i]);
                }
        }
        while ((w = STAILQ_FIRST(&waiters))) {
                STAILQ_REMOVE_HEAD(&waiters, entry);
                if (known[w->index]) {
                        const Fetch *answer = &answers[w->index];
                        w->fetch->commit = answer->commit;
                        w->fetch->moves = answer->moves;
                        memcpy(w->fetch->resolved, answer->resolved, sizeof(answer->resolved));
                        source_fetch_end(batch->forge->context->pool, w->fetch, 0, NULL);
                } else
                        api_source_fetch_git(w->source, w->fetch);
                (void) source_unref(&w->source->source);
                free(w);
        }
        batch_free(batch);
}

static void turn_off(GithubHeads *h, uint64_t usec) {
        MUTEX_GUARD(&h->mutex);
        h->off_until = now_usec() + usec;
}

static void on_heads(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        Batch *batch = userdata;
        bool known[BATCH_MAX] = {false};
        _cleanup_free_ Fetch *answers = calloc(BATCH_MAX, sizeof(*answers));

        if (!answer)
                turn_off(batch->heads, api_failure_is_passing(failure) ? PAUSE_USEC : OFF_USEC);
        else {
                const Json *data = json_get_object(answer->json, "data");
                if (!data)
                        turn_off(batch->heads, OFF_USEC);
                for (size_t i = 0; i < batch->n && answers; i++)
                        known[i] = github_head_read(data, i, &answers[i]);
        }
        batch_land(batch, answers, known);
}

/* --- the way in --- */

static bool has_token(const ApiForge *forge) {
        _cleanup_secret_ Secret secret = {0};

        return secrets_peek(forge->secrets, &secret) > 0 && secret.token;
}

/* Under the mutex. 1: answered; 0: it waits, *ret is a batch to be started or NULL; -ENOMEM. */
static int join(GithubHeads *h, ApiSource *source, Fetch *fetch, const char *path, Batch **ret) {
        static const atomic_bool always = true;
        const atomic_bool *waited = fetch->priority == FETCH_WAITING ? &always : fetch->waited;
        size_t index = 0;

        *ret = NULL;
        if (take_head(h, path, fetch))
                return 1;
        Waiter *waiter = calloc(1, sizeof(*waiter));
        if (!waiter)
                return -ENOMEM;
        Batch *batch = find_batch(h, source, fetch, &index);
        if (!batch) {
                batch = *ret = make_batch(h, source, fetch);
                if (!batch) {
                        free(waiter);
                        return -ENOMEM;
                }
                TAILQ_INSERT_TAIL(&h->batches, batch, entry);
        }
        (void) source_ref(&source->source);
        *waiter = (Waiter){.source = source, .fetch = fetch, .index = index};
        STAILQ_INSERT_TAIL(&batch->waiters, waiter, entry);
        /* Who waits already goes on doing so. */
        if (waited == &always || !atomic_load(&batch->waited[index]))
                atomic_store(&batch->waited[index], waited);
        return 0;
}

bool github_heads_fetch(GithubHeads *h, ApiSource *source, Fetch *fetch) {
        _cleanup_free_ char *path = NULL;
        Batch *batch = NULL;
        int r;

        if (fetch->refname || !github_owner_is_possible(source->owner) ||
            !github_repo_is_possible(source->name) || !has_token(source->forge))
                return false;
        if (asprintf(&path, "%s/%s", source->owner, source->name) < 0) {
                path = NULL; /* undefined after a failure */
                return false;
        }
        {
                MUTEX_GUARD(&h->mutex);
                if (h->off_until > now_usec())
                        return false;
                r = join(h, source, fetch, path, &batch);
        }
        if (r > 0)
                source_fetch_end(source->forge->context->pool, fetch, 0, NULL);
        if (batch)
                pool_submit(
                        h->forge->context->pool,
                        &batch->task,
                        batch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
        return r >= 0;
}

/* --- life --- */

/* "https://host/api/v3" and "https://host/api/graphql", but "https://api.github.com/graphql". */
static int make_url(const char *base, char **ret) {
        static const char v3[] = "/api/v3";
        size_t n = strlen(base);

        if (n >= strlen(v3) && strcmp(base + n - strlen(v3), v3) == 0)
                return asprintf(ret, "%.*s/graphql", (int) (n - strlen("/v3")), base) < 0 ? -ENOMEM
                                                                                          : 0;
        return asprintf(ret, "%s/graphql", base) < 0 ? -ENOMEM : 0;
}

int github_heads_new(ApiForge *forge, GithubHeads **ret) {
        GithubHeads *h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        int r = make_url(forge->api.base, &h->url);
        if (r < 0) {
                free(h);
                return r;
        }
        h->forge = forge;
        mutex_init(&h->mutex, LOCK_RANK_FORGE);
        TAILQ_INIT(&h->batches);
        *ret = h;
        return 0;
}

GithubHeads *github_heads_free(GithubHeads *h) {
        if (!h)
                return NULL;
        assert(TAILQ_EMPTY(&h->batches)); /* each holds the forge */
        htable_each(&h->known, drop_any, h);
        htable_done(&h->known);
        mutex_destroy(&h->mutex);
        free(h->url);
        free(h);
        return NULL;
}
