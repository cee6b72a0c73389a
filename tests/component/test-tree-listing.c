/* Listings of owners: shown while they come, kept, asked for again, and followed. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "component/fake-forge.h"
#include "component/owner-fixture.h"
#include "component/tree-fixture.h"
#include "lib/check-main.h"
#include "tree/namespace-private.h"
#include "tree/owner.h"
#include "util/stats.h"

/* As if the last listing had been long ago. */
static void make_old(Setup *s) {
        Owner *owner = &s->org->root;

        ns_set_config(
                s->f.ns,
                &(NsConfig){
                        .request_timeout_usec = 60 * USEC_PER_SEC,
                        .negative_timeout_usec = 60 * USEC_PER_SEC,
                        .listing_limit = (uint64_t) 64 << 20,
                        .poll_interval_usec = 3600 * USEC_PER_SEC,
                });
        mutex_lock(&owner->lock);
        owner->listed_usec = owner->listed_usec > 0;
        owner->relisted_usec = 1;
        mutex_unlock(&owner->lock);
}

/* --- listings --- */

START_TEST(pages_are_shown_as_they_come) {
        _cleanup_setup_ Setup s;
        uint64_t offset = 0;
        Reader reader;

        setup_init(&s, "acme");
        reader_start(&reader, &s, 0, 2); /* waits for the first page */
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("delta", "alpha", "sub/")));
        check_take(&s, 2, &offset, "delta alpha ");
        check_take(&s, UINT32_MAX, &offset, "sub ");
        /* Nothing that cannot be shown, and nothing twice. */
        ck_assert(fake_forge_page(
                &s.fake, NAMES("beta", "alpha", "..", "a/b", "", "x@y", ".git", "beta", "gamma")));
        check_take(&s, 1, &offset, "beta ");
        check_take(&s, UINT32_MAX, &offset, "gamma ");
        ck_assert(fake_forge_page(&s.fake, NAMES("omega")));
        fake_forge_end(&s.fake, 0, NULL);
        check_take(&s, UINT32_MAX, &offset, "omega ");
        check_take(&s, UINT32_MAX, &offset, "");
        reader_end(&reader, 0, "delta\nalpha\nsub\nbeta\ngamma\nomega\n");

        /* Again: nobody is asked. What is listed needs no look-up to exist. */
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "delta alpha sub beta gamma omega ");
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1);
        ck_assert_int_gt(fs_walk(&s.f, "f/sub"), 0);
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), 0);
        ck_assert_int_gt(fs_walk(&s.f, "f/beta"), 0);
        ck_assert_uint_eq(s.fake.n_listed, 1);
        /* What is not may be private, or renamed. */
        check_absent(&s, "f/private");
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), 2);
        ck_assert_uint_eq(s.fake.n_listed, 1);
}
END_TEST

START_TEST(readers_of_any_pace_see_all_once) { /* R30 */
        _cleanup_setup_ Setup s;
        _cleanup_buf_ Buf expected = {0};
        Reader readers[8];

        setup_init(&s, "acme");
        for (size_t i = 0; i < ELEMENTSOF(readers); i++)
                reader_start(&readers[i], &s, 0, (unsigned) (1 + i * i));
        fake_forge_expect(&s.fake, "");
        for (unsigned page = 0; page < 50; page++) {
                char names[4][32];
                for (unsigned i = 0; i < 4; i++) {
                        (void) snprintf(names[i], sizeof(names[i]), "repo-%u-%u", page, i);
                        ck_assert_int_eq(buf_appendf(&expected, "%s\n", names[i]), 0);
                }
                ck_assert(fake_forge_page(
                        &s.fake, NAMES(names[0], names[1], names[2], names[3], "repo-0-0")));
        }
        fake_forge_end(&s.fake, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(readers); i++)
                reader_end(&readers[i], 0, buf_str(&expected));
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1);
}
END_TEST

