/* Checking the cache: one task that hashes a piece and queues itself again, in the background,
 * until all has been seen. Nobody who waits for something is kept waiting for longer than a piece
 * takes, and a cancel is noticed as soon. */

#include <errno.h>

#include "manager/job.h"
#include "manager/manager-private.h"

typedef struct VerifyJob {
        Job job;
        Task task; /* queued or running until the job has ended */
        StoreVerification state;
        bool started;
} VerifyJob;

static void verify_job_cancel(Job *job) {
        /* The task asks before each piece. */
}

static void verify_job_free(Job *job) {
        VerifyJob *v = container_of(job, VerifyJob, job);

        job_done(job);
        free(v);
}

static const JobOps verify_ops = {
        .kind = "verify",
        .title = "Verification",
        .cancel = verify_job_cancel,
        .free = verify_job_free,
};

static void report(VerifyJob *v) {
        const StoreVerification *s = &v->state;

        job_set_damaged(&v->job, s->damaged);
        /* What was there at the start may have gone since, and what is damaged counts as seen. */
        job_report(&v->job, s->checked, MAX(s->total, s->checked), s->bytes);
}

/* They are few and small: in one piece. */
static int verify_documents(VerifyJob *v) {
        uint64_t checked, damaged;

        if (!v->job.manager->documents)
                return 0;
        int r = documents_verify(v->job.manager->documents, &checked, &damaged);
        if (r < 0)
                return r;
        v->state.checked += checked;
        v->state.damaged += damaged;
        return 0;
}

/* 1 when there is more to do. */
static int verify_step(VerifyJob *v) {
        Store *store = v->job.manager->store;

        if (job_is_cancelled(&v->job))
                return -ECANCELED;
        if (!v->started) {
                store_verify_start(store, &v->state);
                v->started = true;
        }
        int r = store_verify_step(store, &v->state);
        return r == 0 ? verify_documents(v) : r;
}

static void verify_run(Task *task) {
        VerifyJob *v = container_of(task, VerifyJob, task);
        Manager *m = v->job.manager;

        int r = verify_step(v);
        if (r == 0)
                v->state.total = v->state.checked;
        report(v);
        if (r > 0)
                pool_submit(m->pool, task, TASK_BACKGROUND);
        else
                job_end(&v->job, r, NULL);
}

int manager_verify(Manager *m, uint32_t *ret_job, Failure *ret_failure) {
        const Job *other;

        TAILQ_FOREACH (other, &m->jobs, entry)
                if (other->ops == &verify_ops && other->state == JOB_RUNNING) {
                        (void) failure_set(/* the errno is this one's */
                                           ret_failure,
                                           FAILURE_LOCAL,
                                           "the cache is being verified already, by job %u",
                                           other->id);
                        return -EBUSY;
                }
        VerifyJob *v = calloc(1, sizeof(*v));
        if (!v)
                return -ENOMEM;
        int r = job_init(&v->job, m, &verify_ops, m->config->cache_directory, ret_failure);
        if (r < 0) {
                free(v);
                return r;
        }
        v->task.run = verify_run;
        job_add(&v->job);
        *ret_job = v->job.id;
        pool_submit(m->pool, &v->task, TASK_BACKGROUND);
        return 0;
}
