#include "component/forge-fixture.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "forge/credential.h"
#include "forge/git-host.h"
#include "forge/host-gate.h"
#include "forge/http.h"
#include "forge/ssh.h"
#include "store/documents.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/subprocess.h"

#define OUTPUT_MAX (4u << 20)
#define DOCUMENTS_LIMIT (1u << 20)
#define TICK_USEC (20 * USEC_PER_MSEC)

/* --- programs --- */

static char *run(const char *const *argv) {
        Buf output = {0};

        int r = subprocess_run(argv, NULL, NULL, 0, OUTPUT_MAX, 60 * USEC_PER_SEC, &output);
        ck_assert_msg(r == 0, "%s %s: %d", argv[0], argv[1], r);
        ck_assert_ptr_nonnull(buf_str(&output));
        return (char *) output.data;
}

static char *first_line(char *text) {
        text[strcspn(text, "\n")] = '\0';
        return text;
}

static char *sub_directory(ForgeFixture *f, const char *name) {
        char *path = path_join(f->dir.path, name, NULL);
        ck_assert_ptr_nonnull(path);
        return path;
}

char *forge_fixture_serve(ForgeFixture *f, ...) {
        _cleanup_free_ char *directory = sub_directory(f, "git-server");
        _cleanup_free_ char *root = sub_directory(f, "root");
        const char *argv[24] = {TESTS_LIB "/git-server", "start", directory, "--root", root};
        size_t n = 5;
        va_list ap;

        va_start(ap, f);
        for (const char *arg; (arg = va_arg(ap, const char *));) {
                ck_assert_uint_lt(n, ELEMENTSOF(argv) - 1);
                argv[n++] = arg;
        }
        va_end(ap);
        char *url = first_line(run(argv));
        f->git_server = true;
        return url;
}

char *forge_fixture_misbehave(ForgeFixture *f, const char *upstream) {
        _cleanup_free_ char *directory = sub_directory(f, "bad-server");
        const char *const argv[] = {
                TESTS_LIB "/bad-server", "start", directory, "--upstream", upstream, NULL};

        char *url = first_line(run(argv));
        f->bad_server = true;
        return url;
}

static void stop_server(ForgeFixture *f, const char *program) {
        _cleanup_free_ char *directory = sub_directory(f, program);
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", TESTS_LIB, program);
        const char *const argv[] = {path, "stop", directory, NULL};
        free(run(argv));
}

char *forge_fixture_requests(ForgeFixture *f, bool bad) {
        const char *program = bad ? "bad-server" : "git-server";
        _cleanup_free_ char *directory = sub_directory(f, program);
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", TESTS_LIB, program);
        const char *const argv[] = {path, "requests", directory, NULL};
        return run(argv);
}

unsigned forge_fixture_count(ForgeFixture *f, bool bad, const char *what) {
        _cleanup_free_ char *text = forge_fixture_requests(f, bad);
        unsigned n = 0;

        for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}

/* --- the test forge --- */

void forge_fixture_start_world(ForgeFixture *f, const char *world) {
        _cleanup_free_ char *directory = sub_directory(f, "forge");
        _cleanup_free_ char *file = sub_directory(f, "world.json");
        const char *const argv[] = {FORGE_SERVER, "start", directory, "--world", file, NULL};
        FILE *out = fopen(file, "we");

        ck_assert_ptr_nonnull(out);
        for (const char *p = world; *p; p++)
                if (*p == '@')
                        ck_assert_int_gt(fprintf(out, "%s/.git", f->repo.dir.path), 0);
                else
                        ck_assert_int_ne(fputc(*p, out), EOF);
        ck_assert_int_eq(fclose(out), 0);
        f->world_urls = run(argv);
        f->world = true;
}

