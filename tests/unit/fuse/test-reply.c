#include <errno.h>
#include <sys/stat.h>

#include "fuse/reply.h"
#include "fuse/session-internal.h"
#include "lib/check-main.h"
#include "util/clock.h"

START_TEST(each_failure_class_reaches_the_caller) {
        static const int expected[_FAILURE_CLASS_MAX] = {
                [FAILURE_NOT_FOUND] = ENOENT,
                [FAILURE_AUTH] = EACCES,
                [FAILURE_TOKEN_MISSING] = EACCES,
                [FAILURE_TOKEN_REFUSED] = EACCES,
                [FAILURE_FORBIDDEN] = EACCES,
                [FAILURE_SSO] = EACCES,
                [FAILURE_BLOCKED] = EACCES,
                [FAILURE_RENAMED] = ENOENT,
                [FAILURE_OFFLINE] = EHOSTDOWN,
                [FAILURE_TIMEOUT] = ETIMEDOUT,
                [FAILURE_RATE_LIMITED] = EAGAIN,
                [FAILURE_BUSY] = EAGAIN,
                [FAILURE_TOO_LARGE] = EFBIG,
                [FAILURE_SERVER] = EIO,
                [FAILURE_CORRUPT] = EIO,
                [FAILURE_UNSUPPORTED] = EOPNOTSUPP,
                [FAILURE_CANCELLED] = EINTR,
                [FAILURE_LOCAL] = EIO,
        };

        for (FailureClass c = FAILURE_NONE + 1; c < _FAILURE_CLASS_MAX; c++) {
                ck_assert_msg(expected[c] != 0, "no expectation for %s", failure_class_name(c));
                ck_assert_int_eq(reply_errno(failure_errno(c)), expected[c]);
        }
}
END_TEST

START_TEST(errors_of_the_tree_are_told) {
        static const int told[] = {
                ENOENT, ENOTDIR, EISDIR, EINVAL, ENAMETOOLONG, ESTALE, ENODATA, ERANGE, ENOMEM};

        for (size_t i = 0; i < ELEMENTSOF(told); i++)
                ck_assert_int_eq(reply_errno(-told[i]), told[i]);
}
END_TEST

START_TEST(internal_errors_are_not) {
        /* ENOSYS would switch the operation off for the rest of the mount; the last ones are no
         * errnos at all. */
        static const int internal[] = {
                ENOSYS, EBADMSG, ENOSPC, ECANCELED, EBADF, EMFILE, 512, 4096, 4097, 100000};

        for (size_t i = 0; i < ELEMENTSOF(internal); i++)
                ck_assert_int_eq(reply_errno(-internal[i]), EIO);
        ck_assert_int_eq(reply_errno(-ECONNREFUSED), EHOSTDOWN);
        ck_assert_int_eq(reply_errno(-EHOSTUNREACH), EHOSTDOWN);
}
END_TEST

START_TEST(blocks_cover_the_size) {
        static const uint64_t sizes[] = {0, 1, 511, 512, 513, UINT64_C(1) << 40};
        const MountSession session = {.uid = 7, .gid = 8};
        struct stat st;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                const NsAttr attr = {.id = 9, .ino = 9, .mode = S_IFREG | 0444, .size = sizes[i]};
                reply_fill_stat(&session, &attr, &st);
                ck_assert_int_eq(st.st_size, (off_t) sizes[i]);
                ck_assert_int_ge(st.st_blocks * 512, st.st_size);
                ck_assert_int_lt((st.st_blocks - 1) * 512, st.st_size);
                ck_assert_uint_eq(st.st_uid, 7);
                ck_assert_uint_eq(st.st_gid, 8);
                ck_assert_uint_eq(st.st_ino, 9);
                ck_assert_uint_eq(st.st_nlink, 1);
        }
}
END_TEST

START_TEST(timeouts_become_seconds) {
        const MountSession session = {0};
        struct fuse_entry_param entry;
        const NsAttr attr = {
                .id = 9, .entry_timeout_usec = USEC_INFINITY, .attr_timeout_usec = 1500000};

        reply_fill_entry(&session, &attr, &entry);
        ck_assert_double_gt(entry.entry_timeout, 86400.0 * 365 * 10);
        /* Not so much that it overflows when the kernel counts it in jiffies from now. */
        ck_assert_double_lt(entry.entry_timeout, 4e9);
        ck_assert_double_eq(entry.attr_timeout, 1.5);
        ck_assert_uint_eq(entry.ino, 9);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, each_failure_class_reaches_the_caller);
        tcase_add_test(tc, errors_of_the_tree_are_told);
        tcase_add_test(tc, internal_errors_are_not);
        tcase_add_test(tc, blocks_cover_the_size);
        tcase_add_test(tc, timeouts_become_seconds);
}

CHECK_MAIN("fuse-reply", add_tests)
