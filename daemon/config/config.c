#include "config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "config/conf-dir.h"
#include "config/ini-text.h"
#include "config/string-list.h"
#include "config/value.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/path.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define MSEC USEC_PER_MSEC
#define DAY (86400 * USEC_PER_SEC)

typedef struct OptionRow OptionRow;

/* Parses a value into a field of Config. Changes it only on success. */
typedef int (*OptionParser)(
        const OptionRow *row, const char *value, void *field, ConfigError *ret_error);

struct OptionRow {
        OptionParser parse;
        size_t offset;
        uint64_t min, max; /* of numbers, times and sizes */
};

static int check_range(const OptionRow *row, uint64_t v, const char *value, ConfigError *e) {
        if (v >= row->min && v <= row->max)
                return 0;
        return config_error_set(e, "\"%s\" is out of range", value);
}

static int refuse(int error, const char *value, const char *kind, ConfigError *e) {
        if (error == -ENOMEM)
                return error;
        return config_error_set(
                e,
                error == -ERANGE ? "\"%s\" is too large for %s" : "\"%s\" is not %s",
                value,
                kind);
}

static int parse_path(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        char **path = field, *parsed = NULL;

        if (value[0]) {
                int r = value_parse_path(value, &parsed);
                if (r < 0)
                        return refuse(r, value, "an absolute path without \"..\"", e);
        }
        free(*path);
        *path = parsed;
        return 0;
}

static int parse_usec(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        uint64_t v;

        int r = value_parse_usec(value, &v);
        if (r < 0)
                return refuse(r, value, "a time span", e);
        r = check_range(row, v, value, e);
        if (r >= 0)
                *(uint64_t *) field = v;
        return r;
}

static int parse_bytes(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        uint64_t v;

        int r = value_parse_bytes(value, &v);
        if (r < 0)
                return refuse(r, value, "a size", e);
        r = check_range(row, v, value, e);
        if (r >= 0)
                *(uint64_t *) field = v;
        return r;
}

static int parse_u64(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        uint64_t v;

        int r = value_parse_u64(value, &v);
        if (r < 0)
                return refuse(r, value, "a number", e);
        r = check_range(row, v, value, e);
        if (r >= 0)
                *(uint64_t *) field = v;
        return r;
}

static int parse_uint(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        uint64_t v = 0;

        assert(row->max <= UINT_MAX);
        int r = parse_u64(row, value, &v, e);
        if (r >= 0)
                *(unsigned *) field = (unsigned) v;
        return r;
}

static int parse_bool(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        int r = value_parse_bool(value, field);
        return r < 0 ? refuse(r, value, "yes or no", e) : 0;
}

static int parse_dir_cache(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        struct utsname u;

        if (strcmp(value, "auto") != 0)
                return value_parse_bool(value, field) < 0
                               ? config_error_set(e, "\"%s\" is not yes, no or auto", value)
                               : 0;
        *(bool *) field = uname(&u) < 0 || kernel_expires_directories(u.release);
        return 0;
}

static int parse_log_level(const OptionRow *row, const char *value, void *field, ConfigError *e) {
        int level = log_level_from_string(value);

        if (level < 0)
                return refuse(level, value, "a log level", e);
        *(int *) field = level;
        return 0;
}

