/* Each pin is completed by one job at a time, and few of them run at once:
 *
 *      waiting -> fetching -> complete      until the branch moves or something is lost
 *                          -> incomplete    until the next try
 *
 * Once a job knows the trees it tells which objects it needs, before it fetches the files; that is
 * where a pin that does not fit is refused, and keeps nothing any more (pin-sets.h). Until it has
 * told, what it needed in the last process counts. */

#include "manager/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/manager-private.h"
#include "manager/pin-list.h"
#include "manager/pin-sets.h"
#include "tree/checkout.h"
#include "tree/repo.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/path.h"
#include "util/stats.h"

#define MAX_RUNNING 2
#define RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

typedef struct Pin {
        TAILQ_ENTRY(Pin) entry;
        char *path;
        PinState state;
        bool fresh; /* never tried before: what cannot be pinned at all is dropped again */
        bool seen;  /* by a reload */
        unsigned n_failed;
        uint64_t due_usec;  /* the next try; USEC_INFINITY: not by itself */
        Checkout *checkout; /* what was completed: a reference, which keeps its branch polled */
        Oid commit;
        uint64_t n_files;
        int result; /* of the last try */
        Failure failure;
        uint32_t job; /* under way; 0: none */
        PinSet *set;  /* what it needs */
} Pin;

struct Pins {
        Manager *manager;
        char *file;
        uint64_t trouble; /* what was lost or damaged when the pins were last due */
        unsigned n_running;
        TAILQ_HEAD(PinList, Pin) list;
        unsigned n;
        PinSets sets;
};

const char *pin_state_name(PinState state) {
        switch (state) {
        case PIN_FETCHING:
                return "fetching";
        case PIN_COMPLETE:
                return "complete";
        case PIN_INCOMPLETE:
                return "incomplete";
        default:
                return "waiting";
        }
}

/* --- the list --- */

static Pin *pin_free(Pin *pin) {
        if (!pin)
                return NULL;
        checkout_unref(pin->checkout);
        free(pin->path);
        free(pin);
        return NULL;
}

static Pin *find_pin(Pins *p, const char *path) {
        Pin *pin;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (strcmp(pin->path, path) == 0)
                        return pin;
        return NULL;
}

static int add_pin(Pins *p, const char *path, Pin **ret) {
        Pin *pin = calloc(1, sizeof(*pin));
        if (!pin)
                return -ENOMEM;
        pin->path = strdup(path);
        int r = pin->path ? pin_set_new(&p->sets, path, &pin->set) : -ENOMEM;
        if (r < 0) {
                pin_free(pin);
                return r;
        }
        TAILQ_INSERT_TAIL(&p->list, pin, entry);
        p->n++;
        *ret = pin;
        return 0;
}

static void drop_pin(Pins *p, Pin *pin) {
        TAILQ_REMOVE(&p->list, pin, entry);
        p->n--;
        pin_set_drop(&p->sets, pin->set);
        if (pin->job != 0)
                (void) manager_cancel_job(p->manager, pin->job); /* unless it is over */
        pin_free(pin);
}

static int write_list(Pins *p, Failure *ret_failure) {
        _cleanup_buf_ Buf lines = {0};
        Pin *pin;
        int r = 0;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (r >= 0)
                        /* Not to be taken for a comment. */
                        r = buf_appendf(
                                &lines, "%s%s\n", pin->path[0] == '#' ? "./" : "", pin->path);
        return r < 0 ? r : pin_list_write(p->file, &lines, ret_failure);
}

static int see_pin(const char *path, void *userdata) {
        Pins *p = userdata;
        Pin *pin = find_pin(p, path);

        if (!pin && p->n >= PINS_MAX)
                return -E2BIG;
        int r = pin ? 0 : add_pin(p, path, &pin);
        if (r >= 0)
                pin->seen = true;
        return r;
}

static int load_list(Pins *p) {
        return pin_list_read(p->file, p->manager->mount_point, see_pin, p);
}

void pins_reload(Pins *p) {
        Pin *pin, *next;

        TAILQ_FOREACH (pin, &p->list, entry)
                pin->seen = false;
        if (load_list(p) != 0)
                return;
        for (pin = TAILQ_FIRST(&p->list); pin; pin = next) {
                next = TAILQ_NEXT(pin, entry);
                if (!pin->seen)
                        drop_pin(p, pin);
        }
        pins_check(p);
}

