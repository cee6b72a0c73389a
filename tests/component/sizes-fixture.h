#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "forge/forge.h"
#include "tree/checkout.h"
#include "tree/org.h"

/* Sizes from a source that tells them without content, but not all: a repository of the fake forge
 * whose objects come from the local one. */

typedef struct SizeSource {
        Source source;
        Source *inner; /* of "o/work" */
        size_t n_tell;
        uint64_t told;                 /* of every file */
        bool refuses;                  /* to tell any */
        Oid lacks;                     /* an object, and git ends as it does then; or none */
        bool lacks_content;            /* of it, too */
        Namespace *tells_directory_of; /* tells no more than the files of Fetch.tree; NULL: does */
        atomic_uint n_blobs;           /* fetches */
        atomic_size_t n_blob_oids;
        atomic_uint n_closures; /* fetches */
        atomic_size_t n_closure_oids;
        pthread_mutex_t mutex; /* guards what follows, up to the trees */
        unsigned n_sizes;      /* fetches */
        size_t n_oids[16];     /* of each of them */
        size_t n_asked;        /* of all together */
        Oid tree, root;        /* of the last */
        bool hold;             /* fetches for sizes wait for answer_held(); */
        bool hold_blobs;       /* those for blobs, too */
        Fetch *held[4];        /* a ring */
        unsigned n_held, n_answered;
        sem_t arrived;
} SizeSource;

/* Waits until another fetch is held. */
void await_held(SizeSource *s);
/* The first that is not answered yet. When this returns its operation has ended. */
void answer(SizeSource *s);
/* Both. */
void answer_held(SizeSource *s);
/* However busy this machine is: an answer is soon, and who goes on is still walking. */
void be_far_away(SizeSource *s);

/* Of the org "f", with one repository, "r". */
typedef struct SizesFixture {
        TreeFixture f;
        FakeForge fake;
        SizeSource source;
        Org *org;
} SizesFixture;

#define N_FILES 7 /* a, b, c, d, sub/e, sub/f and sub/g, of one byte each */
void sizes_fixture_init(SizesFixture *s);
void sizes_fixture_done(SizesFixture *s);
/* A reference to that of "r", which must be there. */
Checkout *sizes_fixture_checkout(SizesFixture *s);

/* Commits so many directories more, d00 and on, up to N_DIRS, each with one file, "f". */
#define N_DIRS 60
void write_directories(SizesFixture *s, unsigned n);
/* `names`: each with a newline behind it. */
void check_list(TreeFixture *f, const char *path, const char *names);
uint64_t size_of(TreeFixture *f, const char *path);
/* Of a file of the root. */
Oid oid_of(SizesFixture *s, const char *name);
/* Of the three files of this directory of the root. */
void read_ahead(SizesFixture *s, Checkout *c, const char *name);