char *forge_fixture_world_url(ForgeFixture *f, const char *name) {
        char key[64];

        (void) snprintf(key, sizeof(key), "\"%s\": \"", name);
        const char *url = strstr(f->world_urls, key);
        ck_assert_ptr_nonnull(url);
        url += strlen(key);
        char *copy = strndup(url, strcspn(url, "\""));
        ck_assert_ptr_nonnull(copy);
        return copy;
}

char *forge_fixture_world_requests(ForgeFixture *f) {
        _cleanup_free_ char *directory = sub_directory(f, "forge");
        const char *const argv[] = {FORGE_SERVER, "requests", directory, NULL};

        return run(argv);
}

static void stop_world(ForgeFixture *f) {
        _cleanup_free_ char *directory = sub_directory(f, "forge");
        const char *const argv[] = {FORGE_SERVER, "stop", directory, NULL};

        free(run(argv));
        free(TAKE_PTR(f->world_urls));
        f->world = false;
}

/* --- life --- */

static void make_repositories(ForgeFixture *f) {
        _cleanup_free_ char *root = sub_directory(f, "root");
        _cleanup_free_ char *link = path_join(root, "work", NULL);
        _cleanup_free_ char *bare = path_join(root, "empty.git", NULL);
        _cleanup_free_ char *other = path_join(root, "sha256.git", NULL);
        const char *const init[] = {"git", "init", "-q", "--bare", "-b", "main", bare, NULL};
        const char *const init256[] = {
                "git", "init", "-q", "--bare", "-b", "main", "--object-format=sha256", other, NULL};

        git_fixture_init(&f->repo, "sha1");
        git_fixture_write(&f->repo, "README", "hello\n", 6);
        git_fixture_write(&f->repo, "src/main.c", "int main;\n", 10);
        git_fixture_write(&f->repo, "src/deep/er/file", "deep\n", 5);
        git_fixture_write(&f->repo, "doc/text", "text\n", 5);
        git_fixture_write(&f->repo, "empty", "", 0);
        git_fixture_commit(&f->repo, "first");
        git_fixture_run(&f->repo, NULL, NULL, "tag", "-a", "-m", "one", "v1", NULL);
        git_fixture_run(&f->repo, NULL, NULL, "branch", "feature/x", NULL);
        git_fixture_write(&f->repo, "doc/text", "text, changed\n", 14);
        git_fixture_commit(&f->repo, "second");

        ck_assert_int_eq(mkdir_parents(root, 0755), 0);
        ck_assert_int_eq(symlink(f->repo.dir.path, link), 0);
        free(run(init));
        free(run(init256));
}

void forge_fixture_context(ForgeFixture *f) {
        _cleanup_free_ char *documents = sub_directory(f, "documents");

        const StoreConfig store = {.memory_limit = (uint64_t) 256 << 20};
        const HttpConfig http = {
                .connect_timeout_usec = 5 * USEC_PER_SEC,
                .stall_timeout_usec = f->config.stall_timeout_usec,
                .ca_file = f->config.ca_file,
                .user_agent = "git/gitfs-test",
        };

        const SshConfig ssh = {.stall_timeout_usec = f->config.stall_timeout_usec};
        const GateLimits limits = {
                .max_per_host = f->config.max_per_host,
                .max_total = f->config.max_total,
        };

        if (f->context.pool)
                return;
        f->context = (ForgeContext){.config = &f->config, .config_home = f->dir.path};
        ck_assert_int_eq(pool_new(4, &f->context.pool), 0);
        ck_assert_int_eq(http_client_new(&http, f->context.pool, &f->context.http), 0);
        ck_assert_int_eq(ssh_client_new(&ssh, f->context.pool, &f->context.ssh), 0);
        ck_assert_int_eq(store_open(&store, &f->context.store), 0);
        ck_assert_int_eq(host_gates_new(f->context.pool, &limits, &f->context.gates), 0);
        ck_assert_int_eq(helpers_new(f->context.pool, &f->context.helpers), 0);
        ck_assert_int_eq(credentials_new(true, f->context.helpers, &f->context.credentials), 0);
        ck_assert_int_eq(documents_open(documents, DOCUMENTS_LIMIT, &f->context.documents), 0);
        ck_assert_int_eq(
                git_hosts_new(f->context.pool, f->context.documents, &f->context.git_hosts), 0);
}

