#include "fuse/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fuse/session-internal.h"
#include "util/clock.h"
#include "util/htable.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/stats.h"

/* --- errors --- */

typedef enum ErrorKind {
        ERROR_INTERNAL = 0, /* no errno of ours: EIO */
        ERROR_ANSWER,       /* says something about the path or the arguments */
        ERROR_TROUBLE,      /* says that something is wrong: counted and logged */
} ErrorKind;

typedef struct ErrorRule {
        int error; /* positive, from below */
        int reply; /* positive, to the kernel */
        ErrorKind kind;
} ErrorRule;

static const ErrorRule rules[] = {
        {ENOENT, ENOENT, ERROR_ANSWER},
        {ENOTDIR, ENOTDIR, ERROR_ANSWER},
        {EISDIR, EISDIR, ERROR_ANSWER},
        {EINVAL, EINVAL, ERROR_ANSWER},
        {ENAMETOOLONG, ENAMETOOLONG, ERROR_ANSWER},
        {ELOOP, ELOOP, ERROR_ANSWER},
        {ESTALE, ESTALE, ERROR_ANSWER},
        {ENODATA, ENODATA, ERROR_ANSWER},
        {ERANGE, ERANGE, ERROR_ANSWER},
        {EROFS, EROFS, ERROR_ANSWER},
        {EPERM, EPERM, ERROR_ANSWER},
        {EINTR, EINTR, ERROR_ANSWER},
        {ENOTCONN, ENOTCONN, ERROR_ANSWER}, /* the daemon is stopping */

        {EACCES, EACCES, ERROR_TROUBLE},
        {EHOSTDOWN, EHOSTDOWN, ERROR_TROUBLE},
        {ETIMEDOUT, ETIMEDOUT, ERROR_TROUBLE},
        {EAGAIN, EAGAIN, ERROR_TROUBLE},
        {EFBIG, EFBIG, ERROR_TROUBLE},
        {EOPNOTSUPP, EOPNOTSUPP, ERROR_TROUBLE},
        {ENOMEM, ENOMEM, ERROR_TROUBLE},
        {EIO, EIO, ERROR_TROUBLE},

        /* One word for "cannot be reached", whatever the reason. */
        {EHOSTUNREACH, EHOSTDOWN, ERROR_TROUBLE},
        {ENETUNREACH, EHOSTDOWN, ERROR_TROUBLE},
        {ENETDOWN, EHOSTDOWN, ERROR_TROUBLE},
        {ECONNREFUSED, EHOSTDOWN, ERROR_TROUBLE},
        {ECONNRESET, EHOSTDOWN, ERROR_TROUBLE},
        {ECONNABORTED, EHOSTDOWN, ERROR_TROUBLE},
};

static ErrorRule find_rule(int error) {
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (rules[i].error == -error)
                        return rules[i];
        /* EBADMSG, ENOSPC, ECANCELED, ...: troubles of the daemon that would mislead whoever only
         * reads a file. */
        return (ErrorRule){-error, EIO, ERROR_INTERNAL};
}

int reply_errno(int error) {
        assert(error < 0);
        return find_rule(error).reply;
}

/* --- the log --- */

/* One line per cause and second or so: a walk over an unreachable repository fails once per file.
 * A cause is a class and a text, which names the repository; two that share a slot share its
 * allowance. */
#define LOG_SLOTS 64
#define LOG_LINES_PER_WINDOW 2
#define LOG_WINDOW_USEC (5 * USEC_PER_SEC)

typedef struct LogSlot {
        uint64_t window_usec; /* when it began */
        unsigned n_lines;
        unsigned n_suppressed;
} LogSlot;

static Mutex log_mutex = MUTEX_INIT(LOCK_RANK_LEAF);
static LogSlot log_slots[LOG_SLOTS]; /* guarded by log_mutex */

/* True if a line may be logged; then *ret_suppressed is how many were not since the last one. */
static bool log_allowed(uint64_t hash, unsigned *ret_suppressed) {
        LogSlot *slot = &log_slots[hash % LOG_SLOTS];
        uint64_t now = now_usec();

        MUTEX_GUARD(&log_mutex);
        if (slot->window_usec == 0 || now - slot->window_usec > LOG_WINDOW_USEC) {
                slot->window_usec = now;
                slot->n_lines = 0;
        }
        if (slot->n_lines >= LOG_LINES_PER_WINDOW) {
                slot->n_suppressed++;
                return false;
        }
        slot->n_lines++;
        *ret_suppressed = slot->n_suppressed;
        slot->n_suppressed = 0;
        return true;
}

static const char *error_text(int error) {
        const char *text = strerrordesc_np(-error);

        if (error == -EBADMSG)
                return "a malformed tree object, or one with a name that is refused";
        return text ? text : "unknown error";
}

