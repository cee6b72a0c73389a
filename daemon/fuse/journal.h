#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/failure.h"

/* What a successor must know to go on with a mount when this process is gone: where it is, what was
 * agreed with the kernel, and every request that was read and not answered. It lies in a memory
 * file whose descriptor somebody else keeps, so it outlives SIGKILL. See journal.c. */
typedef struct Journal Journal;

#define JOURNAL_READERS 16
/* The kernel refuses to be read from with less than 8192 bytes, or than it takes for a write of
 * max_write and its header. */
#define JOURNAL_READER_SIZE 12288
#define JOURNAL_MAX_WRITE 4096
#define JOURNAL_PARKED_SIZE 512
#define JOURNAL_SLOT_HEAD 64
#define JOURNAL_INIT_MAX 256
/* A request that was suspected of that many crashes is not run again. */
#define JOURNAL_ATTEMPTS_MAX 3
/* Calls that are remembered not to be run again. */
#define JOURNAL_CONDEMNED_MAX 64

/* One request. */
typedef struct JournalSlot {
        atomic_uint running;    /* the mark of the thread that runs its operation, or 0 */
        uint32_t n_attempts;    /* crashes of which it is suspected */
        uint32_t n_applied;     /* items of a FORGET that are done, or were about to be */
        atomic_uint begun;      /* this process has run its operation, or begun to */
        atomic_uintptr_t scope; /* of the flight that it waits in, or waited in last */
        /* As the kernel wrote it, a struct fuse_in_header and more; its first four bytes, the
         * length, are zero in a free slot. */
        _Alignas(JOURNAL_SLOT_HEAD) uint8_t data[];
} JournalSlot;

/* What was agreed with the kernel, for the life of the connection. */
typedef struct JournalTerms {
        atomic_uint init_size;
        uint8_t init[JOURNAL_INIT_MAX]; /* the kernel's request, byte for byte */
        atomic_uint answered;           /* the rest is set: INIT was answered with it, or nearly */
        uint32_t want;                  /* FUSE_CAP_* */
        uint32_t max_readahead;
} JournalTerms;

typedef struct JournalMount {
        const char *mount_point; /* canonical */
        unsigned connection;     /* the kernel's number of it; 0: not known */
        bool passed;             /* mounted by somebody else, who also unmounts */
} JournalMount;

/* An empty journal, for as many parked requests. */
int journal_new(const JournalMount *mount, unsigned n_parked, Journal **ret);
/* A predecessor's; takes fd where it succeeds. -EPROTONOSUPPORT for a layout of another version,
 * -EBADMSG for what is no journal, with the reason. */
int journal_open(int fd, Journal **ret, Failure *ret_failure);
/* NULL-safe, returns NULL. The file lives on where somebody else has its descriptor. */
Journal *journal_free(Journal *j);
DEFINE_CLEANUP(Journal *, journal_free)

int journal_fd(const Journal *j);
void journal_mount(const Journal *j, JournalMount *ret);
unsigned journal_n_parked(const Journal *j);
/* init_size is 0 before journal_record_init(). */
const JournalTerms *journal_terms(const Journal *j);
/* -EMSGSIZE for one that is none. */
int journal_record_init(Journal *j, const void *data, size_t size);
void journal_record_answer(Journal *j, uint32_t want, uint32_t max_readahead);

/* Whether anybody has come past the root of the mount: before that the kernel has nothing of what
 * is in it. Noted by the request that shows it, when it is about to be run. Any thread. */
bool journal_root_is_used(const Journal *j);
void journal_note_use(Journal *j, const JournalSlot *slot);

/* --- slots --- */

/* Reader `i`'s own, JOURNAL_READER_SIZE - JOURNAL_SLOT_HEAD bytes of data. */
JournalSlot *journal_reader_slot(Journal *j, unsigned i);
/* A free slot for a parked request, NULL where there is none; and back, which does nothing to a
 * reader's. The caller serialises the two. */
JournalSlot *journal_take(Journal *j);
void journal_give(Journal *j, JournalSlot *slot);

/* Whether it is one for parked requests. */
bool journal_slot_is_parked(const Journal *j, const JournalSlot *slot);

/* Whether its request is short enough for a parked slot; and copying it to one. */
bool journal_slot_fits(const JournalSlot *slot);
void journal_slot_copy(JournalSlot *to, const JournalSlot *from);
/* The request has been replied to, or has another slot; called by the thread that ran it, if one
 * has. */
void journal_slot_clear(JournalSlot *slot);
/* Around the running of its operation. The second does nothing where another thread runs it by
 * then, or has it cleared: for those who may have lost the request. */
void journal_slot_enter(JournalSlot *slot);
void journal_slot_leave(JournalSlot *slot);
uint32_t journal_slot_size(const JournalSlot *slot);

/* True when the predecessor has ended by a fault of its own. */
bool journal_follows_crash(const Journal *j);
/* The requests that a predecessor left, oldest first, each once: an array to be freed. Clears what
 * makes no sense: nothing in the rest reaches beyond its slot. Those that may have crashed it count
 * one more attempt. Parked slots in it are not free before journal_give(). */
int journal_pending(Journal *j, JournalSlot ***ret, size_t *ret_n);

/* From now on a crash of this process is noted for the successor: after journal_pending(). */
void journal_watch(Journal *j);

/* --- calls that crash who runs them --- */

/* Calls like the one in this slot are not to be run any more: the same operation on the same node
 * and name. When there are too many, the first are forgotten. Before other threads read. */
void journal_condemn(Journal *j, const JournalSlot *slot);
bool journal_is_condemned(const Journal *j, const JournalSlot *slot);
/* Forgets all of them. */
void journal_pardon(Journal *j);

/* --- the request at hand --- */

/* The slot of the request that this thread is processing; NULL: none. libfuse hands nothing of the
 * kind from the buffer to the operation. */
JournalSlot *journal_current(void);
void journal_set_current(JournalSlot *slot);
