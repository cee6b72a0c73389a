#pragma once

#include <stdint.h>

#include "manager/manager.h"

/* The part of the manager that has to do with tokens: handed over, forgotten, asked for. As all of
 * it: main thread, never blocks. */

/* Reads a token from the descriptor, which is taken in any case, and writes the org's file. done()
 * comes when it is in use. -ENOENT, -EINVAL for an org that needs none, -EBUSY, with the reason. */
int manager_set_token(
        Manager *m,
        const char *org,
        int owned_fd,
        ManagerDone done,
        void *userdata,
        Failure *ret_failure);
/* Removes the file; fine where there is none. -ENOENT for an unknown org. */
int manager_forget_token(Manager *m, const char *org, Failure *ret_failure);
