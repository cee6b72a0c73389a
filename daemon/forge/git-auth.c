#include "forge/git-auth.h"

#include <errno.h>

/* A secret from memory may be stale, so a second one is asked for; the second refusal is final. */
#define MAX_REFUSALS 2
/* For forges whose tokens come without a user name. */
#define DEFAULT_USERNAME "x-access-token"

static bool has_any(const GitAuth *a) {
        return a->secret.token || a->credential.password;
}

static bool may_use_secrets(const GitAuth *a) {
        return a->secrets && !a->strayed;
}

void git_auth_forget(GitAuth *a) {
        secret_done(&a->secret);
        credential_done(&a->credential);
        a->secret = (Secret){0};
        a->credential = (Credential){0};
}

void git_auth_init(GitAuth *a, Secrets *secrets, bool ask_git) {
        *a = (GitAuth){.secrets = secrets ? secrets_ref(secrets) : NULL, .ask_git = ask_git};
}

void git_auth_done(GitAuth *a) {
        git_auth_forget(a);
        a->secrets = secrets_unref(a->secrets);
}

void git_auth_stray(GitAuth *a) {
        git_auth_forget(a);
        a->strayed = true;
}

/* --- before a request --- */

/* Both fail only for want of memory, which shows where it is needed next. */
void git_auth_peek(GitAuth *a, const ForgeContext *context, const char *base) {
        if (has_any(a))
                return;
        if (may_use_secrets(a) && secrets_peek(a->secrets, &a->secret) > 0)
                return;
        if (a->ask_git)
                (void) credentials_peek(context->credentials, base, &a->credential);
}

/* Without one, the server says what that means. */
static void on_prepared(SecretWaiter *waiter, int result, Secret *secret) {
        GitAuth *a = container_of(waiter, GitAuth, waiter);

        a->secret = *secret;
        *secret = (Secret){0};
        a->ready(a, true);
}

bool git_auth_prepare(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        uint64_t deadline_usec,
        void (*ready)(GitAuth *a, bool again)) {
        git_auth_peek(a, context, base);
        if (has_any(a) || a->ask_git || !may_use_secrets(a))
                return false;
        a->ready = ready;
        a->waiter = (SecretWaiter){.deadline_usec = deadline_usec, .done = on_prepared};
        secrets_get(a->secrets, &a->waiter);
        return true;
}

/* --- after a refusal --- */

/* True if another one may be had. */
static bool give_back(GitAuth *a, const ForgeContext *context) {
        bool again = true;

        if (a->secret.token)
                again = secrets_refused(a->secrets, &a->secret);
        else if (a->credential.password)
                credentials_reject(context->credentials, &a->credential);
        return again;
}

static void on_filled(CredentialFill *fill, int result, Credential *credential) {
        GitAuth *a = container_of(fill, GitAuth, fill);

        if (result > 0) {
                git_auth_forget(a);
                a->credential = *credential;
                *credential = (Credential){0};
        }
        a->ready(a, result > 0); /* the server's refusal is the better text */
}

static void ask_git(GitAuth *a) {
        if (a->ask_git && !a->secret.token)
                credentials_fill(a->context->credentials, &a->fill);
        else
                a->ready(a, false);
}

static void on_secret(SecretWaiter *waiter, int result, Secret *secret) {
        GitAuth *a = container_of(waiter, GitAuth, waiter);

        if (result <= 0) {
                ask_git(a);
                return;
        }
        git_auth_forget(a);
        a->secret = *secret;
        *secret = (Secret){0};
        a->ready(a, true);
}

void git_auth_refused(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        bool refused,
        uint64_t deadline_usec,
        void (*ready)(GitAuth *a, bool again)) {
        bool again = !refused || give_back(a, context);

        a->context = context;
        a->ready = ready;
        a->waiter = (SecretWaiter){.deadline_usec = deadline_usec, .done = on_secret};
        a->fill = (CredentialFill){.url = base, .deadline_usec = deadline_usec, .done = on_filled};
        if (++a->refusals > MAX_REFUSALS)
                ready(a, false);
        else if (again && may_use_secrets(a))
                secrets_get(a->secrets, &a->waiter);
        else
                ask_git(a);
}

void git_auth_explain(const GitAuth *a, Failure *failure) {
        Failure more;

        if (!may_use_secrets(a) || a->credential.password ||
            secrets_explain(a->secrets, &more) >= 0)
                return;
        int http_code = failure->http_code;
        (void) failure_set(/* whoever asked has the errno */
                           failure,
                           more.class,
                           "%.150s: %s",
                           failure->text,
                           more.text);
        failure->http_code = http_code;
}

void git_auth_accepted(GitAuth *a, const ForgeContext *context) {
        if (a->secret.token)
                secrets_accepted(a->secrets, &a->secret);
        else if (a->credential.password)
                credentials_approve(context->credentials, &a->credential);
}

const char *git_auth_username(const GitAuth *a) {
        if (!a->secret.token)
                return a->credential.username;
        return a->secret.username ? a->secret.username : DEFAULT_USERNAME;
}

const char *git_auth_password(const GitAuth *a) {
        return a->secret.token ? a->secret.token : a->credential.password;
}

uint64_t git_auth_account(const GitAuth *a) {
        return a->secret.token ? a->secret.serial : 0;
}
