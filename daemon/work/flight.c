#include "work/flight.h"

#include <errno.h>
#include <string.h>

#include "util/htable.h"
#include "util/mutex.h"
#include "util/ref.h"
#include "util/stats.h"

/* A table of what is under way, behind one lock that is held for a look-up and a list operation
 * only.
 *
 * A waiter is in one of two states that matter, and the table's lock decides between them: on the
 * list of its flight (`waiter->flight` is set; it may leave), or landed (the task is, or will be,
 * on the pool). flight_land() moves all waiters from the first to the second in one critical
 * section, which is what makes flight_leave() exact. From then on the flight is no longer in the
 * table, a new one may start under the same key, and the old one only carries the outcome, with a
 * reference per waiter. */

typedef TAILQ_HEAD(WaiterList, FlightWaiter) WaiterList;

typedef struct Flight {
        HTableLink link; /* protected by the table's lock while in the table, like waiters */
        FlightKey key;
        WaiterList waiters;

        /* written once, by whoever landed the flight, before any waiter runs */
        Ref ref;
        int result;
        Failure failure;
} Flight;

struct FlightTable {
        Pool *pool;
        Mutex lock;
        HTable flights; /* protected by lock */
};

static_assert(
        sizeof(FlightKey) == sizeof(void *) + sizeof(uint32_t) + 36,
        "keys are hashed and compared as bytes: no padding");

static uint64_t key_hash(const FlightKey *key) {
        return hash_bytes(key, sizeof(*key), 0);
}

static Flight *find_locked(FlightTable *table, const FlightKey *key) {
        HTABLE_FOREACH (l, &table->flights, key_hash(key)) {
                Flight *flight = container_of(l, Flight, link);
                if (memcmp(&flight->key, key, sizeof(*key)) == 0)
                        return flight;
        }
        return NULL;
}

static void flight_unref(Flight *flight) {
        if (ref_put(&flight->ref)) {
                assert(TAILQ_EMPTY(&flight->waiters));
                free(flight);
        }
}

int flight_table_new(Pool *pool, FlightTable **ret) {
        FlightTable *table = calloc(1, sizeof(*table));
        if (!table)
                return -ENOMEM;
        table->pool = pool;
        mutex_init(&table->lock, LOCK_RANK_FLIGHT);
        *ret = table;
        return 0;
}

FlightTable *flight_table_free(FlightTable *table) {
        if (!table)
                return NULL;
        htable_done(&table->flights);
        mutex_destroy(&table->lock);
        free(table);
        return NULL;
}

static void waiter_run(Task *task) {
        FlightWaiter *waiter = container_of(task, FlightWaiter, task);
        /* landed() may free the waiter, or join the next flight with it. */
        Flight *flight = TAKE_PTR(waiter->outcome);

        waiter->landed(waiter, flight->result, &flight->failure);
        flight_unref(flight);
}

static int add_locked(FlightTable *table, const FlightKey *key, Flight **ret) {
        Flight *flight = calloc(1, sizeof(*flight));
        if (!flight)
                return -ENOMEM;
        flight->key = *key;
        flight->ref = REF_INIT;
        TAILQ_INIT(&flight->waiters);
        int r = htable_add(&table->flights, &flight->link, key_hash(key));
        if (r < 0) {
                free(flight);
                return r;
        }
        *ret = flight;
        return 0;
}

int flight_join(FlightTable *table, const FlightKey *key, FlightWaiter *waiter) {
        bool started = false;

        assert(!waiter || waiter->landed);

        MUTEX_GUARD(&table->lock);
        Flight *flight = find_locked(table, key);
        if (!flight) {
                int r = add_locked(table, key, &flight);
                if (r < 0)
                        return r;
                started = true;
        }
        if (waiter) {
                assert(!waiter->flight);
                waiter->task.run = waiter_run;
                waiter->flight = flight;
                if (waiter->scope)
                        atomic_store_explicit(
                                waiter->scope, (uintptr_t) key->scope, memory_order_relaxed);
                TAILQ_INSERT_TAIL(&flight->waiters, waiter, entry);
        }
        stat_add(started ? STAT_FLIGHT_STARTED : STAT_FLIGHT_JOINED, 1);
        return started;
}

bool flight_leave(FlightTable *table, FlightWaiter *waiter) {
        MUTEX_GUARD(&table->lock);
        if (!waiter->flight)
                return false;
        TAILQ_REMOVE(&waiter->flight->waiters, waiter, entry);
        waiter->flight = NULL;
        return true;
}

/* Takes the flight out of the table and turns its list of waiters into one of landed waiters. */
static Flight *take_flight(FlightTable *table, const FlightKey *key, WaiterList *ret_landed) {
        FlightWaiter *waiter;

        MUTEX_GUARD(&table->lock);
        Flight *flight = find_locked(table, key);
        if (!flight)
                return NULL;
        htable_remove(&table->flights, &flight->link);
        TAILQ_CONCAT(ret_landed, &flight->waiters, entry);
        TAILQ_FOREACH (waiter, ret_landed, entry) {
                ref_get(&flight->ref);
                waiter->outcome = flight;
                waiter->flight = NULL;
        }
        return flight;
}

void flight_land(FlightTable *table, const FlightKey *key, int result, const Failure *failure) {
        WaiterList landed = TAILQ_HEAD_INITIALIZER(landed);

        assert(result <= 0);

        Flight *flight = take_flight(table, key, &landed);
        if (!flight)
                return;
        flight->result = result;
        if (failure)
                flight->failure = *failure;
        else if (result < 0)
                (void) failure_set(/* the errno is the caller's */
                                   &flight->failure,
                                   result == -ENOENT      ? FAILURE_NOT_FOUND
                                   : result == -ECANCELED ? FAILURE_CANCELLED
                                                          : FAILURE_LOCAL,
                                   "%s",
                                   strerrordesc_np(-result));

        for (FlightWaiter *waiter = TAILQ_FIRST(&landed), *next; waiter; waiter = next) {
                next = TAILQ_NEXT(waiter, entry); /* once submitted, the waiter may be gone */
                pool_submit(table->pool, &waiter->task, TASK_NORMAL);
        }
        flight_unref(flight);
}

bool flight_exists(FlightTable *table, const FlightKey *key) {
        MUTEX_GUARD(&table->lock);
        return find_locked(table, key) != NULL;
}

size_t flight_count(FlightTable *table) {
        MUTEX_GUARD(&table->lock);
        return table->flights.n_entries;
}
