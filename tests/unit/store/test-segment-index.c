#include <errno.h>
#include <string.h>

#include "lib/check-main.h"
#include "lib/store-fixture.h"
#include "store/segment-index.h"
#include "util/stats.h"

#define N 5000
#define END (N * UINT64_C(1000))
#define SALT 12345
#define BLOCK 64
#define ENTRY_SIZE 56

static SegmentRecord records[N];
static Buf buf;
static uint32_t checksum;
static SegmentIndex index_;

/* Distinct, and spread like real ones. */
static Oid oid_of(uint32_t number) {
        Oid oid = {.algo = OID_SHA1};
        uint64_t state = number, word = random_next(&state);

        memcpy(oid.id, &word, sizeof(word));
        memcpy(oid.id + sizeof(word), &number, sizeof(number));
        return oid;
}

static SegmentRecord record_of(uint32_t number) {
        return (SegmentRecord){
                .kind = number % 10 == 0 ? STORE_SIZES : STORE_OBJECT,
                .oid = oid_of(number),
                .type = number % 2 ? OBJECT_BLOB : OBJECT_TREE,
                .offset = number * UINT64_C(1000),
                .size = number % 1000,
        };
}

static int open_index(void) {
        return segment_index_open(&index_, buf.data, N, END, SALT, checksum);
}

static void set_up(void) {
        for (uint32_t i = 0; i < N; i++)
                records[i] = record_of(i);
        ck_assert_int_eq(segment_index_encode(records, N, SALT, &buf, &checksum), 0);
        ck_assert_uint_eq(buf.len, segment_index_size(N));
}

static void tear_down(void) {
        segment_index_done(&index_);
        buf_done(&buf);
        buf = (Buf){0};
}

static bool has(uint32_t number) {
        SegmentRecord want = record_of(number), have;
        uint32_t at;

        if (!segment_index_find(&index_, want.kind, &want.oid, &at, &have))
                return false;
        ck_assert(segment_index_may_have(&index_, want.kind, &want.oid));
        ck_assert_uint_eq(have.offset, want.offset);
        ck_assert_uint_eq(have.size, want.size);
        ck_assert_int_eq(have.type, want.type);
        return true;
}

static uint32_t n_found(void) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < N; i++)
                n += has(i);
        return n;
}

START_TEST(finds_what_is_there_and_nothing_else) {
        uint32_t maybe = 0, at;
        SegmentRecord record;

        ck_assert_int_eq(open_index(), 0);
        ck_assert_uint_eq(n_found(), N);
        for (uint32_t i = N; i < 4 * N; i++) {
                Oid oid = oid_of(i);
                ck_assert(!segment_index_find(&index_, STORE_OBJECT, &oid, &at, &record));
                maybe += segment_index_may_have(&index_, STORE_OBJECT, &oid);
        }
        /* Of eight others in the same slot one in 256 has the same tag. */
        ck_assert_uint_lt(maybe, 3 * N / 10);
        /* The other kind is another name space. */
        Oid oid = oid_of(1);
        ck_assert(!segment_index_find(&index_, STORE_SIZES, &oid, &at, &record));
}
END_TEST

START_TEST(any_number_of_records) {
        static const uint32_t counts[] = {0, 1, 2, 8, 9, 63, 64, 65, 1000};

        for (size_t c = 0; c < ELEMENTSOF(counts); c++) {
                SegmentIndex small = {0};
                _cleanup_buf_ Buf b = {0};
                uint32_t n = counts[c], at, sum;
                SegmentRecord record;
                Oid oid = oid_of(N);

                for (uint32_t i = 0; i < n; i++)
                        records[i] = record_of(i);
                ck_assert_int_eq(segment_index_encode(records, n, SALT, &b, &sum), 0);
                ck_assert_uint_eq(b.len, segment_index_size(n));
                ck_assert_int_eq(segment_index_open(&small, b.data, n, END, SALT, sum), 0);
                for (uint32_t i = 0; i < n; i++) {
                        SegmentRecord want = record_of(i);
                        ck_assert(segment_index_find(&small, want.kind, &want.oid, &at, &record));
                        ck_assert_uint_lt(at, n);
                }
                ck_assert(!segment_index_find(&small, STORE_OBJECT, &oid, &at, &record));
                segment_index_done(&small);
        }
}
END_TEST

