/* GitHub as the test forge speaks it: what is found and fetched, with how many questions, and what
 * is said when it does not work. */

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "component/forge-fixture.h"
#include "component/github-fixture.h"
#include "forge/host-gate.h"
#include "lib/check-main.h"

#define REST "\"rest\""
#define GIT "\"git\""
#define GRAPHQL "\"graphql\""

static void check_absent(Github *g, const char *name, int expected, FailureClass class) {
        ForgeFound found;
        Failure failure;

        int r = forge_fixture_find(&g->f, g->forge, "", name, false, &found, &failure);
        ck_assert_msg(r == expected && failure.class == class, "%s: %d %s", name, r, failure.text);
}

/* --- look-ups --- */

START_TEST(a_listed_repository_needs_no_request) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "");
        github_open(&g);
        _cleanup_(source_unrefp) Source *source = github_find(&g, "", "app", true);
        ck_assert_uint_eq(github_count(&g, REQUEST), 0);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        Oid head = forge_fixture_oid(&g.f, "main");
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_uint_eq(github_count(&g, REST), 0);
}
END_TEST

/* What the look-up asked for answers the first question for the default branch. */
START_TEST(another_is_asked_for_by_git) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "");
        github_open(&g);
        _cleanup_(source_unrefp) Source *source = github_find(&g, "", "app", false);
        unsigned n = github_count(&g, REQUEST);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        Oid head = forge_fixture_oid(&g.f, "main");
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(github_count(&g, REQUEST), n);
        ck_assert_uint_eq(github_count(&g, REST), 0);
        /* The second is for news. */
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        ck_assert_uint_eq(github_count(&g, REQUEST), n + 1);
}
END_TEST

START_TEST(the_reason_of_a_refusal_is_told) {
        _cleanup_github_ Github g;

        github_start(&g, "");
        github_open(&g);
        check_absent(&g, "missing", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "secret", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "taken-down", -EACCES, FAILURE_BLOCKED);
        check_absent(&g, "forbidden", -EACCES, FAILURE_FORBIDDEN);
        check_absent(&g, "off", -EACCES, FAILURE_BLOCKED);
        unsigned n = github_count(&g, REQUEST);
        check_absent(&g, ".git", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "a b", -ENOENT, FAILURE_NOT_FOUND);
        check_absent(&g, "app.git", -ENOENT, FAILURE_NOT_FOUND);
        ck_assert_uint_eq(github_count(&g, REQUEST), n);
}
END_TEST

