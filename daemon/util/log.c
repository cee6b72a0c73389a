#include "util/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "util/redact.h"
#include "util/text.h"

static atomic_int max_level = LOG_INFO;
static bool to_journal;
static pthread_once_t target_once = PTHREAD_ONCE_INIT;

/* systemd sets JOURNAL_STREAM=DEVICE:INODE for a service whose stderr goes to the journal;
 * comparing with the real descriptor keeps a redirected child from writing past its redirection. */
static void find_target(void) {
        const char *e =
                getenv("JOURNAL_STREAM"); // NOLINT(concurrency-mt-unsafe): nobody calls setenv
        unsigned long long dev, ino;
        struct stat st;

        if (e && sscanf(e, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0)
                to_journal = st.st_dev == dev && st.st_ino == ino;
}

void log_set_max_level(int level) {
        atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

int log_max_level(void) {
        /* Relaxed: a message more or less around a change of the level does not matter. */
        return atomic_load_explicit(&max_level, memory_order_relaxed);
}

static const char *const level_names[] = {
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

int log_level_from_string(const char *s) {
        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (strcmp(s, level_names[i]) == 0)
                        return (int) i;
        if (strcmp(s, "error") == 0) /* what people write for it */
                return LOG_ERR;
        if (s[0] >= '0' && s[0] <= '7' && s[1] == '\0')
                return s[0] - '0';
        return -EINVAL;
}

static void send_journal(int level, const LogContext *c, const char *message) {
        char fields[5][1200];
        struct iovec iov[ELEMENTSOF(fields)];
        int n = 0;
        const struct {
                const char *key, *value;
        } all[] = {
                {"MESSAGE=", message},
                {"GITFS_ORG=", c ? c->org : NULL},
                {"GITFS_REPO=", c ? c->repo : NULL},
                {"GITFS_OID=", c ? c->oid : NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                if (!all[i].value)
                        continue;
                int len = snprintf(fields[n], sizeof(fields[n]), "%s%s", all[i].key, all[i].value);
                iov[n].iov_base = fields[n];
                iov[n].iov_len = MIN((size_t) len, sizeof(fields[n]) - 1);
                n++;
        }
        int len = snprintf(fields[n], sizeof(fields[n]), "PRIORITY=%d", level);
        iov[n].iov_base = fields[n];
        iov[n].iov_len = (size_t) len;
        /* A lost log line cannot be reported anywhere. */
        (void) sd_journal_sendv(iov, n + 1);
}

static void send_stderr(int level, const LogContext *c, const char *message) {
        const char *org = c && c->org ? c->org : "", *repo = c && c->repo ? c->repo : "";
        char origin[600]; /* two names */

        (void) snprintf(
                origin,
                sizeof(origin),
                "%s%s%s%s",
                org,
                repo[0] ? "/" : "",
                repo,
                org[0] || repo[0] ? ": " : "");
        text_sanitize(origin); /* as the message */
        (void) fprintf(stderr, "gitfsd[%s]: %s%s\n", level_names[level & 7], origin, message);
}

void log_full(int level, const LogContext *context, const char *fmt, ...) {
        char message[1024];
        va_list ap;

        if (level > log_max_level())
                return;
        (void) pthread_once(&target_once, find_target);

        int saved = errno;
        va_start(ap, fmt);
        (void) vsnprintf(message, sizeof(message), fmt, ap);
        va_end(ap);
        redact_urls(message);
        /* One message, one line: text from a server can neither forge another nor talk to a
         * terminal. */
        text_sanitize(message);

        if (to_journal)
                send_journal(level, context, message);
        else
                send_stderr(level, context, message);
        errno = saved;
}
