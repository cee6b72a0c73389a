/* Signing in: a job that asks the server now and then. All of it runs on the main thread, with a
 * timer between two questions, but for the question itself (forge/login.c), which comes back by the
 * mailbox. Either a question is on its way, or the token is being stored, or the timer runs, or the
 * job has ended. */

#include <errno.h>
#include <string.h>

#include "forge/login.h"
#include "manager/job.h"
#include "manager/manager-login.h"
#include "manager/manager-private.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret-memory.h"

#define STEP_TIMEOUT_USEC (30 * USEC_PER_SEC)
/* What the server wants to be added (RFC 8628, 3.5), and what we add while it is not there. */
#define SLOWER_USEC (5 * USEC_PER_SEC)
#define MAX_LOGINS 8u

typedef struct LoginJob {
        Job job; /* its path is the org's name */
        char *base, *client_id;
        sd_event_source *timer; /* armed between two questions */
        bool asking, storing, ended;
        uint64_t interval_usec, expires_usec; /* monotonic */

        ManagerLoginDone done; /* NULL once called */
        void *userdata;

        LoginStep step;
        MailboxItem stepped;
        /* Left by the step for the main thread: */
        int result;
        LoginAnswer answer;
        Failure failure;

        char *device_code; /* owned, secret memory; NULL before the first answer */
} LoginJob;

static void login_job_free(Job *job) {
        LoginJob *l = container_of(job, LoginJob, job);

        sd_event_source_disable_unref(l->timer);
        login_answer_done(&l->answer);
        secret_free(l->device_code);
        free(l->base);
        free(l->client_id);
        job_done(job);
        free(l);
}

static void end(LoginJob *l, int result, const Failure *failure) {
        ManagerLoginDone done = TAKE_PTR(l->done);

        l->ended = true;
        l->timer = sd_event_source_disable_unref(l->timer);
        job_end(&l->job, result, failure);
        if (done)
                done(result, NULL, failure, l->userdata);
}

static void end_cancelled(LoginJob *l) {
        Failure failure;

        (void) failure_set(&failure, FAILURE_CANCELLED, "the sign-in was cancelled");
        end(l, -ECANCELED, &failure);
}

/* --- asking --- */

/* Pool threads. */
static void on_step_done(LoginStep *step, int result, LoginAnswer *answer, const Failure *failure) {
        LoginJob *l = container_of(step, LoginJob, step);

        l->result = result;
        l->answer = *answer;
        *answer = (LoginAnswer){0};
        l->failure = *failure;
        manager_post(l->job.manager, &l->stepped);
}

static int ask(LoginJob *l) {
        l->step = (LoginStep){
                .context = &l->job.manager->context,
                .base = l->base,
                .client_id = l->client_id,
                .device_code = l->device_code,
                .deadline_usec = now_usec() + STEP_TIMEOUT_USEC,
                .done = on_step_done,
        };
        l->asking = true;
        int r = login_step_start(&l->step);
        if (r < 0)
                l->asking = false;
        return r;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        LoginJob *l = userdata;
        Failure failure;

        int r = ask(l);
        if (r < 0) {
                (void) failure_set(
                        &failure, FAILURE_LOCAL, "cannot ask the server: %s", strerrordesc_np(-r));
                end(l, r, &failure);
        }
        return 0;
}

static void wait_and_ask(LoginJob *l) {
        Manager *m = l->job.manager;
        Failure failure;
        int r = 0;

        if (now_usec() + l->interval_usec >= l->expires_usec) {
                r = failure_set(&failure, FAILURE_AUTH, "the code has expired before it was used");
        } else {
                l->timer = sd_event_source_disable_unref(l->timer);
                r = sd_event_add_time_relative(
                        m->event, &l->timer, CLOCK_MONOTONIC, l->interval_usec, 0, on_timer, l);
                if (r < 0)
                        (void) failure_set(
                                &failure, FAILURE_LOCAL, "no timer: %s", strerrordesc_np(-r));
        }
        if (r < 0)
                end(l, r, &failure);
}

/* --- answers --- */

static void show_code(LoginJob *l) {
        ManagerLoginDone done = TAKE_PTR(l->done);

        l->device_code = TAKE_PTR(l->answer.device_code);
        l->interval_usec = l->answer.interval_usec;
        l->expires_usec = now_usec() + l->answer.expires_in_usec;
        const LoginInfo info = {
                .user_code = l->answer.user_code,
                .verification_uri = l->answer.verification_uri,
                .expires_usec = l->expires_usec,
                .job = l->job.id,
        };
        done(0, &info, &l->failure, l->userdata);
        wait_and_ask(l);
}

static void on_stored(int result, const Failure *failure, void *userdata) {
        LoginJob *l = userdata;

        l->storing = false;
        end(l, result, failure);
        if (result >= 0)
                log_info("Signed in for \"%s\"", l->job.path);
}

