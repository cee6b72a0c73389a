#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/fake-manager.h"

#define JOB_STEPS 5

static FakeJob *job_find(Manager *m, uint32_t id) {
        FakeJob *j;

        TAILQ_FOREACH (j, &m->jobs, link)
                if (j->info.id == id)
                        return j;
        return NULL;
}

static void job_free(Manager *m, FakeJob *j) {
        TAILQ_REMOVE(&m->jobs, j, link);
        free((char *) j->info.path);
        free(j);
}

static void job_changed(Manager *m, FakeJob *j, unsigned times) {
        while (times-- > 0 && m->observer.job_changed)
                m->observer.job_changed(j->info.id, m->observer.userdata);
}

static void job_end(Manager *m, FakeJob *j, JobState state) {
        j->info.state = state;
        job_changed(m, j, 1);
}

static bool job_step(Manager *m, FakeJob *j) {
        const char *rest;

        if (j->info.state != JOB_RUNNING || strcmp(j->info.path, "hold") == 0)
                return false;
        j->info.done++;
        j->info.bytes += 1000;
        job_changed(m, j, 50);
        if (starts_with(j->info.path, "fail/", &rest)) {
                j->info.result = failure_set(
                        &j->info.failure, class_from_name(rest), "The server said \"%s\"", rest);
                job_end(m, j, JOB_FAILED);
        } else if (j->info.done == j->info.total)
                job_end(m, j, JOB_DONE);
        return true;
}

void fake_jobs_forget(Manager *m) {
        FakeJob *next;

        for (FakeJob *j = TAILQ_FIRST(&m->jobs); j; j = next) {
                uint32_t id = j->info.id;

                next = TAILQ_NEXT(j, link);
                if (j->info.state == JOB_RUNNING || strncmp(j->info.path, "forget", 6) != 0)
                        continue;
                job_free(m, j);
                if (m->observer.job_removed)
                        m->observer.job_removed(id, m->observer.userdata);
        }
}

bool fake_jobs_step(Manager *m) {
        bool more = false;
        FakeJob *j;

        TAILQ_FOREACH (j, &m->jobs, link)
                more = job_step(m, j) || more;
        return more;
}

void fake_jobs_done(Manager *m) {
        while (!TAILQ_EMPTY(&m->jobs))
                job_free(m, TAILQ_FIRST(&m->jobs));
        while (!TAILQ_EMPTY(&m->pins))
                (void) manager_unpin(m, TAILQ_FIRST(&m->pins)->path, NULL); /* it is pinned */
}

const char *job_state_name(JobState state) {
        static const char *const names[] = {"running", "done", "failed", "cancelled"};
        return names[state];
}

static int
add_job(Manager *m, const char *kind, const char *path, uint64_t total, uint32_t *ret_job) {
        FakeJob *j = calloc(1, sizeof(*j));

        j->info = (JobInfo){
                .id = ++m->last_job,
                .kind = kind,
                .path = strdup(path),
                .total = total,
        };
        TAILQ_INSERT_TAIL(&m->jobs, j, link);
        if (m->observer.job_added)
                m->observer.job_added(j->info.id, m->observer.userdata);
        *ret_job = j->info.id;
        return sd_event_source_set_enabled(m->work, SD_EVENT_ON);
}

int manager_prefetch(
        Manager *m, const char *path, bool contents, uint32_t *ret_job, Failure *ret_failure) {
        if (strcmp(path, "missing") == 0)
                return failure_set(ret_failure, FAILURE_NOT_FOUND, "\"%s\" does not exist", path);
        return add_job(m, "prefetch", path, contents ? JOB_STEPS : JOB_STEPS - 2, ret_job);
}

int manager_verify(Manager *m, uint32_t *ret_job, Failure *ret_failure) {
        const FakeOrg *o;
        bool broken = false;

        TAILQ_FOREACH (o, &m->orgs, link)
                broken = broken || strcmp(o->config->name, "broken") == 0;
        int r = add_job(m, "verify", "/var/cache", JOB_STEPS, ret_job);
        job_find(m, *ret_job)->info.damaged = broken ? 2 : 0;
        return r;
}

/* --- pins --- */

const char *pin_state_name(PinState state) {
        return state == PIN_COMPLETE ? "complete" : "incomplete";
}

static FakePin *pin_find(Manager *m, const char *path) {
        FakePin *p;

        TAILQ_FOREACH (p, &m->pins, link)
                if (strcmp(p->path, path) == 0)
                        break;
        return p;
}

int manager_pin(Manager *m, const char *path, uint32_t *ret_job, Failure *ret_failure) {
        if (path[0] == '\0') {
                (void) failure_set(ret_failure, FAILURE_LOCAL, "the whole mount");
                return -EINVAL;
        }
        if (!pin_find(m, path)) {
                FakePin *p = calloc(1, sizeof(*p));
                p->path = strdup(path);
                TAILQ_INSERT_TAIL(&m->pins, p, link);
        }
        return add_job(m, "pin", path, JOB_STEPS, ret_job);
}

int manager_unpin(Manager *m, const char *path, Failure *ret_failure) {
        FakePin *p = pin_find(m, path);

        if (!p)
                return failure_set(ret_failure, FAILURE_NOT_FOUND, "\"%s\" is not pinned", path);
        TAILQ_REMOVE(&m->pins, p, link);
        free(p->path);
        free(p);
        return 0;
}

int manager_each_pin(Manager *m, int (*fn)(const PinInfo *info, void *userdata), void *userdata) {
        FakePin *p;
        int r = 0;

        TAILQ_FOREACH (p, &m->pins, link) {
                PinInfo info = {
                        .path = p->path,
                        .state = PIN_COMPLETE,
                        .done = 5,
                        .total = 5,
                        .bytes = 5000};
                const char *rest;
                if (starts_with(p->path, "fail/", &rest)) {
                        info.state = PIN_INCOMPLETE;
                        info.result = failure_set(
                                &info.failure,
                                class_from_name(rest),
                                "The server said \"%s\"",
                                rest);
                }
                if ((r = fn(&info, userdata)) < 0)
                        break;
        }
        return r;
}

int manager_get_job(Manager *m, uint32_t id, JobInfo *ret) {
        const FakeJob *j = job_find(m, id);

        if (!j)
                return 0;
        *ret = j->info;
        return 1;
}

int manager_each_job(Manager *m, int (*fn)(const JobInfo *info, void *userdata), void *userdata) {
        FakeJob *j;
        int r = 0;

        TAILQ_FOREACH (j, &m->jobs, link)
                if ((r = fn(&j->info, userdata)) < 0)
                        break;
        return r;
}

int manager_cancel_job(Manager *m, uint32_t id) {
        FakeJob *j = job_find(m, id);

        if (!j)
                return -ENOENT;
        if (j->info.state == JOB_RUNNING)
                job_end(m, j, JOB_CANCELLED);
        return 0;
}
