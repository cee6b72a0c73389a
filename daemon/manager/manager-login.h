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

typedef struct LoginInfo {
        const char *user_code;        /* what to type */
        const char *verification_uri; /* where */
        uint64_t expires_usec;        /* until when, monotonic */
        uint32_t job;                 /* of kind "login": ends when that has been done */
} LoginInfo;

typedef void (*ManagerLoginDone)(
        int result, const LoginInfo *info, const Failure *failure, void *userdata);
/* Asks the server of a GitHub org for a code with which a person can let gitfs in; done() brings
 * it. A job then waits for that, and puts the token to use. client_id: NULL for the org's
 * ClientId=. -ENOENT, -EINVAL, -EBUSY with the reason. */
int manager_login(
        Manager *m,
        const char *org,
        const char *client_id,
        ManagerLoginDone done,
        void *userdata,
        Failure *ret_failure);
