/* Asking for things, part four: sizes. Trees do not say how large their files are. A server that
 * tells sizes without content is asked for a directory and for all that lies below it at once, as
 * one request costs the same. Where it leaves some out, the files of the directory that somebody
 * looks at are fetched. Of another one sizes come with content: size-walk.c.
 *
 * Who wants a size (`ls -l`) asks at once. Others are asked for ahead (demand-sizes-ahead.c), one
 * question at a time, and with content never. What is being read brings its sizes with it.
 *
 * Each checkout knows its operations, and who wants sizes that are on their way joins the
 * one that brings them. What one will cover is not known before it has looked through the trees (on
 * a worker, a second for the largest repositories): until then others wait for that, and then join
 * it or begin one of their own, which leaves out what is on its way.
 *
 * Files can be so small that to be told their sizes takes as many bytes as they do. Of a repository
 * of many a few are asked for first; where those are tiny the rest is not, and sizes come with
 * content, as of a server that tells none. */

#include <errno.h>
#include <string.h>

#include "tree/ahead.h"
#include "tree/demand-sizes-ahead.h"
#include "tree/namespace-private.h"
#include "tree/walk.h"

/* At once, where the source has no better number: what a forge tells in one answer at most. */
#define MAX_SIZES 100000
/* Beyond this it is worth a round trip to find out whether there is a cheaper way. */
#define SAMPLE_MIN_BYTES (UINT64_C(3) << 19)
#define SAMPLE_PART 16
#define SAMPLE_MAX 512
#define SAMPLE_MAX_BYTES (UINT64_C(1) << 40) /* whatever the server says, the sum is a number */
/* A file takes two fifths of its size, packed: of this size, as much as to be told that. */
#define TINY_BYTES(bytes_per_size) ((bytes_per_size) *5 / 2)
/* A server that told less than it was asked for is not asked ahead for that long. */
#define PAUSE_USEC (60 * USEC_PER_SEC)

typedef struct SizesOperation SizesOperation;
struct SizesOperation {
        Fetch fetch;
        Task task;
        FlightWaiter trees; /* of those that are still on their way */
        Namespace *ns;
        Checkout *checkout;
        SizesOperation
                *next;      /* of the checkout, guarded by it; in its list until the answer came */
        FlightKey key;      /* it has ended */
        FlightKey plan_key; /* it is known what it covers */
        Listing *listing;   /* of the directory that somebody looks at; a reference */
        bool ahead;         /* nobody waited when it began */
        bool narrow;        /* of one directory and what is below; nobody joins it for others */
        bool alone;         /* of one directory */
        bool full;          /* there is more below the root than it asks for */
        unsigned turn;      /* among those of the checkout */
        BlobWant *samples; /* what was told of those that it has asked for; NULL: it is no sample */
        size_t n_samples;
        Walk walk; /* the entries asked for, and references to their listings */
        Oid *oids; /* sorted, each once: fetch.oids points into them. NULL at first, then
                      constant as long as this is in the list: set under the checkout's lock */
        size_t n_oids, n_sent;
        size_t n_told; /* sizes, so far */
};

static int compare_items(const void *a, const void *b) {
        return memcmp(
                ((const WalkItem *) a)->entry->oid.id,
                ((const WalkItem *) b)->entry->oid.id,
                OID_RAW_MAX);
}

static int compare_oids(const void *a, const void *b) {
        return memcmp(((const Oid *) a)->id, ((const Oid *) b)->id, OID_RAW_MAX);
}

/* Sets the size of every entry with this content. The walk is sorted by id. */
static void size_known(SizesOperation *op, const Oid *oid, uint64_t size) {
        size_t lo = 0, hi = op->walk.n_items;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                if (memcmp(op->walk.items[mid].entry->oid.id, oid->id, OID_RAW_MAX) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        for (; lo < op->walk.n_items && oid_equal(&op->walk.items[lo].entry->oid, oid); lo++)
                listing_set_size(op->walk.items[lo].entry, size);
}

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        SizesOperation *op = container_of(fetch, SizesOperation, fetch);

        op->n_told++;
        if (!op->samples)
                size_known(op, oid, size);
        else if (op->n_samples < SAMPLE_MAX)
                op->samples[op->n_samples++] = (BlobWant){.oid = *oid, .size = size};
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        SizesOperation *op = container_of(fetch, SizesOperation, fetch);

        if (type == OBJECT_BLOB) {
                op->n_told++;
                size_known(op, oid, size);
        }
        demand_object_arrived(op->ns, op->checkout->repo, oid, type, size);
}

