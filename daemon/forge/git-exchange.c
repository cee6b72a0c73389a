/* Steps of an exchange, each of which ends in the next or in done():
 *
 *   1. begin()        waits for the token, if it must be read
 *   2. enter()        waits at the gate of the host, possibly for a time (back-off, Retry-After)
 *   3. on_admitted()  builds the request, and hands it to the transport with what secret there is
 *   4. the transport  judges whether git has answered, and hands the bytes of its answer on
 *   5. git_exchange_ended()  leaves the gate with the outcome, then decides: good, get a secret and
 *                     go to 1, wait and go to 1, or give up
 *
 * All run on pool threads, one after the other. */

#include "forge/git-exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/ssh-url.h"
#include "forge/git-host.h"
#include "forge/git-http.h"
#include "forge/git-transport.h"
#include "work/blame.h"

static void begin(GitExchange *x);

static void conclude(GitExchange *x, int result, const Failure *failure) {
        Failure copy = *failure;

        if (result >= 0)
                git_auth_accepted(&x->auth, x->context);
        git_auth_forget(&x->auth);
        x->ops->done(x, result, &copy);
}

void git_exchange_done(GitExchange *x) {
        free(x->base);
        free(x->origin);
        free(x->effective_url);
        buf_done(&x->body);
        git_auth_done(&x->auth);
}

/* --- what an answer means --- */

/* What the reader of the body found. */
static int judge_body(GitExchange *x, int result, Failure *ret) {
        int r = x->ops->verdict(x, result, ret);
        if (r < 0 && ret->class == FAILURE_NONE)
                (void) failure_set(
                        ret,
                        FAILURE_LOCAL,
                        "cannot use the answer of %s: %s",
                        x->origin,
                        strerrordesc_np(-r));
        ret->http_code = x->http_code;
        return r;
}

/* The outcome of one attempt in words: what the transport or the reader of the body found. */
static int judge(GitExchange *x, int result, const Failure *reason, Failure *ret) {
        *ret = x->failure;
        if (ret->class != FAILURE_NONE)
                return failure_errno(ret->class);
        *ret = *reason;
        int r = reason->class != FAILURE_NONE ? result : judge_body(x, result, ret);
        if (r < 0 && x->ops->satisfied && x->ops->satisfied(x)) {
                *ret = (Failure){0};
                return 0;
        }
        return r;
}

/* True if the exchange goes on. */
static bool try_again(GitExchange *x, int result, const Failure *failure) {
        /* The request may be what is wrong with the answer. */
        if (x->doubtful && x->answered && failure->class == FAILURE_SERVER)
                return false;
        if (!retry_again(&x->retry, result, failure, &x->ticket.not_before_usec))
                return false;
        begin(x);
        return true;
}

/* Points the exchange at this base. */
static int aim(GitExchange *x, const char *base, size_t len) {
        _cleanup_free_ char *copy = strndup(base, len), *origin = NULL;

        if (!copy)
                return -ENOMEM;
        const GitTransport *transport = git_transport_for(copy);
        int r = transport->origin(copy, &origin);
        if (r < 0)
                return r;
        free(x->base);
        free(x->origin);
        x->base = TAKE_PTR(copy);
        x->origin = TAKE_PTR(origin);
        x->transport = transport;
        return 0;
}

int git_exchange_move(GitExchange *x, const char *base, size_t len) {
        _cleanup_free_ char *before = strdup(x->origin);

        if (!before)
                return -ENOMEM;
        int r = aim(x, base, len);
        if (r >= 0 && strcmp(before, x->origin) != 0)
                git_auth_stray(&x->auth);
        return r;
}

/* --- the end of a request --- */

int git_exchange_data(GitExchange *x, const uint8_t *data, size_t len) {
        BLAME_GUARD(x->scope);

        return x->ops->data(x, data, len);
}

static void on_authenticated(GitAuth *auth, bool again) {
        GitExchange *x = container_of(auth, GitExchange, auth);

        if (again) {
                x->ticket.not_before_usec = 0;
                begin(x);
                return;
        }
        git_auth_explain(auth, &x->failure);
        conclude(x, failure_errno(FAILURE_AUTH), &x->failure);
}