START_TEST(a_renamed_repository_is_followed) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "");
        github_open(&g);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *found = github_find(&g, "", "app-old", false);
        ck_assert_int_eq(fetch_ref(&g.f, found, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        /* A listing was right when it was made. */
        _cleanup_(source_unrefp) Source *listed = github_find(&g, "", "app-old", true);
        ck_assert_int_eq(fetch_ref(&g.f, listed, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_int_eq(fetch_objects(&g.f, listed, FETCH_COMMIT, &head, 1, &run), 0);
}
END_TEST

static int find_owner(Github *g, const char *name, bool *ret_unproven) {
        ForgeFound found = {0};

        int r = forge_fixture_find(&g->f, g->forge, "", name, false, &found, NULL);
        if (r == 0)
                ck_assert_int_eq(found.kind, FORGE_OWNER);
        *ret_unproven = found.unproven;
        return r;
}

/* F10: what the forge can list is listed; it cannot list itself. */
START_TEST(all_of_github_has_owners) {
        _cleanup_github_ Github g;
        bool unproven;

        github_start(&g, "");
        g.owner = NULL;
        github_open(&g);
        github_check_list(&g, "", "", FAILURE_NONE);
        ck_assert_int_eq(find_owner(&g, "acme", &unproven), 0);
        ck_assert(!unproven);
        ck_assert_uint_eq(github_count(&g, REQUEST), 1);
        github_check_list(&g, "acme", PUBLIC, FAILURE_NONE);
        github_check_list(&g, "ann", "dots\n", FAILURE_NONE);
        _cleanup_(source_unrefp) Source *source = github_find(&g, "ann", "dots", false);
        ck_assert(strstr(source->url, "/ann/dots.git"));
        ck_assert_int_eq(find_owner(&g, "nobody", &unproven), -ENOENT);
        unsigned n = github_count(&g, REQUEST);
        ck_assert_int_eq(find_owner(&g, ".Trash", &unproven), -ENOENT);
        ck_assert_uint_eq(github_count(&g, REQUEST), n);

        /* Nobody can tell now; the repository below it can. */
        github_turn(&g, "{\"budget\":{\"limit\":60,\"remaining\":0,\"reset\":3000}}");
        ck_assert_int_eq(find_owner(&g, "ann", &unproven), 0);
        ck_assert(unproven);
        _cleanup_(source_unrefp) Source *again = github_find(&g, "ann", "dots", false);
        ck_assert_str_eq(again->url, source->url);
}
END_TEST

/* --- sizes --- */

typedef struct Files {
        Oid oids[5];
        Oid root;
} Files;

static void all_files(Github *g, Files *ret) {
        static const char *const names[] = {
                "main:README",
                "main:src/main.c",
                "main:src/deep/er/file",
                "main:doc/text",
                "main:empty"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ret->oids[i] = forge_fixture_oid(&g->f, names[i]);
        ret->root = forge_fixture_oid(&g->f, "main^{tree}");
}

static Source *open_app(Github *g) {
        Oid head = forge_fixture_oid(&g->f, "main");
        FetchRun run;

        Source *source = github_find(g, "", "app", true);
        ck_assert_int_eq(fetch_objects(&g->f, source, FETCH_COMMIT, &head, 1, &run), 0);
        return source;
}

static int
fetch_sizes(Github *g, Source *source, const Files *files, const char *directory, FetchRun *run) {
        fetch_run_init(run, FETCH_SIZES, files->oids, ELEMENTSOF(files->oids));
        run->fetch.root = files->root;
        run->fetch.tree = forge_fixture_oid(&g->f, directory);
        return fetch_run(&g->f, source, run, NULL);
}

START_TEST(one_request_tells_all_sizes) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        github_start(&g, "");
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert(source->cheap_sizes);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_sizes, 5);
        ck_assert_uint_eq(run.n_objects, 0);
        ck_assert_uint_eq(github_count(&g, REST), 1);
        ck_assert_uint_eq(github_count(&g, "recursive=1"), 1);
}
END_TEST

/* The directory that somebody looks at is told, whatever the size of the rest. */
START_TEST(a_tree_that_is_cut_off_is_asked_for_in_parts) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        github_start(&g, "\"tree_limit\":2");
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src/deep/er", &run), 0);
        ck_assert_uint_eq(github_count(&g, REST), 2); /* the root, the directory */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(github_count(&g, REST), 4); /* the directory with all below it, without */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main^{tree}", &run), 0);
        ck_assert_uint_eq(github_count(&g, REST), 5); /* the root, which is known to be too large */
        ck_assert_uint_eq(run.n_sizes, 2);
        ck_assert_uint_eq(run.n_objects, 0);
}
END_TEST

/* While the API is used up, `ls -l` goes on working: the files of one directory come by git. */
START_TEST(without_the_api_a_directory_is_fetched) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        github_start(&g, "\"budget\":{\"limit\":60,\"remaining\":0,\"reset\":3000}");
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_objects, 1);
        ck_assert_uint_eq(run.n_sizes, 1);
        ck_assert_uint_eq(run.last_size, strlen("int main;\n"));
        ck_assert_uint_eq(github_count(&g, REST), 1);
        /* No question before the reset. */
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:doc", &run), 0);
        ck_assert_uint_eq(github_count(&g, REST), 1);
}
END_TEST

START_TEST(git_tells_sizes_where_it_can) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        github_start(&g, "\"object_info\":true");
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        ck_assert_int_eq(fetch_sizes(&g, source, &files, "main:src", &run), 0);
        ck_assert_uint_eq(run.n_sizes, 5);
        ck_assert_uint_eq(github_count(&g, REST), 0);
}
END_TEST

/* --- blobs --- */

START_TEST(blobs_come_from_the_api_when_git_fails) {
        _cleanup_github_ Github g;
        FetchRun run;
        Files files;

        github_start(&g, "");
        g.f.config.retries = 0;
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        github_turn(&g, "{\"faults\":[{\"on\":\"git-upload-pack\",\"status\":500}]}");
        ck_assert_int_eq(fetch_objects(&g.f, source, FETCH_BLOBS, files.oids, 5, &run), 0);
        ck_assert_uint_eq(run.n_objects, 5);
        for (size_t i = 0; i < 5; i++)
                ck_assert(forge_fixture_has(&g.f, &files.oids[i]));
        ck_assert_uint_eq(github_count(&g, "/git/blobs/"), 5);
}
END_TEST

