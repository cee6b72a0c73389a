#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <syslog.h>
#include <unistd.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "config/value.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"

typedef enum FieldKind {
        FIELD_U64,
        FIELD_UINT,
        FIELD_INT,
        FIELD_BOOL,
        FIELD_STRING,
} FieldKind;

#define SEC USEC_PER_SEC
#define G (UINT64_C(1) << 30)
#define M (UINT64_C(1) << 20)
#define FIELD(kind, name) kind, offsetof(Config, name)

/* One row for each option (R22): its default, a value with what it means, and values it refuses. */
static const struct OptionCase {
        const char *section, *key;
        FieldKind kind;
        size_t offset;
        uint64_t default_number; /* strings: NULL */
        const char *value;
        uint64_t number;
        const char *string; /* what the value means, of a string */
        const char *refused[3];
} cases[] = {
        {"Mount",
         "MountPoint",
         FIELD(FIELD_STRING, mount_point),
         0,
         "/a//b/",
         0,
         "/a/b",
         {"relative", "/a/../b", "~/x"}},
        {"Mount",
         "RequestTimeoutSec",
         FIELD(FIELD_U64, request_timeout_usec),
         60 * SEC,
         "1min 30s",
         90 * SEC,
         NULL,
         {"0", "infinity", "-1"}},
        {"Mount",
         "NegativeTimeoutSec",
         FIELD(FIELD_U64, negative_timeout_usec),
         30 * SEC,
         "500ms",
         SEC / 2,
         NULL,
         {"1 parsec", "99999h", "1.5s"}},
        {"Mount",
         "MaxPendingRequests",
         FIELD(FIELD_U64, max_pending_requests),
         16384,
         "7",
         7,
         NULL,
         {"0", "-1", "1000000000"}},
        {"Mount",
         "KernelDirectoryCache",
         FIELD(FIELD_BOOL, kernel_dir_cache),
         2,
         "no",
         0,
         NULL,
         {"maybe", "2", "auto auto"}},
        {"Cache",
         "Directory",
         FIELD(FIELD_STRING, cache_directory),
         0,
         "/c",
         0,
         "/c",
         {"c", "..", "/c/.."}},
        {"Cache",
         "DiskLimit",
         FIELD(FIELD_U64, disk_limit),
         10 * G,
         "2T",
         2048 * G,
         NULL,
         {"1K", "10GB", "99999999999T"}},
        {"Cache",
         "KeepFree",
         FIELD(FIELD_U64, free_space_floor),
         G,
         "0",
         0,
         NULL,
         {"G", "1 G", "1g"}},
        {"Cache",
         "MemoryLimit",
         FIELD(FIELD_U64, memory_limit),
         256 * M,
         "1048577",
         M + 1,
         NULL,
         {"0", "50%", "1048575"}},
        {"Cache",
         "ListingMemoryLimit",
         FIELD(FIELD_U64, listing_limit),
         16 * M,
         "2048K",
         2 * M,
         NULL,
         {"0x100000", "1MM", "M"}},
        {"Network",
         "ConnectTimeoutSec",
         FIELD(FIELD_U64, connect_timeout_usec),
         10 * SEC,
         "2h",
         7200 * SEC,
         NULL,
         {"0",
          "s",
          "1s 2"
          "x"}},
        {"Network",
         "StallTimeoutSec",
         FIELD(FIELD_U64, stall_timeout_usec),
         30 * SEC,
         "1",
         SEC,
         NULL,
         {"0", "1us", "18446744073709551615h"}},
        {"Network",
         "MaxRequestsPerHost",
         FIELD(FIELD_UINT, max_per_host),
         6,
         "1",
         1,
         NULL,
         {"0", "1001", "4294967297"}},
        {"Network",
         "MaxRequests",
         FIELD(FIELD_UINT, max_total),
         32,
         "10000",
         10000,
         NULL,
         {"0", "10001", "many"}},
        {"Network",
         "MaxRequestsPerSecond",
         FIELD(FIELD_UINT, max_per_second),
         50,
         "0",
         0,
         NULL,
         {"100001", "-1", "1/s"}},
        {"Network",
         "MaxBytesInFlight",
         FIELD(FIELD_U64, max_bytes_in_flight),
         64 * M,
         "1M",
         M,
         NULL,
         {"1023K", "-1", "all"}},
        {"Network", "Retries", FIELD(FIELD_UINT, retries), 2, "0", 0, NULL, {"101", "-1", "1 2"}},
        {"Network",
         "MaxObjectSize",
         FIELD(FIELD_U64, max_object_size),
         8 * G,
         "1M",
         M,
         NULL,
         {"0", "", "18446744073709551616"}},
        {"Network",
         "CAFile",
         FIELD(FIELD_STRING, ca_file),
         0,
         "/ca ; x",
         0,
         "/ca ; x",
         {"ca.pem", "./ca", "../ca"}},
        {"Network",
         "GitCredential",
         FIELD(FIELD_BOOL, use_credential_helper),
         1,
         "off",
         0,
         NULL,
         {"store", "2", "auto"}},
        {"Prefetch",
         "Children",
         FIELD(FIELD_BOOL, prefetch_children),
         1,
         "no",
         0,
         NULL,
         {"all", "2", "yes yes"}},
        {"Prefetch",
         "SiblingLimit",
         FIELD(FIELD_U64, sibling_limit),
         256 * 1024,
         "0",
         0,
         NULL,
         {"65M", "-1", "all"}},
        {"Prefetch",
         "WalkLimit",
         FIELD(FIELD_U64, walk_limit),
         64 * M,
         "1G",
         G,
         NULL,
         {"64MB", "-1", "all"}},
        {"Prefetch",
         "PushLimit",
         FIELD(FIELD_U64, push_limit),
         65536,
         "0",
         0,
         NULL,
         {"2M", "-1", "all"}},
        {"Daemon", "Workers", FIELD(FIELD_UINT, workers), 0, "8", 8, NULL, {"1025", "-1", "auto"}},
        {"Daemon",
         "FuseThreads",
         FIELD(FIELD_UINT, fuse_threads),
         3,
         "64",
         64,
         NULL,
         {"0", "65", "3.0"}},
        {"Daemon",
         "SpinSec",
         FIELD(FIELD_U64, spin_usec),
         50,
         "2ms",
         2000,
         NULL,
         {"2s", "-1", "soon"}},
        {"Daemon",
         "LogLevel",
         FIELD(FIELD_INT, log_level),
         LOG_INFO,
         "debug",
         LOG_DEBUG,
         NULL,
         {"loud", "-1", "infos"}},
        {"Daemon",
         "PollIntervalSec",
         FIELD(FIELD_U64, poll_interval_usec),
         60 * SEC,
         "0",
         0,
         NULL,
         {"366d", "never", "5 minute s"}},
};