/* One option, two lines: X(section, key, default, parser, field, min, max, documentation) */
/* clang-format off */
#define CONFIG_OPTIONS(X)                                                                          \
        X("Mount", "MountPoint", "", parse_path, mount_point, 0, 0,                                \
          "Where the repositories appear; unset, $XDG_RUNTIME_DIR/gitfs.")                         \
        X("Mount", "RequestTimeoutSec", "60", parse_usec, request_timeout_usec, MSEC, DAY,         \
          "How long a call waits for a server before it fails with ETIMEDOUT.")                    \
        X("Mount", "NegativeTimeoutSec", "30", parse_usec, negative_timeout_usec, 0, DAY,          \
          "How long a server's answer that something does not exist is believed.")                 \
        X("Mount", "MaxPendingRequests", "16384", parse_u64, max_pending_requests, 1, 1 << 24,     \
          "How many calls may wait for servers; further ones fail with EAGAIN.")                   \
        X("Mount", "KernelDirectoryCache", "auto", parse_dir_cache, kernel_dir_cache, 0, 0,        \
          "Whether the kernel keeps listings; auto means not where its cache is broken.")          \
        X("Cache", "Directory", "", parse_path, cache_directory, 0, 0,                             \
          "Where objects are kept; unset, $XDG_CACHE_HOME/gitfs.")                                 \
        X("Cache", "DiskLimit", "10G", parse_bytes, disk_limit, MIB, INT64_MAX,                    \
          "How much of the disk the cache may take.")                                              \
        X("Cache", "KeepFree", "1G", parse_bytes, free_space_floor, 0, INT64_MAX,                  \
          "How much of the disk the cache leaves free, whatever DiskLimit= allows.")               \
        X("Cache", "MemoryLimit", "256M", parse_bytes, memory_limit, MIB, INT64_MAX,               \
          "How much memory objects may take.")                                                     \
        X("Cache", "ListingMemoryLimit", "16M", parse_bytes, listing_limit, MIB, INT64_MAX,        \
          "How much memory the listings of directories may take.")                                 \
        X("Network", "ConnectTimeoutSec", "10", parse_usec, connect_timeout_usec, MSEC, DAY,       \
          "How long connecting to a server may take.")                                             \
        X("Network", "StallTimeoutSec", "30", parse_usec, stall_timeout_usec, MSEC, DAY,           \
          "How long a transfer may go without a single byte before it is given up.")               \
        X("Network", "MaxRequestsPerHost", "6", parse_uint, max_per_host, 1, 1000,                 \
          "How many requests one server gets at a time.")                                          \
        X("Network", "MaxRequests", "32", parse_uint, max_total, 1, 10000,                         \
          "How many requests are out at a time, to all servers together.")                         \
        X("Network", "MaxRequestsPerSecond", "50", parse_uint, max_per_second, 0, 100000,          \
          "How many requests one server gets in a second; 0 means as many as there are.")          \
        X("Network", "MaxBytesInFlight", "64M", parse_bytes, max_bytes_in_flight, MIB, INT64_MAX,  \
          "How much of all answers may be in memory before it is unpacked.")                       \
        X("Network", "Retries", "2", parse_uint, retries, 0, 100,                                  \
          "How often a failed request is repeated where that may help.")                           \
        X("Network", "MaxObjectSize", "8G", parse_bytes, max_object_size, MIB, INT64_MAX,          \
          "The largest object that is fetched.")                                                   \
        X("Network", "CAFile", "", parse_path, ca_file, 0, 0,                                      \
          "Certificates to trust; unset, those of the system.")                                    \
        X("Network", "GitCredential", "yes", parse_bool, use_credential_helper, 0, 0,              \
          "Whether git's credential helpers are asked for passwords.")                             \
        X("Prefetch", "Children", "yes", parse_bool, prefetch_children, 0, 0,                      \
          "Whether the sizes of files are asked for once a directory was listed.")                 \
        X("Prefetch", "SiblingLimit", "256K", parse_bytes, sibling_limit, 0, 64 * MIB,             \
          "How much of the small files next to one that is read comes along; 0 is none.")          \
        X("Prefetch", "WalkLimit", "64M", parse_bytes, walk_limit, 0, INT64_MAX,                   \
          "How far ahead of a walk over a repository files are fetched; 0 is not at all.")         \
        X("Prefetch", "PushLimit", "64K", parse_bytes, push_limit, 0, MIB,                         \
          "The largest file that a walk finds in the kernel's cache before it reads; 0 is none.")  \
        X("Daemon", "Workers", "0", parse_uint, workers, 0, 1024,                                  \
          "How many threads unpack and verify objects; 0 means by the number of processors.")      \
        X("Daemon", "FuseThreads", "3", parse_uint, fuse_threads, 1, 64,                           \
          "How many threads take requests from the kernel.")                                       \
        X("Daemon", "SpinSec", "50us", parse_usec, spin_usec, 0, USEC_PER_SEC,                     \
          "How long a thread looks for the next request before it sleeps; 0 is not at all.")       \
        X("Daemon", "LogLevel", "info", parse_log_level, log_level, 0, 0,                          \
          "The least severe messages to log: err, warning, notice, info or debug.")                \
        X("Daemon", "PollIntervalSec", "60", parse_usec, poll_interval_usec, 0, CONFIG_POLL_MAX,   \
          "How often servers are asked for news, unless the org says otherwise; 0 is never.")
/* clang-format on */

const ConfigOption config_options[] = {
#define X(section, key, text, parser, field, min, max, doc) {section, key, text, doc},
        CONFIG_OPTIONS(X)
#undef X
                {NULL, NULL, NULL, NULL},
};

static const OptionRow rows[] = {
#define X(section, key, text, parser, field, min, max, doc)                                        \
        {parser, offsetof(Config, field), min, max},
        CONFIG_OPTIONS(X)
#undef X
};

