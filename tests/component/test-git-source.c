/* Sources that are made without asking the server: what it can do is known from another repository
 * of the host, or found out, and found out again where that turns out to be wrong. */

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "forge/git-host.h"
#include "forge/git-source.h"
#include "forge/host-gate.h"
#include "forge/http.h"
#include "forge/secret.h"
#include "lib/check-main.h"
#include "util/clock.h"

#define FILTER "--config", "uploadpack.allowFilter=true"
#define _cleanup_source_ _cleanup_(source_unrefp)
#define _cleanup_secrets_ _cleanup_(secrets_unrefp)

/* What a recent git with every option can do. */
static const GitCapabilities everything = {
        .version = 2,
        .algo = OID_SHA1,
        .agent = true,
        .object_format = true,
        .filter = true,
        .shallow = true,
        .object_info = true,
        .unborn = true,
        .side_band = true,
        .ofs_delta = true,
        .no_progress = true,
};

static Source *source_with(ForgeFixture *f, const char *base, const char *name, Secrets *secrets) {
        Source *source = NULL;
        char url[300];

        forge_fixture_context(f);
        (void) snprintf(url, sizeof(url), "%s/%s", base, name);
        ck_assert_int_eq(git_source_new(&f->context, url, secrets, &source), 0);
        return source;
}

static Source *source_at(ForgeFixture *f, const char *base, const char *name) {
        return source_with(f, base, name, NULL);
}

/* Makes believe that the host can do this. */
static void believe(ForgeFixture *f, const char *url, const GitCapabilities *c) {
        _cleanup_free_ char *origin = NULL;

        forge_fixture_context(f);
        ck_assert_int_eq(http_url_origin(url, &origin), 0);
        git_hosts_learn(f->context.git_hosts, origin, c);
}

static unsigned questions(ForgeFixture *f) {
        return forge_fixture_count(f, false, "/info/refs");
}

/* However long this machine took for what came before. */
static void make_fresh(Source *source) {
        GitSource *git = container_of(source, GitSource, source);

        MUTEX_GUARD(&git->mutex);
        git->first_usec = now_usec();
}

static void assert_head(ForgeFixture *f, Source *source) {
        Oid head = forge_fixture_oid(f, "HEAD");
        FetchRun run;

        make_fresh(source);
        int r = fetch_ref(f, source, NULL, &run);

        ck_assert_msg(r == 0, "%s", run.failure.text);
        ck_assert(oid_equal(&run.fetch.commit, &head));
}

START_TEST(the_second_repository_costs_no_question) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        Source *first = source_at(&f, url, "work");
        ck_assert_uint_eq(questions(&f), 0);
        ck_assert(!first->cheap_sizes);
        assert_head(&f, first);
        ck_assert(first->cheap_sizes);
        ck_assert_uint_eq(questions(&f), 1);

        Source *second = source_at(&f, url, "work/.git");
        assert_head(&f, second);
        ck_assert(second->cheap_sizes);
        ck_assert_uint_eq(questions(&f), 1);
        source_unref(first);
        source_unref(second);

        /* And none after a restart. */
        forge_fixture_forget(&f);
        _cleanup_source_ Source *third = source_at(&f, url, "work");
        assert_head(&f, third);
        ck_assert_uint_eq(questions(&f), 1);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 4);
}
END_TEST

/* All that come at once wait for one question. */
START_TEST(the_round_trip_is_measured_for_all_of_a_host) {
        _cleanup_forge_fixture_ ForgeFixture f;
        static const char other[] = "http://other.invalid:80";

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL), *origin = NULL;
        ck_assert_int_eq(http_url_origin(url, &origin), 0);
        Source *first = source_at(&f, url, "work");
        ck_assert_uint_eq(first->rtt_usec, 0);
        assert_head(&f, first);
        ck_assert_uint_gt(first->rtt_usec, 0);
        Source *second = source_at(&f, url, "work.git");
        ck_assert_uint_gt(second->rtt_usec, 0);
        ck_assert_uint_le(second->rtt_usec, first->rtt_usec);

        /* The least counts: what takes longer tells of the server's work. */
        ck_assert_uint_eq(git_hosts_measure(f.context.git_hosts, origin, 1), 1);
        ck_assert_uint_eq(git_hosts_measure(f.context.git_hosts, origin, 5000), 1);
        ck_assert_uint_eq(git_hosts_measure(f.context.git_hosts, other, 0), 0);
        ck_assert_uint_eq(git_hosts_measure(f.context.git_hosts, other, 5000), 5000);
        (void) source_unref(first);
        (void) source_unref(second);
}
END_TEST