static const struct OptionCase *find_case(const ConfigOption *o) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (strcmp(cases[i].section, o->section) == 0 && strcmp(cases[i].key, o->key) == 0)
                        return &cases[i];
        return NULL;
}

static void check_field(const Config *c, const struct OptionCase *k, uint64_t n, const char *s) {
        const void *field = (const char *) c + k->offset;

        switch (k->kind) {
        case FIELD_U64:
                ck_assert_msg(*(const uint64_t *) field == n, "%s", k->key);
                break;
        case FIELD_UINT:
                ck_assert_msg(*(const unsigned *) field == n, "%s", k->key);
                break;
        case FIELD_INT:
                ck_assert_msg(*(const int *) field == (int) n, "%s", k->key);
                break;
        case FIELD_BOOL:
                if (n < 2) /* else it depends on the kernel */
                        ck_assert_msg(*(const bool *) field == (n == 1), "%s", k->key);
                break;
        case FIELD_STRING:
                ck_assert_pstr_eq(*(char *const *) field, s);
                break;
        }
}

static int parse(Config *c, const char *text, ConfigError *e) {
        *e = (ConfigError){0};
        return config_parse(c, text, strlen(text), "origin", e);
}

static int parse_option(Config *c, const struct OptionCase *k, const char *value, ConfigError *e) {
        _cleanup_buf_ Buf text = {0};

        ck_assert_int_eq(buf_appendf(&text, "[%s]\n%s=%s\n", k->section, k->key, value), 0);
        return parse(c, buf_str(&text), e);
}

