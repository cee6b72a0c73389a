#pragma once

#include <sys/queue.h>

#include "gitfs/macro.h"

/* The bridge from workers to the main loop: a list and an eventfd. Items run on the thread that
 * calls mailbox_drain(), in the order they were posted. */
typedef struct Mailbox Mailbox;

typedef struct MailboxItem MailboxItem;
struct MailboxItem {
        void (*run)(MailboxItem *item); /* may free the item */
        STAILQ_ENTRY(MailboxItem) entry;
};

int mailbox_new(Mailbox **ret);
/* Items still queued are run first. */
Mailbox *mailbox_free(Mailbox *mailbox);
DEFINE_CLEANUP(Mailbox *, mailbox_free)

/* Readable while items are queued. */
int mailbox_fd(Mailbox *mailbox);
/* Any thread; never blocks. */
void mailbox_post(Mailbox *mailbox, MailboxItem *item);
void mailbox_drain(Mailbox *mailbox);