START_TEST(what_look_ups_found_comes_behind_the_list) {
        static const FakeName hidden[] = {
                {"", "hidden", FORGE_REPO, false, 0},
                {"", "listed", FORGE_REPO, false, 0},
                {"", "secret", FORGE_REPO, false, 0},
                {"", "team", FORGE_OWNER, false, 0},
                {0},
        };
        _cleanup_setup_ Setup s;
        char seen[64] = "";
        Buf all = {0};

        setup_init(&s, "acme");
        s.fake.names = hidden;
        for (const FakeName *n = hidden; n->name; n++) {
                char path[32];
                (void) snprintf(path, sizeof(path), "f/%s", n->name);
                ck_assert_int_gt(fs_walk(&s.f, path), 0);
        }
        Reader reader;
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("one", "listed")));
        fake_forge_end(&s.fake, 0, NULL);
        ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
        ck_assert_int_eq(reader.result, 0);
        ck_assert_int_eq(strncmp(buf_str(&reader.names), "one\nlisted\n", 11), 0);
        buf_done(&reader.names);

        /* One by one it is the same. */
        uint64_t offset = 0;
        ck_assert_int_eq(fs_list(&s.f, s.id, false, UINT32_MAX, &offset, &all), 0);
        offset = 0;
        for (unsigned i = 0; i < 5; i++) {
                _cleanup_free_ char *name = take(&s, s.id, 1, &offset);
                name[strcspn(name, " ")] = '\n';
                (void) strcat(seen, name);
        }
        ck_assert_str_eq(seen, buf_str(&all));
        ck_assert_ptr_nonnull(strstr(seen, "hidden\n"));
        ck_assert_ptr_nonnull(strstr(seen, "secret\n"));
        ck_assert_ptr_nonnull(strstr(seen, "team\n"));
        check_take(&s, 1, &offset, "");
        buf_done(&all);
}
END_TEST

START_TEST(a_listing_that_fails_shows_what_came) {
        _cleanup_setup_ Setup s;
        Failure offline;
        Reader reader;

        setup_init(&s, "acme");
        int error = failure_set(&offline, FAILURE_OFFLINE, "no route");
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "");
        fake_forge_end(&s.fake, error, &offline);
        reader_end(&reader, error, "");
        ck_assert_int_eq(s.org->health, ORG_HEALTH_FAILING);

        demand_list_ahead(s.f.ns, &s.org->root, FETCH_REFRESH); /* it is asked again */
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("one", "two")));
        uint64_t offset = 0;
        check_take(&s, UINT32_MAX, &offset, "one two ");
        reader_start(&reader, &s, offset, UINT32_MAX);
        fake_forge_end(&s.fake, error, &offline);
        reader_end(&reader, error, "");
        ck_assert_int_gt(fs_walk(&s.f, "f/two"), 0);

        /* Any other reader of it comes to the same end; the next one begins anew. */
        Buf names = {0};
        ck_assert_int_eq(fs_list(&s.f, s.id, false, UINT32_MAX, &offset, &names), error);
        list_once(&s, NAMES("one", "three"), "one\nthree\n");
        ck_assert_int_eq(s.org->health, ORG_HEALTH_OK);
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 3);
        buf_done(&names);
}
END_TEST

START_TEST(a_list_that_goes_round_in_circles_ends) {
        _cleanup_setup_ Setup s;
        Reader reader;
        unsigned n = 0;

        setup_init(&s, "acme");
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "");
        while (fake_forge_page(&s.fake, NAMES("one", "two", "three")))
                ck_assert_uint_lt(++n, 1000);
        fake_forge_end(&s.fake, -ECANCELED, NULL); /* whatever the forge calls that */
        reader_end(&reader, 0, "one\ntwo\nthree\n");
}
END_TEST

START_TEST(a_reading_ends_on_the_list_that_it_began_with) {
        _cleanup_setup_ Setup s;
        uint64_t offset = 0, fresh = 0;

        setup_init(&s, "acme");
        list_once(&s, NAMES("a", "b", "c", "d"), "a\nb\nc\nd\n");
        check_take(&s, 2, &offset, "a b ");
        for (unsigned i = 0; i < OWNER_N_PAST_LISTS; i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "new-%u", i);
                demand_list_ahead(s.f.ns, &s.org->root, FETCH_REFRESH);
                fake_forge_expect(&s.fake, "");
                ck_assert(fake_forge_page(&s.fake, NAMES("a", "c", name)));
                fake_forge_end(&s.fake, 0, NULL);
        }
        check_take(&s, 2, &fresh, "a c ");
        check_take(&s, 1, &offset, "c ");
        check_take(&s, UINT32_MAX, &offset, "d ");

        /* One that nobody remembers goes on at the same place. */
        demand_list_ahead(s.f.ns, &s.org->root, FETCH_REFRESH);
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("a", "x", "y", "z", "last")));
        fake_forge_end(&s.fake, 0, NULL);
        check_take(&s, UINT32_MAX, &offset, "last ");
}
END_TEST

