#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "forge/host-gate.h"
#include "forge/http.h"
#include "util/failure.h"

/* Signing in to GitHub by its device flow (RFC 8628): one asks for a code, which a person types
 * into a browser, and then asks now and then whether that has been done. One LoginStep is one
 * request; what lies between them, time, is the caller's. */

typedef struct LoginAnswer {
        /* To the first step: */
        char *device_code;          /* owned, secret memory: what the other steps ask with */
        char user_code[32];         /* for the person: letters, digits and dashes */
        char verification_uri[256]; /* where to type it: http(s), printable ASCII */
        uint64_t expires_in_usec;   /* relative */
        uint64_t interval_usec;     /* to wait between two steps; at least a second */
        /* To the others: */
        char *token;    /* owned, secret memory; NULL: not yet */
        bool slow_down; /* ask less often from now on */
} LoginAnswer;

void login_answer_done(LoginAnswer *answer);

typedef struct LoginStep LoginStep;
struct LoginStep {
        /* Set by the caller; strings are borrowed until done(): */
        const ForgeContext *context;
        const char *base; /* "https://github.com", no slash behind */
        const char *client_id;
        const char *device_code; /* NULL: the first step */
        uint64_t deadline_usec;  /* of this step */
        /* Exactly once, on a pool thread. The answer is valid, and empty unless result is 0; what
         * is taken out of it is the caller's. -EACCES: the person has refused, or the code has
         * expired: it is over. */
        void (*done)(LoginStep *step, int result, LoginAnswer *answer, const Failure *failure);

        /* private */
        GateTicket ticket;
        char *origin, *url, *body; /* owned; body in secret memory */
        char *text;                /* what has come of the answer; owned, secret memory */
        size_t text_len;
        int http_code;
};

/* Never blocks. On failure done() will not be called. */
int login_step_start(LoginStep *step);

/* What the answer means; for login_step and its tests. Wipes secrets out of the text. 0, or the
 * errno of the failure. */
int login_parse_answer(
        char *text, size_t len, bool first, LoginAnswer *ret_answer, Failure *ret_failure);
