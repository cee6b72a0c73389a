#pragma once

#include "ctl/ctl.h"

/* Tokens on their way from the person to the daemon. Functions return 0 or a negative errno, which
 * has been reported. */

/* Reads a token from standard input: all of it, without one line break at its end. At a terminal it
 * asks for it, and does not show it. *ret is for secret_free(). */
int token_read(const char *org, char **ret);
/* Hands it to the daemon, for good. */
int token_send(Ctl *ctl, const char *org, const char *token);
