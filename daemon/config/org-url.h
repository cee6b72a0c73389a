#pragma once

#include "config/config.h"

/* Both refuse with -EINVAL and the reason, which never repeats the URL, as there may be a password
 * in it. */

/* What is not the base URL of a git server, over HTTP or ssh. */
int org_url_check(const char *url, ConfigError *ret_error);
/* What is not a base URL of http:// or https://. */
int org_url_check_http(const char *url, ConfigError *ret_error);
