#include "work/mailbox.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/mutex.h"

/* The poster of the first item into an empty list writes the eventfd, after it released the lock.
 * The reader clears the eventfd before it takes the list: an item posted in between is taken now
 * and wakes the reader once for nothing, and none is ever left behind without a wake-up. */

typedef STAILQ_HEAD(MailboxList, MailboxItem) MailboxList;

struct Mailbox {
        int fd;
        Mutex lock;
        MailboxList items; /* protected by lock */
};

int mailbox_new(Mailbox **ret) {
        Mailbox *mailbox = calloc(1, sizeof(*mailbox));
        if (!mailbox)
                return -ENOMEM;
        mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (mailbox->fd < 0) {
                int r = -errno;
                free(mailbox);
                return r;
        }
        mutex_init(&mailbox->lock, LOCK_RANK_LEAF);
        STAILQ_INIT(&mailbox->items);
        *ret = mailbox;
        return 0;
}

/* False when there was nothing to run. */
static bool run_items(Mailbox *mailbox) {
        MailboxList items = STAILQ_HEAD_INITIALIZER(items);

        mutex_lock(&mailbox->lock);
        STAILQ_CONCAT(&items, &mailbox->items);
        mutex_unlock(&mailbox->lock);

        bool any = !STAILQ_EMPTY(&items);
        while (!STAILQ_EMPTY(&items)) {
                MailboxItem *item = STAILQ_FIRST(&items);
                STAILQ_REMOVE_HEAD(&items, entry);
                item->run(item);
        }
        return any;
}

Mailbox *mailbox_free(Mailbox *mailbox) {
        if (!mailbox)
                return NULL;
        while (run_items(mailbox))
                ;
        mutex_destroy(&mailbox->lock);
        mailbox->fd = safe_close(mailbox->fd);
        free(mailbox);
        return NULL;
}

int mailbox_fd(Mailbox *mailbox) {
        return mailbox->fd;
}

void mailbox_post(Mailbox *mailbox, MailboxItem *item) {
        assert(item->run);

        mutex_lock(&mailbox->lock);
        bool wake = STAILQ_EMPTY(&mailbox->items);
        STAILQ_INSERT_TAIL(&mailbox->items, item, entry);
        mutex_unlock(&mailbox->lock);

        /* Fails only where the counter would overflow, and then it is readable anyway. */
        if (wake)
                (void) eventfd_write(mailbox->fd, 1);
}

void mailbox_drain(Mailbox *mailbox) {
        eventfd_t n;

        (void) eventfd_read(mailbox->fd, &n); /* EAGAIN: called without being woken */
        (void) run_items(mailbox);
}
