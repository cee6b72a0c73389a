/* Packs that git made of a real repository, whole, cut, turned around and damaged. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gitfs/macro.h"

#include "lib/check-main.h"
#include "lib/git-fixture.h"
#include "lib/pack-builder.h"
#include "object/object.h"
#include "pack-feed.h"
#include "util/fd.h"

#define BIG_SIZE ((size_t) 400 << 10)
#define N_VERSIONS 40

static GitFixture repo;

/* Bytes that do not compress and are the same in each run. */
static void fill_random(uint8_t *p, size_t len) {
        uint64_t x = 88172645463325252;

        for (size_t i = 0; i < len; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                p[i] = (uint8_t) x;
        }
}

/* A file with a long history makes long chains of deltas; the rest are the odd ones. */
static void setup(void) {
        static uint8_t big[BIG_SIZE];

        ck_assert_int_eq(object_library_init(), 0);
        git_fixture_init(&repo, "sha1");
        fill_random(big, sizeof(big));
        git_fixture_write(&repo, "big", big, sizeof(big));
        git_fixture_write(&repo, "empty", "", 0);
        for (int i = 0; i < N_VERSIONS; i++) {
                _cleanup_buf_ Buf text = {0};
                /* A window that slides: each version is closest to its neighbours. */
                for (int line = 10 * i; line < 10 * i + 200; line++)
                        ck_assert_int_eq(buf_appendf(&text, "line %d, %x\n", line, line * 7919), 0);
                git_fixture_write(&repo, "dir/file", text.data, text.len);
                git_fixture_commit(&repo, "change");
        }
        git_fixture_run(&repo, NULL, NULL, "commit", "--allow-empty", "-qm", "same tree", NULL);
        git_fixture_run(&repo, NULL, NULL, "tag", "-a", "-m", "tag", "v1", NULL);
        git_fixture_run(&repo, NULL, NULL, "rm", "-qr", ".", NULL);
        git_fixture_run(&repo, NULL, NULL, "commit", "-qm", "empty tree", NULL);
}

static void teardown(void) {
        git_fixture_done(&repo);
        object_library_done();
}

/* All objects of the repository as one pack. */
static void make_pack(Buf *pack, const char *option) {
        _cleanup_buf_ Buf none = {0};

        git_fixture_run(
                &repo,
                &none,
                pack,
                "pack-objects",
                "-q",
                "--all",
                "--stdout",
                "--window=50",
                "--depth=200",
                option,
                NULL);
}

/* The sink holds exactly what git says the repository holds, with the bytes that belong to it. */
static void check_complete(const MemorySink *sink) {
        _cleanup_buf_ Buf list = {0};
        size_t n = 0;

        git_fixture_run(
                &repo,
                NULL,
                &list,
                "cat-file",
                "--batch-all-objects",
                "--batch-check=%(objectname) %(objectsize) %(objecttype)",
                NULL);
        ck_assert_ptr_nonnull(buf_str(&list));
        char *save, *line = strtok_r((char *) list.data, "\n", &save);
        for (; line; line = strtok_r(NULL, "\n", &save), n++) {
                Oid oid, again;
                char *type;

                ck_assert_int_eq(oid_from_hex(&oid, line, OID_SHA1_HEX), 0);
                uint64_t size = strtoull(line + OID_SHA1_HEX + 1, &type, 10);
                const MemoryObject *o = memory_sink_find(sink, &oid);
                ck_assert_msg(o, "%.40s did not come", line);
                ck_assert_uint_eq(o->size, size);
                ck_assert_str_eq(object_type_name(o->type), type + 1);
                ck_assert_int_eq(object_hash(OID_SHA1, o->type, o->data, o->size, &again), 0);
                ck_assert(oid_equal(&oid, &again));
        }
        ck_assert_uint_gt(n, 3 * N_VERSIONS);
        ck_assert_uint_eq(sink->table.n_entries, n);
}

static const char *const pack_options[] = {
        "--delta-base-offset", "--no-reuse-delta" /* names its bases */, "--window=0"};
