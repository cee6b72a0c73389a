/* A fetch that waits to learn what the server can do. Its steps run on pool threads:
 *
 *   1. take()     takes what is known of the host by now, unless that is doubted, and fetches
 *   2. otherwise  joins the flight of the host (of the repository, when the host's is doubted); the
 *                 first to join asks the repository
 *   3. on_landed  goes to 1, or ends the fetch with the failure: that of the repository it
 *                 asked, or of a host that cannot be reached
 *
 * So whoever waited for another repository's answer in vain asks his own: nobody waits for more
 * than one question of his own. A question for the sake of a ref brings that along. */

#include <errno.h>

#include "forge/git-host.h"
#include "forge/git-inquiry.h"
#include "forge/git-source.h"
#include "util/clock.h"

typedef struct Discovery {
        Task task;
        FlightWaiter waiter;
        GitSource *source; /* a reference */
        Fetch *fetch;
        bool doubted;
        bool led; /* the question was put to this source */
} Discovery;

/* The question that one of them puts. Not bound to one fetch: others wait for the answer, too. */
typedef struct Question {
        GitInquiry inquiry;
        GitSource *source; /* a reference */
        const void *scope;
} Question;

static void end(Discovery *d, int result, const Failure *failure) {
        GitSource *source = d->source;
        Fetch *fetch = d->fetch;
        Failure copy = *failure;

        free(d);
        if (result < 0)
                fetch->done(fetch, result, &copy);
        else
                git_source_dispatch(source, fetch);
        (void) source_unref(&source->source);
}

/* --- asking --- */

static void question_free(Question *q) {
        git_inquiry_done(&q->inquiry);
        (void) source_unref(&q->source->source);
        free(q);
}

static void land(Question *q, int result, const Failure *failure) {
        GitHosts *hosts = q->source->context->git_hosts;
        const void *scope = q->scope;
        Failure copy = *failure;

        question_free(q);
        git_hosts_land(hosts, scope, result, &copy);
}

static void on_answer(GitInquiry *inquiry, int result, const Failure *failure) {
        Question *q = container_of(inquiry, Question, inquiry);
        GitAdvertisement *a = &inquiry->advertisement;
        GitHosts *hosts = q->source->context->git_hosts;

        if (result >= 0) {
                git_source_learn(
                        q->source, GIT_PROVEN, &a->capabilities, &a->refs, inquiry->refname);
                git_hosts_learn(hosts, q->source->origin, &a->capabilities);
        }
        land(q, result, failure);
}

/* Puts the question for d; whoever waits for a ref, and doubts nothing, asks for that as well. */
static void ask(Discovery *d, const void *scope) {
        GitSource *source = d->source;
        const ForgeContext *context = source->context;
        Failure failure;
        Question *q = calloc(1, sizeof(*q));

        if (!q) {
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                git_hosts_land(context->git_hosts, scope, -ENOMEM, &failure);
                return;
        }
        *q = (Question){
                .source = source,
                .scope = scope,
                .inquiry =
                        {
                                .done = on_answer,
                                .with_refs = d->fetch->kind == FETCH_REF && !d->doubted,
                                .refname = d->fetch->refname,
                                .exchange =
                                        {
                                                .context = context,
                                                .rtt_usec = &source->source.rtt_usec,
                                                .priority = FETCH_WAITING,
                                                .deadline_usec =
                                                        now_usec() +
                                                        context->config->request_timeout_usec,
                                        },
                        },
        };
        (void) source_ref(&source->source);
        git_auth_init(&q->inquiry.exchange.auth, source->secrets, source->ask_git);
        int r = git_inquiry_start(&q->inquiry, source->source.url);
        if (r < 0) {
                (void) failure_set(&failure, FAILURE_LOCAL, "cannot ask %s", source->source.url);
                land(q, r, &failure);
        }
}

/* --- waiting --- */

/* True if the fetch can go on. */
static bool take(Discovery *d) {
        GitSource *source = d->source;
        GitHosts *hosts = source->context->git_hosts;
        GitCapabilities c;

        if (!d->doubted && git_hosts_get(hosts, source->origin, &c) > 0)
                git_source_learn(source, GIT_KEPT, &c, NULL, NULL);
        MUTEX_GUARD(&source->mutex);
        return source->knowledge >= (d->doubted ? GIT_PROVEN : GIT_KEPT);
}

static void step(Discovery *d) {
        GitSource *source = d->source;
        GitHosts *hosts = source->context->git_hosts;

        if (take(d)) {
                end(d, 0, &(Failure){0});
                return;
        }
        const void *scope = d->doubted ? source : git_hosts_scope(hosts, source->origin);
        /* Whoever joined may be gone when this returns, but not if it is the one who asks. */
        (void) source_ref(&source->source);
        int r = git_hosts_join(hosts, scope, &d->waiter);
        if (r < 0) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                end(d, r, &failure);
        } else if (r > 0) {
                d->led = true;
                ask(d, scope);
        }
        (void) source_unref(&source->source);
}

static void on_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Discovery *d = container_of(waiter, Discovery, waiter);

        if (result < 0 && (d->led || failure->class == FAILURE_OFFLINE))
                end(d, result, failure);
        else
                step(d);
}

static void discovery_run(Task *task) {
        step(container_of(task, Discovery, task));
}

void git_source_discover(GitSource *source, Fetch *fetch, bool doubted) {
        Discovery *d = calloc(1, sizeof(*d));

        if (!d) {
                source_fetch_end(source->context->pool, fetch, -ENOMEM, NULL);
                return;
        }
        *d = (Discovery){
                .task.run = discovery_run,
                .waiter.landed = on_landed,
                .source = source,
                .fetch = fetch,
                .doubted = doubted,
        };
        (void) source_ref(&source->source);
        /* A task, because what is kept lies on the disk. */
        pool_submit(
                source->context->pool,
                &d->task,
                fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}
