/* Finding a repository, or an owner, by name. A repository that a listing names is taken for
 * granted. Another is asked for its default branch, because that is what is wanted of it next; when
 * git refuses, the API knows why, and where a renamed repository is. Where names below an owner can
 * be owners as well, what is no repository may be one.
 *
 * An operation belongs to one thread at a time: each step starts one question, and its answer is
 * the next step. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forge-private.h"

typedef struct LookupOp {
        Task task;
        FlightWaiter waiter; /* for who "@me" is */
        ApiForge *forge;     /* a reference */
        ForgeLookup *lookup;
        char *owner; /* on the forge */
        uint64_t deadline_usec;

        SecretWaiter token;
        ApiSource *source; /* the one that git is asked about; a reference */
        Fetch probe;
        ApiRepoQuery query;
        int result;      /* git's refusal; 0: it was not asked */
        Failure failure; /* likewise */

        char *path, *what, *url; /* the owner that is asked for */
        unsigned alternative;
} LookupOp;

static void lookup_op_free(LookupOp *op) {
        if (op->source)
                (void) source_unref(&op->source->source);
        (void) forge_unref(&op->forge->forge);
        free(op->owner);
        free(op->path);
        free(op->what);
        free(op->url);
        free(op);
}

static void lookup_fail(LookupOp *op, int result, const Failure *failure) {
        ForgeLookup *lookup = op->lookup;
        Failure copy = *failure;

        lookup_op_free(op);
        lookup->done(lookup, result, NULL, &copy);
}