static void log_trouble(const Reply *reply, int error, const Failure *failure) {
        const char *text = failure ? failure->text : error_text(error);
        FailureClass class = failure ? failure->class : FAILURE_NONE;
        _cleanup_buf_ Buf path = {0};
        char more[48] = "";
        unsigned n_suppressed;

        if (!log_allowed(hash_bytes(text, strlen(text), (uint64_t) class), &n_suppressed))
                return;
        if (n_suppressed > 0)
                (void) snprintf(more, sizeof(more), " (%u more like this)", n_suppressed);
        (void) ns_path(reply->session->ns, reply->id, &path); /* else the line says less */
        log_warning(
                "%s of \"%s\" failed with %s: %s%s",
                reply->what,
                path.len > 0 ? buf_str(&path) : "",
                strerrorname_np(reply_errno(error)),
                text,
                more);
}

/* --- replies --- */

/* Returns with the interrupt function not running and never to run again. The place is given up
 * before the caller can come back for it. */
static fuse_req_t take_req(Reply *reply) {
        if (reply->interruptible)
                fuse_req_interrupt_func(reply->req, NULL, NULL);
        reply->interruptible = false;
        if (reply->waiting)
                request_give_place(TAKE_PTR(reply->waiting));
        return TAKE_PTR(reply->req);
}

/* Where the result of a fuse_reply function is not looked at, it says that the caller is gone
 * (ENOENT after a signal, ENODEV after an unmount): there is nobody left to tell. */

void reply_error(Reply *reply, int error, const Failure *failure) {
        ErrorRule rule = find_rule(error);

        if (rule.kind != ERROR_ANSWER) {
                stat_add(STAT_FUSE_ERRORS, 1);
                log_trouble(reply, error, failure);
        }
        (void) fuse_reply_err(take_req(reply), rule.reply);
}

void reply_not_needed(Reply *reply) {
        (void) fuse_reply_err(take_req(reply), ENOSYS);
}

void reply_not_supported(Reply *reply) {
        (void) fuse_reply_err(take_req(reply), EOPNOTSUPP);
}

void reply_none(Reply *reply) {
        fuse_reply_none(take_req(reply));
}

/* The kernel converts to jiffies; some 30 years are for ever, and safe from overflows. */
static double timeout_seconds(uint64_t usec) {
        const double forever = 1e9;
        double sec = (double) usec / (double) USEC_PER_SEC;

        return usec == USEC_INFINITY || sec > forever ? forever : sec;
}

void reply_fill_stat(const MountSession *s, const NsAttr *attr, struct stat *ret) {
        *ret = (struct stat){
                .st_ino = attr->ino,
                .st_mode = attr->mode,
                /* For directories 1 says "not counted": find(1) then does not rely on it. */
                .st_nlink = 1,
                .st_uid = s->uid,
                .st_gid = s->gid,
                .st_size = (off_t) attr->size,
                .st_blocks = (blkcnt_t) (attr->size / 512 + (attr->size % 512 != 0)),
                /* Tools that copy have a larger minimum of their own, and the kernel takes this for
                 * the block size of the inode: not more than a page. */
                .st_blksize = 4096,
                .st_atim.tv_sec = (time_t) attr->mtime,
                .st_mtim.tv_sec = (time_t) attr->mtime,
                .st_ctim.tv_sec = (time_t) attr->mtime,
        };
}

void reply_fill_entry(const MountSession *s, const NsAttr *attr, struct fuse_entry_param *ret) {
        *ret = (struct fuse_entry_param){
                .ino = attr->id,
                .entry_timeout = timeout_seconds(attr->entry_timeout_usec),
                .attr_timeout = timeout_seconds(attr->attr_timeout_usec),
        };
        reply_fill_stat(s, attr, &ret->attr);
}

void reply_entry(Reply *reply, const NsAttr *attr) {
        struct fuse_entry_param entry;
        Namespace *ns = reply->session->ns;
        uint64_t id = attr->id;

        if (id == 0 && attr->entry_timeout_usec == 0) {
                (void) fuse_reply_err(take_req(reply), ENOENT);
                return;
        }
        reply_fill_entry(reply->session, attr, &entry);
        int r = fuse_reply_entry(take_req(reply), &entry);
        if (r < 0 && id != 0)
                ns_forget(ns, id, 1);
}

void reply_attr(Reply *reply, const NsAttr *attr) {
        struct stat st;

        reply_fill_stat(reply->session, attr, &st);
        (void) fuse_reply_attr(take_req(reply), &st, timeout_seconds(attr->attr_timeout_usec));
}

int reply_data_checked(Reply *reply, const void *data, size_t len) {
        return fuse_reply_buf(take_req(reply), data, len);
}

void reply_data(Reply *reply, const void *data, size_t len) {
        (void) reply_data_checked(reply, data, len);
}

void reply_xattr(Reply *reply, const void *data, size_t len, size_t size) {
        if (size == 0)
                (void) fuse_reply_xattr(take_req(reply), len);
        else if (len > size)
                (void) fuse_reply_err(take_req(reply), ERANGE);
        else
                (void) fuse_reply_buf(take_req(reply), data, len);
}

void reply_open(Reply *reply, const struct fuse_file_info *info) {
        (void) fuse_reply_open(take_req(reply), info);
}

void reply_statfs(Reply *reply, const struct statvfs *st) {
        (void) fuse_reply_statfs(take_req(reply), st);
}