/* What is asked for: the ids of the walk's items, sorted, each once. */
static int list_oids(SizesOperation *op) {
        Oid *oids = calloc(op->walk.n_items, sizeof(*oids));
        if (!oids)
                return -ENOMEM;
        qsort(op->walk.items, op->walk.n_items, sizeof(*op->walk.items), compare_items);
        size_t n = 0;
        for (size_t i = 0; i < op->walk.n_items; i++)
                if (n == 0 || !oid_equal(&oids[n - 1], &op->walk.items[i].entry->oid))
                        oids[n++] = op->walk.items[i].entry->oid;
        free(op->oids);
        op->n_sent = 0;
        mutex_lock(&op->checkout->lock);
        op->oids = oids;
        op->n_oids = n;
        mutex_unlock(&op->checkout->lock);
        flight_land(op->ns->flights, &op->plan_key, 0, NULL);
        return 0;
}

/* Whether somebody may find sizes with content, many at a time. */
static bool walks_over_content(Namespace *ns) {
        const NsAhead limits = ns_ahead(ns);

        return !limits.alone && limits.walk_limit > 0;
}

/* As the sample said, and as those that came since do not deny: it may have been of other parts. */
static bool is_tiny(Repo *repo) {
        if (!atomic_load(&repo->tiny))
                return false;
        MUTEX_GUARD(&repo->lock);
        return repo->queue.mean_bytes <= TINY_BYTES(repo->source->bytes_per_size);
}

bool demand_sizes_pays(Namespace *ns, Repo *repo) {
        return repo_tells_sizes(repo) && !(is_tiny(repo) && walks_over_content(ns));
}

static bool is_worth_a_sample(const SizesOperation *op) {
        Repo *repo = op->checkout->repo;

        return op->fetch.kind == FETCH_SIZES &&
               op->n_oids * repo->source->bytes_per_size >= SAMPLE_MIN_BYTES &&
               walks_over_content(op->ns) && !atomic_exchange(&repo->sampled, true);
}

/* The sample has come. Where it shows tiny files its sizes are not kept: files that have one and
 * those that have none would come in two ways. */
static bool shows_tiny(SizesOperation *op) {
        Repo *repo = op->checkout->repo;
        _cleanup_free_ BlobWant *samples = TAKE_PTR(op->samples);
        size_t n = op->n_samples;
        uint64_t bytes = 0;

        for (size_t i = 0; i < n; i++)
                bytes += MIN(samples[i].size, SAMPLE_MAX_BYTES);
        if (n == 0 || n < op->n_sent || bytes > n * TINY_BYTES(repo->source->bytes_per_size)) {
                for (size_t i = 0; i < n; i++)
                        size_known(op, &samples[i].oid, samples[i].size);
                return false;
        }
        mutex_lock(&repo->lock);
        fetch_queue_expect_locked(&repo->queue, bytes / n);
        mutex_unlock(&repo->lock);
        atomic_store(&repo->tiny, true);
        return true;
}

/* As many as the source likes to be asked for at a time. */
static void send_batch(SizesOperation *op) {
        Source *source = op->checkout->repo->source;
        size_t n = op->n_oids - op->n_sent;

        if (op->fetch.kind == FETCH_SIZES && source->sizes_per_fetch > 0)
                n = MIN(n, source->sizes_per_fetch);
        /* Ids are hashes: the first of them are of files from anywhere in what is asked for. */
        if (is_worth_a_sample(op))
                op->samples = calloc(SAMPLE_MAX, sizeof(*op->samples)); /* else all are asked for */
        if (op->samples)
                n = MIN(n / SAMPLE_PART + 1, (size_t) SAMPLE_MAX);
        op->fetch.oids = op->oids + op->n_sent;
        op->fetch.n_oids = n;
        op->n_sent += n;
        op->fetch.deadline_usec = ns_transfer_deadline(op->ns);
        source_fetch(source, &op->fetch);
}

/* From now on nobody joins it for what it covers. */
static void leave_list(SizesOperation *op) {
        Checkout *c = op->checkout;

        MUTEX_GUARD(&c->lock);
        for (SizesOperation **p = &c->sizes; *p; p = &(*p)->next)
                if (*p == op) {
                        *p = op->next;
                        return;
                }
}