typedef struct SlotTaker {
        GateTicket ticket;
        sem_t admitted;
} SlotTaker;

static void on_slot(GateTicket *ticket, int result, const Failure *failure) {
        SlotTaker *taker = container_of(ticket, SlotTaker, ticket);

        (void) sem_post(&taker->admitted); /* once */
}

/* Who waits for it can see whether it waits for others itself. */
START_TEST(a_fetch_tells_that_its_host_holds_it_back) {
        _cleanup_forge_fixture_ ForgeFixture f;
        SlotTaker taker = {
                .ticket = {
                        .priority = FETCH_PREFETCH,
                        .deadline_usec = USEC_INFINITY,
                        .resource = "git",
                        .admitted = on_slot,
                }};
        atomic_bool held = false;
        FetchRun run;
        Failure failure;

        forge_fixture_init(&f);
        f.config.max_per_host = 2; /* one of them for those who wait */
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL), *origin = NULL;
        ck_assert_int_eq(http_url_origin(url, &origin), 0);
        _cleanup_source_ Source *source = source_at(&f, url, "work");
        assert_head(&f, source);
        const Oid head = forge_fixture_oid(&f, "HEAD");

        ck_assert_int_eq(sem_init(&taker.admitted, 0, 0), 0);
        host_gate_enter(f.context.gates, origin, &taker.ticket);
        ck_assert_int_eq(sem_wait(&taker.admitted), 0);
        fetch_run_init(&run, FETCH_COMMIT, &head, 1);
        run.fetch.priority = FETCH_READAHEAD;
        run.fetch.held = &held;
        source_fetch(source, &run.fetch);
        ck_assert(atomic_load(&held));
        host_gate_leave(&taker.ticket, 0, NULL);
        ck_assert_int_eq(fetch_wait(&f, &run, &failure), 0);
        ck_assert(!atomic_load(&held));
        ck_assert_int_eq(sem_destroy(&taker.admitted), 0);
}
END_TEST

/* The budget of first contact: one round trip for the capabilities and the head (R1 of issue 4). */
START_TEST(the_first_ref_comes_with_the_capabilities) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_source_ Source *source = source_at(&f, url, "work");
        assert_head(&f, source);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 2);
        assert_head(&f, source); /* for the second time it is asked for */
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 3);
}
END_TEST

static Source *looked_up(ForgeFixture *f, const char *url, const char *name) {
        Source *source = NULL;
        Failure failure;
        int r = forge_fixture_lookup(f, url, name, &source, &failure);

        ck_assert_msg(r == 0, "%s: %s", url, failure.text);
        return source;
}

START_TEST(what_a_look_up_learnt_is_used_once) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_source_ Source *first = looked_up(&f, url, "work");
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 2);

        /* Another name is another question, and whoever polls wants to know what is there now. */
        FetchRun run;
        Oid v1 = forge_fixture_oid(&f, "v1^{commit}");
        make_fresh(first);
        ck_assert_int_eq(fetch_ref(&f, first, "v1", &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &v1));
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 3);
        fetch_run_init(&run, FETCH_REF, NULL, 0);
        run.fetch.priority = FETCH_REFRESH;
        ck_assert_int_eq(fetch_run(&f, first, &run, NULL), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 4);
        assert_head(&f, first);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 4);
        assert_head(&f, first);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 5);

        /* The next one on that host is looked up by its head alone. */
        _cleanup_source_ Source *second = looked_up(&f, url, "work");
        assert_head(&f, second);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 6);
        ck_assert_uint_eq(questions(&f), 1);
        ck_assert(second->cheap_sizes);
}
END_TEST

/* Whatever goes wrong with it, info/refs tells the truth. */
START_TEST(a_lost_bet_costs_a_round_trip_and_nothing_else) {
        static const char *const faults[] = {
                "html",
                "drop",
                "truncate-10",
                "unflushed",
                "big-100000",
                "redirect",
                "status-400",
                "status-401",
                "status-403",
                "status-404",
                "status-415",
                "status-500"};
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        f.config.retries = 0;
        _cleanup_free_ char *real = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_free_ char *bad = forge_fixture_misbehave(&f, real);
        for (size_t i = 0; i < 2 * ELEMENTSOF(faults); i++) {
                char url[300];
                bool known = i >= ELEMENTSOF(faults);
                (void) snprintf(
                        url,
                        sizeof(url),
                        "%s/ls-refs.%s.%s",
                        bad,
                        known ? "01" : "1", /* the server counts them apart */
                        faults[i % ELEMENTSOF(faults)]);
                if (!known)
                        forge_fixture_forget(&f);
                _cleanup_source_ Source *source = looked_up(&f, url, "work");
                assert_head(&f, source);
        }
}
END_TEST

