/* Belongs to two parties, the exchange and whoever asked. The one that is through last frees it:
 * `decided` and `abandoned` are set under the mutex for that. */

#include "forge/git-early-refs.h"

#include <errno.h>
#include <string.h>

#include "forge/git-exchange.h"
#include "forge/git-request.h"
#include "forge/git-response.h"
#include "forge/git-source.h"
#include "util/clock.h"

struct GitEarlyRefs {
        GitExchange exchange;
        GitCapabilities capabilities;
        char *refname; /* owned; NULL: the default branch */
        GitResponse response;
        GitRefs refs;
        /* Valid when decided: */
        int result;
        Failure failure;
        uint64_t decided_usec;

        Mutex mutex;
        /* Guarded by mutex: */
        bool decided, abandoned;
        void (*then)(void *userdata);
        void *userdata;
};

static void early_free(GitEarlyRefs *e) {
        git_exchange_done(&e->exchange);
        git_response_done(&e->response);
        git_refs_done(&e->refs);
        mutex_destroy(&e->mutex);
        free(e->refname);
        free(e);
}

/* --- the exchange --- */

static int on_packet(PktType type, const char *data, size_t len, void *userdata) {
        GitEarlyRefs *e = userdata;

        return type == PKT_FLUSH   ? 1
               : type == PKT_DELIM ? -EBADMSG
                                   : git_refs_add_line(&e->refs, data, len);
}

static const GitResponseHandler response_handler = {.packet = on_packet};

static int early_prepare(GitExchange *x) {
        GitEarlyRefs *e = container_of(x, GitEarlyRefs, exchange);

        git_response_init(&e->response, GIT_RESPONSE_LINES, x->base, &response_handler, e);
        return git_request_ls_refs(&e->capabilities, e->refname, &x->body);
}

static int early_data(GitExchange *x, const uint8_t *data, size_t len) {
        return git_response_feed(&container_of(x, GitEarlyRefs, exchange)->response, data, len);
}

static int early_verdict(GitExchange *x, int result, Failure *failure) {
        GitEarlyRefs *e = container_of(x, GitEarlyRefs, exchange);

        if (result >= 0)
                result = git_response_finish(&e->response);
        *failure = e->response.failure;
        return result;
}

static void early_done(GitExchange *x, int result, const Failure *failure) {
        GitEarlyRefs *e = container_of(x, GitEarlyRefs, exchange);

        e->result = result;
        e->failure = *failure;
        e->decided_usec = now_usec();
        mutex_lock(&e->mutex);
        e->decided = true;
        bool abandoned = e->abandoned;
        void (*then)(void *userdata) = e->then;
        mutex_unlock(&e->mutex);
        if (abandoned)
                early_free(e);
        else if (then)
                then(e->userdata);
}

static const GitExchangeOps exchange_ops = {
        .prepare = early_prepare,
        .data = early_data,
        .verdict = early_verdict,
        .done = early_done,
};

/* --- whoever asked --- */

int git_early_refs_start(const GitEarlyQuestion *question, GitEarlyRefs **ret) {
        static const GitCapabilities unknown = {.version = 2, .algo = OID_SHA1};

        GitEarlyRefs *e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        mutex_init(&e->mutex, LOCK_RANK_FORGE);
        e->capabilities = question->capabilities ? *question->capabilities : unknown;
        if (question->refname && !(e->refname = strdup(question->refname))) {
                early_free(e);
                return -ENOMEM;
        }
        e->exchange = (GitExchange){
                .ops = &exchange_ops,
                .context = question->context,
                .v2 = true,
                .once = true,
                .aside = !question->capabilities,
                .priority = FETCH_WAITING,
                .deadline_usec = question->deadline_usec,
        };
        git_auth_init(&e->exchange.auth, question->secrets, question->ask_git);
        int r = git_exchange_start(&e->exchange, question->base);
        if (r < 0) {
                early_free(e);
                return r;
        }
        *ret = e;
        return 0;
}

void git_early_refs_then(GitEarlyRefs *e, void (*then)(void *userdata), void *userdata) {
        mutex_lock(&e->mutex);
        bool decided = e->decided;
        e->then = then;
        e->userdata = userdata;
        mutex_unlock(&e->mutex);
        if (decided)
                then(userdata);
}

static bool is_clean(const GitEarlyRefs *e) {
        /* Nothing at all may mean an empty repository, or anything else. */
        if (e->result < 0 || e->refs.n == 0)
                return false;
        for (size_t i = 0; i < e->refs.n; i++) {
                const Oid *oid = &e->refs.refs[i].oid;
                if (!oid_is_none(oid) && oid->algo != OID_SHA1)
                        return false;
        }
        return now_usec() - e->decided_usec <= GIT_FIRST_REFS_USEC;
}

int git_early_refs_take(GitEarlyRefs *e, const char *base, GitRefs *ret, Failure *ret_failure) {
        int r = -EAGAIN;

        if (is_clean(e) && strcmp(e->exchange.base, base) == 0) {
                *ret = e->refs;
                e->refs = (GitRefs){0};
                r = 0;
        } else if (
                e->failure.class == FAILURE_OFFLINE || e->failure.class == FAILURE_TIMEOUT ||
                e->failure.class == FAILURE_CANCELLED || e->failure.class == FAILURE_RATE_LIMITED) {
                *ret_failure = e->failure;
                r = e->result;
        }
        early_free(e);
        return r;
}

GitEarlyRefs *git_early_refs_abandon(GitEarlyRefs *e) {
        if (!e)
                return NULL;
        mutex_lock(&e->mutex);
        bool decided = e->decided;
        e->abandoned = true;
        mutex_unlock(&e->mutex);
        if (decided)
                early_free(e);
        return NULL;
}
