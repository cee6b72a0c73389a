/* What a forge with an API is made of, and the two questions that several parts ask: who the token
 * belongs to, and what the API says of a repository. Listings are in api-forge-list.c, look-ups in
 * api-forge-lookup.c, repositories in api-source.c. */

#include "forge/api-forge.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "util/clock.h"
#include "util/path.h"

/* --- URLs --- */

int api_path(char **ret, const char *format, ...) {
        _cleanup_buf_ Buf b = {0};
        va_list ap;
        int r = 0;

        va_start(ap, format);
        for (const char *p = format; *p && r >= 0; p++) {
                if (*p != '%') {
                        r = buf_append(&b, p, 1);
                        continue;
                }
                _cleanup_free_ char *escaped = percent_encode(va_arg(ap, const char *), "");
                r = escaped ? buf_append_str(&b, escaped) : -ENOMEM;
        }
        va_end(ap);
        if (r < 0 || !buf_str(&b))
                return -ENOMEM;
        *ret = (char *) TAKE_PTR(b.data);
        return 0;
}

int api_path_append(char **ret, const char *base, const char *path, const char *suffix) {
        _cleanup_free_ char *escaped = percent_encode(path, "/");
        char *url;

        if (!escaped || asprintf(&url, "%s/%s%s", base, escaped, suffix) < 0)
                return -ENOMEM;
        *ret = url;
        return 0;
}

void api_repo_done(ApiRepo *repo) {
        free(repo->owner);
        free(repo->name);
        *repo = (ApiRepo){0};
}

/* --- life --- */

static void strip_slashes(char *url) {
        for (size_t n = strlen(url); n > 0 && url[n - 1] == '/'; n--)
                url[n - 1] = '\0';
}

static int open_server(ApiForge *f, Failure *failure) {
        _cleanup_free_ char *base = NULL;
        _cleanup_free_ char *about = NULL;
        const char *owner = f->org->owner && f->org->owner[0] != '@' ? f->org->owner : "";

        int r = f->ops->place(f->org, &base, &f->git_base, failure);
        if (r < 0)
                return r;
        if (f->org->api_url)
                strip_slashes(f->org->api_url);
        r = api_path_append(&about, f->git_base, owner, "");
        if (r >= 0)
                r = secrets_new(f->org, about, f->context, /* ask_git= */ true, &f->secrets);
        if (r >= 0)
                r = api_server_init(
                        &f->api,
                        f->context,
                        f->ops->dialect,
                        f->org->api_url ? f->org->api_url : base,
                        f->secrets);
        if (r >= 0)
                r = flight_table_new(f->context->pool, &f->flights);
        return r;
}

int api_forge_open(
        const ForgeOps *forge_ops,
        const OrgConfig *org,
        const ForgeContext *context,
        Forge **ret,
        Failure *ret_failure) {
        const ApiForgeOps *ops = container_of(forge_ops, ApiForgeOps, forge);
        assert(ops->size >= sizeof(ApiForge));
        ApiForge *f = calloc(1, ops->size);
        if (!f)
                return -ENOMEM;
        f->ops = ops;
        f->context = context;
        mutex_init(&f->mutex, LOCK_RANK_FORGE);
        int r = org_config_copy(org, &f->org);
        if (r >= 0) {
                strip_slashes(f->org->url);
                r = open_server(f, ret_failure);
        }
        if (r >= 0 && ops->opened)
                r = ops->opened(f);
        if (r < 0) {
                f->ops = NULL; /* it was not opened */
                api_forge_close(&f->forge);
                return r;
        }
        *ret = &f->forge;
        return 0;
}

void api_forge_close(Forge *forge) {
        ApiForge *f = container_of(forge, ApiForge, forge);

        if (f->ops && f->ops->closing)
                f->ops->closing(f);
        if (f->api.base)
                api_server_done(&f->api);
        (void) secrets_unref(f->secrets);
        (void) flight_table_free(f->flights);
        (void) org_config_free(f->org);
        mutex_destroy(&f->mutex);
        free(f->identity);
        free(f->git_base);
        free(f);
}