/* --- jobs --- */

static Pin *find_job(Pins *p, const Job *job) {
        Pin *pin;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (pin->job == job->id)
                        return pin;
        return NULL;
}

int pins_job_listed(Job *job, const Pinned *objects, uint64_t bytes, Failure *ret_failure) {
        return pin_sets_tell(&job->manager->pins->sets, job->id, objects, bytes, ret_failure);
}

static void set_job(Pins *p, Pin *pin, uint32_t job) {
        pin->job = job;
        pin_set_expect(&p->sets, pin->set, job);
}

static int start_job(Pins *p, Pin *pin, bool background, uint32_t *ret_job, Failure *ret_failure) {
        uint32_t job = p->manager->next_job_id + 1;

        /* Before it has a chance to say anything. */
        set_job(p, pin, job);
        int r = manager_start_pin_job(p->manager, pin->path, background, &job, ret_failure);
        if (r < 0) {
                set_job(p, pin, 0);
                return r;
        }
        p->n_running++;
        pin->state = PIN_FETCHING;
        pin->due_usec = USEC_INFINITY;
        if (ret_job)
                *ret_job = job;
        return 0;
}

static void try_later(Pin *pin, int result, const Failure *failure) {
        uint64_t wait = RETRY_MIN_USEC << MIN(pin->n_failed, 10u);

        if (pin->state != PIN_INCOMPLETE || pin->failure.class != failure->class)
                log_notice(
                        "\"%s\" is pinned, but not complete: %s",
                        pin->path,
                        failure->text[0] ? failure->text : strerrordesc_np(-result));
        pin->n_failed++;
        pin->state = PIN_INCOMPLETE;
        pin->result = result;
        pin->failure = *failure;
        pin->due_usec = now_usec() + MIN(wait, RETRY_MAX_USEC);
}

/* No other try will change that. */
static bool is_final(int result) {
        return result == -ENOENT || result == -EINVAL || result == -ENOTDIR || result == -EFBIG;
}

static void pin_completed(Pin *pin, Checkout *checkout, const Oid *commit) {
        pin->state = PIN_COMPLETE;
        pin->n_failed = 0;
        pin->result = 0;
        pin->failure = (Failure){0};
        checkout_unref(pin->checkout);
        pin->checkout = checkout ? checkout_ref(checkout) : NULL;
        pin->commit = *commit;
}

void pins_job_ended(Job *job, Checkout *checkout, const Oid *commit) {
        Pins *p = job->manager->pins;
        JobInfo info;

        job_get_info(job, &info);
        Pin *pin = find_job(p, job);
        p->n_running--;
        if (!pin)
                return; /* dropped meanwhile */
        set_job(p, pin, 0);
        /* What is not there needs nothing, nor what its job had to tell nothing of. */
        if (info.result >= 0 || is_final(info.result))
                pin_set_clear(&p->sets, pin->set);
        if (info.result >= 0) {
                pin->n_files = info.total;
                pin_completed(pin, checkout, commit);
        } else if (pin->fresh && is_final(info.result)) {
                drop_pin(p, pin);
                if (write_list(p, NULL) < 0)
                        log_warning("Cannot write \"%s\", ignoring", p->file);
                return;
        } else
                try_later(pin, info.result, &info.failure);
        pin->fresh = false;
}

/* Of one that is complete: the others wait for their next try. */
static bool has_moved(const Pin *pin) {
        CheckoutState state;

        if (!pin->checkout || pin->state != PIN_COMPLETE)
                return false;
        /* A repository that was gone for a while is another one now, and nobody polls the branch of
         * this one. */
        _cleanup_(checkout_unrefp) Checkout *now =
                repo_find_checkout(pin->checkout->repo, pin->checkout->refspec);
        if (now != pin->checkout)
                return true;
        checkout_get_state(pin->checkout, &state);
        return !oid_equal(&state.commit, &pin->commit);
}

void pins_check(Pins *p) {
        Pin *pin;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (pin->state != PIN_FETCHING)
                        pin->due_usec = 0;
}

void pins_retry(Pins *p) {
        Pin *pin;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (pin->state == PIN_INCOMPLETE)
                        pin->due_usec = 0;
}

