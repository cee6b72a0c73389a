#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "forge/forge.h"
#include "tree/listing.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "work/timer.h"

/* What is wanted of one repository, and in which requests: see fetch-queue*.c for the rules.
 * Embedded in its Repo, whose lock guards it: functions that end in _locked want it held and do
 * nothing but change the queue. Those that send are in fetch-queue-send.c. */

typedef struct FetchBatch FetchBatch;
typedef struct FetchFeed FetchFeed;
typedef TAILQ_HEAD(WantList, Want) WantList;
typedef TAILQ_HEAD(FetchBatchList, FetchBatch) FetchBatchList;
typedef TAILQ_HEAD(FetchFeedList, FetchFeed) FetchFeedList;

typedef enum FetchLane {
        LANE_WAITING,
        LANE_READAHEAD,
        LANE_PREFETCH,
        _LANE_MAX,
} FetchLane;

/* The rest of a tree comes once more when the tree is wanted instead of its blobs: a deal while it
 * is next to nothing. */
#define FETCH_NEARLY_ALL(part, all) ((part) >= (all) - (all) / 64)

/* A blob as it is asked for. */
typedef struct BlobWant {
        Oid oid;
        uint64_t size; /* bytes; SIZE_UNKNOWN where nobody knows */
} BlobWant;

/* Part of a request in few words. */
typedef struct FetchName {
        Oid oid;
        bool is_tree; /* with all that lies below it; else a blob */
} FetchName;

/* Its size, or what that may be. */
uint64_t blob_want_bytes(const BlobWant *blob);

/* A blob on its way, from when it is queued until it is here or its request has ended. */
typedef struct Want {
        HTableLink link; /* in FetchQueue.wants */
        TAILQ_ENTRY(Want) entry;
        FetchBatch *batch; /* whose end ends it */
        BlobWant blob;
        uint64_t offset; /* once sent: bytes that the batch asked for before it */
        bool waited;     /* a reader has joined its flight */
        bool counted;    /* in the batch's n_waiting */
} Want;

/* One request. */
struct FetchBatch {
        TAILQ_ENTRY(FetchBatch) entry; /* in its lane, or among those on the wire */
        enum {
                BATCH_NEW, /* whoever made it adds wants */
                BATCH_QUEUED,
                BATCH_SENT,
        } state;
        FetchLane lane;
        WantList wants; /* that are not here yet; in the order of asking */
        size_t n;
        uint64_t bytes;
        FetchName *names; /* owned: as in BlobWants; NULL: wanted one by one */
        size_t n_names;
        uint64_t bytes_all; /* of what is named so, when it was wanted */
        bool closed;        /* nothing is added any more */
        FetchFeed *feed;    /* that it is for; NULL: readers and read-ahead, or cancelled */
        atomic_bool cancelled;
        atomic_bool held; /* sent, but it waits for its turn at its host */
        uint64_t queued_usec;

        /* Once sent: */
        Fetch fetch;
        Namespace *ns;
        Repo *repo;                     /* a reference */
        Oid *oids;                      /* owned: what it asks for */
        uint64_t sent_usec, first_usec; /* the request, the first object; 0: not yet */
        uint64_t bytes_in;              /* as they were counted when they were asked for */
        uint64_t bytes_came;            /* in fact */
        uint64_t bytes_max;             /* that may come */
        size_t n_sent, n_repeated;      /* wants at first; of them, asked for again beside it */
        size_t n_waiting;               /* wants on the wire that a reader has joined since */
        atomic_bool waited;             /* there are some */
};

typedef struct FetchQueue {
        HTable wants; /* Want by id: queued, or on the wire */
        struct {
                FetchBatchList queued;
                unsigned n_active;   /* of its requests are on the wire */
                uint64_t since_usec; /* it has been waiting for its turn; 0: it has not */
        } lanes[_LANE_MAX];
        FetchBatchList active; /* on the wire */
        unsigned n_active;
        FetchFeedList feeds;
        uint64_t mean_bytes; /* of a file, as far as those that came tell: the last count most */
        uint64_t n_came, bytes_came;      /* of all files, each of MEAN_MAX_BYTES at most */
        atomic_uint_least64_t ahead_usec; /* when read-ahead last came; relaxed, a hint */
        bool trees_refused;               /* the server takes no trees instead of their blobs */
        bool timer_armed;
        Timer timer;   /* sends what was gathered; holds the repository while armed */
        Namespace *ns; /* for the timer */
} FetchQueue;

void fetch_queue_init(FetchQueue *q);
/* Nothing is queued or on the wire. */
void fetch_queue_done(FetchQueue *q);
bool fetch_queue_is_idle_locked(const FetchQueue *q);

Want *fetch_queue_find_locked(FetchQueue *q, const Oid *oid);
/* Files have about so many bytes, as is known before any came. */
void fetch_queue_expect_locked(FetchQueue *q, uint64_t mean_bytes);

/* A batch to be filled and appended; NULL without memory. names: as in BlobWants. */
FetchBatch *
fetch_batch_new(FetchLane lane, const FetchName *names, size_t n_names, FetchFeed *feed);
/* Its blobs are wanted one by one. */
void fetch_batch_drop_names(FetchBatch *b);
/* It has no wants. NULL-safe. */
void fetch_batch_free(FetchBatch *b);
/* 1; 0 where it is wanted already; -ENOMEM; -ENOBUFS for read-ahead where too much is wanted in all
 * repositories together. */