/* Which directories are complete before anybody asked: those that something was missing of. */
static void note_children(const SizesOperation *op) {
        _cleanup_oid_set_ OidSet noted = {0};

        for (size_t i = 0; i < op->walk.n_items; i++) {
                Listing *l = op->walk.items[i].listing;
                if ((!op->ahead && oid_equal(&l->oid, &op->listing->oid)) ||
                    oid_set_add(&noted, &l->oid) <= 0)
                        continue;
                if (ns_sizes_known(op->ns, l))
                        ahead_note_tagged(AHEAD_CHILDREN, &l->oid, op->full ? op->turn : 0);
                else
                        ahead_dropped(AHEAD_CHILDREN, 1);
        }
}

static void end(SizesOperation *op, int result, const Failure *failure) {
        Namespace *ns = op->ns;

        leave_list(op);
        note_children(op);
        flight_land(ns->flights, &op->plan_key, 0, NULL); /* nothing was asked for */
        flight_land(ns->flights, &op->key, result, failure);
        sizes_later_begin(ns, op->checkout);
        walk_done(&op->walk);
        listing_unref(op->listing);
        checkout_unref(op->checkout);
        free(op->oids);
        free(op->samples);
        free(op);
        ns_operation_end(ns);
}

/* Says the server; whoever waits must not come back to ask the same. 1: the files of the directory
 * that nobody told the size of are on their way; 0: there are none; < 0. */
static int fetch_untold(SizesOperation *op) {
        const WalkLimits limits = {.missing_sizes_only = true, .whole_first_listing = true};

        leave_list(op);
        walk_done(&op->walk);
        op->walk = (Walk){0};
        int r = walk_below(op->ns, op->listing, &limits, &op->walk);
        if (r < 0 || op->walk.n_items == 0)
                return r;
        r = list_oids(op);
        if (r < 0)
                return r;
        op->fetch.kind = FETCH_BLOBS;
        send_batch(op);
        return 1;
}

static bool all_told(const SizesOperation *op) {
        for (size_t i = 0; i < op->walk.n_items; i++)
                if (listing_size(op->walk.items[i].entry) == SIZE_UNKNOWN)
                        return false;
        return true;
}

/* The directory that somebody looks at is all that an answer was about. */
static bool told_one_directory(const SizesOperation *op) {
        size_t n_own = 0;

        for (size_t i = 0; i < op->walk.n_items; i++)
                n_own += oid_equal(&op->walk.items[i].listing->oid, &op->listing->oid);
        return op->n_told <= n_own && n_own < op->walk.n_items;
}

/* Others should not wait for what the server will not tell them either. */
static void pause_ahead(const SizesOperation *op, bool answered) {
        Checkout *c = op->checkout;
        bool narrow = answered && told_one_directory(op);

        MUTEX_GUARD(&c->lock);
        c->sizes_pause_usec = now_usec() + PAUSE_USEC;
        c->sizes_narrow = narrow;
}

/* Who asks again for what the server lacks is to hear of it at once. */
static void remember_lack(const SizesOperation *op) {
        MUTEX_GUARD(&op->checkout->lock);
        op->checkout->sizes_lacking = op->listing->oid;
}

/* After a crash any file may have been why: for who did not ask for it it is not fetched. A
 * repository on this machine tells all that it has. */
bool demand_sizes_does_without(Namespace *ns, Checkout *c) {
        if (!ns_ahead(ns).alone || c->repo->source->objects_in_memory)
                return false;
        MUTEX_GUARD(&c->lock);
        return c->sizes_pause_usec > now_usec();
}

static void on_done(Fetch *fetch, int result, const Failure *failure) {
        SizesOperation *op = container_of(fetch, SizesOperation, fetch);
        Failure why = {0};

        /* Not an error of anybody: who waits looks again and asks for the files instead, or does
         * without. */
        if (result == -EOPNOTSUPP && fetch->kind == FETCH_SIZES) {
                atomic_store(&op->checkout->repo->sizes_refused, true);
                end(op, 0, NULL);
                return;
        }
        /* That it lacks one does not make the sizes of others unknown; that there is no such
         * repository does. */
        bool lacks = result == -ENOENT && !(failure && failure->http_code == 404);
        if (lacks)
                remember_lack(op);
        if (lacks && fetch->kind == FETCH_SIZES) {
                result = 0;
                failure = NULL;
        }
        bool tiny = result >= 0 && op->samples && shows_tiny(op);
        if (result >= 0 && op->n_sent < op->n_oids && !tiny) {
                send_batch(op);
                return;
        }
        ns_keep_sizes(op->ns, op->checkout->repo->source, op->walk.listings, op->walk.n_listings);
        result = demand_object_result(result, failure, &why);
        ns_report(op->ns, op->checkout->repo->org, result, &why);
        if (fetch->kind == FETCH_SIZES && !tiny && (result < 0 || !all_told(op))) {
                pause_ahead(op, result >= 0);
                if (result >= 0 && !op->ahead && !demand_sizes_does_without(op->ns, op->checkout))
                        result = fetch_untold(op);
                if (result > 0)
                        return;
        }
        /* Whoever was told nothing asks again, for nothing else, and hears of it then. */
        end(op, lacks && op->n_told > 0 ? 0 : result, &why);
}

