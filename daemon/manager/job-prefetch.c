#include <errno.h>

#include "manager/job.h"
#include "manager/manager-private.h"
#include "manager/pins.h"
#include "tree/checkout.h"
#include "tree/prefetch.h"

typedef struct PrefetchJob {
        Job job;
        bool contents;
        Prefetch *prefetch; /* a reference; NULL before it started; guarded by the job's lock */
        /* Of a pin; set before the prefetch starts. What the path showed then; a reference. */
        Checkout *checkout;
        Oid commit;
} PrefetchJob;

static void prefetch_job_cancel(Job *job) {
        PrefetchJob *p = container_of(job, PrefetchJob, job);

        mutex_lock(&job->lock);
        Prefetch *prefetch = p->prefetch; /* stays until the job is freed, on this thread */
        mutex_unlock(&job->lock);
        if (prefetch)
                prefetch_cancel(prefetch);
}

static void prefetch_job_free(Job *job) {
        PrefetchJob *p = container_of(job, PrefetchJob, job);

        prefetch_unref(p->prefetch);
        checkout_unref(p->checkout);
        job_done(job);
        free(p);
}

static const JobOps prefetch_ops = {
        .kind = "prefetch",
        .title = "Prefetch",
        .cancel = prefetch_job_cancel,
        .free = prefetch_job_free,
};

static void pin_job_ended(Job *job) {
        PrefetchJob *p = container_of(job, PrefetchJob, job);

        pins_job_ended(job, p->checkout, &p->commit);
}

static const JobOps pin_ops = {
        .kind = "pin",
        .title = "Pin",
        .cancel = prefetch_job_cancel,
        .ended = pin_job_ended,
        .free = prefetch_job_free,
};

static int on_listed(const Pinned *objects, uint64_t bytes, Failure *ret_failure, void *userdata) {
        return pins_job_listed(userdata, objects, bytes, ret_failure);
}

static void on_progress(const PrefetchProgress *progress, void *userdata) {
        job_report(userdata, progress->done, progress->total, progress->bytes);
}

static void on_done(int result, const Failure *failure, void *userdata) {
        job_end(userdata, result, failure);
}

static void
on_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        PrefetchJob *p = userdata;
        const PrefetchObserver observer = {
                .progress = on_progress,
                .listed = p->job.ops == &pin_ops ? on_listed : NULL,
                .done = on_done,
                .userdata = &p->job,
        };
        Prefetch *prefetch = NULL;
        Failure why = {0};

        if (job_is_cancelled(&p->job))
                result = -ECANCELED;
        if (result >= 0 && target && target->checkout) {
                CheckoutState state;
                checkout_get_state(target->checkout, &state);
                p->checkout = checkout_ref(target->checkout);
                p->commit = state.commit;
        }
        if (result >= 0 && target) {
                result = prefetch_start(
                        p->job.manager->ns, target, p->contents, &observer, &prefetch);
                if (result == -EINVAL) {
                        (void) failure_set(/* the errno stays */
                                           &why,
                                           FAILURE_LOCAL,
                                           "\"%s\" names no repository: %s takes ORG/REPO or a "
                                           "path in it",
                                           p->job.path,
                                           p->job.ops->kind);
                        failure = &why;
                }
        }
        if (result < 0) {
                job_end(&p->job, result, failure);
                return;
        }
        mutex_lock(&p->job.lock);
        p->prefetch = prefetch;
        bool cancelled = p->job.cancelled;
        mutex_unlock(&p->job.lock);
        if (cancelled)
                prefetch_cancel(prefetch);
}

static int
start(Manager *m,
      const JobOps *ops,
      const char *path,
      bool contents,
      bool background,
      uint32_t *ret_job,
      Failure *ret_failure) {
        PrefetchJob *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        int r = job_init(&p->job, m, ops, path, ret_failure);
        if (r < 0) {
                free(p);
                return r;
        }
        p->job.background = background;
        p->contents = contents;
        *ret_job = p->job.id; /* before it can end */
        r = ns_resolve(m->ns, path, on_resolved, p);
        if (r < 0) {
                prefetch_job_free(&p->job);
                return r;
        }
        job_add(&p->job);
        return 0;
}

int manager_prefetch(
        Manager *m, const char *path, bool contents, uint32_t *ret_job, Failure *ret_failure) {
        return start(
                m, &prefetch_ops, path, contents, /* background= */ false, ret_job, ret_failure);
}

int manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure) {
        return start(m, &pin_ops, path, /* contents= */ true, background, ret_job, ret_failure);
}
