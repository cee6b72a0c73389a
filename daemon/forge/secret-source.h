#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "util/failure.h"

/* The places that a token can be read from, one function each. They block. All return 1 with the
 * token, which is for secret_free(); 0 where there is none; or a negative errno, with words in
 * *ret_failure where a person has something to put right. */

/* Over this it is no token. */
#define SECRET_TOKEN_MAX (16u * 1024)

/* Printable ASCII without blanks, at least one character. */
bool secret_token_is_valid(const char *token);

/* $CREDENTIALS_DIRECTORY/gitfs.ORG */
int secret_read_systemd(const char *org, char **ret_token, Failure *ret_failure);
/* -EPERM for a file that others may read, or that is somebody else's; -EINVAL for one that holds no
 * token. */
int secret_read_file(const char *path, char **ret_token, Failure *ret_failure);
/* What somebody hands over: a pipe, socket or memfd (-EINVAL: it is none), read to its end, which
 * must come before the deadline (-ETIMEDOUT), and before stop_fd (-1: none) is readable
 * (-ECANCELED). It is made non-blocking, for all who share it. */
int secret_read_fd(
        int fd, uint64_t deadline_usec, int stop_fd, char **ret_token, Failure *ret_failure);
/* True where there is such a program for the kind. */
bool secret_has_tool(OrgKind kind);
/* What `gh` or `glab` is logged in to this host with, where that is installed. -ETIMEDOUT only if
 * the deadline was nearer than these tools are given. */
int secret_read_tool(
        OrgKind kind, const char *host, uint64_t deadline_usec, int stop_fd, char **ret_token);

/* CONFIGHOME/credentials/ORG: allocated; NULL when out of memory. */
char *secret_file_path(const char *config_home, const char *org);
