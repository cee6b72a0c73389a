#include <string.h>

#include "fuse/ops.h"
#include "fuse/session-internal.h"
#include "util/stats.h"

/* Listings. A reply is filled on the stack of the thread that answers. The references that
 * READDIRPLUS hands out belong to the kernel once it has taken the reply, so until then they are
 * noted. */

#define DIR_BUFFER_SIZE ((size_t) 64 << 10)
/* struct fuse_direntplus and the shortest name, padded to 8: no entry is smaller. */
#define PLUS_ENTRY_MIN 160

typedef struct DirBuffer {
        MountSession *session;
        fuse_req_t req;
        bool plus;
        size_t size, used;
        size_t n_refs;
        uint64_t refs[DIR_BUFFER_SIZE / PLUS_ENTRY_MIN];
        char data[DIR_BUFFER_SIZE];
} DirBuffer;

static bool is_dot(const char *name) {
        return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool fill_entry(const char *name, const NsAttr *attr, uint64_t next_offset, void *userdata) {
        DirBuffer *b = userdata;
        char *p = b->data + b->used;
        size_t left = b->size - b->used;
        struct fuse_entry_param entry;
        size_t n;

        /* Also fills what a plain listing needs: type and inode number. */
        reply_fill_entry(b->session, attr, &entry);
        if (b->plus) {
                if (is_dot(name))
                        entry.ino = 0;
                n = fuse_add_direntry_plus(b->req, p, left, name, &entry, (off_t) next_offset);
        } else
                n = fuse_add_direntry(b->req, p, left, name, &entry.attr, (off_t) next_offset);
        if (n > left)
                return false;
        b->used += n;
        if (b->plus && entry.ino != 0)
                b->refs[b->n_refs++] = entry.ino;
        return true;
}

static void drop_references(DirBuffer *b) {
        for (size_t i = 0; i < b->n_refs; i++)
                ns_forget(b->session->ns, b->refs[i], 1);
}

static int run_listing(const Op *op, const NsCall *call, Reply *reply, bool plus) {
        DirBuffer b; /* not initialised as a whole: it is large */

        b.session = reply->session;
        b.req = reply->req;
        b.plus = plus;
        b.size = MIN(op->size, sizeof(b.data));
        b.used = b.n_refs = 0;

        int r = ns_readdir(b.session->ns, call, op->id, op->offset, plus, fill_entry, &b);
        if (r >= 0) {
                r = reply_data_checked(reply, b.data, b.used);
                if (r < 0)
                        drop_references(&b);
                else if (plus && op->offset > 0 && b.used == 0)
                        pusher_listed(b.session->pusher, op->id);
                return 0;
        }
        drop_references(&b);
        return r;
}

static int run_readdir(const Op *op, const NsCall *call, Reply *reply) {
        return run_listing(op, call, reply, /* plus= */ false);
}

static int run_readdirplus(const Op *op, const NsCall *call, Reply *reply) {
        return run_listing(op, call, reply, /* plus= */ true);
}

/* Listings are named by offset alone, so there is nothing to open: the kernel is told so once, and
 * then keeps listings until it is notified. Where it must not keep them it has to be told at each
 * opendir. */
void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info) {
        MountSession *s = fuse_req_userdata(req);
        Reply reply = {.session = s, .req = req, .what = "opendir", .id = id};

        stat_add(STAT_FUSE_OTHER, 1);
        if (s->no_opendir) {
                reply_not_needed(&reply);
                return;
        }
        info->fh = 0;
        info->cache_readdir = s->config.kernel_dir_cache;
        info->keep_cache = s->config.kernel_dir_cache;
        reply_open(&reply, info);
}

void op_readdir(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        const Op op = {
                .run = run_readdir,
                .what = "readdir",
                .id = id,
                .offset = (uint64_t) offset,
                .size = size,
        };

        stat_add(STAT_FUSE_READDIR, 1);
        request_dispatch(fuse_req_userdata(req), req, &op);
}

void op_readdirplus(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        const Op op = {
                .run = run_readdirplus,
                .what = "readdirplus",
                .id = id,
                .offset = (uint64_t) offset,
                .size = size,
        };

        stat_add(STAT_FUSE_READDIRPLUS, 1);
        request_dispatch(fuse_req_userdata(req), req, &op);
}
