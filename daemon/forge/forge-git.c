/* An org on any git server, over smart HTTP(S) or ssh: repositories are at URL/name or
 * URL/name.git. git has no way to list them, so the list is what the configuration names; others
 * are found when they are looked up. */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "config/ssh-url.h"
#include "forge/forge.h"
#include "forge/git-host.h"
#include "forge/git-inquiry.h"
#include "forge/git-source.h"
#include "util/clock.h"
#include "util/path.h"

typedef struct GitForge {
        Forge forge;
        const ForgeContext *context;
        OrgConfig *org;   /* owned */
        Secrets *secrets; /* without `git credential`, which is asked per repository; NULL:
                             ssh has its own */
        atomic_uint_least64_t expected_usec; /* when a look-up was last prepared for; 0: never */
} GitForge;

/* A listing is read again and again. */
#define EXPECT_USEC (15 * USEC_PER_SEC)

/* "host:/" is a root, and "host:" a home. */
static void strip_slashes(char *url) {
        for (size_t n = strlen(url); n > 1 && url[n - 1] == '/' && url[n - 2] != ':'; n--)
                url[n - 1] = '\0';
}

static int git_open(
        const ForgeOps *ops,
        const OrgConfig *org,
        const ForgeContext *context,
        Forge **ret,
        Failure *ret_failure) {
        _cleanup_free_ GitForge *f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        int r = org_config_copy(org, &f->org);
        if (r < 0)
                return r;
        if (!ssh_url_is(org->url))
                r = secrets_new(org, org->url, context, /* ask_git= */ false, &f->secrets);
        if (r < 0) {
                (void) org_config_free(f->org);
                return r;
        }
        strip_slashes(f->org->url);
        f->context = context;
        *ret = &TAKE_PTR(f)->forge;
        return 0;
}