/* --- questions --- */

typedef struct AskOp {
        ApiCall call;
        Task task;
        ApiForge *forge; /* a reference */
        ApiAsk ask;
} AskOp;

static void ask_end(AskOp *op, int result, const ApiAnswer *answer, const Failure *failure) {
        op->ask.done(op->ask.userdata, result, answer, failure);
        (void) forge_unref(&op->forge->forge);
        free(op);
}

static void on_answer(ApiCall *call, int result, const ApiAnswer *answer, const Failure *failure) {
        ask_end(container_of(call, AskOp, call), result, answer, failure);
}

static bool is_waited(const ApiCall *call) {
        const ApiAsk *ask = &container_of(call, AskOp, call)->ask;

        return ask->is_waited && ask->is_waited(ask->userdata);
}

void api_ask(ApiForge *forge, const ApiAsk *ask) {
        const char *rest = forge->ops->resource ? forge->ops->resource : "rest";
        AskOp *op = calloc(1, sizeof(*op));
        int r = -ENOMEM;

        if (op) {
                (void) forge_ref(&forge->forge);
                *op = (AskOp){
                        .forge = forge,
                        .ask = *ask,
                        .call =
                                {
                                        .server = &forge->api,
                                        .priority = ask->priority,
                                        .is_waited = is_waited,
                                        .deadline_usec = ask->deadline_usec,
                                        .what = ask->what,
                                        .accept = ask->accept,
                                        .if_none_match = ask->if_none_match,
                                        .if_modified_since = ask->if_modified_since,
                                        .resource = ask->resource ? ask->resource : rest,
                                        .raw = ask->raw,
                                        .max_size = ask->max_size,
                                        .done = on_answer,
                                },
                };
                r = api_call_start(&op->call, ask->path, ask->json_body);
                if (r >= 0)
                        return;
        }
        Failure failure;
        if (r == -EINVAL)
                r = failure_set(
                        &failure, FAILURE_SERVER, "%s: a URL that leads elsewhere", ask->what);
        else
                (void) failure_set(&failure, FAILURE_LOCAL, "%s: out of memory", ask->what);
        if (op)
                ask_end(op, r, NULL, &failure);
        else
                ask->done(ask->userdata, r, NULL, &failure);
}

uint64_t api_forge_deadline(const ApiForge *forge) {
        return now_usec() + forge->context->config->request_timeout_usec;
}

/* --- "@me" --- */

bool api_listing_is_own(const ApiListing *listing) {
        return strcmp(listing->owner, ORG_OWNER_ME) == 0;
}

static const FlightKey identity_flight = {.scope = &identity_flight};

int api_forge_owner(ApiForge *forge, const char *owner, bool for_listing, char **ret) {
        _cleanup_free_ char *identity = NULL;
        const char *top = forge->org->owner ? forge->org->owner : "";
        char *path;

        if (strcmp(top, ORG_OWNER_ME) == 0 && !(for_listing && !owner[0])) {
                MUTEX_GUARD(&forge->mutex);
                if (!forge->identity)
                        return -EAGAIN;
                identity = strdup(forge->identity);
                if (!identity)
                        return -ENOMEM;
                top = identity;
        }
        if (asprintf(&path, "%s%s%s", top, top[0] && owner[0] ? "/" : "", owner) < 0)
                return -ENOMEM;
        *ret = path;
        return 0;
}

static void
on_identity(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        ApiForge *forge = userdata;
        const char *name = result >= 0 ? forge->ops->identity(answer->json) : NULL;
        Failure copy = *failure;

        if (result >= 0 && (!name || !name_is_valid(name)))
                result = failure_set(
                        &copy,
                        FAILURE_SERVER,
                        "%s does not say whose token it is",
                        forge->ops->dialect->name);
        if (result >= 0) {
                MUTEX_GUARD(&forge->mutex);
                free(forge->identity);
                forge->identity = strdup(name);
        }
        if (result >= 0 && !forge->identity)
                result = -ENOMEM;
        flight_land(forge->flights, &identity_flight, result, &copy);
}

