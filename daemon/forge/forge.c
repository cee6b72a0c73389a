#include "forge/forge.h"

#include <errno.h>
#include <stdlib.h>

#include "forge/api-forges.h"

/* Adding a kind of org is a row here, a value of OrgKind, and a file. */
static const ForgeOps *const kinds[_ORG_KIND_MAX] = {
        [ORG_LOCAL] = &forge_local_ops,
        [ORG_GIT] = &forge_git_ops,
        [ORG_GITHUB] = &github_api_ops.forge,
        [ORG_GITLAB] = &gitlab_api_ops.forge,
        [ORG_GITEA] = &gitea_api_ops.forge,
        [ORG_MESA] = &mesa_api_ops.forge,
};

int forge_open(
        const OrgConfig *org, const ForgeContext *context, Forge **ret, Failure *ret_failure) {
        assert(org->kind >= 0 && org->kind < _ORG_KIND_MAX);
        const ForgeOps *ops = kinds[org->kind];
        Forge *forge = NULL;

        if (!ops)
                return failure_set(
                        ret_failure,
                        FAILURE_UNSUPPORTED,
                        "this build knows no forge \"%s\"",
                        org_kind_name(org->kind));
        int r = ops->open(ops, org, context, &forge, ret_failure);
        if (r < 0)
                return r;
        forge->ops = ops;
        forge->ref = REF_INIT;
        *ret = forge;
        return 0;
}

Forge *forge_ref(Forge *forge) {
        ref_get(&forge->ref);
        return forge;
}

Forge *forge_unref(Forge *forge) {
        if (forge && ref_put(&forge->ref))
                forge->ops->close(forge);
        return NULL;
}

void forge_list(Forge *forge, ForgeList *list) {
        forge->ops->list(forge, list);
}

void forge_lookup(Forge *forge, ForgeLookup *lookup) {
        forge->ops->lookup(forge, lookup);
}

void forge_expect(Forge *forge) {
        if (forge->ops->expect)
                forge->ops->expect(forge);
}

Source *source_ref(Source *source) {
        ref_get(&source->ref);
        return source;
}

Source *source_unref(Source *source) {
        if (source && ref_put(&source->ref))
                source->ops->free(source);
        return NULL;
}

void source_fetch(Source *source, Fetch *fetch) {
        if (source->scope)
                fetch->scope = source->scope; /* else that of who asks in its place */
        source->ops->fetch(source, fetch);
}

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

void source_fetch_end(Pool *pool, Fetch *fetch, int result, const Failure *failure) {
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
                pool, &end->task, fetch->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}