/* Also where it breaks the head that a source asks for. */
START_TEST(a_source_that_lost_its_bet_asks_again) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        f.config.retries = 0;
        _cleanup_free_ char *real = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_free_ char *bad = forge_fixture_misbehave(&f, real);
        _cleanup_source_ Source *source = source_at(&f, bad, "ls-refs.1.unflushed/work");
        assert_head(&f, source);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\n"), 3);
}
END_TEST

START_TEST(many_at_once_ask_once) {
        enum { N = 16 };
        _cleanup_forge_fixture_ ForgeFixture f;
        Source *sources[N];
        FetchRun runs[N];

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        for (size_t i = 0; i < N; i++) {
                sources[i] = source_at(&f, url, i % 2 == 0 ? "work" : "work/.git");
                fetch_run_init(&runs[i], FETCH_REF, NULL, 0);
        }
        for (size_t i = 0; i < N; i++)
                source_fetch(sources[i], &runs[i].fetch);
        for (size_t i = 0; i < N; i++) {
                ck_assert_int_eq(fetch_wait(&f, &runs[i], NULL), 0);
                source_unref(sources[i]);
        }
        ck_assert_uint_eq(questions(&f), 1);
}
END_TEST

/* One repository is not there: that says nothing of the host, and the others ask for themselves. */
START_TEST(a_missing_repository_is_no_answer_for_others) {
        enum { N = 4 };
        _cleanup_forge_fixture_ ForgeFixture f;
        Source *sources[N];
        FetchRun runs[N];
        Failure failure;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, FILTER, NULL);
        for (size_t i = 0; i < N; i++) {
                sources[i] = source_at(&f, url, i < N - 1 ? "nowhere" : "work");
                fetch_run_init(&runs[i], FETCH_REF, NULL, 0);
        }
        for (size_t i = 0; i < N; i++)
                source_fetch(sources[i], &runs[i].fetch);
        for (size_t i = 0; i < N; i++) {
                bool there = i == N - 1;
                ck_assert_int_eq(fetch_wait(&f, &runs[i], &failure), there ? 0 : -ENOENT);
                source_unref(sources[i]);
        }
}
END_TEST

START_TEST(a_host_that_is_down_fails_all) {
        enum { N = 4 };
        _cleanup_forge_fixture_ ForgeFixture f;
        Source *sources[N];
        FetchRun runs[N];
        Failure failure;

        forge_fixture_init(&f);
        for (size_t i = 0; i < N; i++) {
                sources[i] = source_at(&f, "http://127.0.0.1:1", "work");
                fetch_run_init(&runs[i], FETCH_REF, NULL, 0);
        }
        for (size_t i = 0; i < N; i++)
                source_fetch(sources[i], &runs[i].fetch);
        for (size_t i = 0; i < N; i++) {
                ck_assert_int_eq(fetch_wait(&f, &runs[i], &failure), -EHOSTDOWN);
                ck_assert_int_eq(failure.class, FAILURE_OFFLINE);
                source_unref(sources[i]);
        }
}
END_TEST

/* The host filters, this repository does not. */
START_TEST(too_much_believed_is_put_right) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, NULL);
        believe(&f, url, &everything);
        _cleanup_source_ Source *source = source_at(&f, url, "work");
        Oid commit = forge_fixture_oid(&f, "HEAD"), blob = forge_fixture_oid(&f, "HEAD:README");
        int r = fetch_objects(&f, source, FETCH_COMMIT, &commit, 1, &run);
        ck_assert_msg(r == 0, "%s", run.failure.text);
        ck_assert(forge_fixture_has(&f, &blob)); /* without a filter they come along */
        ck_assert_uint_eq(questions(&f), 1);

        /* From now on it is known, and nothing is tried in vain. */
        unsigned before = forge_fixture_count(&f, false, "\n");
        Oid other = forge_fixture_oid(&f, "v1^{commit}");
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_COMMIT, &other, 1, &run), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), before + 1);
}
END_TEST