static void git_close(Forge *forge) {
        GitForge *f = container_of(forge, GitForge, forge);

        (void) secrets_unref(f->secrets);
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

/* The name as it is, then with ".git" behind. Each is asked for its advertisement, and for its
 * default branch in the same breath. On a host that is known the branch alone is asked for at
 * first: an answer to that says it all, and anything else nothing. */
typedef struct LookupOp {
        Task task;
        GitInquiry inquiry;
        GitForge *forge; /* a reference */
        ForgeLookup *lookup;
        bool with_suffix;
        bool known; /* what the host can do: */
        GitCapabilities kept;
        char *base; /* while its branch is asked for; owned */
        GitEarlyRefs *early;
} LookupOp;

static void lookup_op_free(LookupOp *op) {
        op->early = git_early_refs_abandon(op->early);
        free(op->base);
        git_inquiry_done(&op->inquiry);
        (void) forge_unref(&op->forge->forge);
        free(op);
}

static int make_base(const char *url, const char *name, char **ret) {
        if (ssh_url_is(url)) {
                *ret = ssh_url_join(url, name);
                return *ret ? 0 : -ENOMEM;
        }
        _cleanup_free_ char *encoded = percent_encode(name, "");
        if (!encoded)
                return -ENOMEM;
        *ret = path_join(url, encoded, NULL);
        return *ret ? 0 : -ENOMEM;
}

static int lookup_base(const LookupOp *op, char **ret) {
        _cleanup_free_ char *name = NULL;

        if (asprintf(&name, "%s%s", op->lookup->name, op->with_suffix ? ".git" : "") < 0) {
                name = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return make_base(op->forge->org->url, name, ret);
}

static int lookup_start(LookupOp *op) {
        _cleanup_free_ char *base = NULL;

        int r = lookup_base(op, &base);
        return r < 0 ? r : git_inquiry_start(&op->inquiry, base);
}

static void lookup_end(LookupOp *op, int result, Source *source, const Failure *failure) {
        const ForgeFound found = {.kind = FORGE_REPO, .source = source};
        ForgeLookup *lookup = op->lookup;
        Failure copy = *failure;

        lookup_op_free(op);
        lookup->done(lookup, result, result < 0 ? NULL : &found, &copy);
}

/* What was told here is good for the next source of that host, too. */
static int make_source(LookupOp *op, Source **ret, Failure *failure) {
        const ForgeContext *context = op->forge->context;
        const GitExchange *x = &op->inquiry.exchange;
        GitAdvertisement *a = &op->inquiry.advertisement;

        git_hosts_learn(context->git_hosts, x->origin, &a->capabilities);
        int r = git_source_new_known(
                context,
                x->base,
                x->auth.strayed ? NULL : x->auth.secrets,
                GIT_PROVEN,
                &a->capabilities,
                &a->refs,
                ret);
        if (r < 0)
                (void) failure_set(failure, FAILURE_LOCAL, "out of memory");
        return r;
}

static bool has_suffix(const char *name) {
        size_t n = strlen(name);
        return n > 4 && strcmp(name + n - 4, ".git") == 0;
}

static void lookup_done(GitInquiry *inquiry, int result, const Failure *failure) {
        LookupOp *op = container_of(inquiry, LookupOp, inquiry);
        Failure copy = *failure;
        Source *source = NULL;

        if (result == -ENOENT && !op->with_suffix && !has_suffix(op->lookup->name)) {
                op->with_suffix = true;
                op->inquiry.with_refs = !op->known || op->kept.version == 2;
                result = lookup_start(op);
                if (result >= 0)
                        return;
                (void) failure_set(&copy, FAILURE_LOCAL, "out of memory");
        } else if (result >= 0)
                result = make_source(op, &source, &copy);
        lookup_end(op, result, source, &copy);
}

static void lookup_ask(LookupOp *op) {
        Failure failure;

        int r = lookup_start(op);
        if (r < 0) {
                (void) failure_set(
                        &failure, FAILURE_LOCAL, "cannot look for \"%s\"", op->lookup->name);
                lookup_end(op, r, NULL, &failure);
        }
}

/* --- on a host that is known --- */

static void on_early_refs(void *userdata) {
        LookupOp *op = userdata;
        Failure failure = {0};
        Source *source = NULL;
        GitRefs refs = {0};

        int r = git_early_refs_take(TAKE_PTR(op->early), op->base, &refs, &failure);
        if (r == -EAGAIN) {
                lookup_ask(op);
                return;
        }
        if (r >= 0)
                r = git_source_new_known(
                        op->forge->context,
                        op->base,
                        op->forge->secrets,
                        GIT_KEPT,
                        &op->kept,
                        &refs,
                        &source);
        git_refs_done(&refs);
        if (r < 0 && failure.class == FAILURE_NONE)
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
        lookup_end(op, r, source, &failure);
}

/* Where it was found before. Elsewhere than the org's URL says a redirect led there, and what the
 * org's server may know is not for that one. */
static void take_for_granted(LookupOp *op) {
        const ForgeContext *context = op->forge->context;
        const char *url = op->lookup->found_at, *org = op->forge->org->url;
        size_t n = strlen(org);
        while (n > 0 && org[n - 1] == '/')
                n--;
        bool below = strncmp(url, org, n) == 0 && url[n] == '/';
        Secrets *secrets = below ? op->forge->secrets : NULL;
        const GitCapabilities nothing = {0};
        Failure failure = {0};
        Source *source = NULL;

        int r = git_source_new_known(
                context, url, secrets, GIT_UNKNOWN, &nothing, /* refs= */ NULL, &source);
        if (r < 0)
                (void) failure_set(&failure, FAILURE_LOCAL, "cannot use what is known of %s", url);
        lookup_end(op, r, source, &failure);
}

/* True if the answer comes to on_early_refs(). */
static bool ask_known_host(LookupOp *op) {
        const ForgeContext *context = op->forge->context;
        _cleanup_free_ char *origin = NULL;

        if (ssh_url_is(op->forge->org->url) || lookup_base(op, &op->base) < 0 ||
            http_url_origin(op->base, &origin) < 0)
                return false;
        op->known = git_hosts_get(context->git_hosts, origin, &op->kept) > 0;
        if (!op->known || op->kept.version != 2)
                return false;
        const GitEarlyQuestion question = {
                .context = context,
                .secrets = op->forge->secrets,
                .ask_git = true,
                .base = op->base,
                .capabilities = &op->kept,
                .deadline_usec = op->inquiry.exchange.deadline_usec,
        };
        return git_early_refs_start(&question, &op->early) >= 0;
}

/* A task, because what is known of hosts lies on the disk. */
static void lookup_run(Task *task) {
        LookupOp *op = container_of(task, LookupOp, task);

        if (op->lookup->found_at) {
                take_for_granted(op);
                return;
        }
        if (ask_known_host(op)) {
                git_early_refs_then(op->early, on_early_refs, op);
                return;
        }
        op->inquiry.with_refs = !op->known;
        lookup_ask(op);
}

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
                .task.run = lookup_run,
                .forge = f,
                .lookup = lookup,
                .inquiry =
                        {
                                .done = lookup_done,
                                .exchange =
                                        {
                                                .context = f->context,
                                                .priority = FETCH_WAITING,
                                                .deadline_usec =
                                                        now_usec() +
                                                        f->context->config->request_timeout_usec,
                                        },
                        },
        };
        git_auth_init(&op->inquiry.exchange.auth, f->secrets, true);
        (void) forge_ref(forge);
        pool_submit(f->context->pool, &op->task, TASK_NORMAL);
}

static void git_expect(Forge *forge) {
        GitForge *f = container_of(forge, GitForge, forge);
        uint64_t now = now_usec(), last = atomic_load(&f->expected_usec);

        if (ssh_url_is(f->org->url) || (last > 0 && now < last + EXPECT_USEC))
                return;
        if (atomic_compare_exchange_strong(&f->expected_usec, &last, now))
                http_expect(f->context->http, f->org->url);
}

const ForgeOps forge_git_ops = {
        .open = git_open,
        .close = git_close,
        .list = git_list,
        .lookup = git_lookup,
        .expect = git_expect,
};
