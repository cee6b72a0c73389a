#pragma once

#include <stdbool.h>

#include "component/forge-fixture.h"

/* GitHub as the test forge speaks it, and an org of it. */

/* What is listed of "acme", in order: without a token, and with one that may see all. */
#define PUBLIC "app\nold\nfork\ntaken-down\nforbidden\noff\nvoid\n"
#define ALL "app\nsecret\nold\nfork\ntaken-down\nforbidden\noff\nvoid\n"

#define TOKENS                                                                                     \
        "\"tokens\":{\"t0ken\":{\"user\":\"ann\"},\"stale\":{\"state\":\"expired\"},"              \
        "\"part\":{\"sso\":\"partial\"},\"sso\":{\"sso\":\"required\"}}"

typedef struct Github {
        ForgeFixture f;
        Forge *forge;
        char *url;
        const char *owner; /* of the org; NULL: all of GitHub */
        const char *token; /* NULL: none */
        bool no_archived, no_forks;
        const char *exclude;
} Github;

/* knobs: members of an object, may be "". */
void github_start(Github *g, const char *knobs);
void github_stop(Github *g);
#define _cleanup_github_ _cleanup_(github_stop)

/* Turns knobs of the running forge: a JSON object. */
void github_turn(Github *g, const char *knobs);
/* Opens the org, as its members say. */
void github_open(Github *g);
/* How many requests there were of which the log says this. */
unsigned github_count(Github *g, const char *what);
#define REQUEST "\"method\""

void github_check_list(Github *g, const char *owner, const char *expected, FailureClass class);
Source *github_find(Github *g, const char *owner, const char *name, bool listed);