int api_forge_identify(ApiForge *forge, FlightWaiter *waiter) {
        int r = flight_join(forge->flights, &identity_flight, waiter);
        if (r <= 0)
                return r;
        const ApiAsk ask = {
                .path = forge->ops->identity_path,
                .what = "the owner of the token",
                .deadline_usec = api_forge_deadline(forge),
                .done = on_identity,
                .userdata = forge,
        };
        if (forge->ops->identity_path)
                api_ask(forge, &ask);
        else {
                Failure failure;
                r = failure_set(
                        &failure,
                        FAILURE_UNSUPPORTED,
                        "%s has no repositories of one's own: Owner=@me is of no use",
                        forge->ops->dialect->name);
                flight_land(forge->flights, &identity_flight, r, &failure);
        }
        return 0;
}

/* --- repositories --- */

bool api_failure_needs_reason(const Failure *failure) {
        switch (failure->http_code) {
        case 401:
        case 403:
        case 404:
        case 410:
        case 451:
                return failure->class != FAILURE_RATE_LIMITED;
        default:
                return false;
        }
}

bool api_failure_is_passing(const Failure *failure) {
        switch (failure->class) {
        case FAILURE_OFFLINE:
        case FAILURE_TIMEOUT:
        case FAILURE_RATE_LIMITED:
        case FAILURE_SERVER:
        case FAILURE_LOCAL:
                return true;
        default:
                return false;
        }
}

static void repo_query_ask(ApiRepoQuery *query);

static void repo_query_end(ApiRepoQuery *query, int result, ApiRepo *repo, const Failure *failure) {
        ApiForge *forge = query->forge;

        free(query->what);
        free(query->path);
        query->what = query->path = NULL;
        query->done(query, result, repo, failure);
        (void) forge_unref(&forge->forge);
}

static void on_repo(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        ApiRepoQuery *query = userdata;
        _cleanup_api_repo_ ApiRepo repo = {0};
        Failure copy = *failure;

        if (result >= 0) {
                result = query->forge->ops->repo(query->forge, answer, &repo, &copy);
                if (result == -EBADMSG)
                        result = failure_set(
                                &copy,
                                FAILURE_SERVER,
                                "%s: an answer that makes no sense",
                                query->what);
        } else if (result == -ENOENT)
                result = 0;
        if (result == 0) {
                query->alternative++;
                repo_query_ask(query);
        } else if (result > 0 && (repo.flags & API_ENTRY_DISABLED)) {
                result = failure_set(
                        &copy,
                        FAILURE_BLOCKED,
                        "%s is disabled by %s",
                        query->what,
                        query->forge->ops->dialect->name);
                repo_query_end(query, result, NULL, &copy);
        } else
                repo_query_end(query, result, result > 0 ? &repo : NULL, &copy);
}

static void repo_query_ask(ApiRepoQuery *query) {
        const ApiForge *forge = query->forge;
        Failure failure = {0};

        free(query->path);
        query->path = NULL;
        int r = forge->ops->repo_url(
                forge, query->owner, query->name, query->alternative, &query->path);
        if (r <= 0) {
                if (r == 0)
                        (void) failure_set(
                                &failure,
                                FAILURE_NOT_FOUND,
                                "there is no %s, or nobody may know of it",
                                query->what);
                else
                        (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                repo_query_end(query, r, NULL, &failure);
                return;
        }
        const ApiAsk ask = {
                .path = query->path,
                .what = query->what,
                .priority = query->priority,
                .deadline_usec = query->deadline_usec,
                .done = on_repo,
                .userdata = query,
        };
        api_ask(query->forge, &ask);
}

void api_repo_query_start(ApiForge *forge, ApiRepoQuery *query) {
        query->forge = forge;
        query->alternative = 0;
        query->path = NULL;
        (void) forge_ref(&forge->forge);
        if (asprintf(&query->what, "repository %s/%s", query->owner, query->name) < 0) {
                Failure failure;
                query->what = NULL; /* undefined after a failure */
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                repo_query_end(query, -ENOMEM, NULL, &failure);
                return;
        }
        repo_query_ask(query);
}