/* Ids that a server chose: they are as good as others. */
START_TEST(all_in_one_slot) {
        buf.len = 0;
        for (uint32_t i = 0; i < N; i++) {
                memset(records[i].oid.id, 0xab, 16);
                memcpy(records[i].oid.id + 16, &i, sizeof(i));
                records[i].kind = STORE_OBJECT;
                records[i].offset = i;
        }
        ck_assert_int_eq(segment_index_encode(records, N, SALT, &buf, &checksum), 0);
        ck_assert_int_eq(open_index(), 0);
        for (uint32_t i = 0; i < N; i++) {
                Oid oid = {.algo = OID_SHA1};
                SegmentRecord record;
                uint32_t at;
                memset(oid.id, 0xab, 16);
                memcpy(oid.id + 16, &i, sizeof(i));
                ck_assert(segment_index_find(&index_, STORE_OBJECT, &oid, &at, &record));
                ck_assert_uint_eq(record.offset, i);
        }
}
END_TEST

START_TEST(damage_hides_a_block) {
        int64_t corrupt = stat_get(STAT_STORE_CORRUPT);

        buf.data[10 * BLOCK * ENTRY_SIZE + 5] ^= 1;
        ck_assert_int_eq(open_index(), 0);
        ck_assert_uint_eq(n_found(), N - BLOCK);
        ck_assert_uint_eq(n_found(), N - BLOCK);
        ck_assert_int_eq(stat_get(STAT_STORE_CORRUPT) - corrupt, 1);
}
END_TEST

START_TEST(damaged_summary_is_refused) {
        for (size_t at = N * ENTRY_SIZE; at < buf.len; at += 101) {
                buf.data[at] ^= 4;
                ck_assert_int_eq(open_index(), -EBADMSG);
                buf.data[at] ^= 4;
        }
        ck_assert_int_eq(
                segment_index_open(&index_, buf.data, N, END, SALT + 1, checksum), -EBADMSG);
        ck_assert_int_eq(open_index(), 0);
}
END_TEST

/* The checksum is right, and still it must not lead out of the segment. */
START_TEST(places_outside_are_not_there) {
        ck_assert_int_eq(segment_index_open(&index_, buf.data, N, END / 2, SALT, checksum), 0);
        ck_assert(has(1));
        ck_assert(!has(N - 1));
        ck_assert(!has(N / 2));
}
END_TEST

START_TEST(marks) {
        SegmentRecord want = record_of(77), record;
        uint32_t at;

        ck_assert_int_eq(open_index(), 0);
        ck_assert(segment_index_find(&index_, want.kind, &want.oid, &at, &record));
        ck_assert_uint_eq(segment_index_marks(&index_, at), 0);
        ck_assert(segment_index_mark(&index_, at, MARK_VERIFIED, 300));
        ck_assert(!segment_index_mark(&index_, at, MARK_VERIFIED, 301));
        ck_assert_uint_eq(segment_index_marks(&index_, at), MARK_VERIFIED | 301);
        ck_assert_uint_eq(n_found(), N);
        ck_assert(segment_index_mark(&index_, at, MARK_DEAD, -1));
        ck_assert(!segment_index_mark(&index_, at, MARK_DEAD, -1));
        ck_assert_uint_eq(segment_index_marks(&index_, at), MARK_VERIFIED | MARK_DEAD | 301);
        ck_assert(!has(77));
        ck_assert_uint_eq(n_found(), N - 1);
        ck_assert_uint_eq(atomic_load(&index_.n_dead), 1);
}
END_TEST

/* Of two records of one object the newer is found, and the other once that is dead. */
START_TEST(the_same_object_twice) {
        SegmentRecord record;
        uint32_t at;
        Oid oid = oid_of(1);

        buf.len = 0;
        records[0] = record_of(1);
        records[1] = record_of(1);
        records[1].offset = 500;
        ck_assert_int_eq(segment_index_encode(records, 2, SALT, &buf, &checksum), 0);
        ck_assert_int_eq(segment_index_open(&index_, buf.data, 2, END, SALT, checksum), 0);
        ck_assert(segment_index_find(&index_, STORE_OBJECT, &oid, &at, &record));
        ck_assert_uint_eq(record.offset, 1000);
        (void) segment_index_mark(&index_, at, MARK_DEAD, -1);
        ck_assert(segment_index_find(&index_, STORE_OBJECT, &oid, &at, &record));
        ck_assert_uint_eq(record.offset, 500);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_checked_fixture(tc, set_up, tear_down);
        tcase_add_test(tc, finds_what_is_there_and_nothing_else);
        tcase_add_test(tc, any_number_of_records);
        tcase_add_test(tc, all_in_one_slot);
        tcase_add_test(tc, damage_hides_a_block);
        tcase_add_test(tc, damaged_summary_is_refused);
        tcase_add_test(tc, places_outside_are_not_there);
        tcase_add_test(tc, marks);
        tcase_add_test(tc, the_same_object_twice);
}

CHECK_MAIN("store/segment-index", add_tests)
