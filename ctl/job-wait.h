#pragma once

#include "ctl/ctl.h"
#include "ctl/json.h"

/* Waiting for the end of a job. 0 or a negative errno, which has been reported. */

/* Before the job is started: an end that comes at once must not be missed. *changed, which must
 * live as long as the connection, is set when something is told of any job. */
int job_watch(Ctl *ctl, bool *changed);
/* Shows the progress at a terminal. *ret holds the job's properties as they are at its end. */
int job_wait(Ctl *ctl, const char *path, bool *changed, json_object **ret);
