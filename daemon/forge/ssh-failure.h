#pragma once

#include "util/failure.h"

/* What it means that ssh, or git on the other side, has ended with this status (128 + N: by signal
 * N) and these words on its standard error. Fills the failure and returns its errno. */
int ssh_failure(const char *origin, int status, const char *errors, Failure *ret_failure);
