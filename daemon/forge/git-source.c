#include "forge/git-source.h"

#include <errno.h>
#include <string.h>

#include "forge/git-host.h"
#include "forge/git-transport.h"

void git_source_dispatch(GitSource *source, Fetch *fetch) {
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

static void git_source_fetch(Source *s, Fetch *fetch) {
        GitSource *source = container_of(s, GitSource, source);

        if (fetch->kind == FETCH_REF && git_fetch_ref_by_name(source, fetch))
                return;
        mutex_lock(&source->mutex);
        bool known = source->knowledge != GIT_UNKNOWN;
        mutex_unlock(&source->mutex);
        if (known)
                git_source_dispatch(source, fetch);
        else
                git_source_discover(source, fetch, false);
}

void git_source_basis(GitSource *source, GitBasis *ret) {
        MUTEX_GUARD(&source->mutex);
        assert(source->knowledge != GIT_UNKNOWN);
        *ret = (GitBasis){
                .capabilities = source->capabilities,
                .proven = source->knowledge == GIT_PROVEN,
        };
        if (source->object_info_failed)
                ret->capabilities.object_info = false;
}

void git_source_exchange(
        GitSource *source,
        const GitBasis *basis,
        const Fetch *fetch,
        const GitExchangeOps *ops,
        GitExchange *ret) {
        *ret = (GitExchange){
                .ops = ops,
                .context = source->context,
                .v2 = basis->capabilities.version == 2,
                .doubtful = !basis->proven,
                .priority = fetch->priority,
                .deadline_usec = fetch->deadline_usec,
                .rtt_usec = &source->source.rtt_usec,
                .waited = fetch->waited,
                .cancelled = fetch->cancelled,
                .held = fetch->held,
                .scope = fetch->scope,
        };
        git_auth_init(&ret->auth, source->secrets, source->ask_git);
}

bool git_basis_is_doubted(const GitBasis *basis, const GitExchange *x, const Failure *failure) {
        return !basis->proven && x->answered && failure->class == FAILURE_SERVER;
}

void git_source_learn(
        GitSource *source,
        GitKnowledge knowledge,
        const GitCapabilities *capabilities,
        GitRefs *refs,
        const char *refname) {
        MUTEX_GUARD(&source->mutex);
        if (source->knowledge >= knowledge)
                return; /* another fetch has found it out meanwhile */
        source->knowledge = knowledge;
        source->capabilities = *capabilities;
        source->source.cheap_sizes = capabilities->object_info && !source->object_info_failed;
        source->source.no_sizes = !source->source.cheap_sizes;
        char *name = refs && refname ? strdup(refname) : NULL;
        if (refs && (name || !refname)) { /* else they are asked for again */
                git_refs_done(&source->first_refs);
                free(source->first_name);
                source->first_refs = *refs;
                source->first_name = name;
                source->first_usec = now_usec();
                *refs = (GitRefs){0};
        }
}

static void git_source_free(Source *s) {
        GitSource *source = container_of(s, GitSource, source);

        git_refs_done(&source->first_refs);
        free(source->first_name);
        mutex_destroy(&source->mutex);
        (void) secrets_unref(source->secrets);
        free(source->origin);
        free(source->source.url);
        free(source);
}

static const SourceOps git_source_ops = {
        .free = git_source_free,
        .fetch = git_source_fetch,
};

static int source_new(const ForgeContext *context, const char *url, GitSource **ret) {
        _cleanup_free_ char *copy = strdup(url), *origin = NULL;

        if (!copy)
                return -ENOMEM;
        int r = git_transport_for(url)->origin(url, &origin);
        if (r < 0)
                return r;
        GitSource *source = calloc(1, sizeof(*source));
        if (!source)
                return -ENOMEM;
        *source = (GitSource){
                .source =
                        {
                                .ops = &git_source_ops,
                                .ref = REF_INIT,
                                .algo = OID_SHA1,
                                .sizes_per_fetch = GIT_SIZES_MAX,
                                .bytes_per_size = GIT_SIZE_BYTES,
                                .url = TAKE_PTR(copy),
                        },
                .context = context,
                .origin = TAKE_PTR(origin),
        };
        source->source.rtt_usec = git_hosts_measure(context->git_hosts, source->origin, 0);
        mutex_init(&source->mutex, LOCK_RANK_FORGE);
        *ret = source;
        return 0;
}

int git_source_new(const ForgeContext *context, const char *url, Secrets *secrets, Source **ret) {
        GitSource *source;

        int r = source_new(context, url, &source);
        if (r < 0)
                return r;
        source->secrets = secrets ? secrets_ref(secrets) : NULL;
        *ret = &source->source;
        return 0;
}

int git_source_new_known(
        const ForgeContext *context,
        const char *url,
        Secrets *secrets,
        GitKnowledge knowledge,
        const GitCapabilities *capabilities,
        GitRefs *refs,
        Source **ret) {
        GitSource *source;

        int r = source_new(context, url, &source);
        if (r < 0)
                return r;
        source->secrets = secrets ? secrets_ref(secrets) : NULL;
        source->ask_git = true;
        git_source_learn(source, knowledge, capabilities, refs, NULL);
        *ret = &source->source;
        return 0;
}
