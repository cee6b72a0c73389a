/* The git forge against a real sshd. Where no requests of an HTTP server can be counted, sessions
 * of sshd are. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "component/forge-fixture.h"
#include "forge/git-source.h"
#include "forge/ssh.h"
#include "lib/check-main.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/stats.h"
#include "util/subprocess.h"

#define FILTER "--config", "uploadpack.allowFilter=true"
#define _cleanup_source_ _cleanup_(source_unrefp)

typedef struct SshServer {
        TempDir dir;
        int port;
} SshServer;

static int run_server(const char *const *argv, int *ret_port) {
        _cleanup_buf_ Buf output = {0};

        int r = subprocess_run(argv, NULL, NULL, 0, 4096, 60 * USEC_PER_SEC, &output);
        if (r == 0 && ret_port)
                *ret_port = atoi(buf_str(&output));
        return r;
}

static void server_start(SshServer *s, const char *option, const char *value) {
        char port[16];

        if (!s->dir.path)
                temp_dir_init(&s->dir);
        (void) snprintf(port, sizeof(port), "%d", s->port);
        const char *const argv[] = {
                TESTS_LIB "/ssh-server", "start", s->dir.path, "--port", port, option, value, NULL};
        ck_assert_int_eq(run_server(argv, &s->port), 0);
}

static void server_stop(SshServer *s) {
        const char *const argv[] = {TESTS_LIB "/ssh-server", "stop", s->dir.path, NULL};

        ck_assert_int_eq(run_server(argv, NULL), 0);
}

static void server_done(SshServer *s) {
        server_stop(s);
        temp_dir_done(&s->dir);
}
#define _cleanup_server_ _cleanup_(server_done)

/* The user's ssh, with these options more. */
static void use_ssh(SshServer *s, const char *options) {
        char command[400];

        (void) snprintf(command, sizeof(command), "ssh -F %s/ssh_config %s", s->dir.path, options);
        ck_assert_int_eq(setenv("GIT_SSH_COMMAND", command, 1), 0);
}

static unsigned sessions(SshServer *s) {
        _cleanup_free_ char *path = path_join(s->dir.path, "sessions", NULL);
        _cleanup_buf_ Buf text = {0};
        unsigned n = 0;

        int r = read_file(path, 1u << 20, &text);
        ck_assert(r == 0 || r == -ENOENT);
        for (size_t i = 0; i < text.len; i++)
                n += text.data[i] == '\n';
        return n;
}

static char *org_url(ForgeFixture *f) {
        char *url;

        ck_assert_int_gt(asprintf(&url, "ssh://host%s/root", f->dir.path), 0);
        return url;
}

static Source *look_up(ForgeFixture *f, const char *url, const char *name) {
        Source *source = NULL;
        Failure failure;
        int r = forge_fixture_lookup(f, url, name, &source, &failure);

        ck_assert_msg(r == 0, "%s", failure.text);
        return source;
}

/* Nothing announces it. */
static void wait_above(Stat counter, int64_t value) {
        while (stat_get(counter) <= value)
                (void) usleep(1000);
}

static void assert_head(ForgeFixture *f, Source *source) {
        Oid head = forge_fixture_oid(f, "HEAD");
        FetchRun run;
        int r = fetch_ref(f, source, NULL, &run);

        ck_assert_msg(r == 0, "%s", run.failure.text);
        ck_assert(oid_equal(&run.fetch.commit, &head));
}

static void assert_blob(ForgeFixture *f, Source *source, const char *rev) {
        Oid blob = forge_fixture_oid(f, rev);
        FetchRun run;
        int r = fetch_objects(f, source, FETCH_BLOBS, &blob, 1, &run);

        ck_assert_msg(r == 0, "%s", run.failure.text);
        ck_assert(forge_fixture_has(f, &blob));
}

START_TEST(one_connection_for_everything) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        use_ssh(&s, "");
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        ck_assert(source->cheap_sizes);
        assert_head(&f, source);
        Oid commit = forge_fixture_oid(&f, "HEAD"), blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        ck_assert_uint_eq(run.n_objects, 6);
        ck_assert(!forge_fixture_has(&f, &blob));
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), 0);
        ck_assert_uint_eq(run.last_size, 6);
        assert_blob(&f, source, "HEAD:README");
        assert_blob(&f, source, "HEAD:src/deep/er/file");
        ck_assert_uint_eq(sessions(&s), 1);
}
END_TEST

/* The short form; and a name that is there with ".git" behind it only. */
START_TEST(names_as_git_writes_them) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;
        char url[300];

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        use_ssh(&s, "");
        (void) snprintf(url, sizeof(url), "host:%s/root/", f.dir.path);
        _cleanup_source_ Source *work = look_up(&f, url, "work");
        assert_head(&f, work);
        _cleanup_source_ Source *empty = look_up(&f, url, "empty");
        ck_assert_int_eq(fetch_ref(&f, empty, NULL, &run), 0);
        ck_assert(oid_is_none(&run.fetch.commit));
        Failure failure;
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "no'such", NULL, &failure), -ENOENT);
        ck_assert_int_eq(failure.class, FAILURE_NOT_FOUND);
}
END_TEST