START_TEST(the_old_protocol_is_noticed) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url = forge_fixture_serve(&f, "--no-v2", NULL);
        believe(&f, url, &everything);
        _cleanup_source_ Source *source = source_at(&f, url, "work");
        assert_head(&f, source);
        ck_assert_uint_eq(questions(&f), 1);
        ck_assert(!source->cheap_sizes);
}
END_TEST

START_TEST(sizes_that_were_believed_in_are_noticed) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *real = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_free_ char *bad = forge_fixture_misbehave(&f, real);
        believe(&f, bad, &everything);
        _cleanup_source_ Source *source = source_at(&f, bad, "object-info.99.truncate-4/work");
        Oid blob = forge_fixture_oid(&f, "HEAD:README");
        assert_head(&f, source);
        ck_assert(source->cheap_sizes);
        ck_assert_int_eq(fetch_objects(&f, source, FETCH_SIZES, &blob, 1, &run), -EOPNOTSUPP);
        ck_assert(!source->cheap_sizes);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "\ninfo "), 1);
}
END_TEST

/* The less able repository does not spoil the host; an earlier life may be wrong about all. */
START_TEST(a_host_is_taken_for_its_most_able_repository) {
        GitCapabilities less = everything, c;
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        less.filter = false;
        believe(&f, "https://h", &less);
        ck_assert_int_eq(git_hosts_get(f.context.git_hosts, "https://h:443", &c), 1);
        ck_assert(!c.filter);
        believe(&f, "https://h", &everything);
        believe(&f, "https://h", &less);
        ck_assert_int_eq(git_hosts_get(f.context.git_hosts, "https://h:443", &c), 1);
        ck_assert(c.filter && c.object_info);
        ck_assert_int_eq(git_hosts_get(f.context.git_hosts, "https://h:444", &c), 0);

        forge_fixture_forget(&f);
        forge_fixture_context(&f);
        ck_assert_int_eq(git_hosts_get(f.context.git_hosts, "https://h:443", &c), 1);
        ck_assert(c.filter && c.object_info);
        believe(&f, "https://h", &less);
        ck_assert_int_eq(git_hosts_get(f.context.git_hosts, "https://h:443", &c), 1);
        ck_assert(!c.filter && c.object_info);
}
END_TEST

START_TEST(what_is_kept_is_read_back) {
        static const char *const broken[] = {
                "", "\n", "version=2", "version=1 agent\n", "agent filter\n", "x\n"};
        _cleanup_buf_ Buf text = {0};
        GitCapabilities c = {0};

        for (size_t i = 0; i < ELEMENTSOF(broken); i++)
                ck_assert_int_eq(git_capabilities_parse(broken[i], &c), -EBADMSG);
        ck_assert_int_eq(git_capabilities_format(&everything, &text), 0);
        ck_assert_int_eq(git_capabilities_parse(buf_str(&text), &c), 0);
        ck_assert(git_capabilities_cover(&c, &everything));
        ck_assert(git_capabilities_cover(&everything, &c));
        ck_assert_int_eq(c.algo, OID_SHA1);
        ck_assert_int_eq(git_capabilities_parse("version=0 filter\n", &c), 0);
        ck_assert(c.version == 0 && c.filter && !c.agent);
        ck_assert(!git_capabilities_cover(&c, &everything));
}
END_TEST

/* --- tokens --- */

static Secrets *secrets_of(ForgeFixture *f, const char *url, const char *token) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        Secrets *secrets = NULL;

        ck_assert_int_eq(org_config_new("o", ORG_GITEA, url, &org), 0);
        ck_assert_int_eq(secret_file_write(f->dir.path, "o", token), 0);
        forge_fixture_context(f);
        ck_assert_int_eq(secrets_new(org, url, &f->context, false, &secrets), 0);
        return secrets;
}

START_TEST(a_token_is_sent_at_once) {
        _cleanup_forge_fixture_ ForgeFixture f;

        forge_fixture_init(&f);
        _cleanup_free_ char *url =
                forge_fixture_serve(&f, FILTER, "--auth", "x-access-token:t0ken", NULL);
        _cleanup_secrets_ Secrets *secrets = secrets_of(&f, url, "t0ken");
        _cleanup_source_ Source *source = source_with(&f, url, "work", secrets);
        assert_head(&f, source);
        ck_assert_uint_eq(forge_fixture_count(&f, false, " 401 "), 0);
        ck_assert_uint_eq(forge_fixture_count(&f, false, "\n"), 2);
}
END_TEST