/* What is left of the request is filled from the rest of the repository: a walk comes by there
 * next, and it costs no round trip. Entries that are there already are only asked for once. */
static int add_rest(SizesOperation *op, const Oid *tree, const WalkLimits *limits) {
        const NsCall call = {.flags = NS_MAY_BLOCK};
        _cleanup_(listing_unrefp) Listing *root = NULL;

        if (oid_is_none(tree) || ns_listing(op->ns, &call, NULL, tree, &root) <= 0)
                return 0;
        WalkLimits rest = *limits;
        rest.whole_first_listing = false;
        return walk_below(op->ns, root, &rest, &op->walk);
}

/* The ids that operations under way asked for, in an allocated array: *ret_n of them. */
static Oid *copy_coming(Checkout *c, size_t *ret_n) {
        size_t n = 0;

        MUTEX_GUARD(&c->lock);
        for (const SizesOperation *op = c->sizes; op; op = op->next)
                n += op->n_oids;
        Oid *oids = calloc(n + 1, sizeof(*oids));
        *ret_n = 0;
        for (const SizesOperation *op = c->sizes; oids && op; op = op->next)
                for (size_t i = 0; i < op->n_oids; i++)
                        oids[(*ret_n)++] = op->oids[i];
        return oids;
}

/* What is on its way. 0 or -ENOMEM. */
static int list_coming(Checkout *c, OidSet *ret) {
        size_t n;
        _cleanup_free_ Oid *oids = copy_coming(c, &n);
        int r = oids ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = oid_set_add(ret, &oids[i]);
        return MIN(r, 0);
}

/* The entries of the directory, and as many of others as one question holds. */
static int collect(SizesOperation *op, const Oid *root) {
        Source *source = op->checkout->repo->source;
        _cleanup_oid_set_ OidSet coming = {0};
        WalkLimits limits = {
                .missing_sizes_only = true,
                .whole_first_listing = true,
                .except = &coming,
        };

        /* What is on this machine costs no round trip: nothing is asked for that nobody wants yet.
         */
        if (!source->objects_in_memory && !op->alone)
                limits.max_items = source->sizes_per_fetch ? source->sizes_per_fetch : MAX_SIZES;
        int r = list_coming(op->checkout, &coming);
        if (r >= 0)
                r = walk_below(op->ns, op->listing, &limits, &op->walk);
        if (r >= 0 && limits.max_items > 0 && !op->narrow)
                r = add_rest(op, root, &limits);
        op->full = limits.max_items > 0 && op->walk.n_items >= limits.max_items;
        return r;
}

/* Decides what to ask for. 0, or 1 when nothing is missing any more, or < 0. */
static int prepare(SizesOperation *op) {
        CheckoutState state;

        checkout_get_state(op->checkout, &state);
        int r = collect(op, &state.root);
        if (r < 0)
                return r;
        if (op->walk.n_items == 0)
                return 1;
        op->fetch = (Fetch){
                .kind = FETCH_SIZES,
                .priority = FETCH_WAITING,
                .tree = op->listing->oid,
                .root = state.root,
                .commit = state.commit,
                .object = on_object,
                .size = on_size,
                .done = on_done,
        };
        return list_oids(op);
}

/* One question for all, not one for the trees that have come so far. */
static void start(SizesOperation *op) {
        const NsCall call = {.flags = NS_MAY_BLOCK, .waiter = &op->trees};
        /* Once it waits it may end on another thread before demand_trees() is through. */
        _cleanup_(checkout_unrefp) Checkout *c = checkout_ref(op->checkout);

        int r = demand_trees(op->ns, &call, c);
        if (r == NS_PARKED)
                return; /* trees_landed() goes on */
        if (r > 0)
                r = prepare(op);
        if (r != 0)
                end(op, MIN(r, 0), NULL);
        else
                send_batch(op);
}

