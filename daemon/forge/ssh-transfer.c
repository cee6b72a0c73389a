#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/ssh-private.h"

static SshTransfer *transfer_free(SshTransfer *t) {
        inbox_done(&t->inbox);
        free(t->repository);
        free(t->origin);
        (void) ssh_argv_free(t->argv);
        buf_done(&t->body);
        (void) ssh_client_unref(t->client);
        free(t);
        return NULL;
}

SshTransfer *ssh_transfer_unref(SshTransfer *t) {
        if (t && ref_put(&t->ref))
                return transfer_free(t);
        return NULL;
}

/* --- the strand --- */

static SshTransfer *transfer_of(Inbox *inbox) {
        return container_of(inbox, SshTransfer, inbox);
}

static int transfer_data(Inbox *inbox, const uint8_t *data, size_t len) {
        SshTransfer *t = transfer_of(inbox);

        return t->handler.on_data(data, len, t->userdata);
}

static void transfer_ended(Inbox *inbox, int result, Failure *failure) {
        SshTransfer *t = transfer_of(inbox);

        t->handler.on_done(result, t->answered || inbox->aborted < 0, failure, t->userdata);
        command_queue_ended(ssh_client_queue(t->client));
}

static void transfer_resume(Inbox *inbox) {
        SshTransfer *t = transfer_of(inbox);

        command_queue_add(ssh_client_queue(t->client), &t->command, SSH_TRANSFER_RESUME);
}

static void transfer_given_up(Inbox *inbox) {
        SshTransfer *t = transfer_of(inbox);

        command_queue_add(ssh_client_queue(t->client), &t->command, SSH_TRANSFER_CANCEL);
}

static void transfer_ref(Inbox *inbox) {
        ref_get(&transfer_of(inbox)->ref);
}

static void transfer_unref(Inbox *inbox) {
        (void) ssh_transfer_unref(transfer_of(inbox));
}

static const InboxOps inbox_ops = {
        .data = transfer_data,
        .ended = transfer_ended,
        .resume = transfer_resume,
        .given_up = transfer_given_up,
        .ref = transfer_ref,
        .unref = transfer_unref,
};

/* --- life --- */

void ssh_transfer_finish(SshTransfer *t, int result, const Failure *failure) {
        t->active = false;
        inbox_finish(&t->inbox, result, failure);
        (void) ssh_transfer_unref(t);
}

static int make_origin(const SshUrl *u, char **ret) {
        char port[16] = "";
        bool address = strchr(u->host, ':') != NULL;

        if (u->port > 0)
                (void) snprintf(port, sizeof(port), ":%u", u->port);
        return asprintf(ret, address ? "ssh://[%s]%s" : "ssh://%s%s", u->host, port) < 0 ? -ENOMEM
                                                                                         : 0;
}

int ssh_url_origin(const char *url, char **ret) {
        _cleanup_ssh_url_ SshUrl u = {0};

        int r = ssh_url_parse(url, &u);
        return r < 0 ? r : make_origin(&u, ret);
}

static int transfer_setup(SshTransfer *t, const SshProgram *program, const SshRequest *request) {
        _cleanup_ssh_url_ SshUrl u = {0};

        int r = ssh_url_parse(request->url, &u);
        if (r < 0)
                return r;
        if (u.path[0] == '\0')
                return -EINVAL;
        r = make_origin(&u, &t->origin);
        if (r >= 0)
                r = ssh_program_argv(program, &u, request->v2, &t->argv);
        if (r >= 0)
                r = buf_append(&t->body, request->body, request->body_len);
        if (r < 0)
                return r;
        t->repository = strdup(request->url);
        return t->repository ? 0 : -ENOMEM;
}

int ssh_transfer_new(
        SshClient *client,
        const SshProgram *program,
        const SshRequest *request,
        Pool *pool,
        TaskPriority priority,
        InboxBudget *budget,
        const SshHandler *handler,
        void *userdata,
        SshTransfer **ret) {
        SshTransfer *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        *fresh = (SshTransfer){
                .ref = REF_INIT,
                .client = ssh_client_ref(client),
                .command.ref = &fresh->ref,
                .handler = *handler,
                .userdata = userdata,
                .advertisement = request->advertisement,
                .v2 = request->v2,
                .waiting = request->waiting,
                .deadline_usec = request->deadline_usec,
        };

        _cleanup_(ssh_transfer_unrefp) SshTransfer *t = fresh;
        int r = inbox_init(&t->inbox, &inbox_ops, pool, priority, budget);
        if (r >= 0)
                r = transfer_setup(t, program, request);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}
