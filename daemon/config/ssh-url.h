#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "gitfs/macro.h"

/* Where a repository is reached by ssh, as git reads it: "ssh://[user@]host[:port]/path", or
 * "[user@]host:path", where the colon comes before any slash. */
typedef struct SshUrl {
        char *user;    /* NULL: as ssh is configured; owned, as are the others */
        char *host;    /* a name, an alias of ssh's configuration, an address without brackets */
        unsigned port; /* 0: as ssh is configured */
        char *path;    /* "" where there is none; "~user/x" and "x" are relative to a home */
} SshUrl;

/* True if this is meant for ssh, be it right or wrong. */
bool ssh_url_is(const char *url);
/* 0; -EINVAL: a part is missing or malformed, holds a password, or could pass for an option of a
 * program; -ENOMEM. */
int ssh_url_parse(const char *url, SshUrl *ret);
void ssh_url_done(SshUrl *u);
#define _cleanup_ssh_url_ _cleanup_(ssh_url_done)

/* "name" below an org's URL; owned by the caller. NULL when out of memory. */
char *ssh_url_join(const char *url, const char *name);
