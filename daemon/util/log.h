#pragma once

#include <stdbool.h>
#include <syslog.h>

#include "gitfs/macro.h"

/* Logging, from any thread. To the journal with structured fields when stderr is connected to it,
 * else to stderr. Every text passes redact_urls(). Layers below fuse, manager and bus do not log
 * above debug: they fill a Failure and return. Strings from outside stand in double quotes; a
 * failure that is not passed on ends in ", ignoring". */

typedef struct LogContext {
        const char *org;  /* GITFS_ORG=; each may be NULL */
        const char *repo; /* GITFS_REPO= */
        const char *oid;  /* GITFS_OID= */
} LogContext;

/* Messages above this syslog level (LOG_DEBUG is the most verbose) are dropped. Default LOG_INFO.
 */
void log_set_max_level(int level);
int log_max_level(void);
/* "debug", "info", "notice", "warning", "err" (or "error") or a number; -EINVAL otherwise. */
int log_level_from_string(const char *s);

void log_full(int level, const LogContext *context, const char *fmt, ...) _printf_(3, 4);

#define log_debug(...)                                                                             \
        (log_max_level() >= LOG_DEBUG ? log_full(LOG_DEBUG, NULL, __VA_ARGS__) : (void) 0)
#define log_info(...) log_full(LOG_INFO, NULL, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, NULL, __VA_ARGS__)