/* Who waits for it the longest, lest those that fail keep the others from their turn. */
static Pin *next_due(Pins *p, uint64_t now) {
        uint64_t next = USEC_INFINITY;
        Pin *pin, *found = NULL;

        TAILQ_FOREACH (pin, &p->list, entry) {
                if (pin->state == PIN_FETCHING)
                        continue;
                uint64_t due = has_moved(pin) ? 0 : pin->due_usec;
                if (due <= now && due < next) {
                        next = due;
                        found = pin;
                }
        }
        return found;
}

void pins_tick(Pins *p, uint64_t now) {
        uint64_t trouble =
                (uint64_t) (stat_get(STAT_STORE_CORRUPT) + stat_get(STAT_STORE_PINNED_LOST) + stat_get(STAT_STORE_FLUSHES));
        Pin *pin;

        if (trouble != p->trouble)
                pins_check(p);
        p->trouble = trouble;
        /* Too many jobs: at the next tick, or the one after. */
        while (p->n_running < MAX_RUNNING && (pin = next_due(p, now)))
                if (start_job(p, pin, /* background= */ true, NULL, NULL) < 0)
                        return;
}

/* --- what the bus asks --- */

int manager_pin(Manager *m, const char *path, uint32_t *ret_job, Failure *ret_failure) {
        Pins *p = m->pins;
        Pin *pin = find_pin(p, path);
        bool fresh = !pin;

        if (pin && pin->state == PIN_FETCHING) {
                *ret_job = pin->job;
                return 0;
        }
        if (path[0] == '\0' || strchr(path, '\n') || (fresh && p->n >= PINS_MAX)) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   path[0] ? "\"%s\" cannot be pinned, or one pin too many"
                                           : "the whole mount cannot be pinned%s",
                                   path);
                return -EINVAL;
        }
        int r = pin ? 0 : add_pin(p, path, &pin);
        if (r < 0)
                return r;
        pin->fresh = fresh;
        if (fresh)
                r = write_list(p, ret_failure);
        if (r >= 0)
                r = start_job(p, pin, /* background= */ false, ret_job, ret_failure);
        if (r < 0 && fresh) {
                drop_pin(p, pin);
                (void) write_list(p, NULL); /* what it failed to write it cannot take back */
        }
        return r;
}

int manager_unpin(Manager *m, const char *path, Failure *ret_failure) {
        Pin *pin = find_pin(m->pins, path);

        if (!pin)
                return failure_set(ret_failure, FAILURE_NOT_FOUND, "\"%s\" is not pinned", path);
        drop_pin(m->pins, pin);
        return write_list(m->pins, ret_failure);
}

static void fill_info(Pins *p, Pin *pin, PinInfo *ret) {
        JobInfo job;

        *ret = (PinInfo){
                .path = pin->path,
                .state = pin->state,
                .done = pin->state == PIN_COMPLETE ? pin->n_files : 0,
                .total = pin->n_files,
                .bytes = pin_set_bytes(&p->sets, pin->set),
                .result = pin->state == PIN_INCOMPLETE ? pin->result : 0,
                .failure = pin->failure,
        };
        if (pin->job != 0 && manager_get_job(p->manager, pin->job, &job) > 0) {
                ret->done = job.done;
                ret->total = job.total;
        }
}

int manager_each_pin(Manager *m, int (*fn)(const PinInfo *info, void *userdata), void *userdata) {
        Pin *pin;

        TAILQ_FOREACH (pin, &m->pins->list, entry) {
                PinInfo info;
                fill_info(m->pins, pin, &info);
                int r = fn(&info, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- life --- */

int pins_new(Manager *m, Pins **ret) {
        Pins *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->manager = m;
        TAILQ_INIT(&p->list);
        pin_sets_init(&p->sets, m->store, m->documents, m->pool);
        p->file = path_join(m->config_home, "pins", NULL);
        int r = p->file ? load_list(p) : -ENOMEM;
        if (r < 0) {
                pins_free(p);
                return r;
        }
        pin_sets_load(&p->sets);
        *ret = p;
        return 0;
}

Pins *pins_free(Pins *p) {
        Pin *pin;

        if (!p)
                return NULL;
        while ((pin = TAILQ_FIRST(&p->list))) {
                TAILQ_REMOVE(&p->list, pin, entry);
                pin_free(pin);
        }
        pin_sets_done(&p->sets);
        free(p->file);
        free(p);
        return NULL;
}