static void store(LoginJob *l) {
        Failure failure = {0};

        l->storing = true;
        int r = manager_store_token(
                l->job.manager, l->job.path, TAKE_PTR(l->answer.token), on_stored, l, &failure);
        if (r < 0) {
                l->storing = false;
                end(l, r, &failure);
        }
}

/* A server that is not there now may be later; the person has not even had the time. */
static bool is_passing(const Failure *failure) {
        switch (failure->class) {
        case FAILURE_OFFLINE:
        case FAILURE_TIMEOUT:
        case FAILURE_SERVER:
        case FAILURE_RATE_LIMITED:
                return true;
        default:
                return false;
        }
}

static void stepped_main(MailboxItem *item) {
        LoginJob *l = container_of(item, LoginJob, stepped);
        bool passing = l->device_code && is_passing(&l->failure);

        l->asking = false;
        if (job_is_cancelled(&l->job) || manager_is_stopping(l->job.manager))
                end_cancelled(l);
        else if (l->result < 0 && !passing)
                end(l, l->result, &l->failure);
        else if (!l->device_code)
                show_code(l);
        else if (l->answer.token)
                store(l);
        else {
                if (l->result < 0 || l->answer.slow_down)
                        l->interval_usec += SLOWER_USEC;
                wait_and_ask(l);
        }
        login_answer_done(&l->answer);
}

/* --- life --- */

/* What is on its way ends by itself. */
static void login_job_cancel(Job *job) {
        LoginJob *l = container_of(job, LoginJob, job);

        if (!l->ended && !l->asking && !l->storing)
                end_cancelled(l);
}

static const JobOps login_ops = {
        .kind = "login",
        .title = "Sign-in",
        .cancel = login_job_cancel,
        .free = login_job_free,
};

/* One person can use one code. */
static int check_others(const Manager *m, const char *org, Failure *ret_failure) {
        const Job *other;
        unsigned n = 0;

        TAILQ_FOREACH (other, &m->jobs, entry) {
                if (other->ops != &login_ops || other->state != JOB_RUNNING)
                        continue;
                n++;
                if (strcmp(other->path, org) == 0 || n >= MAX_LOGINS) {
                        (void) failure_set(/* the errno is this one's */
                                           ret_failure,
                                           FAILURE_LOCAL,
                                           "a sign-in for \"%s\" is under way: use its code, or "
                                           "end "
                                           "it with `gitfsctl cancel %u`",
                                           other->path,
                                           other->id);
                        return -EBUSY;
                }
        }
        return 0;
}

static int check_config(const OrgConfig *config, const char *client_id, Failure *ret_failure) {
        const char *why = NULL;

        if (config->kind != ORG_GITHUB)
                why = "signing in is for orgs on GitHub: give others a token with `gitfsctl token "
                      "set`";
        else if (!client_id || client_id[0] == '\0')
                why = "no client id is known: register an OAuth application with the device flow "
                      "enabled at the server, and give its client id with --client-id, or as "
                      "ClientId= of the org";
        if (!why)
                return 0;
        (void) failure_set(ret_failure, FAILURE_LOCAL, "%s", why); /* the errno is this one's */
        return -EINVAL;
}

static int login_job_new(
        Manager *m,
        const OrgConfig *config,
        const char *client_id,
        LoginJob **ret,
        Failure *ret_failure) {
        LoginJob *l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        int r = job_init(&l->job, m, &login_ops, config->name, ret_failure);
        if (r < 0) {
                free(l);
                return r;
        }
        l->stepped.run = stepped_main;
        l->base = strdup(org_config_url(config));
        l->client_id = strdup(client_id);
        if (!l->base || !l->client_id) {
                login_job_free(&l->job);
                return -ENOMEM;
        }
        for (size_t n = strlen(l->base); n > 0 && l->base[n - 1] == '/'; n--)
                l->base[n - 1] = '\0';
        *ret = l;
        return 0;
}

int manager_login(
        Manager *m,
        const char *name,
        const char *client_id,
        ManagerLoginDone done,
        void *userdata,
        Failure *ret_failure) {
        _cleanup_(org_unrefp) Org *org = NULL;
        LoginJob *l;

        int r = manager_token_org(m, name, &org, ret_failure);
        if (r < 0)
                return r;
        if (!client_id)
                client_id = org->config->client_id;
        r = check_config(org->config, client_id, ret_failure);
        if (r >= 0)
                r = check_others(m, name, ret_failure);
        if (r >= 0)
                r = login_job_new(m, org->config, client_id, &l, ret_failure);
        if (r < 0)
                return r;
        l->done = done;
        l->userdata = userdata;
        r = ask(l);
        if (r < 0) {
                login_job_free(&l->job);
                return r;
        }
        job_add(&l->job);
        return 0;
}