void forge_fixture_init(ForgeFixture *f) {
        *f = (ForgeFixture){
                .config =
                        {
                                .request_timeout_usec = 60 * USEC_PER_SEC,
                                .stall_timeout_usec = 30 * USEC_PER_SEC,
                                .max_per_host = 4,
                                .max_total = 8,
                                .retries = 2,
                                .max_object_size = (uint64_t) 64 << 20,
                        },
        };
        ck_assert_int_eq(object_library_init(), 0);
        temp_dir_init(&f->dir);
        make_repositories(f);
        /* No helper of the machine or of the user is asked. */
        ck_assert_int_eq(setenv("GIT_CONFIG_NOSYSTEM", "1", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1), 0);
        ck_assert_int_eq(unsetenv("GIT_CONFIG_COUNT"), 0);
}

void forge_fixture_forget(ForgeFixture *f) {
        if (!f->context.pool)
                return;
        helpers_stop(f->context.helpers);
        host_gates_shut(f->context.gates);
        http_client_stop(f->context.http);
        ssh_client_stop(f->context.ssh);
        pool_free(f->context.pool);
        helpers_free(f->context.helpers);
        http_client_free(f->context.http);
        ssh_client_free(f->context.ssh);
        host_gates_free(f->context.gates);
        git_hosts_free(f->context.git_hosts);
        credentials_free(f->context.credentials);
        documents_close(f->context.documents);
        store_close(f->context.store);
        f->context = (ForgeContext){0};
}

void forge_fixture_stop_servers(ForgeFixture *f) {
        if (f->bad_server)
                stop_server(f, "bad-server");
        if (f->git_server)
                stop_server(f, "git-server");
        if (f->world)
                stop_world(f);
        f->bad_server = f->git_server = false;
}

void forge_fixture_done(ForgeFixture *f) {
        forge_fixture_forget(f);
        forge_fixture_stop_servers(f);
        git_fixture_done(&f->repo);
        temp_dir_done(&f->dir);
        object_library_done();
        free(f->config.ca_file);
        *f = (ForgeFixture){0};
}

void forge_fixture_use_helper(void) {
        ck_assert_int_eq(setenv("GIT_CONFIG_COUNT", "1", 1), 0);
        ck_assert_int_eq(setenv("GIT_CONFIG_KEY_0", "credential.helper", 1), 0);
        ck_assert_int_eq(
                setenv("GIT_CONFIG_VALUE_0",
                       "!f() { test $1 = get && printf 'username=alice\\npassword=s3cret\\n'; }; f",
                       1),
                0);
}

/* --- waiting --- */

/* Waits for *done as the daemon does, whose main loop drives the gates. */
static void
wait_done(ForgeFixture *f, pthread_mutex_t *mutex, pthread_cond_t *cond, const bool *done) {
        (void) pthread_mutex_lock(mutex);
        while (!*done) {
                struct timespec ts;
                ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &ts), 0);
                ts.tv_nsec += (long) (TICK_USEC * 1000);
                ts.tv_sec += ts.tv_nsec / 1000000000;
                ts.tv_nsec %= 1000000000;
                (void) pthread_cond_timedwait(cond, mutex, &ts);
                (void) pthread_mutex_unlock(mutex);
                host_gates_tick(f->context.gates);
                (void) pthread_mutex_lock(mutex);
        }
        (void) pthread_mutex_unlock(mutex);
}

typedef struct LookupRun {
        ForgeLookup lookup;
        pthread_mutex_t mutex;
        pthread_cond_t ended;
        bool done;
        int result;
        ForgeFound found;
        Failure failure;
} LookupRun;

