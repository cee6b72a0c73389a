#pragma once

#include <systemd/sd-bus.h>

#include "gitfs/macro.h"

#include "bus/bus-internal.h"
#include "manager/manager-login.h"

/* A method call whose answer waits for an asynchronous operation of the manager. It holds the
 * message, not the client: a client that vanished costs only a reply that nobody takes, the
 * operation goes on. Handed to the manager as `userdata`, it is answered and freed by the callback:
 *
 *      r = request_new(b, m, &req);
 *      if (r >= 0)
 *              r = manager_refresh(b->manager, path, request_done, req);
 *      if (r < 0)
 *              return bus_error_set(error, r, NULL);
 *      (void) TAKE_PTR(req);
 *      return 1;
 *
 * The callback may come before the manager's function has returned. When the Bus goes first, the
 * call is answered with a cancellation and the callback only frees. */

/* -EBUSY over the limit. */
int request_new(Bus *b, sd_bus_message *call, Request **ret);
/* Without an answer: for a call that the manager did not accept. */
Request *request_free(Request *req);
DEFINE_CLEANUP(Request *, request_free)

/* What request_done() answers with instead of nothing: an object path. */
int request_set_path(Request *req, const char *path);
/* ManagerDone: answers with nothing or that path, or with the error. */
void request_done(int result, const Failure *failure, void *userdata);
/* ManagerWhichDone: answers with a{sv}. */
void request_which_done(int result, const WhichInfo *info, const Failure *failure, void *userdata);

/* ManagerLoginDone: answers with ssto. */
void request_login_done(int result, const LoginInfo *info, const Failure *failure, void *userdata);

/* Answers every waiting call with a cancellation, and forgets them. */
void request_cancel_all(Bus *b);