/* R22: options keep working. An option that this test does not know fails it. */
START_TEST(test_each_option) {
        size_t n = 0;

        for (const ConfigOption *o = config_options; o->section; o++, n++) {
                _cleanup_(config_freep) Config *c = NULL;
                const struct OptionCase *k = find_case(o);
                ConfigError e;

                ck_assert_msg(k, "no test for %s= in [%s]", o->key, o->section);
                ck_assert_msg(strlen(o->doc) > 20 && strlen(o->doc) < 100, "%s", o->key);
                ck_assert_int_eq(o->doc[strlen(o->doc) - 1], '.');
                ck_assert_int_eq(config_new(&c), 0);
                check_field(c, k, k->default_number, NULL);
                ck_assert_msg(parse_option(c, k, k->value, &e) == 0, "%s", e.text);
                check_field(c, k, k->number, k->string);

                for (size_t i = 0; i < ELEMENTSOF(k->refused); i++) {
                        if (!k->refused[i][0])
                                continue;
                        int r = parse_option(c, k, k->refused[i], &e);
                        ck_assert_msg(r == -EINVAL, "%s=%s was accepted", k->key, k->refused[i]);
                        ck_assert_msg(strncmp(e.text, "origin:2: ", 10) == 0, "%s", e.text);
                        ck_assert_msg(strstr(e.text, k->key), "%s", e.text);
                        check_field(c, k, k->number, k->string);
                }
                ck_assert_int_eq(parse_option(c, k, "", &e), 0);
                check_field(c, k, k->default_number, NULL);
        }
        ck_assert_uint_eq(n, ELEMENTSOF(cases));
}
END_TEST

/* R22: what the documentation gives as the default is a value that the option takes. */
START_TEST(test_default_texts) {
        for (const ConfigOption *o = config_options; o->section; o++) {
                _cleanup_(config_freep) Config *c = NULL;
                const struct OptionCase *k = find_case(o);
                ConfigError e;

                ck_assert_ptr_nonnull(k);
                ck_assert_int_eq(config_new(&c), 0);
                ck_assert_int_eq(parse_option(c, k, k->value, &e), 0);
                ck_assert_int_eq(parse_option(c, k, o->default_text, &e), 0);
                check_field(c, k, k->default_number, NULL);
        }
}
END_TEST

START_TEST(test_file_syntax) {
        static const char good[] = "\xef\xbb\xbf# comment\n"
                                   "; comment\n"
                                   "\n"
                                   "  [Mount]  \r\n"
                                   "\tMountPoint = /a b;c #d \n"
                                   "   RequestTimeoutSec=5\n" /* indented is no continuation */
                                   "[Daemon]\n"
                                   "Workers=1\n"
                                   "Workers=2"; /* the last wins, without a newline too */
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError e;

        ck_assert_int_eq(config_new(&c), 0);
        ck_assert_msg(parse(c, good, &e) == 0, "%s", e.text);
        ck_assert_str_eq(c->mount_point, "/a b;c #d");
        ck_assert_uint_eq(c->request_timeout_usec, 5 * SEC);
        ck_assert_uint_eq(c->workers, 2);
        ck_assert_int_eq(config_parse(c, NULL, 0, "origin", &e), 0);
}
END_TEST