static void trees_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        start(container_of(waiter, SizesOperation, trees));
}

static void start_task(Task *task) {
        start(container_of(task, SizesOperation, task));
}

/* The last entry of l whose size is not known. A directory's entries are taken in their order:
 * where this one was taken, all were. */
static const ListingEntry *last_unknown(Namespace *ns, const Listing *l) {
        for (size_t i = l->n_entries; i > 0; i--)
                if (ns_entry_size(ns, &l->entries[i - 1]) == SIZE_UNKNOWN)
                        return &l->entries[i - 1];
        return NULL;
}

static bool covers_locked(const SizesOperation *op, const Listing *l, const ListingEntry *last) {
        return op->oids && last && !op->narrow && oid_set_has(&op->walk.entered, &l->oid) &&
               bsearch(&last->oid, op->oids, op->n_oids, sizeof(Oid), compare_oids);
}

/* Joins what brings these sizes, or will tell whether it does: 1; 0 where there is none; < 0. */
static int
join_other_locked(const SizesOperation *op, const ListingEntry *last, FlightWaiter *waiter) {
        const FlightKey *key = NULL;

        for (SizesOperation *other = op->checkout->sizes; other; other = other->next)
                if (covers_locked(other, op->listing, last)) {
                        key = &other->key;
                        break;
                } else if (!other->oids && !other->narrow)
                        key = &other->plan_key;
        if (!key)
                return 0;
        int r = flight_join(op->ns->flights, key, waiter);
        return r < 0 ? r : 1;
}

/* Joins what brings these sizes: 0; or 1 where that is the given operation, which begins now; < 0.
 */
static int join(SizesOperation *op, FlightWaiter *waiter) {
        Checkout *c = op->checkout;
        const ListingEntry *last = last_unknown(op->ns, op->listing);

        MUTEX_GUARD(&c->lock);
        bool pauses = c->sizes_pause_usec > now_usec();
        if (op->ahead && pauses)
                return 0;
        op->alone = oid_equal(&c->sizes_lacking, &op->listing->oid);
        op->narrow = op->alone || (pauses && c->sizes_narrow);
        if (op->ahead && c->sizes) {
                /* Nobody waits: it would ask again for most of what is on its way. */
                sizes_later_remember_locked(c, &op->listing->oid);
                return 0;
        }
        int r = join_other_locked(op, last, waiter);
        if (r != 0)
                return MIN(r, 0);
        r = flight_join(op->ns->flights, &op->key, waiter);
        if (r <= 0)
                return r; /* it is about to land */
        c->sizes_turn = c->sizes_turn % AHEAD_TAG_MAX + 1;
        c->n_sizes_walked = 0;
        op->turn = c->sizes_turn;
        op->next = c->sizes;
        c->sizes = op;
        return 1;
}

/* An operation that begins now, in *ret: 1; 0 where another one was joined; < 0. */
static int
join_or_begin(Namespace *ns, FlightWaiter *waiter, Checkout *c, Listing *l, SizesOperation **ret) {
        void *memory = NULL;

        int r = demand_begin(ns, sizeof(SizesOperation), &memory);
        if (r < 0)
                return r;
        SizesOperation *op = memory;
        op->ns = ns;
        op->checkout = checkout_ref(c);
        op->key = demand_key_oid(c->repo, DEMAND_SIZES, &l->oid);
        op->plan_key = demand_key_oid(c, DEMAND_SIZES_PLAN, &l->oid);
        op->listing = listing_ref(l);
        op->ahead = !waiter;
        op->task.run = start_task;
        op->trees.landed = trees_landed;
        r = join(op, waiter);
        if (r > 0) {
                *ret = op;
                return 1;
        }
        listing_unref(op->listing);
        checkout_unref(op->checkout);
        free(op);
        ns_operation_end(ns);
        return r;
}

int demand_sizes(Namespace *ns, const NsCall *call, Checkout *c, Listing *l) {
        SizesOperation *op;

        if (!call->waiter)
                return NS_PARKED;
        int r = join_or_begin(ns, call->waiter, c, l, &op);
        if (r < 0)
                return r;
        if (r > 0)
                start(op);
        return NS_PARKED;
}

void demand_sizes_begin_ahead(Namespace *ns, Checkout *c, Listing *l) {
        SizesOperation *op;

        if (join_or_begin(ns, NULL, c, l, &op) > 0)
                pool_submit(ns->context->pool, &op->task, TASK_NORMAL);
}