START_TEST(a_reading_goes_on_in_the_next_process) {
        const char *const *kept = NAMES("a", "b", "c", "d");
        uint64_t offset = 0;

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_setup_ Setup s;
                setup_init(&s, "acme");
                s.fake.kept = kept;
                check_take(&s, 2, &offset, i == 0 ? "a b " : "c d ");
                fake_forge_expect(&s.fake, "");
                /* It stays on what was kept, even if the forge says something else. */
                ck_assert(fake_forge_page(&s.fake, NAMES("a", "new", "b", "c", "d")));
                fake_forge_end(&s.fake, 0, NULL);
                if (i == 1)
                        check_take(&s, 2, &offset, "");
        }
}
END_TEST

/* --- kept, and out of date --- */

START_TEST(what_was_kept_is_shown_while_it_is_asked_for_again) {
        _cleanup_setup_ Setup s;
        uint64_t offset = 0;

        setup_init(&s, "acme");
        s.fake.kept = NAMES("a", "b", "group/");
        check_take(&s, UINT32_MAX, &offset, "a b group ");
        ck_assert_int_gt(fs_walk(&s.f, "f/a"), 0);
        ck_assert_uint_eq(s.fake.n_listed, 1);
        ck_assert_uint_eq(s.fake.n_kept, 1);
        forget_told(&s);

        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("group/", "b"))); /* not half of it */
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "a b group ");
        ck_assert(fake_forge_page(&s.fake, NAMES("a")));
        fake_forge_end(&s.fake, 0, NULL);
        /* The same in another order is no news. */
        ck_assert(!fs_told(&s.f, s.id, NULL));
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "a b group ");
        ck_assert_uint_eq(s.fake.n_kept, 1);
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1);
}
END_TEST

START_TEST(a_failure_keeps_what_was_kept) {
        _cleanup_setup_ Setup s;
        Failure offline;
        uint64_t offset = 0;

        setup_init(&s, "acme");
        s.fake.kept = NAMES("a", "b");
        check_take(&s, UINT32_MAX, &offset, "a b ");
        fake_forge_expect(&s.fake, "");
        int error = failure_set(&offline, FAILURE_OFFLINE, "no route");
        fake_forge_end(&s.fake, error, &offline);
        ck_assert_int_eq(s.org->health, ORG_HEALTH_FAILING);
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "a b ");
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1); /* not again before its time */
}
END_TEST

START_TEST(an_old_list_is_shown_and_asked_for_once) {
        _cleanup_setup_ Setup s;
        uint64_t offset = 0;

        setup_init(&s, "acme");
        list_once(&s, NAMES("a", "b"), "a\nb\n");
        check_absent(&s, "f/c");
        forget_told(&s);
        make_old(&s);

        /* The kernel is told once that it is old; nobody looks, nobody asks. */
        ns_poll(s.f.ns);
        ck_assert(fs_told(&s.f, s.id, NULL));
        forget_told(&s);
        ns_poll(s.f.ns);
        ck_assert(!fs_told(&s.f, s.id, NULL));
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1);

        check_take(&s, UINT32_MAX, &offset, "a b ");
        fake_forge_expect(&s.fake, "");
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "a b ");
        ck_assert(fake_forge_page(&s.fake, NAMES("a", "b", "c")));
        fake_forge_end(&s.fake, 0, NULL);
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 2);
        /* The listing, and the name that was said not to exist. */
        ck_assert(fs_told(&s.f, s.id, NULL));
        ck_assert(fs_told(&s.f, s.id, "c"));
        ck_assert(!fs_told(&s.f, s.id, "a"));
        ck_assert_int_gt(fs_walk(&s.f, "f/c"), 0); /* R17 */
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "a b c ");
}
END_TEST