START_TEST(a_refused_token_is_named_as_such) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url =
                forge_fixture_serve(&f, FILTER, "--auth", "x-access-token:t0ken", NULL);
        _cleanup_secrets_ Secrets *secrets = secrets_of(&f, url, "wr0ng");
        _cleanup_source_ Source *source = source_with(&f, url, "work", secrets);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_REFUSED);
        ck_assert_int_eq(run.failure.http_code, 401);
        ck_assert_ptr_null(strstr(run.failure.text, "wr0ng"));
        ck_assert_uint_eq(
                forge_fixture_count(&f, false, " 401 "), 2); /* in two questions at once */

        /* A new one in the file needs no restart (R27). */
        ck_assert_int_eq(secret_file_write(f.dir.path, "o", "t0ken"), 0);
        secrets_flush(secrets);
        assert_head(&f, source);
}
END_TEST

START_TEST(no_token_is_told_from_a_wrong_one) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *url =
                forge_fixture_serve(&f, FILTER, "--auth", "x-access-token:t0ken", NULL);
        _cleanup_source_ Source *source = source_at(&f, url, "work");
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_MISSING);
}
END_TEST

/* The token is good, so it is neither asked for again nor given up. */
START_TEST(a_token_that_does_not_reach_that_far) {
        _cleanup_forge_fixture_ ForgeFixture f;
        _cleanup_(secret_done) Secret secret = {0};
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *real = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_free_ char *bad = forge_fixture_misbehave(&f, real);
        _cleanup_secrets_ Secrets *secrets = secrets_of(&f, bad, "t0ken");
        _cleanup_source_ Source *source = source_with(&f, bad, "any.99.status-403/work", secrets);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_FORBIDDEN);
        ck_assert_uint_eq(forge_fixture_count(&f, true, "/info/refs"), 1);
        ck_assert_int_eq(secrets_peek(secrets, &secret), 1);
        ck_assert_str_eq(secret.token, "t0ken");
}
END_TEST

/* A redirect to another host does not take the token along. */
START_TEST(a_token_stays_with_its_host) {
        _cleanup_forge_fixture_ ForgeFixture f;
        FetchRun run;

        forge_fixture_init(&f);
        _cleanup_free_ char *real = forge_fixture_serve(&f, FILTER, NULL);
        _cleanup_free_ char *bad = forge_fixture_misbehave(&f, real);
        _cleanup_secrets_ Secrets *secrets = secrets_of(&f, bad, "t0ken");
        _cleanup_source_ Source *source =
                source_with(&f, bad, "info.99.redirect-auth/work", secrets);
        ck_assert_int_eq(fetch_ref(&f, source, NULL, &run), -EACCES);
        ck_assert_int_eq(run.failure.class, FAILURE_TOKEN_MISSING);
        _cleanup_free_ char *requests = forge_fixture_requests(&f, true);
        ck_assert_ptr_nonnull(strstr(requests, "\nother-info"));
        for (char *save = NULL, *line = strtok_r(requests, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save)) {
                bool other = strncmp(line, "other-", 6) == 0;
                ck_assert_msg(!other || strstr(line, " -"), "%s", line);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, the_second_repository_costs_no_question);
        tcase_add_test(tc, the_round_trip_is_measured_for_all_of_a_host);
        tcase_add_test(tc, a_fetch_tells_that_its_host_holds_it_back);
        tcase_add_test(tc, the_first_ref_comes_with_the_capabilities);
        tcase_add_test(tc, what_a_look_up_learnt_is_used_once);
        tcase_add_test(tc, a_lost_bet_costs_a_round_trip_and_nothing_else);
        tcase_add_test(tc, a_source_that_lost_its_bet_asks_again);
        tcase_add_test(tc, many_at_once_ask_once);
        tcase_add_test(tc, a_missing_repository_is_no_answer_for_others);
        tcase_add_test(tc, a_host_that_is_down_fails_all);
        tcase_add_test(tc, too_much_believed_is_put_right);
        tcase_add_test(tc, the_old_protocol_is_noticed);
        tcase_add_test(tc, sizes_that_were_believed_in_are_noticed);
        tcase_add_test(tc, a_host_is_taken_for_its_most_able_repository);
        tcase_add_test(tc, what_is_kept_is_read_back);
        tcase_add_test(tc, a_token_is_sent_at_once);
        tcase_add_test(tc, a_refused_token_is_named_as_such);
        tcase_add_test(tc, no_token_is_told_from_a_wrong_one);
        tcase_add_test(tc, a_token_that_does_not_reach_that_far);
        tcase_add_test(tc, a_token_stays_with_its_host);
}

CHECK_MAIN("git-source", add_tests)
