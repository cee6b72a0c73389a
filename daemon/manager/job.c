/* Long work that somebody watches. A job belongs to the main thread; the prefetch that does its
 * work reports from pool threads by way of a snapshot under a lock and one mailbox item that is
 * posted when it is not on its way already. */

#include <errno.h>
#include <string.h>

#include "manager/manager-private.h"
#include "tree/prefetch.h"
#include "util/clock.h"
#include "util/log.h"

#define JOB_KEEP_USEC (60 * USEC_PER_SEC)
#define JOB_REPORT_USEC (100 * USEC_PER_MSEC)
#define MAX_JOBS 1000

struct Job {
        TAILQ_ENTRY(Job) entry;
        Manager *manager;
        uint32_t id;
        bool contents;
        char *path;
        Prefetch *prefetch;    /* a reference; NULL before it started */
        uint64_t expires_usec; /* 0 while it runs */
        JobState state;

        MailboxItem item;
        Mutex lock; /* guards what follows: the pool writes it, the main thread reads it */
        bool posted, ended, cancelled;
        uint64_t reported_usec;
        Prefetch *started; /* a reference on its way to the main thread */
        PrefetchProgress progress;
        int result;
        Failure failure;
};

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

static void job_free(Job *job) {
        prefetch_unref(job->prefetch);
        prefetch_unref(job->started);
        mutex_destroy(&job->lock);
        free(job->path);
        free(job);
}

/* Takes over what the pool left, on the main thread. */
static void job_main(MailboxItem *item) {
        Job *job = container_of(item, Job, item);
        Manager *m = job->manager;

        mutex_lock(&job->lock);
        job->posted = false;
        if (job->started) {
                prefetch_unref(job->prefetch);
                job->prefetch = TAKE_PTR(job->started);
        }
        bool ended = job->ended && job->state == JOB_RUNNING;
        int result = job->result;
        Failure failure = job->failure;
        mutex_unlock(&job->lock);

        if (ended) {
                job->state = result == -ECANCELED ? JOB_CANCELLED
                             : result < 0         ? JOB_FAILED
                                                  : JOB_DONE;
                job->expires_usec = now_usec() + JOB_KEEP_USEC;
                if (job->state == JOB_FAILED)
                        log_warning(
                                "Prefetch of \"%s\" failed: %s",
                                job->path,
                                failure.text[0] ? failure.text : strerrordesc_np(-result));
        }
        if (m->observer.job_changed)
                m->observer.job_changed(job->id, m->observer.userdata);
}

static void post_locked(Job *job) {
        if (job->posted)
                return;
        job->posted = true;
        manager_post(job->manager, &job->item);
}

static void on_progress(const PrefetchProgress *progress, void *userdata) {
        Job *job = userdata;
        uint64_t now = now_usec();

        MUTEX_GUARD(&job->lock);
        job->progress = *progress;
        if (now - job->reported_usec < JOB_REPORT_USEC)
                return;
        job->reported_usec = now;
        post_locked(job);
}

static void on_done(int result, const Failure *failure, void *userdata) {
        Job *job = userdata;

        MUTEX_GUARD(&job->lock);
        job->ended = true;
        job->result = result;
        if (failure)
                job->failure = *failure;
        post_locked(job);
}

static void
on_resolved(int result, const NsTarget *target, const Failure *failure, void *userdata) {
        Job *job = userdata;
        const PrefetchObserver observer = {
                .progress = on_progress, .done = on_done, .userdata = job};
        Prefetch *prefetch = NULL;
        Failure why = {0};

        mutex_lock(&job->lock);
        if (job->cancelled)
                result = -ECANCELED;
        mutex_unlock(&job->lock);
        if (result >= 0 && target) {
                result = prefetch_start(
                        job->manager->ns, target, job->contents, &observer, &prefetch);
                if (result == -EINVAL) {
                        (void) failure_set(/* the errno stays */
                                           &why,
                                           FAILURE_LOCAL,
                                           "\"%s\" names no repository: prefetch takes ORG/REPO or "
                                           "a path in it",
                                           job->path);
                        failure = &why;
                }
        }
        if (result < 0) {
                on_done(result, failure, job);
                return;
        }
        MUTEX_GUARD(&job->lock);
        job->started = prefetch;
        if (job->cancelled)
                prefetch_cancel(prefetch);
        post_locked(job);
}

static int job_new(Manager *m, const char *path, bool contents, Job **ret) {
        Job *job = calloc(1, sizeof(*job));
        if (!job)
                return -ENOMEM;
        job->path = strdup(path);
        if (!job->path) {
                free(job);
                return -ENOMEM;
        }
        job->manager = m;
        job->id = ++m->next_job_id;
        job->contents = contents;
        job->item.run = job_main;
        mutex_init(&job->lock, LOCK_RANK_JOB);
        *ret = job;
        return 0;
}

int manager_prefetch(
        Manager *m, const char *path, bool contents, uint32_t *ret_job, Failure *ret_failure) {
        Job *job;
        unsigned n = 0;

        TAILQ_FOREACH (job, &m->jobs, entry)
                n++;
        if (n >= MAX_JOBS) {
                (void) failure_set(
                        ret_failure,
                        FAILURE_LOCAL,
                        "%u jobs are known already: wait for some to end",
                        n);
                return -EBUSY;
        }
        int r = job_new(m, path, contents, &job);
        if (r < 0)
                return r;
        r = ns_resolve(m->ns, path, on_resolved, job);
        if (r < 0) {
                job_free(job);
                return r;
        }
        TAILQ_INSERT_TAIL(&m->jobs, job, entry);
        if (m->observer.job_added)
                m->observer.job_added(job->id, m->observer.userdata);
        *ret_job = job->id;
        return 0;
}

static void fill_info(Job *job, JobInfo *ret) {
        MUTEX_GUARD(&job->lock);
        *ret = (JobInfo){
                .id = job->id,
                .kind = "prefetch",
                .path = job->path,
                .state = job->state,
                .done = job->progress.done,
                .total = job->progress.total,
                .bytes = job->progress.bytes,
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
        fill_info(job, ret);
        return 1;
}

int manager_each_job(Manager *m, int (*fn)(const JobInfo *info, void *userdata), void *userdata) {
        Job *job;

        TAILQ_FOREACH (job, &m->jobs, entry) {
                JobInfo info;
                fill_info(job, &info);
                int r = fn(&info, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void cancel(Job *job) {
        MUTEX_GUARD(&job->lock);
        job->cancelled = true;
        if (job->started)
                prefetch_cancel(job->started);
        if (job->prefetch)
                prefetch_cancel(job->prefetch);
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
                        job_free(job);
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
                job_free(job);
        }
}
