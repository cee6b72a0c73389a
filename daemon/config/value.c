#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/path.h"

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)

int value_parse_bool(const char *s, bool *ret) {
        static const char *const yes[] = {"yes", "true", "on", "1", "y", "t"};
        static const char *const no[] = {"no", "false", "off", "0", "n", "f"};

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                bool is_yes = strcasecmp(s, yes[i]) == 0;
                if (is_yes || strcasecmp(s, no[i]) == 0) {
                        *ret = is_yes;
                        return 0;
                }
        }
        return -EINVAL;
}

/* Reads the digits at *p, at least one, and moves behind them. */
static int read_digits(const char **p, uint64_t *ret) {
        uint64_t v = 0;

        if (!isdigit((unsigned char) **p))
                return -EINVAL;
        for (; isdigit((unsigned char) **p); (*p)++)
                if (__builtin_mul_overflow(v, 10, &v) ||
                    __builtin_add_overflow(v, (uint64_t) (**p - '0'), &v))
                        return -ERANGE;
        *ret = v;
        return 0;
}

int value_parse_u64(const char *s, uint64_t *ret) {
        uint64_t v;

        int r = read_digits(&s, &v);
        if (r < 0)
                return r;
        if (*s)
                return -EINVAL;
        *ret = v;
        return 0;
}

int value_parse_bytes(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        uint64_t v;

        int r = read_digits(&s, &v);
        if (r < 0)
                return r;
        if (*s) {
                const char *suffix = strchr(suffixes, *s);
                if (!suffix || s[1])
                        return -EINVAL;
                if (__builtin_mul_overflow(v, UINT64_C(1024) << (10 * (suffix - suffixes)), &v))
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

static uint64_t unit_usec(const char *unit, size_t len) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                {"", USEC_PER_SEC},
                {"us", 1},
                {"usec", 1},
                {"ms", USEC_PER_MSEC},
                {"msec", USEC_PER_MSEC},
                {"s", USEC_PER_SEC},
                {"sec", USEC_PER_SEC},
                {"second", USEC_PER_SEC},
                {"seconds", USEC_PER_SEC},
                {"m", MINUTE},
                {"min", MINUTE},
                {"minute", MINUTE},
                {"minutes", MINUTE},
                {"h", HOUR},
                {"hr", HOUR},
                {"hour", HOUR},
                {"hours", HOUR},
                {"d", DAY},
                {"day", DAY},
                {"days", DAY},
                {"w", WEEK},
                {"week", WEEK},
                {"weeks", WEEK},
        };

        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (strlen(units[i].name) == len && memcmp(units[i].name, unit, len) == 0)
                        return units[i].usec;
        return 0;
}

int value_parse_usec(const char *s, uint64_t *ret) {
        uint64_t total = 0;

        do {
                uint64_t v;
                int r = read_digits(&s, &v);
                if (r < 0)
                        return r;
                s += strspn(s, " \t");
                const char *unit = s;
                while (isalpha((unsigned char) *s))
                        s++;
                uint64_t usec = unit_usec(unit, (size_t) (s - unit));
                if (usec == 0)
                        return -EINVAL;
                if (__builtin_mul_overflow(v, usec, &v) || __builtin_add_overflow(total, v, &total))
                        return -ERANGE;
                s += strspn(s, " \t");
        } while (*s);
        *ret = total;
        return 0;
}

int value_parse_path(const char *s, char **ret) {
        if (s[0] != '/')
                return -EINVAL;
        for (const char *p = s; (p = strstr(p, "/..")); p += 3)
                if (p[3] == '/' || p[3] == '\0')
                        return -EINVAL;

        char *path = strdup(s);
        if (!path)
                return -ENOMEM;
        path_simplify(path);
        *ret = path;
        return 0;
}

bool kernel_expires_directories(const char *release) {
        char *end;

        unsigned long major = strtoul(release, &end, 10);
        if (*end != '.')
                return true;
        unsigned long minor = strtoul(end + 1, NULL, 10);
        return major != 6 || minor < 9 || minor > 12;
}
