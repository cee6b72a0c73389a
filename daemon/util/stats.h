#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Process-wide counters, shown by `gitfsctl stats`. Adding one: a line in STATS_LIST. Counters only
 * rise; gauges rise and fall. Relaxed atomics: each value is exact, several read together are not a
 * snapshot. */
#define STATS_LIST(X)                                                                              \
        X(FUSE_LOOKUP, "fuse-lookup")                                                              \
        X(FUSE_GETATTR, "fuse-getattr")                                                            \
        X(FUSE_READLINK, "fuse-readlink")                                                          \
        X(FUSE_OPEN, "fuse-open")                                                                  \
        X(FUSE_READ, "fuse-read")                                                                  \
        X(FUSE_READ_BYTES, "fuse-read-bytes")                                                      \
        X(FUSE_READDIR, "fuse-readdir")                                                            \
        X(FUSE_READDIRPLUS, "fuse-readdirplus")                                                    \
        X(FUSE_STATFS, "fuse-statfs")                                                              \
        X(FUSE_XATTR, "fuse-xattr")                                                                \
        X(FUSE_FORGET, "fuse-forget")                                                              \
        X(FUSE_INTERRUPT, "fuse-interrupt")                                                        \
        X(FUSE_OTHER, "fuse-other")                                                                \
        X(FUSE_PARKED, "fuse-parked")                                                              \
        X(FUSE_PARKED_NOW, "fuse-parked-now")                                                      \
        X(FUSE_REFUSED, "fuse-refused")                                                            \
        X(FUSE_TIMED_OUT, "fuse-timed-out")                                                        \
        X(FUSE_ERRORS, "fuse-errors")                                                              \
        X(FUSE_RECOVERED, "fuse-recovered")                                                        \
        X(FUSE_POISON, "fuse-poison")                                                              \
        X(NOTIFY_ENTRY, "notify-entry")                                                            \
        X(NOTIFY_INODE, "notify-inode")                                                            \
        X(NOTIFY_RETRIED, "notify-retried")                                                        \
        X(PUSH_FILES, "push-files")                                                                \
        X(PUSH_BYTES, "push-bytes")                                                                \
        X(PUSH_LATE, "push-late")                                                                  \
        X(NODES_NOW, "nodes-now")                                                                  \
        X(NODES_CREATED, "nodes-created")                                                          \
        X(NODE_BYTES_NOW, "node-bytes-now")                                                        \
        X(LIST_RUNS, "list-runs")                                                                  \
        X(LIST_PAGES, "list-pages")                                                                \
        X(LIST_KEPT, "list-kept")                                                                  \
        X(LIST_FAILED, "list-failed")                                                              \
        X(LISTINGS_NOW, "listings-now")                                                            \
        X(STORE_HIT, "store-hit")                                                                  \
        X(STORE_MISS, "store-miss")                                                                \
        X(STORE_PUT, "store-put")                                                                  \
        X(STORE_PUT_BYTES, "store-put-bytes")                                                      \
        X(STORE_EVICTED, "store-evicted")                                                          \
        X(STORE_CORRUPT, "store-corrupt")                                                          \
        X(STORE_PINNED_LOST, "store-pinned-lost")                                                  \
        X(STORE_FLUSHES, "store-flushes")                                                          \
        X(STORE_SCANNED, "store-scanned")                                                          \
        X(STORE_DISK_REFUSED, "store-disk-refused")                                                \
        X(STORE_DISK_BYTES, "store-disk-bytes")                                                    \
        X(STORE_MEMORY_BYTES, "store-memory-bytes")                                                \
        X(FLIGHT_STARTED, "flight-started")                                                        \
        X(FLIGHT_JOINED, "flight-joined")                                                          \
        X(HTTP_REQUESTS, "http-requests")                                                          \
        X(HTTP_ERRORS, "http-errors")                                                              \
        X(HTTP_RETRIES, "http-retries")                                                            \
        X(HTTP_BYTES_IN, "http-bytes-in")                                                          \
        X(HTTP_BYTES_OUT, "http-bytes-out")                                                        \
        X(HTTP_ACTIVE_NOW, "http-active-now")                                                      \
        X(HTTP_HELD, "http-held")                                                                  \
        X(HTTP_AHEAD, "http-connected-ahead")                                                      \
        X(HTTP_AHEAD_USED, "http-connected-ahead-used")                                            \
        X(INBOX_BYTES_NOW, "inbox-bytes-now")                                                      \
        X(JSON_BYTES_NOW, "json-bytes-now")                                                        \
        X(JSON_WAITING_NOW, "json-waiting-now")                                                    \
        X(SSH_REQUESTS, "ssh-requests")                                                            \
        X(SSH_CONNECTIONS, "ssh-connections")                                                      \
        X(SSH_CONNECTIONS_NOW, "ssh-connections-now")                                              \
        X(SSH_BYTES_IN, "ssh-bytes-in")                                                            \
        X(SSH_BYTES_OUT, "ssh-bytes-out")                                                          \
        X(FETCH_REFS, "fetch-refs")                                                                \
        X(FETCH_TREES, "fetch-trees")                                                              \
        X(FETCH_BLOBS, "fetch-blobs")                                                              \
        X(FETCH_SIZES, "fetch-sizes")                                                              \
        X(FETCH_OBJECTS_IN, "fetch-objects-in")                                                    \
        X(FETCH_CORRUPT, "fetch-corrupt")                                                          \
        X(FETCH_MISSING, "fetch-missing")                                                          \
        X(FETCH_MERGED, "fetch-merged")                                                            \
        X(FETCH_PROMOTED, "fetch-promoted")                                                        \
        X(FETCH_REPEATED, "fetch-repeated")                                                        \
        X(FETCH_CANCELLED, "fetch-cancelled")                                                      \
        X(FETCH_CLOSURES, "fetch-closures")                                                        \
        X(PREFETCH_QUEUED, "prefetch-queued")                                                      \
        X(PREFETCH_DROPPED, "prefetch-dropped")                                                    \
        X(PREFETCH_CHILDREN_USEFUL, "prefetch-children-useful")                                    \
        X(PREFETCH_CHILDREN_WASTED, "prefetch-children-wasted")                                    \
        X(PREFETCH_CHILDREN_DROPPED, "prefetch-children-dropped")                                  \
        X(PREFETCH_SIBLINGS_USEFUL, "prefetch-siblings-useful")                                    \
        X(PREFETCH_SIBLINGS_WASTED, "prefetch-siblings-wasted")                                    \
        X(PREFETCH_SIBLINGS_DROPPED, "prefetch-siblings-dropped")                                  \
        X(PREFETCH_WALK_USEFUL, "prefetch-walk-useful")                                            \
        X(PREFETCH_WALK_WASTED, "prefetch-walk-wasted")                                            \
        X(PREFETCH_WALK_DROPPED, "prefetch-walk-dropped")                                          \
        X(PREFETCH_REPOS_USEFUL, "prefetch-repos-useful")                                          \
        X(PREFETCH_REPOS_WASTED, "prefetch-repos-wasted")                                          \
        X(PREFETCH_REPOS_DROPPED, "prefetch-repos-dropped")                                        \
        X(PREFETCH_PUSH_USEFUL, "prefetch-push-useful")                                            \
        X(PREFETCH_PUSH_WASTED, "prefetch-push-wasted")                                            \
        X(PREFETCH_PUSH_DROPPED, "prefetch-push-dropped")                                          \
        X(REFRESH_RUNS, "refresh-runs")                                                            \
        X(REFRESH_MOVED, "refresh-moved")                                                          \
        X(REFRESH_FAILED, "refresh-failed")                                                        \
        X(TREE_REFUSED, "tree-refused")                                                            \
        X(NEGATIVE_HIT, "negative-hit")                                                            \
        X(RECALLED, "recalled")                                                                    \
        X(BREAKER_OPEN, "breaker-open")                                                            \
        X(NETWORK_CHANGES, "network-changes")                                                      \
        X(CREDENTIAL_FILLS, "credential-fills")

typedef enum Stat {
#define X(id, name) STAT_##id,
        STATS_LIST(X)
#undef X
                _STAT_MAX,
} Stat;

extern atomic_int_least64_t stats_values[_STAT_MAX];

static inline void stat_add(Stat s, int64_t n) {
        atomic_fetch_add_explicit(&stats_values[s], n, memory_order_relaxed);
}

static inline int64_t stat_get(Stat s) {
        return atomic_load_explicit(&stats_values[s], memory_order_relaxed);
}

const char *stat_name(Stat s);
