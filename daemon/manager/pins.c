/* The list of pins is a file of the user's configuration, one path a line, written as a whole. Each
 * pin is completed by one job at a time, and few of them run at once:
 *
 *      waiting -> fetching -> complete      until the branch moves or something is lost
 *                          -> incomplete    until the next try
 *
 * Once a job knows the trees it tells which objects it needs, before it fetches the files; that is
 * where a pin that does not fit is refused, and keeps nothing any more. The union of what all pins
 * need goes to the store, and into a document, so that the next process evicts none of it before it
 * has found out by itself. Until each pin has told, what that document said counts as well. */

#include "manager/pins.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "manager/manager-private.h"
#include "tree/checkout.h"
#include "tree/repo.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"
#include "util/stats.h"

#define MAX_PINS 1000
#define MAX_FILE (MAX_PINS * (size_t) PATH_MAX)
#define MAX_RUNNING 2
#define RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)
#define DOCUMENT_KEY "pinned"
#define HEADER                                                                                     \
        "# What gitfs keeps complete in its cache, one path a line: see gitfsctl pin.\n"           \
        "# After an edit: gitfsctl reload.\n"

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

        /* guarded by Pins.lock, as is the list where it is changed */
        uint32_t job;   /* under way; 0: none */
        bool told;      /* what follows is known */
        Pinned objects; /* sealed */
        uint64_t bytes;
} Pin;

struct Pins {
        Manager *manager;
        char *file;
        uint64_t trouble; /* what was lost or damaged when the pins were last due */
        unsigned n_running;
        Task publish_task;