static void
on_found(ForgeLookup *lookup, int result, const ForgeFound *found, const Failure *failure) {
        LookupRun *l = container_of(lookup, LookupRun, lookup);

        (void) pthread_mutex_lock(&l->mutex);
        l->result = result;
        if (found)
                l->found = *found;
        l->failure = *failure;
        l->done = true;
        (void) pthread_cond_signal(&l->ended);
        (void) pthread_mutex_unlock(&l->mutex);
}

Forge *forge_fixture_open(ForgeFixture *f, const OrgConfig *org) {
        Forge *forge = NULL;

        forge_fixture_context(f);
        ck_assert_int_eq(forge_open(org, &f->context, &forge, NULL), 0);
        return forge;
}

static Forge *open_forge(ForgeFixture *f, const char *url, const char *const *repos) {
        OrgConfig *org;

        OrgKind kind = url[0] == '/' ? ORG_LOCAL : ORG_GIT;
        ck_assert_int_eq(org_config_new("org", kind, url, &org), 0);
        for (; repos && *repos; repos++)
                ck_assert_int_eq(org_config_add_repo(org, *repos), 0);
        Forge *forge = forge_fixture_open(f, org);
        org_config_free(org);
        return forge;
}

int forge_fixture_find(
        ForgeFixture *f,
        Forge *forge,
        const char *owner,
        const char *name,
        bool listed,
        ForgeFound *ret,
        Failure *ret_failure) {
        LookupRun l = {
                .lookup = {.owner = owner, .name = name, .listed = listed, .done = on_found},
                .mutex = PTHREAD_MUTEX_INITIALIZER,
                .ended = PTHREAD_COND_INITIALIZER,
        };

        forge_lookup(forge, &l.lookup);
        wait_done(f, &l.mutex, &l.ended, &l.done);
        *ret = l.found;
        if (ret_failure)
                *ret_failure = l.failure;
        bool is_repo = l.result == 0 && l.found.kind == FORGE_REPO;
        ck_assert(is_repo == (l.found.source != NULL));
        return l.result;
}

int forge_fixture_lookup(
        ForgeFixture *f, const char *url, const char *name, Source **ret, Failure *ret_failure) {
        Forge *forge = open_forge(f, url, NULL);
        ForgeFound found;

        int r = forge_fixture_find(f, forge, "", name, false, &found, ret_failure);
        (void) forge_unref(forge);
        if (ret)
                *ret = found.source;
        else
                (void) source_unref(found.source);
        return r;
}

typedef struct ListRun {
        ForgeList list;
        pthread_mutex_t mutex;
        pthread_cond_t ended;
        bool done;
        int result;
        Failure failure;
        Buf names;
        unsigned left;
} ListRun;

static bool on_name(ForgeList *list, const ForgeEntry *entry) {
        ListRun *l = container_of(list, ListRun, list);

        const char *end = entry->kind == FORGE_OWNER ? "/" : "";

        return buf_appendf(&l->names, "%s%s\n", entry->name, end) >= 0 && --l->left > 0;
}

static void on_listed(ForgeList *list, int result, const Failure *failure) {
        ListRun *l = container_of(list, ListRun, list);

        (void) pthread_mutex_lock(&l->mutex);
        l->result = result;
        l->failure = *failure;
        l->done = true;
        (void) pthread_cond_signal(&l->ended);
        (void) pthread_mutex_unlock(&l->mutex);
}

static char *list_names(
        ForgeFixture *f,
        Forge *forge,
        const char *owner,
        bool kept,
        unsigned max,
        int *ret_result,
        Failure *ret_failure) {
        ListRun l = {
                .list = {.owner = owner, .kept = kept, .found = on_name, .done = on_listed},
                .mutex = PTHREAD_MUTEX_INITIALIZER,
                .ended = PTHREAD_COND_INITIALIZER,
                .left = max,
        };

        forge_list(forge, &l.list);
        wait_done(f, &l.mutex, &l.ended, &l.done);
        *ret_result = l.result;
        if (ret_failure)
                *ret_failure = l.failure;
        ck_assert_ptr_nonnull(buf_str(&l.names));
        return (char *) l.names.data;
}