int fetch_batch_add_locked(FetchQueue *q, FetchBatch *b, const BlobWant *blob);
void fetch_queue_append_locked(FetchQueue *q, FetchBatch *b);
/* Its wants go to the end of its lane, which takes the batch, or frees it. */
void fetch_queue_merge_locked(FetchQueue *q, FetchBatch *b);

/* A reader waits for what is on its way: sees to it that it comes soon. True: it waits for its turn
 * at its host, which is to be told (host_gates_raise()). */
bool fetch_queue_promote_locked(FetchQueue *q, Want *want, uint64_t rtt_usec);
/* It comes for a reader, or for one who is about to read, within a second or so. */
bool fetch_queue_is_soon_locked(const Want *want, uint64_t rtt_usec);
/* What a batch asked for, or brought besides, has come. */
void fetch_queue_count_locked(FetchQueue *q, FetchBatch *b, const Oid *oid, uint64_t size);
/* Ends a request on the wire that brings far more than it was thought to, where sizes were guessed.
 * Those that readers wait for are queued for them; the other wants are the caller's to free. False
 * where it may go on. */
bool fetch_queue_stop_excess_locked(FetchQueue *q, FetchBatch *b, WantList *ret);
/* It is here. */
void fetch_queue_drop_locked(FetchQueue *q, Want *want);
/* The next request to send, which counts as on the wire from now on; or NULL, then *ret_when is
 * when to look again even if nothing happens, or USEC_INFINITY. rtt_usec 0: nothing is gathered. */
FetchBatch *fetch_queue_next_locked(FetchQueue *q, uint64_t rtt_usec, uint64_t *ret_when);
/* A request has ended; what has not come is still in its list. */
void fetch_queue_ended_locked(FetchQueue *q, FetchBatch *b);
/* Then: all of it is to be sent again, blob by blob; */
void fetch_queue_requeue_locked(FetchQueue *q, FetchBatch *b);
/* or what readers wait for, alone; */
void fetch_queue_retry_waited_locked(FetchQueue *q, FetchBatch *b);
/* or it is wanted no more: the caller frees the wants. */
void fetch_queue_detach_locked(FetchQueue *q, FetchBatch *b, WantList *ret);
/* A feed that has ended, and is the queue's no more; or NULL. */
FetchFeed *fetch_queue_finished_feed_locked(FetchQueue *q);
/* Ends a feed, whose requests end soon. What readers wait for is queued for them; the other wants
 * are the caller's to free. False if it has ended already. */
bool fetch_queue_cancel_feed_locked(FetchQueue *q, FetchFeed *feed, WantList *ret);

/* --- sending --- */

/* Blobs as they are asked for together, in this order. A request may ask for the names instead, in
 * theirs: trees, of all blobs below which these are FETCH_NEARLY_ALL() of the bytes, as all of that
 * comes then; and those of these that lie below none of them. */
typedef struct BlobWants {
        const BlobWant *wants;
        size_t n;
        const FetchName *names;
        size_t n_names; /* 0: there is nothing shorter to say */
        /* How many of the blobs were not on their way when they were named; where others have asked
         * for some of them since, they are wanted one by one. 0: nobody counted. */
        size_t n_new;
} BlobWants;

/* Whether so many names are worth it; for fewer blobs than FETCH_NAMED_MIN none are. */
#define FETCH_NAMED_MIN 64
bool fetch_names_pay(size_t n_names, size_t n_blobs);

/* Fetches them ahead, sending at once. A reader who comes joins what is under way. Nothing waits:
 * what there is no room for is dropped and counted. Any thread that may block; no lock held. */
void fetch_queue_ahead(Namespace *ns, Repo *repo, FetchLane lane, const BlobWants *blobs);

/* Many blobs for one who takes his time: the queue takes them batch by batch as there is room. What
 * others have under way already is left to them. */
struct FetchFeed {
        /* Set by its owner, unchanged until done: */
        const BlobWant *wants; /* each id once */
        size_t n;
        Oid tree; /* a name as in BlobWants; none: of no tree in particular */
        /* One of them is here. Pool threads, several at a time. */
        void (*object)(FetchFeed *feed, uint64_t size);
        /* Exactly once, last; pool threads. 0: all were asked for, and came; those left out are the
         * business of others: there were n_left of them. */
        void (*done)(FetchFeed *feed, int result, const Failure *failure);

        /* private */
        TAILQ_ENTRY(FetchFeed) entry;
        size_t at;
        size_t n_left;
        unsigned n_batches; /* queued or on the wire */
        unsigned n_calls;   /* of object() under way */
        bool cancelled;
        int result;
        Failure failure;
};
void fetch_queue_feed(Namespace *ns, Repo *repo, FetchFeed *feed);
/* Ends it before its requests have ended, which they do as soon as bytes come. True: done() will
 * not be called. False: it has been, or will be in a moment. */
bool fetch_queue_unfeed(Namespace *ns, Repo *repo, FetchFeed *feed);

/* An object of this repository is here, however it came. */
void fetch_queue_forget(Repo *repo, const Oid *oid);
