#pragma once

#include "config/config.h"

/* Refuses what is not the base URL of a git server over HTTP: -EINVAL with the reason, which never
 * repeats the URL, as there may be a password in it. */
int org_url_check(const char *url, ConfigError *ret_error);