START_TEST(test_mistakes_are_found) {
        static const struct {
                const char *text, *error;
        } mistakes[] = {
                {"[Mount]\nFoo=1\n", "origin:2: unknown option \"Foo\" in [Mount]"},
                {"[mount]\n", "origin:1: unknown section [mount]"},
                {"\n\n[Other]\n", "origin:3: unknown section [Other]"},
                {"[Mount]\nWorkers=1\n", "origin:2: unknown option \"Workers\" in [Mount]"},
                {"Workers=1\n", "origin:1: option \"Workers\" stands before any section"},
                {"[Daemon]\nWorkers\n", "origin:2: neither \"Key=Value\" nor a section"},
                {"[Daemon] Workers=1\n", "origin:1: a section must stand alone as \"[Name]\""},
                {"[Daemon\n", "origin:1: a section must stand alone as \"[Name]\""},
                {"[Daemon]\n\nworkers=1\n", "origin:3: unknown option \"workers\" in [Daemon]"},
                {"[Daemon]\nWorkers=x\nFoo=1\n", "origin:2: Workers=: \"x\" is not a number"},
                {"[Daemon]\nWorkers=2000\n", "origin:2: Workers=: \"2000\" is out of range"},
        };
        _cleanup_(config_freep) Config *c = NULL;

        ck_assert_int_eq(config_new(&c), 0);
        for (size_t i = 0; i < ELEMENTSOF(mistakes); i++) {
                ConfigError e;
                ck_assert_int_eq(parse(c, mistakes[i].text, &e), -EINVAL);
                ck_assert_str_eq(e.text, mistakes[i].error);
        }
}
END_TEST

START_TEST(test_unchanged_on_failure) {
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError e;

        ck_assert_int_eq(config_new(&c), 0);
        ck_assert_int_eq(parse(c, "[Mount]\nMountPoint=/first\n[Daemon]\nWorkers=1\n", &e), 0);
        ck_assert_int_eq(
                parse(c, "[Mount]\nMountPoint=/x\n[Daemon]\nWorkers=9\nFoo=1\n", &e), -EINVAL);
        ck_assert_str_eq(c->mount_point, "/first");
        ck_assert_uint_eq(c->workers, 1);
}
END_TEST

/* A line that is too long is refused, never cut. */
START_TEST(test_long_lines) {
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError e;

        ck_assert_int_eq(config_new(&c), 0);
        for (size_t len = 1; len < 20000; len = len * 2 + 1) {
                _cleanup_buf_ Buf text = {0};
                ck_assert_int_eq(buf_append_str(&text, "[Mount]\nMountPoint=/"), 0);
                for (size_t i = 1; i < len; i++)
                        ck_assert_int_eq(buf_append(&text, "x", 1), 0);
                int r = parse(c, buf_str(&text), &e);
                if (r == 0)
                        ck_assert_uint_eq(strlen(c->mount_point), len);
                else
                        ck_assert_ptr_nonnull(strstr(e.text, "origin:2: the line is longer than "));
                ck_assert_int_eq(r, len > 8100 ? -EINVAL : 0);
        }
        static const char nul[] = "[Mount]\nMountPoint=/a\0b\n";
        ck_assert_int_eq(config_parse(c, nul, sizeof(nul) - 1, "origin", &e), -EINVAL);
}
END_TEST

START_TEST(test_no_secret_in_errors) {
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError e;

        ck_assert_int_eq(config_new(&c), 0);
        ck_assert_int_eq(parse(c, "[Daemon]\nWorkers=https://u:s3cret@host/\n", &e), -EINVAL);
        ck_assert_ptr_null(strstr(e.text, "s3cret"));
}
END_TEST

START_TEST(test_kernel_dir_cache) {
        static const char *const good[] = {
                "6.8.0-generic",
                "5.10.0",
                "6.13",
                "6.13.1-arch1",
                "6.18.44",
                "7.10.1",
                "16.9.0",
                "5.9.1",
                "",
                "x"};
        static const char *const broken[] = {"6.9.0", "6.10.3-amd64", "6.11", "6.12.99+deb13"};
        _cleanup_(config_freep) Config *c = NULL;
        struct utsname u;
        ConfigError e;

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ck_assert_msg(kernel_expires_directories(good[i]), "%s", good[i]);
        for (size_t i = 0; i < ELEMENTSOF(broken); i++)
                ck_assert_msg(!kernel_expires_directories(broken[i]), "%s", broken[i]);

        ck_assert_int_eq(config_new(&c), 0);
        ck_assert_int_eq(uname(&u), 0);
        ck_assert_int_eq(c->kernel_dir_cache, kernel_expires_directories(u.release));
        for (int yes = 0; yes < 2; yes++) {
                const char *text = yes ? "[Mount]\nKernelDirectoryCache=YES\n"
                                       : "[Mount]\nKernelDirectoryCache=no\n";
                ck_assert_int_eq(parse(c, text, &e), 0);
                ck_assert_int_eq(c->kernel_dir_cache, yes);
        }
}
END_TEST