/* What the API sends is no more trusted than what git sends. */
START_TEST(a_blob_that_lies_is_not_taken) {
        _cleanup_github_ Github g;
        FetchRun run;
        Failure failure;
        Files files;

        github_start(&g, "");
        g.f.config.retries = 0;
        github_open(&g);
        all_files(&g, &files);
        _cleanup_(source_unrefp) Source *source = open_app(&g);
        github_turn(
                &g,
                "{\"faults\":[{\"on\":\"git-upload-pack\",\"status\":500},"
                "{\"on\":\"/git/blobs/\",\"raw\":\"lies\"}]}");
        fetch_run_init(&run, FETCH_BLOBS, files.oids, 1);
        ck_assert_int_eq(fetch_run(&g.f, source, &run, &failure), -EIO);
        ck_assert_int_eq(failure.class, FAILURE_CORRUPT);
        ck_assert(!forge_fixture_has(&g.f, &files.oids[0]));
}
END_TEST

/* --- heads --- */

START_TEST(one_request_tells_the_heads_of_neighbours) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "");
        g.token = "t0ken";
        github_open(&g);
        github_check_list(&g, "", ALL, FAILURE_NONE);
        unsigned rest = github_count(&g, REST);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *app = github_find(&g, "", "app", true);
        ck_assert_int_eq(fetch_ref(&g.f, app, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert(run.fetch.moves);
        _cleanup_(source_unrefp) Source *old = github_find(&g, "", "old", true);
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert(oid_equal(&run.fetch.commit, &head));
        ck_assert_uint_eq(github_count(&g, GRAPHQL), 1);
        ck_assert_uint_eq(github_count(&g, GIT), 0);
        /* Whoever asks again wants news. */
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert_uint_eq(github_count(&g, GRAPHQL), 2);
        /* Of an empty repository git knows more. */
        _cleanup_(source_unrefp) Source *empty = github_find(&g, "", "void", true);
        (void) fetch_ref(&g.f, empty, NULL, &run);
        ck_assert_uint_gt(github_count(&g, GIT), 0);
        ck_assert_uint_le(github_count(&g, REST), rest + 1);
}
END_TEST

/* A look-up asks the same question; what GraphQL does not know git may, and then REST says why. */
START_TEST(a_repository_is_found_by_its_head) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "");
        g.token = "t0ken";
        github_open(&g);
        _cleanup_(source_unrefp) Source *source = github_find(&g, "", "secret", false);
        ck_assert_int_eq(fetch_ref(&g.f, source, NULL, &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(github_count(&g, REQUEST), 1);
        ck_assert_uint_eq(github_count(&g, GRAPHQL), 1);
        check_absent(&g, "missing", -ENOENT, FAILURE_NOT_FOUND);
}
END_TEST

/* Whoever is refused after that is told the reason, too. */
START_TEST(a_refused_commit_has_a_reason) {
        _cleanup_github_ Github g;
        Failure failure;
        FetchRun run;

        github_start(&g, "");
        github_open(&g);
        Oid head = forge_fixture_oid(&g.f, "main");
        _cleanup_(source_unrefp) Source *source = github_find(&g, "", "taken-down", true);
        fetch_run_init(&run, FETCH_COMMIT, &head, 1);
        ck_assert_int_eq(fetch_run(&g.f, source, &run, &failure), -EACCES);
        ck_assert_int_eq(failure.class, FAILURE_BLOCKED);
        ck_assert(strstr(failure.text, "dmca"));
}
END_TEST

START_TEST(without_graphql_git_tells_heads) {
        _cleanup_github_ Github g;
        FetchRun run;

        github_start(&g, "\"graphql\":false");
        g.token = "t0ken";
        github_open(&g);
        github_check_list(&g, "", ALL, FAILURE_NONE);
        _cleanup_(source_unrefp) Source *app = github_find(&g, "", "app", true);
        _cleanup_(source_unrefp) Source *old = github_find(&g, "", "old", true);
        ck_assert_int_eq(fetch_ref(&g.f, app, NULL, &run), 0);
        ck_assert_int_eq(fetch_ref(&g.f, old, NULL, &run), 0);
        ck_assert_str_eq(run.fetch.resolved, "refs/heads/main");
        ck_assert_uint_eq(github_count(&g, GRAPHQL), 1); /* it is left alone then */
}
END_TEST

/* The slot of a host that background work may have. */
typedef struct Slot {
        GateTicket ticket;
        sem_t taken;
} Slot;

static void on_slot(GateTicket *ticket, int result, const Failure *failure) {
        Slot *slot = container_of(ticket, Slot, ticket);

        slot->ticket.result = result;
        (void) sem_post(&slot->taken); /* fails only when it is full */
}

static void take_slot(Github *g, Slot *slot) {
        const char *path = strchr(strstr(g->url, "//") + 2, '/');
        _cleanup_free_ char *host =
                path ? strndup(g->url, (size_t) (path - g->url)) : strdup(g->url);

        *slot =
                (Slot){.ticket = {
                               .priority = FETCH_PREFETCH,
                               .deadline_usec = UINT64_MAX,
                               .admitted = on_slot,
                       }};
        ck_assert_int_eq(sem_init(&slot->taken, 0, 0), 0);
        host_gate_enter(g->f.context.gates, host, &slot->ticket);
        while (sem_wait(&slot->taken) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(slot->ticket.result, 0);
}

static void leave_slot(Slot *slot) {
        const Failure none = {0};

        host_gate_leave(&slot->ticket, 0, &none);
        (void) sem_destroy(&slot->taken); /* nobody waits */
}

static int count_held(const GateInfo *info, void *userdata) {
        unsigned *n = userdata;

        *n += info->n_waiting;
        return 0;
}

/* Returns when a question waits for a slot. */
static void await_held(Github *g) {
        for (unsigned n = 0; n == 0; (void) sched_yield()) {
                host_gates_tick(g->f.context.gates);
                ck_assert_int_eq(host_gates_each(g->f.context.gates, count_held, &n), 0);
        }
}

/* Heads that are asked for ahead take their turn, until somebody waits for one of them. */
START_TEST(heads_that_somebody_waits_for_are_raised) {
        for (int joins = 0; joins < 2; joins++) {
                FetchRun first, second;
                atomic_bool waited[2] = {false, false};
                _cleanup_github_ Github g;
                Failure failure;
                Slot slot;

                github_start(&g, "");
                g.f.config.max_per_host = 2; /* one of them for those who wait */
                g.token = "t0ken";
                github_open(&g);
                github_check_list(&g, "", ALL, FAILURE_NONE);
                _cleanup_(source_unrefp) Source *app = github_find(&g, "", "app", true);
                _cleanup_(source_unrefp) Source *old = github_find(&g, "", "old", true);
                take_slot(&g, &slot);
                fetch_run_init(&first, FETCH_REF, NULL, 0);
                first.fetch.priority = FETCH_PREFETCH;
                first.fetch.waited = &waited[0];
                source_fetch(app, &first.fetch);
                await_held(&g);
                ck_assert_uint_eq(github_count(&g, GRAPHQL), 0);

                /* It is about its neighbours as well. */
                fetch_run_init(&second, FETCH_REF, NULL, 0);
                if (!joins) {
                        second.fetch.priority = FETCH_PREFETCH;
                        second.fetch.waited = &waited[1];
                }
                source_fetch(old, &second.fetch);
                atomic_store(&waited[1], true);
                ck_assert_int_eq(fetch_wait(&g.f, &second, &failure), 0);
                ck_assert_int_eq(fetch_wait(&g.f, &first, &failure), 0);
                ck_assert_uint_eq(github_count(&g, GRAPHQL), 1);
                ck_assert_uint_eq(github_count(&g, GIT), 0);
                leave_slot(&slot);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_listed_repository_needs_no_request);
        tcase_add_test(tc, another_is_asked_for_by_git);
        tcase_add_test(tc, the_reason_of_a_refusal_is_told);
        tcase_add_test(tc, a_renamed_repository_is_followed);
        tcase_add_test(tc, all_of_github_has_owners);
        tcase_add_test(tc, one_request_tells_all_sizes);
        tcase_add_test(tc, a_tree_that_is_cut_off_is_asked_for_in_parts);
        tcase_add_test(tc, without_the_api_a_directory_is_fetched);
        tcase_add_test(tc, git_tells_sizes_where_it_can);
        tcase_add_test(tc, blobs_come_from_the_api_when_git_fails);
        tcase_add_test(tc, a_blob_that_lies_is_not_taken);
        tcase_add_test(tc, one_request_tells_the_heads_of_neighbours);
        tcase_add_test(tc, a_repository_is_found_by_its_head);
        tcase_add_test(tc, a_refused_commit_has_a_reason);
        tcase_add_test(tc, without_graphql_git_tells_heads);
        tcase_add_test(tc, heads_that_somebody_waits_for_are_raised);
}

CHECK_MAIN("forge-github", add_tests)