static void *field_of(Config *c, const OptionRow *row) {
        return (char *) c + row->offset;
}

static int apply(size_t option, const char *value, void *userdata, ConfigError *ret_error) {
        const OptionRow *row = &rows[option];
        const ConfigOption *o = &config_options[option];
        ConfigError reason;

        /* "Key=" goes back to the default, as in systemd. */
        if (value[0] == '\0')
                value = o->default_text;
        int r = row->parse(row, value, field_of(userdata, row), &reason);
        if (r == -EINVAL)
                (void) config_error_set(ret_error, "%s=: %s", o->key, reason.text);
        return r;
}

int config_new(Config **ret) {
        _cleanup_(config_freep) Config *c = calloc(1, sizeof(*c));
        ConfigError e;

        if (!c)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                int r = apply(i, config_options[i].default_text, c, &e);
                if (r < 0) {
                        assert(r == -ENOMEM);
                        return r;
                }
        }
        *ret = TAKE_PTR(c);
        return 0;
}

Config *config_free(Config *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (rows[i].parse == parse_path)
                        free(*(char **) field_of(c, &rows[i]));
        free(c);
        return NULL;
}

static int config_copy(const Config *c, Config **ret) {
        _cleanup_(config_freep) Config *copy = malloc(sizeof(*copy));

        if (!copy)
                return -ENOMEM;
        *copy = *c;
        /* Until each string is copied, the copy must not free those of c. */
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (rows[i].parse == parse_path)
                        *(char **) field_of(copy, &rows[i]) = NULL;
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const void *from = (const char *) c + rows[i].offset;
                char **to = field_of(copy, &rows[i]);
                if (rows[i].parse != parse_path || !*(char *const *) from)
                        continue;
                *to = strdup(*(char *const *) from);
                if (!*to)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(copy);
        return 0;
}

int config_parse(
        Config *c, const char *text, size_t len, const char *origin, ConfigError *ret_error) {
        _cleanup_(config_freep) Config *next = NULL;

        int r = config_copy(c, &next);
        if (r < 0)
                return r;
        r = ini_text_parse(text, len, origin, config_options, apply, next, ret_error);
        if (r < 0)
                return r;
        /* The old strings go with the copy. */
        Config old = *c;
        *c = *next;
        *next = old;
        return 0;
}

static int load_file(Config *c, const char *path, ConfigError *ret_error) {
        _cleanup_buf_ Buf text = {0};

        int r = conf_file_read(path, &text, ret_error);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        return config_parse(c, (const char *) text.data, text.len, path, ret_error);
}

/* Reads DIR/gitfs.conf and DIR/gitfs.conf.d. */
static int load_directory(Config *c, const char *dir, ConfigError *ret_error) {
        _cleanup_free_ char *file = path_join(dir, "gitfs.conf", NULL);
        _cleanup_free_ char *drop_ins = path_join(dir, "gitfs.conf.d", NULL);
        _cleanup_(string_list_freep) char **names = NULL;

        if (!file || !drop_ins)
                return -ENOMEM;
        int r = load_file(c, file, ret_error);
        if (r < 0)
                return r;
        r = conf_dir_list(drop_ins, &names);
        if (r < 0) {
                errno = -r;
                (void) config_error_set(ret_error, "%s: %m", drop_ins);
                return r;
        }
        for (char **name = names; *name; name++) {
                _cleanup_free_ char *path = path_join(drop_ins, *name, NULL);
                if (!path)
                        return -ENOMEM;
                r = load_file(c, path, ret_error);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_in_directories(Config *c, ConfigError *ret_error) {
        int r = 0;

        if (!c->mount_point)
                r = path_runtime("gitfs", &c->mount_point);
        if (r >= 0 && !c->cache_directory)
                r = path_cache("gitfs", &c->cache_directory);
        if (r == -ENOENT)
                (void) config_error_set(ret_error, "no home directory is known for the cache");
        return r;
}

int config_load(
        const char *system_config, const char *config_home, Config **ret, ConfigError *ret_error) {
        _cleanup_(config_freep) Config *c = NULL;

        (void) config_error_set(ret_error, "out of memory"); /* unless something better is known */
        int r = config_new(&c);
        if (r >= 0)
                r = load_directory(c, system_config, ret_error);
        if (r >= 0)
                r = load_directory(c, config_home, ret_error);
        if (r >= 0)
                r = fill_in_directories(c, ret_error);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}
