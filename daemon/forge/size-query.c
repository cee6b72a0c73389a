#include "forge/size-query.h"

#include <errno.h>

#include "forge/api-forge-private.h"

static void on_answer(void *userdata, int result, const ApiAnswer *answer, const Failure *failure);

static void query_free(SizeQuery *q) {
        if (q->ops->done)
                q->ops->done(q);
        buf_done(&q->body);
        free(q->path);
        (void) api_sizes_free(q->sizes);
        (void) source_unref(&q->source->source);
        free(q);
}

static void query_end(SizeQuery *q, int result, const Failure *failure) {
        Failure copy = failure ? *failure : (Failure){0};
        Fetch *fetch = q->fetch;

        if (result < 0 && copy.class == FAILURE_NONE)
                (void) failure_set(
                        &copy,
                        result == -EOPNOTSUPP ? FAILURE_UNSUPPORTED
                        : result == -ENOMEM   ? FAILURE_LOCAL
                                              : FAILURE_SERVER,
                        "%s: its API does not tell all sizes",
                        q->source->source.url);
        query_free(q);
        fetch->done(fetch, result, &copy);
}

/* The server answers, but not this. Others can be asked otherwise; what is wrong with the token or
 * the network is wrong for git, too, and must be told. */
static bool is_unsupported(const Failure *failure) {
        switch (failure->class) {
        case FAILURE_NOT_FOUND:
        case FAILURE_FORBIDDEN:
        case FAILURE_TOO_LARGE:
        case FAILURE_UNSUPPORTED:
                return true;
        case FAILURE_SERVER:
                return failure->http_code >= 400 && failure->http_code < 500;
        default:
                return false;
        }
}

/* The directory that somebody looks at must be told; of the rest, what a few questions bring. */
static bool is_told(const SizeQuery *q) {
        return !api_sizes_lacks(q->sizes, q->source->forge->context->store, &q->fetch->tree);
}

/* One that tells some tells the next ones, too. */
static bool has_told(const SizeQuery *q) {
        return api_sizes_open(q->sizes) < q->n_wanted || q->n_wanted == 0;
}

static bool may_ask(SizeQuery *q) {
        if (api_sizes_open(q->sizes) == 0 || q->n_requests == q->ops->max_requests)
                return false;
        if (q->n_beyond == 0 && !is_told(q))
                return true;
        return q->n_beyond++ < q->ops->max_beyond;
}

static int send(SizeQuery *q) {
        ApiForge *forge = q->source->forge;
        Buf body = {0};

        buf_done(&q->body);
        free(q->path);
        q->path = NULL;
        int r = q->ops->ask(q, &q->path, &body);
        q->body = body;
        if (r <= 0)
                return r;
        const char *json = q->body.len > 0 ? buf_str(&q->body) : NULL;
        if (q->body.len > 0 && !json)
                return -ENOMEM;
        q->n_requests++;
        const ApiAsk question = {
                .path = q->path,
                .json_body = json,
                .what = q->source->source.url,
                .priority = q->fetch->priority,
                .deadline_usec = q->fetch->deadline_usec,
                .done = on_answer,
                .userdata = q,
        };
        api_ask(forge, &question);
        return 1;
}

/* Sends the next question, or ends. The query may be gone afterwards. */
static void query_next(SizeQuery *q) {
        int r = may_ask(q) ? send(q) : 0;

        if (r == 0)
                query_end(q, has_told(q) ? 0 : -EOPNOTSUPP, NULL);
        else if (r < 0)
                query_end(q, r, NULL);
}

static void on_answer(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        SizeQuery *q = userdata;

        if (result >= 0) {
                result = q->ops->read(q, answer);
                failure = NULL;
        } else if (is_unsupported(failure))
                result = -EOPNOTSUPP;
        if (result < 0)
                query_end(q, result, failure);
        else
                query_next(q);
}

static void query_run(Task *task) {
        SizeQuery *q = container_of(task, SizeQuery, task);
        int r = q->ops->prepare ? q->ops->prepare(q) : 0;

        if (r < 0)
                query_end(q, r, NULL);
        else
                query_next(q);
}

void size_query_start(const SizeQueryOps *ops, ApiSource *source, Fetch *fetch) {
        SizeQuery *q = calloc(1, ops->size);
        ApiSizes *sizes = NULL;

        if (!q || api_sizes_new(fetch, &sizes) < 0) {
                Failure failure;
                free(q);
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                fetch->done(fetch, -ENOMEM, &failure);
                return;
        }
        q->ops = ops;
        q->source = source;
        q->fetch = fetch;
        q->sizes = sizes;
        q->n_wanted = api_sizes_open(sizes);
        q->task.run = query_run;
        (void) source_ref(&source->source);
        pool_submit(
                source->forge->context->pool,
                &q->task,
                fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}
