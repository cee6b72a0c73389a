#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "lib/git-fixture.h"
#include "lib/temp-dir.h"

/* Everything that a forge needs, with real servers on the loopback behind it. All functions fail
 * the running test themselves where the machinery fails; what they return is the forge's answer. */

typedef struct ForgeFixture {
        TempDir dir;
        GitFixture repo; /* served as "work" */
        Config config;
        ForgeContext context;
        bool git_server, bad_server, world; /* run */
        char *world_urls;                   /* JSON, as the test forge printed it */
} ForgeFixture;

/* Makes the repositories. The layers are made by the first lookup, from f->config as it is then. */
void forge_fixture_init(ForgeFixture *f);
/* Makes the layers now, for tests that open no org. */
void forge_fixture_context(ForgeFixture *f);
/* Ends the layers in the daemon's order; the next lookup makes new ones. The servers go on. */
void forge_fixture_forget(ForgeFixture *f);
/* Others can be started then. */
void forge_fixture_stop_servers(ForgeFixture *f);
/* Stops the servers, shuts everything down in the daemon's order, and removes the directory. */
void forge_fixture_done(ForgeFixture *f);
#define _cleanup_forge_fixture_ _cleanup_(forge_fixture_done)

/* Starts the real server with these options (NULL ends them). The URL is owned by the caller. */
char *forge_fixture_serve(ForgeFixture *f, ...) __attribute__((sentinel));
/* Starts the misbehaving server in front of the real one, which runs at `upstream`. */
char *forge_fixture_misbehave(ForgeFixture *f, const char *upstream);
/* What the real (or misbehaving) server has seen: lines, owned by the caller. */
char *forge_fixture_requests(ForgeFixture *f, bool bad);
unsigned forge_fixture_count(ForgeFixture *f, bool bad, const char *what);

/* Opens an org at url (with a path behind it: "/script"), looks name up, and closes the org. */
int forge_fixture_lookup(
        ForgeFixture *f, const char *url, const char *name, Source **ret, Failure *ret_failure);

/* The names that an org at url lists, each with a newline behind it; owned by the caller. It stops
 * after `max` names. `repos` are those that its configuration names; NULL-terminated, or NULL. */
char *forge_fixture_list(ForgeFixture *f, const char *url, const char *const *repos, unsigned max);

/* Starts the test forge (tests/forge) with a world in JSON, in which "@" stands for the path of the
 * served repository, and opens what can be opened of it. */
void forge_fixture_start_world(ForgeFixture *f, const char *world);
/* The URL of one of its forges; owned by the caller. */
char *forge_fixture_world_url(ForgeFixture *f, const char *name);
/* What it has seen: one line of JSON per request; owned by the caller. */
char *forge_fixture_world_requests(ForgeFixture *f);

/* Opens an org; a reference. It must be gone before the layers are. */
Forge *forge_fixture_open(ForgeFixture *f, const OrgConfig *org);
/* forge_lookup(); found->source is a reference for the caller. */
int forge_fixture_find(
        ForgeFixture *f,
        Forge *forge,
        const char *owner,
        const char *name,
        bool listed,
        ForgeFound *ret,
        Failure *ret_failure);
/* forge_list(): "name\n", "owner/\n"; owned by the caller, also on failure. */
char *forge_fixture_names(
        ForgeFixture *f, Forge *forge, const char *owner, int *ret_result, Failure *ret_failure);

/* Likewise of what is kept on this machine. */
char *forge_fixture_kept_names(
        ForgeFixture *f, Forge *forge, const char *owner, int *ret_result, Failure *ret_failure);

/* A fetch that is waited for. */
typedef struct FetchRun {
        Fetch fetch;
        unsigned n_objects; /* told through object() */
        unsigned n_sizes;
        uint64_t last_size;
        /* private */
        pthread_mutex_t mutex;
        pthread_cond_t ended;
        bool done;
        int result;
        Failure failure;
} FetchRun;

void fetch_run_init(FetchRun *run, FetchKind kind, const Oid *oids, size_t n_oids);
/* For a fetch that the caller has started. */
int fetch_wait(ForgeFixture *f, FetchRun *run, Failure *ret_failure);
int fetch_run(ForgeFixture *f, Source *source, FetchRun *run, Failure *ret_failure);
/* Both for the simple cases. */
int fetch_ref(ForgeFixture *f, Source *source, const char *name, FetchRun *run);
int fetch_objects(
        ForgeFixture *f, Source *source, FetchKind kind, const Oid *oids, size_t n, FetchRun *run);

/* `git rev-parse` in the served repository. */
Oid forge_fixture_oid(ForgeFixture *f, const char *rev);
bool forge_fixture_has(ForgeFixture *f, const Oid *oid);
/* A credential helper for this process that always gives alice:s3cret. */
void forge_fixture_use_helper(void);