/* sshd passes the variable that asks for it on only when told to: one connection per request. */
START_TEST(the_old_protocol_works) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        server_start(&s, "--no-v2", NULL);
        use_ssh(&s, "");
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        ck_assert(!source->cheap_sizes);
        assert_head(&f, source); /* told with the look-up */
        assert_head(&f, source);
        Oid commit = forge_fixture_oid(&f, "HEAD"), blob = forge_fixture_oid(&f, "HEAD:README");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run), 0);
        ck_assert(forge_fixture_has(&f, &blob));
        ck_assert_uint_eq(sessions(&s), 3);
        _cleanup_source_ Source *empty = look_up(&f, url, "empty");
        ck_assert_int_eq(fetch_ref(&f, empty, NULL, &run), 0);
        ck_assert(oid_is_none(&run.fetch.commit));
}
END_TEST

/* A connection that died while it was idle is replaced, and nobody sees it. */
START_TEST(a_dead_connection_is_replaced) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        use_ssh(&s, "");
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        assert_head(&f, source);
        server_stop(&s);
        server_start(&s, FILTER);
        assert_head(&f, source);
        assert_blob(&f, source, "HEAD:README");
        ck_assert_uint_eq(sessions(&s), 2);
}
END_TEST

/* A connection of the network that was would keep whoever is given it waiting. */
START_TEST(another_network_has_connections_of_its_own) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        use_ssh(&s, "");
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        assert_head(&f, source);
        assert_head(&f, source);
        ck_assert_uint_eq(sessions(&s), 1);
        ssh_client_renew(f.context.ssh);
        assert_blob(&f, source, "HEAD:README");
        assert_head(&f, source);
        ck_assert_uint_eq(sessions(&s), 2);
}
END_TEST

START_TEST(reasons_have_classes) {
        static const struct {
                const char *options;
                int result;
                FailureClass class;
                const char *word;
        } cases[] = {
                {"-o UserKnownHostsFile=/dev/null", -EACCES, FAILURE_AUTH, "host key"},
                {"-o IdentityFile=none -o PubkeyAuthentication=no",
                 -EACCES,
                 FAILURE_TOKEN_REFUSED,
                 "keys"},
                {"-o Port=1", -EHOSTDOWN, FAILURE_OFFLINE, "refused"},
                {"-o HostName=nowhere.invalid", -EHOSTDOWN, FAILURE_OFFLINE, "resolve"},
                {"-o ProxyCommand='exit 3'", -EHOSTDOWN, FAILURE_OFFLINE, NULL},
        };
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        _cleanup_free_ char *url = org_url(&f);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Failure failure;
                use_ssh(&s, cases[i].options);
                int r = forge_fixture_lookup(&f, url, "work", NULL, &failure);
                ck_assert_msg(
                        r == cases[i].result && failure.class == cases[i].class &&
                                (!cases[i].word || strstr(failure.text, cases[i].word)),
                        "%s: %d, %s",
                        cases[i].options,
                        r,
                        failure.text);
                forge_fixture_forget(&f); /* the choice of an ssh is believed for a while */
        }
        ck_assert_uint_eq(sessions(&s), 0);
}
END_TEST

/* Nobody is asked for the passphrase of a key: there is no agent that has it. */
START_TEST(a_locked_key_asks_nobody) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;
        char options[200];

        forge_fixture_init(&f);
        server_start(&s, "--passphrase", NULL);
        (void) snprintf(
                options,
                sizeof(options),
                "-o IdentitiesOnly=yes -i %s/locked -F /dev/null -p %d -o HostName=127.0.0.1 "
                "-o HostKeyAlias=gitfs-test -o UserKnownHostsFile=%s/known_hosts",
                s.dir.path,
                s.port,
                s.dir.path);
        use_ssh(&s, options);
        _cleanup_free_ char *url = org_url(&f);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "work", NULL, &failure), -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_TOKEN_REFUSED);
}
END_TEST

START_TEST(a_silent_server_ends_at_the_deadline) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        f.config.request_timeout_usec = 2 * USEC_PER_SEC;
        server_start(&s, FILTER);
        use_ssh(&s, "-o ProxyCommand='sleep 600'");
        _cleanup_free_ char *url = org_url(&f);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "work", NULL, &failure), -ETIMEDOUT);
        ck_assert_int_eq(failure.class, FAILURE_TIMEOUT);
}
END_TEST

START_TEST(what_is_no_git_is_told) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        Failure failure;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        ck_assert_int_eq(setenv("GIT_SSH_COMMAND", "echo Welcome to this host;", 1), 0);
        _cleanup_free_ char *url = org_url(&f);
        ck_assert_int_eq(forge_fixture_lookup(&f, url, "work", NULL, &failure), -EIO);
        ck_assert_ptr_nonnull(strstr(failure.text, "login script"));
}
END_TEST

