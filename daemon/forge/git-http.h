#pragma once

#include <stdbool.h>

#include "forge/git-exchange.h"

/* What is peculiar to exchanges over HTTP; false for others. Private to git-exchange.c. */

/* Where an advertisement was found behind redirects, the repository is there: secrets are asked
 * for, and further requests go, to that place. True if it is another place. */
bool git_http_follow(GitExchange *x);
/* True if the answer came from the server that we asked, and not from where it sent us. */
bool git_http_answered_by_origin(const GitExchange *x);