char *forge_fixture_names(
        ForgeFixture *f, Forge *forge, const char *owner, int *ret_result, Failure *ret_failure) {
        return list_names(f, forge, owner, false, UINT_MAX, ret_result, ret_failure);
}

char *forge_fixture_kept_names(
        ForgeFixture *f, Forge *forge, const char *owner, int *ret_result, Failure *ret_failure) {
        return list_names(f, forge, owner, true, UINT_MAX, ret_result, ret_failure);
}

char *forge_fixture_list(ForgeFixture *f, const char *url, const char *const *repos, unsigned max) {
        Forge *forge = open_forge(f, url, repos);
        int result;

        char *names = list_names(f, forge, "", false, max, &result, NULL);
        (void) forge_unref(forge);
        ck_assert_int_eq(result, 0);
        return names;
}

static void on_object(Fetch *fetch, const Oid *oid, ObjectType type, uint64_t size) {
        container_of(fetch, FetchRun, fetch)->n_objects++;
}

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        FetchRun *r = container_of(fetch, FetchRun, fetch);

        r->n_sizes++;
        r->last_size = size;
}

static void on_fetched(Fetch *fetch, int result, const Failure *failure) {
        FetchRun *r = container_of(fetch, FetchRun, fetch);

        (void) pthread_mutex_lock(&r->mutex);
        r->result = result;
        r->failure = *failure;
        r->done = true;
        (void) pthread_cond_signal(&r->ended);
        (void) pthread_mutex_unlock(&r->mutex);
}

void fetch_run_init(FetchRun *run, FetchKind kind, const Oid *oids, size_t n_oids) {
        *run = (FetchRun){
                .fetch =
                        {
                                .kind = kind,
                                .deadline_usec = now_usec() + 60 * USEC_PER_SEC,
                                .oids = oids,
                                .n_oids = n_oids,
                                .object = on_object,
                                .size = on_size,
                                .done = on_fetched,
                        },
                .mutex = PTHREAD_MUTEX_INITIALIZER,
                .ended = PTHREAD_COND_INITIALIZER,
        };
}

int fetch_run(ForgeFixture *f, Source *source, FetchRun *r, Failure *ret_failure) {
        source_fetch(source, &r->fetch);
        return fetch_wait(f, r, ret_failure);
}

int fetch_wait(ForgeFixture *f, FetchRun *r, Failure *ret_failure) {
        wait_done(f, &r->mutex, &r->ended, &r->done);
        if (ret_failure)
                *ret_failure = r->failure;
        return r->result;
}

int fetch_ref(ForgeFixture *f, Source *source, const char *name, FetchRun *r) {
        fetch_run_init(r, FETCH_REF, NULL, 0);
        r->fetch.refname = name;
        return fetch_run(f, source, r, NULL);
}

int fetch_objects(
        ForgeFixture *f, Source *source, FetchKind kind, const Oid *oids, size_t n, FetchRun *r) {
        fetch_run_init(r, kind, oids, n);
        return fetch_run(f, source, r, NULL);
}

/* --- objects --- */

Oid forge_fixture_oid(ForgeFixture *f, const char *rev) {
        _cleanup_free_ char *hex = git_fixture_line(&f->repo, "rev-parse", rev, NULL);
        Oid oid;

        ck_assert_int_eq(oid_from_hex(&oid, hex, strlen(hex)), 0);
        return oid;
}

bool forge_fixture_has(ForgeFixture *f, const Oid *oid) {
        return store_has(f->context.store, STORE_OBJECT, oid);
}
