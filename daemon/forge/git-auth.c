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

static void forget(GitAuth *a) {
        secret_done(&a->secret);
        credential_done(&a->credential);
        a->secret = (Secret){0};
        a->credential = (Credential){0};
}

void git_auth_init(GitAuth *a, Secrets *secrets, bool ask_git) {
        *a = (GitAuth){.secrets = secrets ? secrets_ref(secrets) : NULL, .ask_git = ask_git};
}

GitAuth git_auth_take(GitAuth *a) {
        GitAuth taken = *a;

        taken.secrets = a->secrets ? secrets_ref(a->secrets) : NULL;
        a->secret = (Secret){0};
        a->credential = (Credential){0};
        return taken;
}

void git_auth_done(GitAuth *a) {
        forget(a);
        a->secrets = secrets_unref(a->secrets);
}

void git_auth_stray(GitAuth *a) {
        forget(a);
        a->strayed = true;
}

/* Both fail only for want of memory, which shows where it is needed next. */
void git_auth_peek(GitAuth *a, const ForgeContext *context, const char *base) {
        if (has_any(a))
                return;
        if (may_use_secrets(a) && secrets_peek(a->secrets, &a->secret) > 0)
                return;
        if (a->ask_git)
                (void) credentials_peek(context->credentials, base, &a->credential);
}

int git_auth_prepare(
        GitAuth *a, const ForgeContext *context, const char *base, uint64_t deadline_usec) {
        git_auth_peek(a, context, base);
        if (has_any(a) || a->ask_git || !may_use_secrets(a))
                return 0;
        int r = secrets_get(a->secrets, deadline_usec, &a->secret);
        return r == -ENOMEM ? r : 0; /* without one, the server says what that means */
}

/* True if another one may be had. */
static bool give_back(GitAuth *a, const ForgeContext *context) {
        bool again = true;

        if (a->secret.token)
                again = secrets_refused(a->secrets, &a->secret);
        else if (a->credential.password)
                credentials_reject(context->credentials, &a->credential);
        return again;
}

bool git_auth_refused(
        GitAuth *a,
        const ForgeContext *context,
        const char *base,
        bool refused,
        uint64_t deadline_usec) {
        Secret secret = {0};
        Credential credential = {0};
        int r = 0;

        bool again = !refused || give_back(a, context);
        if (++a->refusals > MAX_REFUSALS)
                return false;
        if (again && may_use_secrets(a))
                r = secrets_get(a->secrets, deadline_usec, &secret);
        if (r <= 0 && a->ask_git && !a->secret.token)
                r = credentials_fill(context->credentials, base, deadline_usec, &credential);
        if (r <= 0)
                return false; /* the server's refusal is the better text */
        forget(a);
        a->secret = secret;
        a->credential = credential;
        return true;
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
