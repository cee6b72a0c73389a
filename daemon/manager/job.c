/* What is the same for every kind of job. The main thread is told of what other threads report by a
 * snapshot under a lock and one mailbox item that is posted when it is not on its way already. */

#include "manager/job.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "manager/manager-private.h"
#include "util/clock.h"
#include "util/log.h"

#define JOB_KEEP_USEC (60 * USEC_PER_SEC)
#define JOB_REPORT_USEC (100 * USEC_PER_MSEC)
#define MAX_JOBS 1000

const char *job_state_name(JobState state) {
        switch (state) {
        case JOB_DONE:
                return "done";
        case JOB_FAILED:
                return "failed";
        case JOB_CANCELLED:
                return "cancelled";
        default:
                return "running";
        }
}

/* Takes over what other threads left, on the main thread. */
static void job_main(MailboxItem *item) {
        Job *job = container_of(item, Job, item);
        Manager *m = job->manager;

        mutex_lock(&job->lock);
        job->posted = false;
        bool ended = job->ended && job->state == JOB_RUNNING;
        int result = job->result;
        Failure failure = job->failure;
        uint64_t damaged = job->damaged;
        mutex_unlock(&job->lock);

        if (ended) {
                job->state = result == -ECANCELED ? JOB_CANCELLED
                             : result < 0         ? JOB_FAILED
                                                  : JOB_DONE;
                job->expires_usec = now_usec() + JOB_KEEP_USEC;
                if (job->state == JOB_FAILED && !job->background)
                        log_warning(
                                "%s of \"%s\" failed: %s",
                                job->ops->title,
                                job->path,
                                failure.text[0] ? failure.text : strerrordesc_np(-result));
                if (damaged > 0)
                        log_warning(
                                "%s of \"%s\" found %" PRIu64 " damaged and dropped them",
                                job->ops->title,
                                job->path,
                                damaged);
        }
        if (m->observer.job_changed)
                m->observer.job_changed(job->id, m->observer.userdata);
        if (ended && job->ops->ended && !manager_is_stopping(m))
                job->ops->ended(job);
}

/* --- from any thread --- */

static void post_locked(Job *job) {
        if (job->posted)
                return;
        job->posted = true;
        manager_post(job->manager, &job->item);
}

bool job_is_cancelled(Job *job) {
        MUTEX_GUARD(&job->lock);
        return job->cancelled;
}

void job_report(Job *job, uint64_t done, uint64_t total, uint64_t bytes) {
        uint64_t now = now_usec();

        MUTEX_GUARD(&job->lock);
        job->done = done;
        job->total = total;
        job->bytes = bytes;
        if (now - job->reported_usec < JOB_REPORT_USEC)
                return;
        job->reported_usec = now;
        post_locked(job);
}

void job_set_damaged(Job *job, uint64_t n) {
        MUTEX_GUARD(&job->lock);
        job->damaged = n;
}

void job_end(Job *job, int result, const Failure *failure) {
        MUTEX_GUARD(&job->lock);
        job->ended = true;
        job->result = result;
        if (failure)
                job->failure = *failure;
        post_locked(job);
}

/* --- life --- */

int job_init(Job *job, Manager *m, const JobOps *ops, const char *path, Failure *ret_failure) {
        const Job *other;
        unsigned n = 0;

        TAILQ_FOREACH (other, &m->jobs, entry)
                n++;
        if (n >= MAX_JOBS) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "%u jobs are known already: wait for some to end",
                                   n);
                return -EBUSY;
        }
        char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        *job =
                (Job){.ops = ops,
                      .manager = m,
                      .id = ++m->next_job_id,
                      .path = copy,
                      .item.run = job_main};
        mutex_init(&job->lock, LOCK_RANK_JOB);
        return 0;
}

void job_add(Job *job) {
        Manager *m = job->manager;

        TAILQ_INSERT_TAIL(&m->jobs, job, entry);
        if (m->observer.job_added)
                m->observer.job_added(job->id, m->observer.userdata);
}

void job_done(Job *job) {
        mutex_destroy(&job->lock);
        free(job->path);
}

/* --- what the bus asks --- */

void job_get_info(Job *job, JobInfo *ret) {
        MUTEX_GUARD(&job->lock);
        *ret = (JobInfo){
                .id = job->id,
                .kind = job->ops->kind,
                .path = job->path,
                .state = job->state,
                .done = job->done,
                .total = job->total,
                .bytes = job->bytes,
                .damaged = job->damaged,
                .result = job->state == JOB_RUNNING ? 0 : job->result,
                .failure = job->failure,
        };
}

static Job *find_job(Manager *m, uint32_t id) {
        Job *job;

        TAILQ_FOREACH (job, &m->jobs, entry) {
                if (job->id == id)
                        return job;
        }
        return NULL;
}

int manager_get_job(Manager *m, uint32_t id, JobInfo *ret) {
        Job *job = find_job(m, id);
        if (!job)
                return 0;
        job_get_info(job, ret);
        return 1;
}

int manager_each_job(Manager *m, int (*fn)(const JobInfo *info, void *userdata), void *userdata) {
        Job *job;

        TAILQ_FOREACH (job, &m->jobs, entry) {
                JobInfo info;
                job_get_info(job, &info);
                int r = fn(&info, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void cancel(Job *job) {
        mutex_lock(&job->lock);
        job->cancelled = true;
        mutex_unlock(&job->lock);
        job->ops->cancel(job);
}

int manager_cancel_job(Manager *m, uint32_t id) {
        Job *job = find_job(m, id);
        if (!job)
                return -ENOENT;
        cancel(job);
        return 0;
}

void manager_expire_jobs(Manager *m, uint64_t now) {
        Job *job = TAILQ_FIRST(&m->jobs);

        while (job) {
                Job *next = TAILQ_NEXT(job, entry);
                if (job->expires_usec != 0 && job->expires_usec <= now) {
                        uint32_t id = job->id;
                        TAILQ_REMOVE(&m->jobs, job, entry);
                        job->ops->free(job);
                        if (m->observer.job_removed)
                                m->observer.job_removed(id, m->observer.userdata);
                }
                job = next;
        }
}

void manager_cancel_jobs(Manager *m) {
        Job *job;

        TAILQ_FOREACH (job, &m->jobs, entry)
                cancel(job);
}

void manager_free_jobs(Manager *m) {
        Job *job;

        while ((job = TAILQ_FIRST(&m->jobs))) {
                TAILQ_REMOVE(&m->jobs, job, entry);
                job->ops->free(job);
        }
}
