#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/forge.h"
#include "tree/tree-forward.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/ref.h"

/* One listing of an owner: names in the order of the server, each once. Only ever appended to, by
 * one thread at a time, until it ends; read by any number of threads meanwhile. An index stands for
 * the same name for good, which is what lets a reader go on where it stopped. */

#define NAME_LIST_TAG_MAX (UINT32_MAX >> 2)

typedef struct NameEntry {
        HTableLink link;
        ForgeEntryKind kind;
        size_t index; /* constant once it is shown */
        char name[];  /* NUL-terminated */
} NameEntry;

struct NameList {
        Ref ref;
        /* Tells lists of one owner apart in offsets: 1 to NAME_LIST_TAG_MAX; set before anybody
         * can read the list. */
        uint32_t tag;

        Mutex lock; /* guards what follows */
        NameEntry **entries;
        size_t n, cap;
        size_t n_shown; /* of them, those that may be shown yet */
        size_t n_repos;
        HTable by_name;
        bool ended;
        int error; /* why it ended before its time; 0: it is complete */
};

typedef struct NameListState {
        size_t n_shown;
        bool ended;
        int error;
} NameListState;

int name_list_new(NameList **ret);
NameList *name_list_ref(NameList *l);
NameList *name_list_unref(NameList *l);
DEFINE_CLEANUP(NameList *, name_list_unref)

/* 1 appended; 0 the name is there already; -ENOMEM. Not shown yet. */
int name_list_add(NameList *l, const char *name, ForgeEntryKind kind);
/* In the order of names, for a server that has no order of its own. Before anything is shown. */
void name_list_sort(NameList *l);
/* All that was appended so far is shown from now on. True if that is more than before. */
bool name_list_show(NameList *l);
/* Shows the rest; nothing is appended any more. */
void name_list_end(NameList *l, int error);

/* All of them, shown or not. */
size_t name_list_count(NameList *l);
NameListState name_list_state(NameList *l);
/* The entry, which lives as long as the list; NULL behind the last that is shown. */
const NameEntry *name_list_at(NameList *l, size_t index);
const NameEntry *name_list_find(NameList *l, const char *name);
/* The same names of the same kinds, in whatever order. Both have ended. */
bool name_list_equal(NameList *a, NameList *b);
size_t name_list_n_repos(NameList *l);
/* What the tag is made of: equal in every process for a list that begins alike. */
uint32_t name_list_hash(NameList *l);