/* What is under way when the daemon stops is ended, and so are processes that do not want to. */
START_TEST(stopping_ends_what_hangs) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        Source *source = NULL;
        FetchRun run;

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        ck_assert_int_eq(
                setenv("GIT_SSH_COMMAND", "trap '' TERM; while :; do sleep 1; done;", 1), 0);
        _cleanup_free_ char *url = org_url(&f);
        forge_fixture_context(&f);
        ck_assert_int_eq(git_source_new(&f.context, url, NULL, &source), 0);
        fetch_run_init(&run, FETCH_REF, NULL, 0);
        int64_t before = stat_get(STAT_SSH_CONNECTIONS_NOW);
        source_fetch(source, &run.fetch);
        wait_above(STAT_SSH_CONNECTIONS_NOW, before);
        uint64_t start = now_usec();
        host_gates_shut(f.context.gates);
        ssh_client_stop(f.context.ssh);
        ck_assert_int_eq(fetch_wait(&f, &run, NULL), -EINTR);
        ck_assert_uint_lt(now_usec() - start, 5 * USEC_PER_SEC);
        ck_assert_int_eq(stat_get(STAT_SSH_CONNECTIONS_NOW), before);
        source_unref(source);
}
END_TEST

/* The first connection stalls in the middle of an answer that nobody waits for. */
START_TEST(who_waits_gets_a_second_connection) {
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun slow;
        char command[600];

        forge_fixture_init(&f);
        server_start(&s, FILTER);
        (void) snprintf(
                command,
                sizeof(command),
                "f() { if mkdir %s/first 2>/dev/null; then "
                "ssh -F %s/ssh_config \"$@\" | { dd bs=1 count=300 status=none; sleep 600; }; "
                "else exec ssh -F %s/ssh_config \"$@\"; fi; }; f",
                s.dir.path,
                s.dir.path,
                s.dir.path);
        ck_assert_int_eq(setenv("GIT_SSH_COMMAND", command, 1), 0);
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        Oid commit = forge_fixture_oid(&f, "HEAD");
        fetch_run_init(&slow, FETCH_COMMIT, &commit, 1);
        slow.fetch.priority = FETCH_PREFETCH;
        slow.fetch.deadline_usec = now_usec() + 5 * USEC_PER_SEC;
        int64_t before = stat_get(STAT_SSH_REQUESTS);
        source_fetch(source, &slow.fetch);
        wait_above(STAT_SSH_REQUESTS, before);
        assert_blob(&f, source, "HEAD:README");
        ck_assert_uint_lt(now_usec(), slow.fetch.deadline_usec);
        ck_assert_uint_eq(sessions(&s), 2);
        ck_assert_int_eq(fetch_wait(&f, &slow, NULL), -ETIMEDOUT);
        assert_head(&f, source);
        ck_assert_uint_eq(sessions(&s), 2);
}
END_TEST

/* Many at once share what few connections there may be. */
START_TEST(many_at_once_are_all_served) {
        enum { N = 24 };
        _cleanup_server_ SshServer s = {0};
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun runs[N];

        forge_fixture_init(&f);
        f.config.max_per_host = f.config.max_total = N;
        server_start(&s, FILTER);
        use_ssh(&s, "");
        _cleanup_free_ char *url = org_url(&f);
        _cleanup_source_ Source *source = look_up(&f, url, "work");
        Oid blobs[] = {
                forge_fixture_oid(&f, "HEAD:README"),
                forge_fixture_oid(&f, "HEAD:doc/text"),
                forge_fixture_oid(&f, "HEAD:src/main.c"),
        };
        for (size_t i = 0; i < N; i++) {
                fetch_run_init(&runs[i], FETCH_BLOBS, &blobs[i % 3], 1);
                runs[i].fetch.priority = i % 4 == 0 ? FETCH_WAITING : FETCH_PREFETCH;
                source_fetch(source, &runs[i].fetch);
        }
        for (size_t i = 0; i < N; i++) {
                Failure failure;
                int r = fetch_wait(&f, &runs[i], &failure);
                ck_assert_msg(r == 0, "%s", failure.text);
        }
        ck_assert_uint_le(sessions(&s), SSH_MAX_PER_REPOSITORY);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, one_connection_for_everything);
        tcase_add_test(tc, names_as_git_writes_them);
        tcase_add_test(tc, the_old_protocol_works);
        tcase_add_test(tc, a_dead_connection_is_replaced);
        tcase_add_test(tc, another_network_has_connections_of_its_own);
        tcase_add_test(tc, reasons_have_classes);
        tcase_add_test(tc, a_locked_key_asks_nobody);
        tcase_add_test(tc, a_silent_server_ends_at_the_deadline);
        tcase_add_test(tc, what_is_no_git_is_told);
        tcase_add_test(tc, stopping_ends_what_hangs);
        tcase_add_test(tc, who_waits_gets_a_second_connection);
        tcase_add_test(tc, many_at_once_are_all_served);
}

CHECK_MAIN("forge-ssh", add_tests)