static void put(const TempDir *t, const char *name, const char *text) {
        temp_dir_write(t, name, text, strlen(text));
}

START_TEST(test_load_order) {
        _cleanup_temp_dir_ TempDir t = {0};
        ConfigError e;

        temp_dir_init(&t);
        _cleanup_free_ char *etc = path_join(t.path, "etc", NULL);
        _cleanup_free_ char *home = path_join(t.path, "home", NULL);
        ck_assert(etc && home);
        put(&t, "etc/gitfs.conf", "[Daemon]\nWorkers=1\nFuseThreads=1\n[Network]\nRetries=1\n");
        put(&t, "etc/gitfs.conf.d/20-b.conf", "[Daemon]\nFuseThreads=3\n");
        put(&t, "etc/gitfs.conf.d/10-a.conf", "[Daemon]\nFuseThreads=2\n[Network]\nRetries=2\n");
        put(&t, "etc/gitfs.conf.d/30-c.conf.bak", "no INI at all");
        put(&t, "etc/gitfs.conf.d/.hidden.conf", "no INI at all");
        put(&t, "home/gitfs.conf", "[Network]\nRetries=3\n[Cache]\nDirectory=/cache\n");
        put(&t, "home/gitfs.conf.d/x.conf", "[Network]\nRetries=4\n");

        _cleanup_(config_freep) Config *c = NULL;
        ck_assert_msg(config_load(etc, home, &c, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(c->workers, 1);
        ck_assert_uint_eq(c->fuse_threads, 3);
        ck_assert_uint_eq(c->retries, 4);
        ck_assert_str_eq(c->cache_directory, "/cache");
        ck_assert_ptr_nonnull(strstr(c->mount_point, "gitfs"));

        put(&t, "home/gitfs.conf.d/y.conf", "[Network]\nRetry=4\n");
        Config *none = NULL;
        ck_assert_int_eq(config_load(etc, home, &none, &e), -EINVAL);
        ck_assert_ptr_null(none);
        ck_assert_ptr_nonnull(strstr(e.text, "/home/gitfs.conf.d/y.conf:2: unknown option"));
}
END_TEST

START_TEST(test_load_nothing_and_unreadable) {
        _cleanup_temp_dir_ TempDir t = {0};
        _cleanup_(config_freep) Config *c = NULL;
        Config *none = NULL;
        ConfigError e;

        temp_dir_init(&t);
        ck_assert_int_eq(config_load(t.path, t.path, &c, &e), 0);
        ck_assert_ptr_nonnull(c->mount_point);
        ck_assert_ptr_nonnull(c->cache_directory);

        /* A directory in place of the file is as unreadable to root as to others. */
        put(&t, "gitfs.conf/file", "");
        ck_assert_int_eq(config_load(t.path, t.path, &none, &e), -EISDIR);
        ck_assert_ptr_nonnull(strstr(e.text, "gitfs.conf: "));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, test_each_option);
        tcase_add_test(tc, test_default_texts);
        tcase_add_test(tc, test_file_syntax);
        tcase_add_test(tc, test_mistakes_are_found);
        tcase_add_test(tc, test_unchanged_on_failure);
        tcase_add_test(tc, test_long_lines);
        tcase_add_test(tc, test_no_secret_in_errors);
        tcase_add_test(tc, test_kernel_dir_cache);
        tcase_add_test(tc, test_load_order);
        tcase_add_test(tc, test_load_nothing_and_unreadable);
}

CHECK_MAIN("config", add_tests)
