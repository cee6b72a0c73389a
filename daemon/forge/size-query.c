#include "forge/size-query.h"

#include <errno.h>

static void query_free(SizeQuery *q) {
        if (q->ops->done)
                q->ops->done(q);
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
        default:
                return false;
        }
}

/* Sends the next question, or ends. The query may be gone afterwards. */
static void query_next(SizeQuery *q) {
        _cleanup_free_ char *path = NULL;
        _cleanup_buf_ Buf body = {0};
        int r = 0;

        if (api_sizes_open(q->sizes) > 0 && q->n_requests < q->ops->max_requests)
                r = q->ops->ask(q, &path, &body);
        if (r == 0) {
                query_end(q, api_sizes_open(q->sizes) > 0 ? -EOPNOTSUPP : 0, NULL);
                return;
        }
        const char *json = r > 0 && body.len > 0 ? buf_str(&body) : NULL;
        if (r > 0 && body.len > 0 && !json)
                r = -ENOMEM;
        q->n_requests++;
        if (r > 0)
                r = api_call_start(&q->call, path, json);
        if (r < 0)
                query_end(q, r, NULL);
}

static void on_answer(ApiCall *call, int result, const ApiAnswer *answer, const Failure *failure) {
        SizeQuery *q = container_of(call, SizeQuery, call);

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
        q->task.run = query_run;
        q->call = (ApiCall){
                .server = &source->forge->api,
                .priority = fetch->priority,
                .deadline_usec = fetch->deadline_usec,
                .what = source->source.url,
                .done = on_answer,
        };
        (void) source_ref(&source->source);
        pool_submit(
                source->forge->context->pool,
                &q->task,
                fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}
