#include <string.h>

#include "fuse/mountinfo.h"
#include "lib/check-main.h"

static int find(const char *text, const char *path, MountInfo *ret) {
        return mountinfo_find(text, strlen(text), path, ret);
}

static const char ordinary[] =
        "22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        "27 1 254:1 / / rw,relatime shared:1 master:4 - ext4 /dev/vda1 rw,errors=remount-ro\n"
        "80 27 0:47 / /run/user/1000/gitfs ro,nosuid,nodev - fuse.gitfs gitfs ro,user_id=1000\n"
        "81 27 0:48 / /run/user/1000/gitfs2 ro - fuse.other other ro\n";

START_TEST(a_mount_point_is_found_whole) {
        MountInfo info;

        ck_assert_int_eq(find(ordinary, "/run/user/1000/gitfs", &info), 1);
        ck_assert_str_eq(info.fstype, "fuse.gitfs");
        ck_assert_uint_eq(info.major, 0);
        ck_assert_uint_eq(info.minor, 47);
        ck_assert_int_eq(find(ordinary, "/", &info), 1);
        ck_assert_str_eq(info.fstype, "ext4");
        ck_assert_uint_eq(info.major, 254);
        ck_assert_int_eq(find(ordinary, "/run/user/1000/gitfs2", &info), 1);
        ck_assert_str_eq(info.fstype, "fuse.other");
}
END_TEST

START_TEST(what_is_not_mounted_is_not_found) {
        MountInfo info = {.minor = 7};

        ck_assert_int_eq(find(ordinary, "/run/user/1000", &info), 0);
        ck_assert_int_eq(find(ordinary, "/run/user/1000/gitf", &info), 0);
        ck_assert_int_eq(find(ordinary, "", &info), 0);
        ck_assert_int_eq(find("", "/", &info), 0);
        ck_assert_uint_eq(info.minor, 7);
}
END_TEST

START_TEST(the_mount_on_top_counts) {
        MountInfo info;

        ck_assert_int_eq(
                find("1 1 0:1 / /m rw - fuse.gitfs gitfs ro\n"
                     "2 1 0:2 / /m rw - tmpfs tmpfs rw\n",
                     "/m",
                     &info),
                1);
        ck_assert_str_eq(info.fstype, "tmpfs");
}
END_TEST

START_TEST(escapes_are_undone) {
        static const char text[] = "1 1 0:1 / /a\\040b\\134c\\011d\\012 rw - tmpfs x rw\n"
                                   "2 1 0:2 / /end\\04 rw - ext4 x rw";
        MountInfo info;

        ck_assert_int_eq(find(text, "/a b\\c\td\n", &info), 1);
        ck_assert_str_eq(info.fstype, "tmpfs");
        /* Not an escape: three digits or nothing. And no newline at the end. */
        ck_assert_int_eq(find(text, "/end\\04", &info), 1);
        ck_assert_str_eq(info.fstype, "ext4");
}
END_TEST

START_TEST(broken_lines_are_passed_over) {
        static const char text[] = "\n"
                                   "1\n"
                                   "1 2 3 4 /m\n"
                                   "1 1 0:x / /m rw - tmpfs x rw\n"
                                   "1 1 0:1 / /m rw shared:1\n"
                                   "1 1 0:1 / /m rw -\n"
                                   "1 1 0:9 / /m rw - ext4 x rw\n"
                                   "1 1 00000000000000000000000000000000000:1 / /m rw - tmpfs x\n";
        MountInfo info;

        ck_assert_int_eq(find(text, "/m", &info), 1);
        ck_assert_str_eq(info.fstype, "ext4");
        ck_assert_uint_eq(info.minor, 9);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, a_mount_point_is_found_whole);
        tcase_add_test(tc, what_is_not_mounted_is_not_found);
        tcase_add_test(tc, the_mount_on_top_counts);
        tcase_add_test(tc, escapes_are_undone);
        tcase_add_test(tc, broken_lines_are_passed_over);
}

CHECK_MAIN("fuse-mountinfo", add_tests)
