/* An org on any smart-HTTP(S) git server: repositories are at URL/name or URL/name.git. git has no
 * way to list them, so the list is what the configuration names; others are found when they are
 * looked up. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/forge.h"
#include "forge/git-capabilities.h"
#include "forge/git-exchange.h"
#include "forge/git-response.h"
#include "forge/git-source.h"
#include "util/clock.h"
#include "util/path.h"

typedef struct GitForge {
        Forge forge;
        const ForgeContext *context;
        OrgConfig *org; /* owned */
} GitForge;

static int
git_open(const OrgConfig *org, const ForgeContext *context, Forge **ret, Failure *ret_failure) {
        GitForge *f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        int r = org_config_copy(org, &f->org);
        if (r < 0) {
                free(f);
                return r;
        }
        for (size_t n = strlen(f->org->url); n > 0 && f->org->url[n - 1] == '/'; n--)
                f->org->url[n - 1] = '\0';
        f->context = context;
        *ret = &f->forge;
        return 0;
}

static void git_close(Forge *forge) {
        GitForge *f = container_of(forge, GitForge, forge);

        (void) org_config_free(f->org);
        free(f);
}

/* --- list --- */

typedef struct ListTask {
        Task task;
        GitForge *forge; /* a reference */
        ForgeList *list;
} ListTask;

static void list_run(Task *task) {
        ListTask *l = container_of(task, ListTask, task);
        ForgeList *list = l->list;
        Failure none = {0};

        for (char **name = l->forge->org->repos; name && *name; name++) {
                const ForgeEntry entry = {.name = *name, .kind = FORGE_REPO};
                if (!list->found(list, &entry))
                        break;
        }
        (void) forge_unref(&l->forge->forge);
        free(l);
        list->done(list, 0, &none);
}

static void git_list(Forge *forge, ForgeList *list) {
        GitForge *f = container_of(forge, GitForge, forge);
        ListTask *l = calloc(1, sizeof(*l));

        if (!l) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                list->done(list, -ENOMEM, &failure);
                return;
        }
        *l = (ListTask){.task.run = list_run, .forge = f, .list = list};
        (void) forge_ref(forge);
        pool_submit(f->context->pool, &l->task, TASK_NORMAL);
}

/* --- lookup --- */

/* One question, or two: the name as it is, then with ".git" behind. */
typedef struct LookupOp {
        GitExchange exchange;
        GitForge *forge; /* a reference */
        ForgeLookup *lookup;
        bool with_suffix;
        GitResponse response;
        GitAdvertisement advertisement;
} LookupOp;

static void lookup_op_free(LookupOp *op) {
        git_exchange_done(&op->exchange);
        git_response_done(&op->response);
        git_advertisement_done(&op->advertisement);
        (void) forge_unref(&op->forge->forge);
        free(op);
}

static int on_advertisement_packet(PktType type, const char *data, size_t len, void *userdata) {
        LookupOp *op = userdata;

        int r = git_advertisement_packet(&op->advertisement, type, data, len);
        return r < 0 ? r : op->advertisement.complete;
}

static const GitResponseHandler response_handler = {.packet = on_advertisement_packet};

static int lookup_prepare(GitExchange *x) {
        LookupOp *op = container_of(x, LookupOp, exchange);

        git_advertisement_done(&op->advertisement);
        op->advertisement = (GitAdvertisement){0};
        git_response_done(&op->response);
        git_response_init(&op->response, GIT_RESPONSE_LINES, x->base, &response_handler, op);
        return 0;
}

static int lookup_data(GitExchange *x, const uint8_t *data, size_t len) {
        return git_response_feed(&container_of(x, LookupOp, exchange)->response, data, len);
}

static int lookup_verdict(GitExchange *x, int result, Failure *failure) {
        GitResponse *response = &container_of(x, LookupOp, exchange)->response;

        if (result >= 0)
                result = git_response_finish(response);
        if (result == -EFBIG)
                (void) failure_set(
                        &response->failure,
                        FAILURE_TOO_LARGE,
                        "%s: too many refs",
                        response->origin);
        else if (result < 0 && response->failure.class == FAILURE_NONE)
                (void) failure_set(
                        &response->failure,
                        FAILURE_SERVER,
                        "%s: an advertisement that makes no sense",
                        response->origin);
        *failure = response->failure;
        return result;
}

static int lookup_start(LookupOp *op) {
        _cleanup_free_ char *name = percent_encode(op->lookup->name, "");
        _cleanup_free_ char *base = NULL;

        if (!name)
                return -ENOMEM;
        if (asprintf(&base, "%s/%s%s", op->forge->org->url, name, op->with_suffix ? ".git" : "") <
            0) {
                base = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return git_exchange_start(&op->exchange, base);
}

static void lookup_end(LookupOp *op, int result, Source *source, const Failure *failure) {
        const ForgeFound found = {.kind = FORGE_REPO, .source = source};
        ForgeLookup *lookup = op->lookup;
        Failure copy = *failure;

        lookup_op_free(op);
        lookup->done(lookup, result, result < 0 ? NULL : &found, &copy);
}

static int make_source(LookupOp *op, Source **ret, Failure *failure) {
        if (op->advertisement.capabilities.algo != OID_SHA1)
                return failure_set(
                        failure,
                        FAILURE_UNSUPPORTED,
                        "%s: SHA-256 repositories are not supported yet",
                        op->exchange.base);
        int r = git_source_new(op->forge->context, op->exchange.base, &op->advertisement, ret);
        if (r < 0)
                (void) failure_set(failure, FAILURE_LOCAL, "out of memory");
        return r;
}

static bool has_suffix(const char *name) {
        size_t n = strlen(name);
        return n > 4 && strcmp(name + n - 4, ".git") == 0;
}

static void lookup_done(GitExchange *x, int result, const Failure *failure) {
        LookupOp *op = container_of(x, LookupOp, exchange);
        Failure copy = *failure;
        Source *source = NULL;

        if (result == -ENOENT && !op->with_suffix && !has_suffix(op->lookup->name)) {
                op->with_suffix = true;
                result = lookup_start(op);
                if (result >= 0)
                        return;
                (void) failure_set(&copy, FAILURE_LOCAL, "out of memory");
        } else if (result >= 0)
                result = make_source(op, &source, &copy);
        lookup_end(op, result, source, &copy);
}

static const GitExchangeOps exchange_ops = {
        .prepare = lookup_prepare,
        .data = lookup_data,
        .verdict = lookup_verdict,
        .done = lookup_done,
};

static void git_lookup(Forge *forge, ForgeLookup *lookup) {
        GitForge *f = container_of(forge, GitForge, forge);
        Failure failure;

        LookupOp *op = calloc(1, sizeof(*op));
        if (!op) {
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                lookup->done(lookup, -ENOMEM, NULL, &failure);
                return;
        }
        *op = (LookupOp){
                .forge = f,
                .lookup = lookup,
                .exchange =
                        {
                                .ops = &exchange_ops,
                                .context = f->context,
                                .advertisement = true,
                                .v2 = true,
                                .priority = FETCH_WAITING,
                                .deadline_usec =
                                        now_usec() + f->context->config->request_timeout_usec,
                        },
        };
        (void) forge_ref(forge);
        int r = lookup_start(op);
        if (r < 0) {
                (void) failure_set(&failure, FAILURE_LOCAL, "cannot look for \"%s\"", lookup->name);
                lookup_end(op, r, NULL, &failure);
        }
}

const ForgeOps forge_git_ops = {
        .kind = "git",
        .open = git_open,
        .close = git_close,
        .list = git_list,
        .lookup = git_lookup,
};