START_TEST(what_is_not_listed_any_more_is_asked_for) { /* R6, R17 */
        static const FakeName private[] = {{"", "private", FORGE_REPO, false, 0}, {0}};
        _cleanup_setup_ Setup s;
        uint64_t offset = 0;

        setup_init(&s, "acme");
        list_once(
                &s,
                NAMES("gone", "private", "stays", "unused", "sub/"),
                "gone\nprivate\nstays\nunused\nsub\n");
        s.fake.names = private;
        int64_t gone = fs_walk(&s.f, "f/gone"), secret = fs_walk(&s.f, "f/private");
        int64_t stays = fs_walk(&s.f, "f/stays"), unused = fs_walk(&s.f, "f/unused");
        int64_t sub = fs_walk(&s.f, "f/sub");
        ck_assert(gone > 0 && secret > 0 && stays > 0 && unused > 0 && sub > 0);
        ns_forget(s.f.ns, (uint64_t) unused, UINT64_MAX);
        forget_told(&s);
        unsigned n = fake_forge_n_lookups(&s.fake);

        demand_list_ahead(s.f.ns, &s.org->root, FETCH_REFRESH);
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("stays")));
        fake_forge_end(&s.fake, 0, NULL);
        ck_assert(fs_told(&s.f, s.id, "gone"));
        ck_assert(fs_told(&s.f, s.id, "sub"));
        ck_assert(!fs_told(&s.f, s.id, "stays"));
        check_take(&s, UINT32_MAX, &offset, "stays ");

        /* What nobody used is dropped at once, the others when they are asked for. */
        ck_assert_ptr_null(owner_find_repo(&s.org->root, "unused"));
        check_absent(&s, "f/gone");
        check_absent(&s, "f/sub");
        ck_assert_int_eq(fs_walk(&s.f, "f/private"), secret);
        ck_assert_int_eq(fs_walk(&s.f, "f/stays"), stays);
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), n + 3);
        offset = 0;
        check_take(&s, UINT32_MAX, &offset, "stays private ");

        /* Who has it open still has it. */
        NsAttr attr;
        ck_assert_int_eq(ns_getattr(s.f.ns, (uint64_t) gone, &attr), 0);
        ck_assert_int_eq(fs_lookup(&s.f, (uint64_t) gone, "file", &attr), 0);
        /* When one of that name comes it is another, which is followed: nobody follows the old. */
        demand_list_ahead(s.f.ns, &s.org->root, FETCH_REFRESH);
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("stays", "gone")));
        fake_forge_end(&s.fake, 0, NULL);
        ck_assert_int_gt(fs_walk(&s.f, "f/gone"), 0);
        ck_assert_int_ne(fs_walk(&s.f, "f/gone"), gone);
        ck_assert_int_eq(fs_walk(&s.f, "f/stays"), stays);
}
END_TEST

START_TEST(a_listing_can_work_but) {
        _cleanup_setup_ Setup s;
        Failure sso;
        Reader reader;

        setup_init(&s, "acme");
        (void) failure_set(&sso, FAILURE_SSO, "authorize at https://example.com");
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "");
        ck_assert(fake_forge_page(&s.fake, NAMES("repo")));
        fake_forge_end(&s.fake, 0, &sso);
        reader_end(&reader, 0, "repo\n");
        ck_assert_int_gt(fs_walk(&s.f, "f/repo"), 0);
        ck_assert_int_eq(s.org->health, ORG_HEALTH_NOTICE);
        ck_assert_str_eq(s.org->failure.text, "authorize at https://example.com");
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, pages_are_shown_as_they_come);
        tcase_add_test(tc, readers_of_any_pace_see_all_once);
        tcase_add_test(tc, what_look_ups_found_comes_behind_the_list);
        tcase_add_test(tc, a_listing_that_fails_shows_what_came);
        tcase_add_test(tc, a_list_that_goes_round_in_circles_ends);
        tcase_add_test(tc, a_reading_ends_on_the_list_that_it_began_with);
        tcase_add_test(tc, a_reading_goes_on_in_the_next_process);
        tcase_add_test(tc, what_was_kept_is_shown_while_it_is_asked_for_again);
        tcase_add_test(tc, a_failure_keeps_what_was_kept);
        tcase_add_test(tc, an_old_list_is_shown_and_asked_for_once);
        tcase_add_test(tc, what_is_not_listed_any_more_is_asked_for);
        tcase_add_test(tc, a_listing_can_work_but);
}

CHECK_MAIN("tree/listing", add_tests)