/* Goes on with something that the server has not refused yet, or ends. */
static void authenticate(GitExchange *x) {
        bool asked = git_http_answered_by_origin(x);
        /* Another host has not seen what we sent, so it has not refused it. */
        bool refused = asked && git_auth_password(&x->auth);

        (void) failure_set(/* the errno is that of any 401 */
                           &x->failure,
                           refused ? FAILURE_TOKEN_REFUSED : FAILURE_TOKEN_MISSING,
                           refused ? "%s refuses the token or password (401)"
                                   : "%s wants credentials (401)",
                           x->origin);
        x->failure.http_code = x->http_code;
        if (!git_http_follow(x) && !asked)
                conclude(x, failure_errno(FAILURE_AUTH), &x->failure);
        else
                git_auth_refused(
                        &x->auth, x->context, x->base, refused, x->deadline_usec, on_authenticated);
}

static void leave(GitExchange *x, int outcome, const Failure *failure) {
        Failure told = *failure;

        if (x->aside && (told.class == FAILURE_OFFLINE || told.class == FAILURE_TIMEOUT))
                told.class = FAILURE_CANCELLED;
        host_gate_leave(&x->ticket, outcome, &told);
}

/* All that talk to a host measure for all. */
static void measure(GitExchange *x) {
        if (x->first_byte_usec == 0)
                return;
        uint64_t rtt = git_hosts_measure(x->context->git_hosts, x->origin, x->first_byte_usec);
        if (x->rtt_usec)
                atomic_store_explicit(x->rtt_usec, rtt, memory_order_relaxed);
}

void git_exchange_ended(GitExchange *x, int result, const Failure *reason) {
        BLAME_GUARD(x->scope);
        Failure failure;

        int r = judge(x, result, reason, &failure);
        /* A server that has begun to answer is not down, even if it does not finish in time. */
        bool late = failure.class == FAILURE_TIMEOUT && (x->http_code != 0 || x->answered);
        measure(x);
        leave(x, late ? 0 : r, &failure);
        if (r >= 0) {
                (void) git_http_follow(x); /* it answers at the old place, too */
                conclude(x, 0, &failure);
                return;
        }
        if (!x->once && x->http_code == 401) {
                authenticate(x);
                return;
        }
        if (!x->once && try_again(x, r, &failure))
                return;
        if (r == -ECONNRESET || r == -ENODATA || r == -EBADMSG)
                r = failure_errno(failure.class);
        conclude(x, r, &failure);
}

/* --- sending --- */

static void on_admitted(GateTicket *ticket, int result, const Failure *refusal) {
        GitExchange *x = container_of(ticket, GitExchange, ticket);
        Failure failure = *refusal;

        if (result < 0) {
                conclude(x, result, &failure);
                return;
        }
        x->http_code = 0;
        x->first_byte_usec = 0;
        x->answered = false;
        x->failure = (Failure){0};
        x->body.len = 0;
        x->dropped = 0;
        int r = x->ops->prepare(x);
        git_auth_peek(&x->auth, x->context, x->base); /* it may have come meanwhile */
        if (r >= 0)
                r = x->transport->send(x);
        if (r >= 0)
                return; /* x may be gone */
        (void) failure_set(
                &failure, FAILURE_CANCELLED, "cannot ask %s: %s", x->origin, strerrordesc_np(-r));
        host_gate_leave(&x->ticket, r, &failure);
        if (r != -ESHUTDOWN)
                failure.class = FAILURE_LOCAL;
        conclude(x, r == -ESHUTDOWN ? -ECANCELED : r, &failure);
}

static void enter(GitExchange *x) {
        x->ticket.priority = x->priority;
        x->ticket.waited = x->waited;
        x->ticket.cancelled = x->cancelled;
        x->ticket.held = x->held;
        x->ticket.deadline_usec = x->deadline_usec;
        x->ticket.patience_usec = x->retry.patience_usec;
        x->ticket.resource = "git";
        x->ticket.account = git_auth_account(&x->auth);
        x->ticket.admitted = on_admitted;
        host_gate_enter(x->context->gates, x->origin, &x->ticket);
}

static void on_token(GitAuth *auth, bool again) {
        enter(container_of(auth, GitExchange, auth));
}

static void begin(GitExchange *x) {
        if (!git_auth_prepare(&x->auth, x->context, x->base, x->deadline_usec, on_token))
                enter(x);
}

int git_exchange_start(GitExchange *x, const char *base) {
        int r = aim(x, base, strlen(base));
        if (r < 0)
                return r;
        x->auth.refusals = 0;
        x->retry = (Retry){
                .max = x->context->config->retries,
                .deadline_usec = x->deadline_usec,
                .patience_usec = forge_patience(x->context, x->priority),
        };
        x->ticket.not_before_usec = 0;
        begin(x);
        return 0;
}

const GitTransport *git_transport_for(const char *base) {
        return ssh_url_is(base) ? &git_ssh_transport : &git_http_transport;
}
