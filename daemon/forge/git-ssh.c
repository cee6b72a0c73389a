/* Requests of an exchange by ssh. Callbacks run on the strand of the transfer. */

#include <errno.h>

#include "forge/git-transport.h"
#include "forge/ssh.h"

static int on_data(const uint8_t *data, size_t len, void *userdata) {
        GitExchange *x = userdata;

        x->answered = true;
        return git_exchange_data(x, data, len);
}

static void on_done(int result, bool answered, const Failure *failure, void *userdata) {
        GitExchange *x = userdata;

        x->answered = answered;
        git_exchange_ended(x, result, failure);
}

static const SshHandler handler = {.on_data = on_data, .on_done = on_done};

static int send_request(GitExchange *x) {
        const SshRequest request = {
                .url = x->base,
                .advertisement = x->advertisement,
                .v2 = x->v2,
                .body = x->advertisement ? NULL : x->body.data,
                .body_len = x->advertisement ? 0 : x->body.len,
                .waiting = x->priority == FETCH_WAITING,
                .deadline_usec = x->deadline_usec,
        };
        TaskPriority priority = x->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND;

        if (!x->context->ssh)
                return -EOPNOTSUPP;
        return ssh_start(x->context->ssh, &request, priority, &handler, x);
}

const GitTransport git_ssh_transport = {.origin = ssh_url_origin, .send = send_request};
