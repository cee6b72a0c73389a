#include "bus/bus-request.h"

#include <errno.h>

#include "bus/bus-error.h"
#include "util/log.h"

struct Request {
        Bus *bus;             /* NULL once the Bus is gone */
        sd_bus_message *call; /* owned; NULL once answered */
        char *path;           /* owned; see request_set_path() */
        TAILQ_ENTRY(Request) link;
};

int request_new(Bus *b, sd_bus_message *call, Request **ret) {
        if (b->n_requests >= BUS_MAX_REQUESTS)
                return -EBUSY;

        Request *req = calloc(1, sizeof(*req));
        if (!req)
                return -ENOMEM;
        req->bus = b;
        req->call = sd_bus_message_ref(call);
        TAILQ_INSERT_TAIL(&b->requests, req, link);
        b->n_requests++;
        *ret = req;
        return 0;
}

static void request_detach(Request *req) {
        if (!req->bus)
                return;
        TAILQ_REMOVE(&req->bus->requests, req, link);
        req->bus->n_requests--;
        req->bus = NULL;
}

Request *request_free(Request *req) {
        if (!req)
                return NULL;
        request_detach(req);
        sd_bus_message_unref(req->call);
        free(req->path);
        free(req);
        return NULL;
}

int request_set_path(Request *req, const char *path) {
        req->path = strdup(path);
        return req->path ? 0 : -ENOMEM;
}

/* The client may be gone by now, which is its own business. */
static void answered(const Request *req, int r) {
        if (r < 0)
                log_debug(
                        "cannot answer %s(): %s, ignoring",
                        sd_bus_message_get_member(req->call),
                        strerrordesc_np(-r));
}

static void answer_error(const Request *req, int result, const Failure *failure) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) bus_error_set(&error, result, failure); /* its errno is for handlers */
        answered(req, sd_bus_reply_method_error(req->call, &error));
}

void request_done(int result, const Failure *failure, void *userdata) {
        _cleanup_(request_freep) Request *req = userdata;

        if (!req->bus)
                return;
        if (result < 0)
                answer_error(req, result, failure);
        else if (req->path)
                answered(req, sd_bus_reply_method_return(req->call, "o", req->path));
        else
                answered(req, sd_bus_reply_method_return(req->call, NULL));
}

static int append_text(sd_bus_message *m, const char *key, const char *value) {
        int r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "s");
        if (r >= 0)
                r = bus_append_bytes(m, value);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int which_reply(sd_bus_message *call, const WhichInfo *info) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const struct {
                const char *key, *value;
        } texts[] = {
                {"Org", info->org},
                {"Owner", info->owner},
                {"Repo", info->repo},
                {"Ref", info->ref},
                {"Commit", info->commit},
                {"Url", info->url},
                {"Oid", info->oid},
                {"Type", info->type},
                {"Path", info->path},
        };

        int r = sd_bus_message_new_method_return(call, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (size_t i = 0; i < ELEMENTSOF(texts) && r >= 0; i++)
                r = append_text(reply, texts[i].key, texts[i].value);
        if (r >= 0)
                r = sd_bus_message_append(
                        reply,
                        "{sv}{sv}",
                        "Size",
                        "t",
                        info->size,
                        "Resident",
                        "b",
                        (int) info->resident);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

void request_which_done(int result, const WhichInfo *info, const Failure *failure, void *userdata) {
        _cleanup_(request_freep) Request *req = userdata;

        if (!req->bus)
                return;
        if (result < 0)
                answer_error(req, result, failure);
        else
                answered(req, which_reply(req->call, info));
}

void request_login_done(int result, const LoginInfo *info, const Failure *failure, void *userdata) {
        _cleanup_(request_freep) Request *req = userdata;

        if (!req->bus)
                return;
        _cleanup_free_ char *path = result >= 0 ? bus_job_path(info->job) : NULL;
        if (result >= 0 && !path)
                result = -ENOMEM;
        if (result < 0)
                answer_error(req, result, failure);
        else
                answered(
                        req,
                        sd_bus_reply_method_return(
                                req->call,
                                "ssto",
                                info->user_code,
                                info->verification_uri,
                                info->expires_usec,
                                path));
}

void request_cancel_all(Bus *b) {
        Failure f;
        int r = failure_set(&f, FAILURE_CANCELLED, "gitfsd is stopping");
        Request *req;

        while ((req = TAILQ_FIRST(&b->requests))) {
                answer_error(req, r, &f);
                request_detach(req);
                req->call = sd_bus_message_unref(req->call);
        }
}