        Mutex lock;
        TAILQ_HEAD(PinList, Pin) list;
        unsigned n;
        Pinned before;   /* what the last process kept; until each pin has told */
        bool publishing; /* the task is on the pool */
        bool changed;    /* since it last began */
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

/* --- what the store is told --- */

/* Takes the union of what they need. */
static int gather(Pins *p, Pinned *ret) {
        bool all_told = true;
        Pin *pin;
        int r = 0;

        MUTEX_GUARD(&p->lock);
        p->changed = false;
        TAILQ_FOREACH (pin, &p->list, entry) {
                all_told = all_told && pin->told;
                if (r >= 0)
                        r = pinned_add_all(ret, &pin->objects);
        }
        if (all_told)
                pinned_done(&p->before);
        return r < 0 ? r : pinned_add_all(ret, &p->before);
}

static int publish_once(Pins *p) {
        Documents *documents = p->manager->documents;
        _cleanup_pinned_ Pinned all = {0};

        int r = gather(p, &all);
        if (r < 0)
                return r;
        pinned_seal(&all);
        if (documents && all.n == 0)
                documents_remove(documents, DOCUMENT_KEY);
        else if (documents)
                r = documents_put(documents, DOCUMENT_KEY, all.keys, all.n * sizeof(*all.keys));
        if (r < 0)
                log_debug(
                        "what is pinned is not noted for the next start: %s, ignoring",
                        strerrorname_np(-r));
        return store_set_pinned(p->manager->store, &all);
}

static void publish_run(Task *task) {
        Pins *p = container_of(task, Pins, publish_task);

        for (;;) {
                int r = publish_once(p);
                if (r < 0)
                        log_debug("the pinned objects stay as they were: %s", strerrorname_np(-r));
                MUTEX_GUARD(&p->lock);
                p->publishing = p->changed;
                if (!p->publishing)
                        return;
        }
}

static void publish_locked(Pins *p) {
        p->changed = true;
        if (p->publishing)
                return;
        p->publishing = true;
        pool_submit(p->manager->pool, &p->publish_task, TASK_NORMAL);
}

/* What the last process kept. */
static void load_objects(Pins *p) {
        Documents *documents = p->manager->documents;
        _cleanup_buf_ Buf kept = {0};
        _cleanup_pinned_ Pinned now = {0};

        if (TAILQ_EMPTY(&p->list) || !documents ||
            documents_get(documents, DOCUMENT_KEY, &kept) <= 0)
                return;
        size_t n = kept.len / sizeof(uint64_t);
        p->before.keys = calloc(n + 1, sizeof(uint64_t));
        if (!p->before.keys)
                return; /* found out anew */
        memcpy(p->before.keys, kept.data, n * sizeof(uint64_t));
        p->before.n = p->before.n_allocated = n;
        pinned_seal(&p->before);
        if (pinned_add_all(&now, &p->before) >= 0)
                (void) store_set_pinned(p->manager->store, &now); /* likewise */
}

/* --- the list --- */

static Pin *pin_free(Pin *pin) {
        if (!pin)
                return NULL;
        checkout_unref(pin->checkout);
        pinned_done(&pin->objects);
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

static int add_pin(Pins *p, const char *path, size_t len, Pin **ret) {
        Pin *pin = calloc(1, sizeof(*pin));
        if (!pin)
                return -ENOMEM;
        pin->path = strndup(path, len);
        if (!pin->path) {
                free(pin);
                return -ENOMEM;
        }
        MUTEX_GUARD(&p->lock);
        TAILQ_INSERT_TAIL(&p->list, pin, entry);
        p->n++;
        *ret = pin;
        return 0;
}

static void drop_pin(Pins *p, Pin *pin) {
        mutex_lock(&p->lock);
        TAILQ_REMOVE(&p->list, pin, entry);
        p->n--;
        uint32_t job = pin->job;
        publish_locked(p);
        mutex_unlock(&p->lock);
        if (job != 0)
                (void) manager_cancel_job(p->manager, job); /* unless it is over */
        pin_free(pin);
}

static int write_list(Pins *p, Failure *ret_failure) {
        _cleanup_buf_ Buf text = {0};
        Pin *pin;

        int r = buf_append_str(&text, HEADER);
        TAILQ_FOREACH (pin, &p->list, entry)
                if (r >= 0)
                        r = buf_appendf(&text, "%s\n", pin->path);
        if (r >= 0)
                r = mkdir_parents(p->manager->config_home, 0700);
        if (r >= 0)
                r = write_file_atomic(p->file, text.data, text.len, 0600);
        if (r < 0)
                (void) failure_set(/* r says the same */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "cannot write \"%s\": %s",
                                   p->file,
                                   strerrordesc_np(-r));
        return r;
}

static int load_line(Pins *p, const char *line, size_t len) {
        _cleanup_free_ char *typed = strndup(line, len), *path = NULL;
        Failure failure = {0};
        Pin *pin;

        if (!typed)
                return -ENOMEM;
        if (len == 0 || line[0] == '#')
                return 0;
        int r = path_below(p->manager->mount_point, typed, &path, &failure);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || path[0] == '\0' || p->n >= MAX_PINS) {
                log_warning("%s: \"%s\" cannot be pinned, ignoring", p->file, typed);
                return 0;
        }
        pin = find_pin(p, path);
        if (!pin)
                r = add_pin(p, path, strlen(path), &pin);
        if (r >= 0)
                pin->seen = true;
        return r;
}

static int load_list(Pins *p) {
        _cleanup_buf_ Buf text = {0};

        int r = read_file(p->file, MAX_FILE, &text);
        if (r < 0 && r != -ENOENT) {
                log_warning("Cannot read \"%s\": %s, ignoring", p->file, strerrordesc_np(-r));
                return r == -ENOMEM ? r : 1; /* what is pinned stays so */
        }
        const char *at = (const char *) text.data, *end = at + text.len;
        for (r = 0; at < end && r >= 0;) {
                const char *newline = memchr(at, '\n', (size_t) (end - at));
                const char *stop = newline ? newline : end;
                r = load_line(p, at, (size_t) (stop - at));
                at = stop + 1;
        }
        return r;
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

static Pin *find_job_locked(Pins *p, const Job *job) {
        Pin *pin;

        TAILQ_FOREACH (pin, &p->list, entry)
                if (pin->job == job->id)
                        return pin;
        return NULL;
}

int pins_job_listed(Job *job, const Pinned *objects, uint64_t bytes, Failure *ret_failure) {
        Pins *p = job->manager->pins;
        uint64_t limit = store_pin_limit(job->manager->store), others = 0;
        _cleanup_pinned_ Pinned copy = {0};
        Pin *other;

        int r = pinned_add_all(&copy, objects);
        if (r < 0)
                return r;
        MUTEX_GUARD(&p->lock);
        Pin *pin = find_job_locked(p, job);
        if (!pin)
                return -ECANCELED;
        TAILQ_FOREACH (other, &p->list, entry)
                others += other == pin ? 0 : other->bytes;
        pinned_done(&pin->objects);
        pin->told = true; /* that it needs nothing is told as well */
        publish_locked(p);
        if (bytes + others > limit) {
                pin->bytes = 0;
                return failure_set(
                        ret_failure,
                        FAILURE_TOO_LARGE,
                        "it takes %" PRIu64 " MiB, other pins take %" PRIu64
                        ", and all together may take %" PRIu64 " (half of DiskLimit=)",
                        bytes >> 20,
                        others >> 20,
                        limit >> 20);
        }
        pin->objects = copy;
        copy = (Pinned){0};
        pin->bytes = bytes;
        return 0;
}

static void set_job(Pins *p, Pin *pin, uint32_t job) {
        MUTEX_GUARD(&p->lock);
        pin->job = job;
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
        mutex_lock(&p->lock);
        Pin *pin = find_job_locked(p, job);
        if (pin) {
                pin->job = 0;
                /* What is not there needs nothing. */
                if (!pin->told && (info.result >= 0 || is_final(info.result))) {
                        pin->told = true;
                        publish_locked(p);
                }
        }
        mutex_unlock(&p->lock);
        p->n_running--;
        if (!pin)
                return; /* dropped meanwhile */
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
                MUTEX_GUARD(&p->lock);
                *ret_job = pin->job;
                return 0;
        }
        if (path[0] == '\0' || strchr(path, '\n') || (fresh && p->n >= MAX_PINS)) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   path[0] ? "\"%s\" cannot be pinned, or one pin too many"
                                           : "the whole mount cannot be pinned%s",
                                   path);
                return -EINVAL;
        }
        int r = pin ? 0 : add_pin(p, path, strlen(path), &pin);
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
                .result = pin->state == PIN_INCOMPLETE ? pin->result : 0,
                .failure = pin->failure,
        };
        mutex_lock(&p->lock);
        ret->bytes = pin->bytes;
        uint32_t id = pin->job;
        mutex_unlock(&p->lock);
        if (id != 0 && manager_get_job(p->manager, id, &job) > 0) {
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
        mutex_init(&p->lock, LOCK_RANK_JOB);
        p->publish_task.run = publish_run;
        p->file = path_join(m->config_home, "pins", NULL);
        int r = p->file ? load_list(p) : -ENOMEM;
        if (r < 0) {
                pins_free(p);
                return r;
        }
        load_objects(p);
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
        pinned_done(&p->before);
        mutex_destroy(&p->lock);
        free(p->file);
        free(p);
        return NULL;
}
