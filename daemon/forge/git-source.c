#include "forge/git-source.h"

#include <errno.h>
#include <string.h>

typedef struct EndTask {
        Task task;
        Fetch *fetch;
        int result;
        Failure failure;
} EndTask;

static void end_task_run(Task *task) {
        _cleanup_free_ EndTask *end = container_of(task, EndTask, task);

        end->fetch->done(end->fetch, end->result, &end->failure);
}

void git_fetch_end(GitSource *source, Fetch *fetch, int result, const Failure *failure) {
        EndTask *end = calloc(1, sizeof(*end));

        if (!end) {
                /* The caller's thread has to do: callbacks may come before the call returns. */
                Failure memory;
                (void) failure_set(&memory, FAILURE_LOCAL, "out of memory");
                fetch->done(fetch, -ENOMEM, &memory);
                return;
        }
        *end = (EndTask){.task.run = end_task_run, .fetch = fetch, .result = result};
        if (failure)
                end->failure = *failure;
        pool_submit(
                source->context->pool,
                &end->task,
                fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}

static void git_source_fetch(Source *s, Fetch *fetch) {
        GitSource *source = container_of(s, GitSource, source);

        switch (fetch->kind) {
        case FETCH_REF:
                git_fetch_ref(source, fetch);
                return;
        case FETCH_COMMIT:
        case FETCH_TREES:
        case FETCH_BLOBS:
        case FETCH_CLOSURE:
                git_fetch_objects(source, fetch);
                return;
        case FETCH_SIZES:
                git_fetch_sizes(source, fetch);
                return;
        }
}

static void git_source_free(Source *s) {
        GitSource *source = container_of(s, GitSource, source);

        git_refs_done(&source->first_refs);
        mutex_destroy(&source->mutex);
        free(source->source.url);
        free(source);
}

static const SourceOps git_source_ops = {
        .free = git_source_free,
        .fetch = git_source_fetch,
};

int git_source_new(
        const ForgeContext *context,
        const char *url,
        GitAdvertisement *advertisement,
        Source **ret) {
        const GitCapabilities *c = &advertisement->capabilities;
        char *copy = strdup(url);
        GitSource *source = calloc(1, sizeof(*source));

        if (!copy || !source) {
                free(copy);
                free(source);
                return -ENOMEM;
        }
        *source = (GitSource){
                .source =
                        {
                                .ops = &git_source_ops,
                                .ref = REF_INIT,
                                .algo = c->algo,
                                .url = copy,
                                .cheap_sizes = c->object_info,
                        },
                .context = context,
                .capabilities = *c,
                .object_info = c->object_info,
                .first_refs = advertisement->refs,
        };
        advertisement->refs = (GitRefs){0};
        mutex_init(&source->mutex, LOCK_RANK_FORGE);
        *ret = &source->source;
        return 0;
}
