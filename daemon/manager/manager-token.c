#include <errno.h>
#include <string.h>

#include "forge/secret-source.h"
#include "forge/secret.h"
#include "manager/manager-login.h"
#include "manager/manager-private.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/secret-memory.h"

/* For whoever writes into the pipe. */
#define READ_TIMEOUT_USEC (5 * USEC_PER_SEC)
/* Each may hold a worker for that long. */
#define MAX_TOKEN_CALLS 2u

typedef struct TokenCall {
        Task task;
        MailboxItem item;
        Manager *manager;
        int fd;      /* owned; what to read the token from, unless it is here */
        char *token; /* owned, secret memory */
        ManagerDone done;
        void *userdata;
        int result;
        Failure failure;
        char org[];
} TokenCall;

static void ignore_result(int result, const Failure *failure, void *userdata) {
}

static void token_main(MailboxItem *item) {
        TokenCall *c = container_of(item, TokenCall, item);
        Manager *m = c->manager;

        m->n_token_calls--;
        _cleanup_(org_unrefp) Org *org = ns_get_org(m->ns, c->org);
        if (c->result >= 0 && !org) {
                /* It was removed meanwhile, and its token with it. */
                c->result = failure_set(
                        &c->failure, FAILURE_NOT_FOUND, "\"%s\" has been removed", c->org);
                (void) secret_file_remove(m->config_home, c->org); /* a failure tells already */
        }
        /* What was not to be seen without it may be there. How that goes the org's state tells. */
        if (c->result >= 0 && !manager_is_stopping(m))
                (void) manager_refresh(m, c->org, ignore_result, NULL);
        c->done(c->result, &c->failure, c->userdata);
        safe_close(c->fd);
        secret_free(c->token);
        free(c);
}

static void token_run(Task *task) {
        TokenCall *c = container_of(task, TokenCall, task);
        Manager *m = c->manager;

        if (!c->token)
                c->result = secret_read_fd(
                        c->fd,
                        now_usec() + READ_TIMEOUT_USEC,
                        helpers_stop_fd(m->helpers),
                        &c->token,
                        &c->failure);
        if (c->result >= 0) {
                c->result = secret_file_write(m->config_home, c->org, c->token);
                if (c->result < 0)
                        (void) failure_set(/* the errno stays */
                                           &c->failure,
                                           FAILURE_LOCAL,
                                           "cannot write the token to \"%s/credentials/%s\": %s",
                                           m->config_home,
                                           c->org,
                                           strerrordesc_np(-c->result));
        }
        if (c->result >= 0)
                credentials_flush(m->credentials);
        manager_post(m, &c->item);
}

int manager_token_org(Manager *m, const char *name, Org **ret, Failure *ret_failure) {
        _cleanup_(org_unrefp) Org *org = ns_get_org(m->ns, name);

        if (!org)
                return failure_set(
                        ret_failure,
                        FAILURE_NOT_FOUND,
                        "there is no org \"%s\": see gitfsctl org list",
                        name);
        if (org->config->kind == ORG_LOCAL) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "\"%s\" is a directory on this machine and needs no token",
                                   name);
                return -EINVAL;
        }
        *ret = TAKE_PTR(org);
        return 0;
}

static int token_call_start(
        Manager *m, const char *org, int *fd, char **token, ManagerDone done, void *userdata) {
        size_t len = strlen(org) + 1;
        TokenCall *c = calloc(1, sizeof(*c) + len);

        if (!c)
                return -ENOMEM;
        memcpy(c->org, org, len);
        c->task.run = token_run;
        c->item.run = token_main;
        c->manager = m;
        c->fd = TAKE_FD(*fd);
        c->token = TAKE_PTR(*token);
        c->done = done;
        c->userdata = userdata;
        m->n_token_calls++;
        pool_submit(m->pool, &c->task, TASK_NORMAL);
        return 0;
}

int manager_set_token(
        Manager *m,
        const char *name,
        int owned_fd,
        ManagerDone done,
        void *userdata,
        Failure *ret_failure) {
        _cleanup_close_ int fd = owned_fd;
        _cleanup_(org_unrefp) Org *org = NULL;
        char *none = NULL;

        int r = manager_token_org(m, name, &org, ret_failure);
        if (r < 0)
                return r;
        if (m->n_token_calls >= MAX_TOKEN_CALLS) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "other tokens are being set: try again in a moment");
                return -EBUSY;
        }
        return token_call_start(m, name, &fd, &none, done, userdata);
}

int manager_store_token(
        Manager *m,
        const char *name,
        char *owned_token,
        ManagerDone done,
        void *userdata,
        Failure *ret_failure) {
        _cleanup_secret_free_ char *token = owned_token;
        _cleanup_(org_unrefp) Org *org = NULL;
        int none = -1;

        int r = manager_token_org(m, name, &org, ret_failure);
        return r < 0 ? r : token_call_start(m, name, &none, &token, done, userdata);
}

int manager_forget_token(Manager *m, const char *name, Failure *ret_failure) {
        _cleanup_(org_unrefp) Org *org = NULL;

        int r = manager_token_org(m, name, &org, ret_failure);
        if (r >= 0)
                r = secret_file_remove(m->config_home, name);
        if (r >= 0)
                credentials_flush(m->credentials);
        return r;
}
