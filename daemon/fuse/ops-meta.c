#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fuse/ops.h"
#include "fuse/session-internal.h"
#include "util/buf.h"
#include "util/stats.h"

/* Names, attributes, references. */

static MountSession *session_of(fuse_req_t req) {
        return fuse_req_userdata(req);
}

static int run_lookup(const Op *op, const NsCall *call, Reply *reply) {
        NsAttr attr;

        int r = ns_lookup(reply->session->ns, call, op->id, op->name, &attr);
        if (r < 0)
                return r;
        reply_entry(reply, &attr);
        return 0;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
        const Op op = {.run = run_lookup, .what = "lookup", .id = parent, .name = name};

        stat_add(STAT_FUSE_LOOKUP, 1);
        request_dispatch(session_of(req), req, &op);
}

/* Each once, also across a crash. Before it is done it is counted as done: a reference too many is
 * forgotten when the kernel drops the mount, one too few would be missed when it is used. */
static void forget(MountSession *s, JournalSlot *slot, uint32_t i, uint64_t id, uint64_t n) {
        if (i < slot->n_applied)
                return;
        slot->n_applied = i + 1;
        atomic_signal_fence(memory_order_seq_cst);
        ns_forget(s->ns, id, n);
}

void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t n) {
        Reply reply = {.session = session_of(req), .req = req, .what = "forget", .id = id};

        stat_add(STAT_FUSE_FORGET, 1);
        forget(reply.session, journal_current(), 0, id, n);
        reply_none(&reply);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
        Reply reply = {.session = session_of(req), .req = req, .what = "forget"};

        stat_add(STAT_FUSE_FORGET, (int64_t) count);
        for (size_t i = 0; i < count; i++)
                forget(reply.session,
                       journal_current(),
                       (uint32_t) i,
                       forgets[i].ino,
                       forgets[i].nlookup);
        reply_none(&reply);
}

void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info) {
        Reply reply = {.session = session_of(req), .req = req, .what = "getattr", .id = id};
        NsAttr attr;

        stat_add(STAT_FUSE_GETATTR, 1);
        int r = ns_getattr(reply.session->ns, id, &attr);
        if (r < 0)
                reply_error(&reply, r, NULL);
        else
                reply_attr(&reply, &attr);
}

/* Nothing here depends on a forge: df and suspending desktops must never wait for one. The kernel
 * adds ST_RDONLY. */
void op_statfs(fuse_req_t req, fuse_ino_t id) {
        Reply reply = {.session = session_of(req), .req = req, .what = "statfs", .id = id};
        const struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};

        stat_add(STAT_FUSE_STATFS, 1);
        reply_statfs(&reply, &st);
}

void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size) {
        Reply reply = {.session = session_of(req), .req = req, .what = "getxattr", .id = id};
        _cleanup_buf_ Buf value = {0};

        stat_add(STAT_FUSE_XATTR, 1);
        /* Security labels, capabilities, access control lists. `ls -l` asks each file for them,
         * unless it hears from the first that this file system has none. */
        if (strncmp(name, "user.", strlen("user.")) != 0) {
                reply_not_supported(&reply);
                return;
        }
        int r = ns_getxattr(reply.session->ns, id, name, &value);
        if (r < 0)
                reply_error(&reply, r, NULL);
        else
                reply_xattr(&reply, value.data, value.len, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size) {
        Reply reply = {.session = session_of(req), .req = req, .what = "listxattr", .id = id};
        _cleanup_buf_ Buf names = {0};

        stat_add(STAT_FUSE_XATTR, 1);
        int r = ns_listxattr(reply.session->ns, id, &names);
        if (r < 0)
                reply_error(&reply, r, NULL);
        else
                reply_xattr(&reply, names.data, names.len, size);
}