static const size_t pieces[] = {1, 0, 4096, SIZE_MAX};

START_TEST(test_all_objects) {
        _cleanup_buf_ Buf pack = {0};

        make_pack(&pack, pack_options[_i]);
        for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
                MemorySink sink = {0};
                ck_assert_int_eq(feed_pack(pack.data, pack.len, pieces[i], &sink), 0);
                check_complete(&sink);
                memory_sink_done(&sink);
        }
}
END_TEST

/* Without a cache every base comes from the sink. */
START_TEST(test_bases_from_the_sink) {
        _cleanup_buf_ Buf pack = {0};
        PackLimits limits = PACK_TEST_LIMITS;
        MemorySink sink = {0};

        make_pack(&pack, "--delta-base-offset");
        limits.max_pending_bytes = 1024; /* enough for one delta, too small for any base */
        ck_assert_int_eq(feed_pack_limited(&limits, pack.data, pack.len, 0, &sink), 0);
        check_complete(&sink);
        memory_sink_done(&sink);

        sink.hide_bases = true;
        ck_assert_int_eq(feed_pack_limited(&limits, pack.data, pack.len, 0, &sink), -ENODATA);
        memory_sink_done(&sink);
}
END_TEST

/* Offsets of a pack's entries and the end of the last, by git's own index. */
static size_t list_offsets(const Buf *pack, uint64_t **ret) {
        _cleanup_buf_ Buf list = {0};
        _cleanup_buf_ Buf index = {0};
        size_t n = 0, allocated = 4096;

        git_fixture_write(&repo, "t.pack", pack->data, pack->len);
        git_fixture_run(&repo, NULL, NULL, "index-pack", "-o", "t.idx", "t.pack", NULL);
        _cleanup_free_ char *path = NULL;
        ck_assert_int_gt(asprintf(&path, "%s/t.idx", repo.dir.path), 0);
        ck_assert_int_eq(read_file(path, 64 << 20, &index), 0);
        git_fixture_run(&repo, &index, &list, "show-index", NULL);

        uint64_t *offsets = calloc(allocated, sizeof(*offsets));
        ck_assert_ptr_nonnull(offsets);
        ck_assert_ptr_nonnull(buf_str(&list));
        char *save, *line = strtok_r((char *) list.data, "\n", &save);
        for (; line; line = strtok_r(NULL, "\n", &save)) {
                ck_assert_uint_lt(n, allocated - 1);
                offsets[n++] = strtoull(line, NULL, 10);
        }
        *ret = offsets;
        return n;
}

static int compare_offsets(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
        return x < y ? -1 : x > y;
}

/* A pack of REF_DELTA entries turned around: every delta comes before its base. */
START_TEST(test_forward_references) {
        _cleanup_buf_ Buf pack = {0};
        _cleanup_buf_ Buf turned = {0};
        _cleanup_free_ uint64_t *offsets = NULL;

        make_pack(&pack, "--no-reuse-delta");
        size_t n = list_offsets(&pack, &offsets);
        qsort(offsets, n, sizeof(*offsets), compare_offsets);
        offsets[n] = pack.len - OID_SHA1_RAW;
        pack_build_header(&turned, 2, (uint32_t) n);
        for (size_t i = n; i-- > 0;)
                ck_assert_int_eq(
                        buf_append(&turned, pack.data + offsets[i], offsets[i + 1] - offsets[i]),
                        0);
        pack_build_trailer(&turned);
        ck_assert_uint_eq(turned.len, pack.len);

        for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
                MemorySink sink = {0};
                ck_assert_int_eq(feed_pack(turned.data, turned.len, pieces[i], &sink), 0);
                check_complete(&sink);
                memory_sink_done(&sink);
        }

        PackLimits limits = PACK_TEST_LIMITS;
        MemorySink sink = {0};
        limits.max_pending_bytes = 2048;
        ck_assert_int_eq(feed_pack_limited(&limits, turned.data, turned.len, 0, &sink), -EFBIG);
        memory_sink_done(&sink);
}
END_TEST