static void lookup_fail_memory(LookupOp *op) {
        Failure failure;

        (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
        lookup_fail(op, -ENOMEM, &failure);
}

static void lookup_found_repo(LookupOp *op) {
        ForgeLookup *lookup = op->lookup;
        ApiSource *source = TAKE_PTR(op->source);
        const ForgeFound found = {.kind = FORGE_REPO, .source = &source->source};

        lookup_op_free(op);
        lookup->done(lookup, 0, &found, &(const Failure){0});
}

static void lookup_found_owner(LookupOp *op, bool unproven) {
        ForgeLookup *lookup = op->lookup;
        const ForgeFound found = {.kind = FORGE_OWNER, .unproven = unproven};

        lookup_op_free(op);
        lookup->done(lookup, 0, &found, &(const Failure){0});
}

/* --- owners --- */

static void ask_owner(LookupOp *op);

static void on_owner(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        LookupOp *op = userdata;
        Failure copy;

        if (result >= 0)
                result = op->forge->ops->owner(op->forge, op->path, answer);
        else if (result == -ENOENT)
                result = 0;
        else {
                /* What is below it tells whether there is such an owner; this is no time to deny
                 * it. */
                if (!op->owner[0] && api_failure_is_passing(failure))
                        lookup_found_owner(op, true);
                else
                        lookup_fail(op, result, failure);
                return;
        }
        if (result == 0) {
                op->alternative++;
                ask_owner(op);
        } else if (result > 0)
                lookup_found_owner(op, false);
        else {
                result = failure_set(
                        &copy, FAILURE_SERVER, "%s: an answer that makes no sense", op->what);
                lookup_fail(op, result, &copy);
        }
}

static void ask_owner(LookupOp *op) {
        Failure failure;

        free(op->url);
        op->url = NULL;
        int r = op->forge->ops->owner_url(op->forge, op->path, op->alternative, &op->url);
        if (r < 0) {
                lookup_fail_memory(op);
                return;
        }
        if (r == 0) {
                r = failure_set(
                        &failure,
                        FAILURE_NOT_FOUND,
                        "%s has no \"%s\", or nobody may know of it",
                        op->forge->ops->dialect->name,
                        op->path);
                lookup_fail(op, r, &failure);
                return;
        }
        const ApiAsk ask = {
                .path = op->url,
                .what = op->what,
                .deadline_usec = op->deadline_usec,
                .done = on_owner,
                .userdata = op,
        };
        api_ask(op->forge, &ask);
}

static void look_for_owner(LookupOp *op) {
        const char *slash = op->owner[0] ? "/" : "";

        if (asprintf(&op->path, "%s%s%s", op->owner, slash, op->lookup->name) < 0) {
                op->path = NULL; /* undefined after a failure */
                lookup_fail_memory(op);
                return;
        }
        if (asprintf(&op->what, "owner %s", op->path) < 0) {
                op->what = NULL;
                lookup_fail_memory(op);
                return;
        }
        /* Whoever waits gets an answer in any case; leave time for it. */
        if (!op->owner[0])
                op->deadline_usec -= op->forge->context->config->request_timeout_usec / 2;
        ask_owner(op);
}

/* --- repositories --- */

static bool set_source(LookupOp *op, const char *owner, const char *name) {
        Source *source;

        if (api_source_new(op->forge, owner, name, &source) < 0)
                return false;
        if (op->source)
                (void) source_unref(&op->source->source);
        op->source = container_of(source, ApiSource, source);
        return true;
}

static void ask_git(LookupOp *op);

static bool is_same_place(const LookupOp *op, const ApiRepo *repo) {
        return strcmp(op->owner, repo->owner) == 0 && strcmp(op->lookup->name, repo->name) == 0;
}

static void repo_told(LookupOp *op, const ApiRepo *repo) {
        if (op->result < 0 && is_same_place(op, repo))
                lookup_fail(op, op->result, &op->failure); /* git has reasons of its own */
        else if (set_source(op, repo->owner, repo->name))
                lookup_found_repo(op);
        else
                lookup_fail_memory(op);
}

static void on_repo(ApiRepoQuery *query, int result, ApiRepo *repo, const Failure *failure) {
        LookupOp *op = container_of(query, LookupOp, query);
        bool passing = result < 0 && api_failure_is_passing(failure);

        if (result > 0)
                repo_told(op, repo);
        else if (result == 0 && op->forge->ops->nests)
                look_for_owner(op);
        else if (passing && op->result == 0)
                ask_git(op);
        else if (passing && op->failure.class == FAILURE_NOT_FOUND)
                lookup_fail(op, op->result, &op->failure);
        else
                lookup_fail(op, result == 0 ? -ENOENT : result, failure);
}

static void ask_api(LookupOp *op) {
        op->query = (ApiRepoQuery){
                .owner = op->owner,
                .name = op->lookup->name,
                .deadline_usec = op->deadline_usec,
                .done = on_repo,
        };
        api_repo_query_start(op->forge, &op->query);
}

static void on_probe(Fetch *fetch, int result, const Failure *failure) {
        LookupOp *op = container_of(fetch, LookupOp, probe);

        if (result >= 0) {
                api_source_proven(op->source, fetch);
                lookup_found_repo(op);
        } else if (api_failure_needs_reason(failure)) {
                op->result = result;
                op->failure = *failure;
                ask_api(op);
        } else
                lookup_fail(op, result, failure);
}

/* Without a token, whoever asks next says why. */
static void on_token(SecretWaiter *waiter, int result, Secret *secret) {
        LookupOp *op = container_of(waiter, LookupOp, token);

        if (!set_source(op, op->owner, op->lookup->name)) {
                lookup_fail_memory(op);
                return;
        }
        op->probe = (Fetch){
                .kind = FETCH_REF,
                .deadline_usec = op->deadline_usec,
                .done = on_probe,
        };
        api_source_probe(op->source, &op->probe);
}

/* The token is waited for here, so that what comes next finds it. */
static void ask_git(LookupOp *op) {
        op->token = (SecretWaiter){.deadline_usec = op->deadline_usec, .done = on_token};
        secrets_get(op->forge->secrets, &op->token);
}

static void look_for_repo(LookupOp *op) {
        const ApiForgeOps *ops = op->forge->ops;
        Failure failure;

        if (op->lookup->listed || op->lookup->found_at) {
                if (set_source(op, op->owner, op->lookup->name))
                        lookup_found_repo(op);
                else
                        lookup_fail_memory(op);
                return;
        }
        int r = ops->repo_url(op->forge, op->owner, op->lookup->name, 0, &op->url);
        if (r < 0)
                lookup_fail_memory(op);
        else if (r == 0 && !ops->nests) {
                r = failure_set(
                        &failure,
                        FAILURE_NOT_FOUND,
                        "no repository of %s can have that name",
                        ops->dialect->name);
                lookup_fail(op, r, &failure);
        } else if (r == 0)
                look_for_owner(op);
        else if (ops->api_first)
                ask_api(op);
        else
                ask_git(op);
}

/* --- the start --- */

static void on_identified(FlightWaiter *waiter, int result, const Failure *failure) {
        LookupOp *op = container_of(waiter, LookupOp, waiter);

        if (result < 0)
                lookup_fail(op, result, failure);
        else
                op->task.run(&op->task);
}

static void lookup_run(Task *task) {
        LookupOp *op = container_of(task, LookupOp, task);

        int r = api_forge_owner(op->forge, op->lookup->owner, false, &op->owner);
        if (r == -EAGAIN)
                r = api_forge_identify(op->forge, &op->waiter);
        else if (r >= 0) {
                if (op->owner[0])
                        look_for_repo(op);
                else
                        look_for_owner(op);
                return;
        }
        if (r < 0)
                lookup_fail_memory(op);
}

void api_forge_lookup(Forge *forge, ForgeLookup *lookup) {
        ApiForge *f = container_of(forge, ApiForge, forge);
        LookupOp *op = calloc(1, sizeof(*op));

        if (!op) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                lookup->done(lookup, -ENOMEM, NULL, &failure);
                return;
        }
        *op = (LookupOp){
                .task.run = lookup_run,
                .waiter.landed = on_identified,
                .forge = f,
                .lookup = lookup,
                .deadline_usec = api_forge_deadline(f),
        };
        (void) forge_ref(forge);
        pool_submit(f->context->pool, &op->task, TASK_NORMAL);
}
