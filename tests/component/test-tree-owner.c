/* Owners of repositories: what is found in them, and what is fetched ahead for them. */

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

static void wait_until_told(Setup *s, uint64_t id, const char *name) {
        while (!fs_told(&s->f, id, name))
                (void) sched_yield(); /* bounded by the test's timeout */
}

static const FakeName world[] = {
        {"", "torvalds", FORGE_OWNER, false, 0},
        {"torvalds", "linux", FORGE_REPO, false, 0},
        {"", "group", FORGE_OWNER, false, 0},
        {"group", "sub", FORGE_OWNER, false, 0},
        {"group/sub", "repo", FORGE_REPO, false, 0},
        {"group", "repo", FORGE_REPO, false, 0},
        {0},
};

static void check_xattr(Setup *s, const char *path, const char *name, const char *value) {
        Buf b = {0};

        int r = ns_getxattr(s->f.ns, (uint64_t) fs_walk(&s->f, path), name, &b);
        if (value) {
                ck_assert_int_eq(r, 0);
                ck_assert_str_eq(buf_str(&b), value);
        } else
                ck_assert_int_eq(r, -ENODATA);
        buf_done(&b);
}

START_TEST(owners_nest) {
        _cleanup_setup_ Setup s;
        Buf path = {0};

        setup_init(&s, NULL);
        s.fake.names = world;
        int64_t repo = fs_walk(&s.f, "f/group/sub/repo"), other = fs_walk(&s.f, "f/group/repo");
        ck_assert_int_gt(repo, 0);
        ck_assert_int_gt(other, 0);
        ck_assert_int_ne(repo, other);
        ck_assert_int_gt(fs_walk(&s.f, "f/torvalds/linux@v6.0"), 0);
        ck_assert_int_eq(ns_path(s.f.ns, (uint64_t) repo, &path), 0);
        ck_assert_str_eq(buf_str(&path), "f/group/sub/repo");
        buf_done(&path);

        check_xattr(&s, "f/group/sub/repo", "user.gitfs.org", "f");
        check_xattr(&s, "f/group/sub/repo", "user.gitfs.owner", "group/sub");
        check_xattr(&s, "f/group/sub/repo", "user.gitfs.repo", "repo");
        check_xattr(&s, "f/group/sub", "user.gitfs.owner", "group/sub");
        check_xattr(&s, "f/group/sub", "user.gitfs.repo", NULL);
        check_xattr(&s, "f", "user.gitfs.owner", NULL);
        ck_assert_uint_eq(org_n_repos(s.org), 3);

        /* Only repositories have refs, and only what exists has repositories. */
        unsigned n = fake_forge_n_lookups(&s.fake);
        check_absent(&s, "f/torvalds@main");
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), n);
        check_absent(&s, "f/nobody/x");
        check_absent(&s, "f/nobody");
        check_absent(&s, "f/nobody@x");
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), n + 1);

        /* What is dropped and found again is the same. */
        ns_flush_memory(s.f.ns);
        ck_assert_int_eq(fs_walk(&s.f, "f/group/sub/repo"), repo);
}
END_TEST

START_TEST(an_owner_keeps_its_number) { /* F7: in another process, too */
        int64_t ids[2];

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_setup_ Setup s;
                setup_init(&s, NULL);
                s.fake.names = world;
                ids[i] = fs_walk(&s.f, "f/group/sub");
                ck_assert_int_gt(ids[i], 0);
        }
        ck_assert_int_eq(ids[0], ids[1]);
}
END_TEST

typedef struct Asker {
        Setup *s;
        int64_t id;
} Asker;

static void *ask(void *userdata) {
        Asker *asker = userdata;

        asker->id = fs_walk(&asker->s->f, "f/torvalds");
        return NULL;
}

START_TEST(all_who_ask_get_one_owner) { /* R27 */
        _cleanup_setup_ Setup s;
        pthread_t threads[64];
        Asker askers[64];

        setup_init(&s, NULL);
        s.fake.names = world;
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                askers[i] = (Asker){.s = &s};
                ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
                ck_assert_int_gt(askers[i].id, 0);
                ck_assert_int_eq(askers[i].id, askers[0].id);
        }
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), 1);
        ck_assert_int_gt(fs_walk(&s.f, "f/torvalds/linux"), 0);
}
END_TEST

