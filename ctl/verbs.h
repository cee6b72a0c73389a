#pragma once

#include "ctl/ctl.h"
#include "ctl/json.h"
#include "ctl/table.h"

/* The verbs. `args` holds what follows the verb's name and ends with NULL; their number has been
 * checked. They are called with a connection, and return the exit status. */

int verb_status(Ctl *ctl, char **args);
int verb_stats(Ctl *ctl, char **args);
int verb_reload(Ctl *ctl, char **args);

int verb_org_add(Ctl *ctl, char **args);
/* EXIT_SUCCESS, or EXIT_USAGE with what is missing told. */
int check_org_add(const Ctl *ctl);
int verb_org_remove(Ctl *ctl, char **args);
int verb_org_list(Ctl *ctl, char **args);
int verb_org_show(Ctl *ctl, char **args);

int verb_token_set(Ctl *ctl, char **args);
int verb_token_forget(Ctl *ctl, char **args);
int verb_login(Ctl *ctl, char **args);

int verb_prefetch(Ctl *ctl, char **args);
int verb_jobs(Ctl *ctl, char **args);
int verb_cancel(Ctl *ctl, char **args);

int verb_pin(Ctl *ctl, char **args);
int verb_unpin(Ctl *ctl, char **args);
int verb_pins(Ctl *ctl, char **args);

int verb_verify(Ctl *ctl, char **args);

int verb_flush(Ctl *ctl, char **args);
int verb_refresh(Ctl *ctl, char **args);

int verb_which(Ctl *ctl, char **args);
int verb_path(Ctl *ctl, char **args);

/* Shared by them: a table of orgs (as ListOrgs() returns them), of jobs, of servers, and one of
 * keys and values. 0 or a negative errno, which has been reported. */
int show_orgs(json_object *orgs);
int show_jobs(json_object *jobs);
int show_hosts(json_object *hosts);
/* Prints it; NULL is one that there was no memory for. */
int show_finish(Table *t);

typedef struct Field {
        const char *key;   /* in the JSON object */
        const char *title; /* for people */
} Field;
/* "rate-limited until 14:03:20": how an org does, for people. */
#define STATE_TEXT_MAX 80
void org_state_text(json_object *org, char ret[STATE_TEXT_MAX]);

/* Leaves out what is "" or missing. */
int show_fields(json_object *object, const Field *fields, size_t n);
/* With --json prints `object`: the exit status, or -1 where a table is wanted. */
int show_json(const Ctl *ctl, json_object *object);
