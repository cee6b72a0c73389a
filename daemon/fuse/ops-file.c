#include <errno.h>
#include <limits.h>

#include "fuse/ops.h"
#include "fuse/session-internal.h"
#include "util/stats.h"

/* Contents. A file's node stands for one object for ever, so the kernel need not tell when it opens
 * or closes one, and a READ names all there is to know. */

void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info) {
        MountSession *s = fuse_req_userdata(req);
        Reply reply = {.session = s, .req = req, .what = "open", .id = id};

        stat_add(STAT_FUSE_OPEN, 1);
        if (s->no_open) {
                reply_not_needed(&reply);
                return;
        }
        info->fh = 0;
        info->keep_cache = true;
        reply_open(&reply, info);
}

/* The bytes go to the kernel from where the store holds them. */
static int run_read(const Op *op, const NsCall *call, Reply *reply) {
        _cleanup_object_ref_ ObjectRef content = {0};

        int r = ns_content(reply->session->ns, call, op->id, &content);
        if (r < 0)
                return r;
        if (op->offset >= content.size) {
                reply_data(reply, NULL, 0);
                return 0;
        }
        size_t n = (size_t) MIN((uint64_t) op->size, content.size - op->offset);
        stat_add(STAT_FUSE_READ_BYTES, (int64_t) n);
        if (reply_data_checked(reply, content.out + op->offset, n) == -EFAULT)
                object_ref_give_up(&content); /* the kernel asks again, or the reader does */
        if (op->offset == 0)
                pusher_read(reply->session->pusher, op->id, content.size);
        return 0;
}

void op_read(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        const Op op = {
                .run = run_read,
                .what = "read",
                .id = id,
                .offset = (uint64_t) offset,
                .size = size,
                .background = true, /* as a rule; which one is not, nobody tells */
        };

        stat_add(STAT_FUSE_READ, 1);
        request_dispatch(fuse_req_userdata(req), req, &op);
}

static int run_readlink(const Op *op, const NsCall *call, Reply *reply) {
        _cleanup_object_ref_ ObjectRef target = {0};

        int r = ns_content(reply->session->ns, call, op->id, &target);
        if (r < 0)
                return r;
        if (target.size >= PATH_MAX)
                return -ENAMETOOLONG;
        if (reply_data_checked(reply, target.out, (size_t) target.size) == -EFAULT)
                object_ref_give_up(&target);
        return 0;
}

void op_readlink(fuse_req_t req, fuse_ino_t id) {
        const Op op = {.run = run_readlink, .what = "readlink", .id = id};

        stat_add(STAT_FUSE_READLINK, 1);
        request_dispatch(fuse_req_userdata(req), req, &op);
}