START_TEST(an_unproven_owner_is_not_believed_for_long) {
        _cleanup_setup_ Setup s;
        FakeName names[] = {
                {"", "maybe", FORGE_OWNER, true, 0},
                {"maybe", "repo", FORGE_REPO, false, 0},
                {0},
        };
        NsAttr attr;

        setup_init(&s, NULL);
        s.fake.names = names;
        ck_assert_int_eq(fs_lookup(&s.f, s.id, "maybe", &attr), 1);
        ck_assert_uint_eq(attr.entry_timeout_usec, 60 * USEC_PER_SEC);
        uint64_t id = attr.id;
        list_once(&s, NAMES("listed"), "listed\n"); /* and not the one that may not exist */

        /* When the time has come the forge knows better. */
        Owner *owner = owner_find_owner(&s.org->root, "maybe");
        ck_assert_int_eq(fs_lookup(&s.f, s.id, "maybe", &attr), 1);
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), 1);
        atomic_store(&owner->doubted_until_usec, 1);
        ck_assert_int_eq(fs_lookup(&s.f, s.id, "maybe", &attr), 1);
        ck_assert_uint_eq(fake_forge_n_lookups(&s.fake), 2);

        /* What is found in it proves it. */
        ck_assert_int_gt(fs_walk(&s.f, "f/maybe/repo"), 0);
        ck_assert_int_eq(fs_lookup(&s.f, s.id, "maybe", &attr), 1);
        ck_assert_uint_eq(attr.entry_timeout_usec, USEC_INFINITY);
        ck_assert_uint_eq(attr.id, id);
        ck_assert(fs_told(&s.f, s.id, NULL));
        uint64_t offset = 0;
        check_take(&s, UINT32_MAX, &offset, "listed maybe ");

        atomic_store(&owner->doubted_until_usec, 1);
        names[0].error = -ENOENT;
        check_absent(&s, "f/maybe");
        ck_assert_int_eq(fs_lookup(&s.f, id, "repo", &attr), 0); /* who is in it finds nothing */
        owner_unref(owner);
}
END_TEST

static void nothing(int result, const Failure *failure, void *userdata) {
        *(int *) userdata = result;
}

START_TEST(lists_are_fetched_ahead_for_orgs_of_one_owner) { /* R4 */
        _cleanup_setup_ Setup s;
        uint64_t offset = 0;

        setup_init(&s, "acme");
        s.fake.names = (const FakeName[]){{"", "repo", FORGE_REPO, false, 0}, {0}};
        int64_t runs = stat_get(STAT_LIST_RUNS), pages = stat_get(STAT_LIST_PAGES); /* R15 */
        ns_list_all(s.f.ns);
        ns_list_all(s.f.ns);
        fake_forge_expect(&s.fake, "");
        ck_assert_int_eq(atomic_load(&s.fake.listing->priority), FETCH_PREFETCH);
        /* Nobody waits for it: neither look-ups nor other orgs. */
        ck_assert_int_gt(fs_walk(&s.f, "f/repo"), 0);
        tree_fixture_commit(&s.f, "file", "x");
        ck_assert_int_gt(fs_walk(&s.f, "o/work/file"), 0);
        /* Until somebody does. */
        Reader reader;
        reader_start(&reader, &s, 0, UINT32_MAX);
        while (atomic_load(&s.fake.listing->priority) != FETCH_WAITING)
                (void) sched_yield(); /* bounded by the test's timeout */
        ck_assert(fake_forge_page(&s.fake, NAMES("repo")));
        fake_forge_end(&s.fake, 0, NULL);
        reader_end(&reader, 0, "repo\n");
        check_take(&s, UINT32_MAX, &offset, "repo ");
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 1);
        ck_assert_int_eq(stat_get(STAT_LIST_RUNS), runs + 1);
        ck_assert_int_eq(stat_get(STAT_LIST_PAGES), pages + 1);
}
END_TEST

START_TEST(a_whole_forge_is_not_fetched_ahead) {
        _cleanup_setup_ Setup s;
        Reader reader;
        int result = -1;

        setup_init(&s, NULL);
        s.fake.names = world;
        ns_list_all(s.f.ns);
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 0);
        ck_assert_int_eq(ns_relist(s.f.ns, &s.org->root, nothing, &result), 0);
        ck_assert_int_eq(result, 0); /* it was never listed */
        ck_assert_uint_eq(fake_forge_n_listings(&s.fake), 0);

        /* And cannot be listed: it shows what look-ups found. */
        ck_assert_int_gt(fs_walk(&s.f, "f/torvalds"), 0);
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "");
        fake_forge_end(&s.fake, -EOPNOTSUPP, NULL);
        reader_end(&reader, 0, "torvalds\n");
        forget_told(&s);
        ck_assert_int_gt(fs_walk(&s.f, "f/group"), 0);
        wait_until_told(&s, s.id, NULL);

        /* Its owners can. */
        s.id = (uint64_t) fs_walk(&s.f, "f/torvalds");
        reader_start(&reader, &s, 0, UINT32_MAX);
        fake_forge_expect(&s.fake, "torvalds");
        ck_assert(fake_forge_page(&s.fake, NAMES("linux", "subsurface")));
        fake_forge_end(&s.fake, 0, NULL);
        reader_end(&reader, 0, "linux\nsubsurface\n");
        ck_assert_uint_eq(org_n_repos(s.org), 2);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, owners_nest);
        tcase_add_test(tc, an_owner_keeps_its_number);
        tcase_add_test(tc, all_who_ask_get_one_owner);
        tcase_add_test(tc, an_unproven_owner_is_not_believed_for_long);
        tcase_add_test(tc, lists_are_fetched_ahead_for_orgs_of_one_owner);
        tcase_add_test(tc, a_whole_forge_is_not_fetched_ahead);
}

CHECK_MAIN("tree/owner", add_tests)
