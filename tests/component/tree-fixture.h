#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/git-fixture.h"
#include "lib/temp-dir.h"
#include "tree/namespace-admin.h"
#include "tree/tree-forward.h"
#include "util/buf.h"
#include "work/flight.h"

/* A name space with one local org, "o", that holds one repository, "work". Calls wait for what they
 * need, as a system call would. Where the machinery fails, the running test fails; what is returned
 * is the name space's answer. */

typedef struct TreeFixture {
        TempDir root;
        GitFixture repo;
        Config config;
        ForgeContext context;
        FlightTable *flights;
        Namespace *ns;
        /* What the kernel was told: "PARENT/NAME\n" for entries,
         * "ID\n" for inodes. */
        pthread_mutex_t mutex;
        Buf told;
} TreeFixture;

/* What its name space begins with. */
NsConfig tree_fixture_config(void);
/* With an empty repository. */
void tree_fixture_init(TreeFixture *f);
void tree_fixture_done(TreeFixture *f);
#define _cleanup_tree_fixture_ _cleanup_(tree_fixture_done)

void tree_fixture_add_org(TreeFixture *f);
/* The process ends and another one takes over the nodes: memory is gone, the store is not. The org
 * is for the caller to add. */
void tree_fixture_succeed(TreeFixture *f);
/* Writes one file and commits. */
void tree_fixture_commit(TreeFixture *f, const char *name, const char *content);

/* A reference to "work@refspec", or NULL. */
Checkout *tree_fixture_checkout(TreeFixture *f, const char *refspec);

/* A call that may be in flight while the test does something else. */
typedef struct Caller {
        FlightWaiter waiter;
        NsCall call;
        sem_t landed;
        int result;
} Caller;

void caller_init(Caller *c);
/* After a call that gave *r. Waits for what it joined; true if the call has to be made again, else
 * *r is its result. */
bool caller_waits(Caller *c, int *r);

int fs_lookup(TreeFixture *f, uint64_t parent, const char *name, NsAttr *ret);
/* From the root along a path: the id, or a negative errno, or 0 where a name does not exist. */
int64_t fs_walk(TreeFixture *f, const char *path);
/* The content, with a NUL behind it; owned by the caller. NULL with the errno in *ret_error. */
char *fs_read(TreeFixture *f, uint64_t id, int *ret_error);
/* Appends up to `max` names from *offset on to *names, each with a newline; "." and ".." are left
 * out and not counted. *offset is where to go on. */
int fs_list(TreeFixture *f, uint64_t id, bool plus, unsigned max, uint64_t *offset, Buf *names);
/* All of it; owned by the caller. */
char *fs_list_all(TreeFixture *f, uint64_t id, bool plus);
/* Follows the branch of "work@refspec" now. */
int fs_refresh(TreeFixture *f, const char *refspec);
/* Whether the kernel was told of this name, or of the inode where it is NULL. */
bool fs_told(TreeFixture *f, uint64_t parent, const char *name);

/* The same, where it must go well. */
uint64_t fs_must_walk(TreeFixture *f, const char *path);
void fs_must_read(TreeFixture *f, const char *path, const char *content);
/* `names`: each with a newline behind it. */
void fs_must_list(TreeFixture *f, uint64_t id, const char *names);