/* A thin pack's bases are known from elsewhere, or it is refused. */
START_TEST(test_thin_pack) {
        _cleanup_buf_ Buf first = {0};
        _cleanup_buf_ Buf thin = {0};
        _cleanup_buf_ Buf revisions = {0};
        MemorySink sink = {0};

        ck_assert_int_eq(buf_append_str(&revisions, "HEAD~3\n"), 0);
        git_fixture_run(
                &repo, &revisions, &first, "pack-objects", "-q", "--revs", "--stdout", NULL);
        ck_assert_int_eq(buf_append_str(&revisions, "--not\nHEAD~4\n"), 0);
        git_fixture_run(
                &repo,
                &revisions,
                &thin,
                "pack-objects",
                "-q",
                "--thin",
                "--revs",
                "--stdout",
                NULL);

        ck_assert_int_eq(feed_pack(thin.data, thin.len, 1, &sink), -EBADMSG);
        memory_sink_done(&sink);

        ck_assert_int_eq(feed_pack(first.data, first.len, 0, &sink), 0);
        size_t n = sink.n_commits;
        sink.n_commits = 0;
        ck_assert_int_eq(feed_pack(thin.data, thin.len, 1, &sink), 0);
        ck_assert_uint_gt(sink.n_commits, 0);
        ck_assert_uint_lt(sink.n_commits, n);
        memory_sink_done(&sink);
}
END_TEST

/* A pack of some deltas and whole objects, small enough to be damaged at every byte. */
static void make_small_pack(Buf *pack) {
        _cleanup_buf_ Buf revisions = {0};

        ck_assert_int_eq(
                buf_append_str(&revisions, "HEAD~4:dir\nHEAD~7:dir\nHEAD~9:dir\nv1~3^{tree}"), 0);
        ck_assert_int_eq(buf_append_str(&revisions, "\n"), 0);
        git_fixture_run(
                &repo,
                &revisions,
                pack,
                "pack-objects",
                "-q",
                "--revs",
                "--filter=blob:limit=100k",
                "--delta-base-offset",
                "--stdout",
                NULL);
        ck_assert_uint_lt(pack->len, 8192);
}

START_TEST(test_truncated_anywhere) {
        _cleanup_buf_ Buf pack = {0};

        make_small_pack(&pack);
        for (size_t len = 0; len < pack.len; len++) {
                MemorySink sink = {0};
                ck_assert_int_eq(feed_pack(pack.data, len, 0, &sink), -EBADMSG);
                memory_sink_done(&sink);
        }
        MemorySink sink = {0};
        ck_assert_int_eq(feed_pack(pack.data, pack.len, 0, &sink), 0);
        ck_assert_uint_gt(sink.n_commits, 6);
        memory_sink_done(&sink);
}
END_TEST

START_TEST(test_damaged_anywhere) {
        _cleanup_buf_ Buf pack = {0};

        make_small_pack(&pack);
        for (size_t bit = 0; bit < pack.len * 8; bit += 3) {
                MemorySink sink = {0};
                pack.data[bit / 8] ^= (uint8_t) (1U << bit % 8);
                int r = feed_pack(pack.data, pack.len, SIZE_MAX, &sink);
                /* A size that became too large is found as such. */
                ck_assert_msg(r == -EBADMSG || r == -EFBIG, "bit %zu: %d", bit, r);
                memory_sink_done(&sink);
                pack.data[bit / 8] ^= (uint8_t) (1U << bit % 8);
        }
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_unchecked_fixture(tc, setup, teardown);
        tcase_add_loop_test(tc, test_all_objects, 0, (int) ELEMENTSOF(pack_options));
        tcase_add_test(tc, test_bases_from_the_sink);
        tcase_add_test(tc, test_forward_references);
        tcase_add_test(tc, test_thin_pack);
        tcase_add_test(tc, test_truncated_anywhere);
        tcase_add_test(tc, test_damaged_anywhere);
}

CHECK_MAIN("pack-reader", add_tests)
