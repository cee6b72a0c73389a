#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "component/tree-fixture.h"
#include "forge/forge.h"
#include "tree/org.h"

/* A forge that does what the test says: listings wait until the test hands out their pages, one by
 * one; look-ups are answered at once from a table. Repositories are empty ones, unless the test
 * gives a source. One of the fixture's org "f". */

typedef struct FakeName {
        const char *owner, *name;
        ForgeEntryKind kind;
        bool unproven;
        int error; /* instead of all that */
} FakeName;

typedef struct FakeForge {
        Forge forge;
        pthread_mutex_t mutex; /* guards what follows, up to the look-ups */
        pthread_cond_t cond;
        ForgeList *listing; /* waits for pages */
        unsigned n_listings;
        const FakeName *names;        /* ends with one without a name */
        unsigned n_lookups, n_listed; /* of them, those that a listing named */
        /* What is kept, in the order of the server; a '/' behind the names of owners; ends with
         * NULL. NULL: nothing is. Constant while the name space runs. */
        const char *const *kept;
        unsigned n_kept; /* times that was read */
        Source *source;  /* of every repository; NULL: an empty one. A reference */
} FakeForge;

extern const ForgeOps fake_forge_ops;

/* Adds the org "f" with this forge. owner: as Owner= of the org, or NULL. */
Org *fake_forge_init(FakeForge *fake, TreeFixture *f, const char *owner);
/* After tree_fixture_done(). */
void fake_forge_done(FakeForge *fake);

/* Waits until a listing was asked for, which must be of this owner. */
void fake_forge_expect(FakeForge *fake, const char *owner);
/* Hands out a page of names, as in FakeForge.kept. True if the name space wants more. */
bool fake_forge_page(FakeForge *fake, const char *const *names);
void fake_forge_end(FakeForge *fake, int result, const Failure *failure);
unsigned fake_forge_n_listings(FakeForge *fake);
unsigned fake_forge_n_lookups(FakeForge *fake);
