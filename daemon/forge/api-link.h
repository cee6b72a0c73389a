#pragma once

#include <stdbool.h>

/* The Link header (RFC 8288), of which pages are made. */

/* The target of the first link whose rel holds "next", as it stands there, or, where it is
 * relative, as `url`, which was asked for, makes it whole; owned by the caller. "" where there is
 * none, or it leads to another server than `url`. 0 or -ENOMEM. */
int api_link_next(const char *header, const char *url, char **ret);
/* There is such a link, wherever it leads. */
bool api_link_has_next(const char *header);
