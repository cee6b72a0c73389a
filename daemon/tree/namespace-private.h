#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tree/checkout.h"
#include "tree/listing-cache.h"
#include "tree/namespace-admin.h"
#include "tree/namespace.h"
#include "tree/node-table.h"
#include "tree/org.h"
#include "tree/repo.h"
#include "tree/untold.h"
#include "util/clock.h"
#include "work/flight.h"
#include "work/timer.h"

/* What the files of this layer share. */

struct Namespace {
        NsConfig config; /* constant but for the atomics' sake: see ns_set_config() */
        const ForgeContext *context;
        FlightTable *flights;
        NodeTable *nodes;
        size_t n_recovered; /* of them; constant */
        atomic_uint n_attach_rounds;
        UntoldMoves *untold; /* until ns_retell(): whose thread's it is then */
        ListingCache *listings;
        Timers *timers;

        Mutex lock; /* guards what follows */
        Org **orgs; /* sorted by name; references */
        size_t n_orgs;
        NsObserver observer;
        NsOrgObserver org_observer;
        size_t n_operations; /* asked of forges and not yet done */
        pthread_cond_t idle; /* n_operations fell to 0 */
        bool stopping;
};

/* Kinds of flight. The scope is the owner for the first three, the repository for the others
 * but where another one is named. */
typedef enum DemandKind {
        DEMAND_LIST, /* the whole of it */
        DEMAND_NEWS, /* of a listing: some more of it can be shown, or it has ended */
        DEMAND_NAME,
        DEMAND_CHECKOUT,
        DEMAND_REFRESH,
        DEMAND_TREE,
        DEMAND_TREES, /* all that come with the commit; the scope is the checkout */
        DEMAND_SIZES,
        DEMAND_SIZES_PLAN, /* it is known which will come; the scope is the checkout */
        DEMAND_BLOB,
        DEMAND_ATTACH,       /* a repository is opened again; the scope is the owner */
        DEMAND_WALK,         /* a window of a walker is being gathered; the scope is the checkout */
        DEMAND_SIZE_WINDOW,  /* the same of size-walk.c */
        DEMAND_SIZE_LISTING, /* the files of a directory were to come; the scope is the checkout */
} DemandKind;

FlightKey demand_key_name(const void *scope, DemandKind kind, const char *name);
FlightKey demand_key_oid(const void *scope, DemandKind kind, const Oid *oid);

/* Joins the call's waiter to the flight: NS_PARKED; 1 where the caller must start the work and land
 * the flight (its waiter is joined too), or < 0 errno. Without a waiter: NS_PARKED, nothing
 * started. */
int demand_join(Namespace *ns, const NsCall *call, const FlightKey *key);
/* Waits with the call's waiter for a flight of somebody else, and starts none. 1: the call waits
 * for it; 0: there is none; < 0. */
int demand_wait(Namespace *ns, const NsCall *call, const FlightKey *key);

/* Every operation that a forge will call back for is bracketed by these; ns_stop() waits for the
 * last. begin fails with -ECANCELED once the name space stops. */
int ns_operation_begin(Namespace *ns);
void ns_operation_end(Namespace *ns);
/* Begins the operation that lands this flight: zeroed memory of `size` bytes for its state. NULL
 * where it cannot begin; then the flight has landed with the reason. */
void *demand_start(Namespace *ns, const FlightKey *key, size_t size);
/* The same for no flight in particular: 0, -ENOMEM, or -ECANCELED once the name space stops. */
int demand_begin(Namespace *ns, size_t size, void **ret);

/* The forge says that it does not exist, though it was known. */
void ns_doubt_owner(Namespace *ns, Owner *owner);
/* Notes how a request for this org ended: about one name or repository, or a whole listing. */
void ns_report(Namespace *ns, Org *org, int result, const Failure *failure);
void ns_report_listing(Namespace *ns, Owner *owner, int result, const Failure *failure);
/* Its listing is another one: tells the kernel. */
void ns_owner_changed(Namespace *ns, Owner *owner);
/* This name in it is not what it was: likewise. */
void ns_name_changed(Namespace *ns, Owner *owner, const char *name);
/* The same of a ref that the repository was shown at. */
void ns_ref_changed(Namespace *ns, Repo *repo, const char *refspec);
NsObserver ns_observer(Namespace *ns);
void ns_entry_changed(Namespace *ns, uint64_t parent, const char *name);
void ns_inode_changed(Namespace *ns, uint64_t id);
/* What may be fetched ahead. */
NsAhead ns_ahead(Namespace *ns);
/* How long a question may take, and a transfer of objects, from now. The latter is far longer than
 * anybody waits: who waits gives up at his own deadline, and finds it done, or under way, when he
 * comes back. */
uint64_t ns_deadline(Namespace *ns);
uint64_t ns_transfer_deadline(Namespace *ns);
/* Forgets which names do not exist in the owner, or those of them that its listing holds, and tells
 * the kernel. */
void ns_drop_negatives(Namespace *ns, Owner *owner, bool only_listed);
/* Doubts what this list, which is complete, does not name any more, and tells the kernel. */
void ns_follow_list(Namespace *ns, Owner *owner, NameList *list);
/* Who waits for a server that does not answer is shown what is remembered after this; a slow answer
 * still counts when it comes. */
#define DEMAND_PATIENCE_USEC USEC_PER_SEC
/* An object that a tree or a commit names does not exist at its server: that is no absence of the
 * name that somebody looked for but damage. Returns the result to land with; *ret_failure is filled
 * if it differs. */
int demand_object_result(int result, const Failure *failure, Failure *ret_failure);

/* Asking for what is not resident. Each returns NS_PARKED or < 0; the call's waiter has joined the
 * flight. */
int demand_list(Namespace *ns, const NsCall *call, Owner *owner);
/* The same for nobody in particular: only started, unless it is under way. */
void demand_list_ahead(Namespace *ns, Owner *owner, FetchPriority priority);
/* There is a list to show: a growing or complete one, at least as new as `since` where the forge
 * keeps none. */
bool ns_can_list(Owner *owner, uint64_t since);
/* Something to show: of an owner that shows nothing (list is NULL), or behind the first n_seen
 * names of a list that is still growing. since: when the caller looked and found none. */
int demand_news(
        Namespace *ns,
        const NsCall *call,
        Owner *owner,
        NameList *list,
        size_t n_seen,
        uint64_t since);
/* What the name is: a repository, or an owner. */
int demand_name(Namespace *ns, const NsCall *call, Owner *owner, const char *name);
int demand_checkout(Namespace *ns, const NsCall *call, Repo *repo, const char *refspec);
/* Resolves the ref again and follows it. */
int demand_refresh(Namespace *ns, const NsCall *call, Checkout *c);
/* The same for somebody who wants to use the checkout: where the server does not answer, what is
 * known will do. A ref that is gone takes the checkout with it. */
int demand_check(Namespace *ns, const NsCall *call, Checkout *c);
int demand_tree(Namespace *ns, const NsCall *call, Checkout *c, const Oid *tree);
/* 1 unless trees of the checkout are still on their way: who wants to know what lies below a
 * directory waits for them. */
int demand_trees(Namespace *ns, const NsCall *call, Checkout *c);
/* They came, or the fetch that was to bring them has failed. */
void demand_trees_came(Namespace *ns, Checkout *c);
/* Sizes of the entries of this directory, and of what lies below it where that costs no more
 * requests. */
int demand_sizes(Namespace *ns, const NsCall *call, Checkout *c, Listing *l);
/* It is to be asked: the server tells sizes without content, and that is worth it. */
bool demand_sizes_pays(Namespace *ns, Repo *repo);
/* The server has told less than it was asked for, and what is left does not come with others: who
 * wants a size has that file fetched. */
bool demand_sizes_does_without(Namespace *ns, Checkout *c);
/* The same for nobody in particular, where it costs no content. Never blocks. */
void demand_sizes_ahead(Namespace *ns, Checkout *c, Listing *l);
int demand_blob(Namespace *ns, const NsCall *call, Repo *repo, const Oid *oid);
/* For somebody in no hurry. True if it is on its way: the waiter runs when it is here, or does not
 * come. */
bool demand_blob_follow(Namespace *ns, FlightWaiter *waiter, Repo *repo, const Oid *oid);
/* It is on its way already. */
bool demand_blob_is_coming(Repo *repo, const Oid *oid);
/* It is neither on its way nor here. */
bool demand_blob_is_missing(Namespace *ns, Repo *repo, const Oid *oid);
/* It is for readers or for a walk, and about to come: so it brings its size, and nobody need be
 * asked for that. The same of all files of a directory whose size is not known. */
bool demand_blob_is_soon(Repo *repo, const Oid *oid);
bool demand_files_are_soon(Repo *repo, const Listing *l);

/* An object of this repository is in the store now: whoever waits for it can go on. */
void demand_object_arrived(
        Namespace *ns, Repo *repo, const Oid *oid, ObjectType type, uint64_t size);

/* An object if it is on this machine: 1 and a reference, 0, NS_BLOCKS or < 0. Asks nobody. */
int ns_object(Namespace *ns, const NsCall *call, StoreKind kind, const Oid *oid, ObjectRef *ret);
/* The parsed directory of a tree: 1 and a reference, NS_PARKED, NS_BLOCKS or < 0. Without a
 * checkout nobody is asked for what is missing. */
int ns_listing(Namespace *ns, const NsCall *call, Checkout *c, const Oid *tree, Listing **ret);
/* The size of an entry if anything on this machine knows it; SIZE_UNKNOWN otherwise. */
uint64_t ns_entry_size(Namespace *ns, ListingEntry *e);
/* True if every entry of l has a size. */
bool ns_sizes_known(Namespace *ns, Listing *l);
/* Keeps the sizes of these directories with their trees, as far as all are known. Not being able to
 * is no error: they are asked for again. Writes to the disk. */
void ns_keep_sizes(Namespace *ns, const Source *source, Listing *const *listings, size_t n);

/* Names that programs look for in every directory: no org or repository is shown under them. */
bool ns_is_probe(const char *name);
/* Finds a child: 1 and a reference; 0 none; NS_PARKED, NS_BLOCKS, < 0. */
int ns_child(Namespace *ns, const NsCall *call, Node *parent, const char *name, Node **ret);
/* For a name that is not there: how long the kernel may believe it. */
uint64_t ns_negative_timeout(Namespace *ns, const Node *parent);
void ns_node_attr(Namespace *ns, const Node *node, NsAttr *ret);
/* With the checkout of dir locked, and dir showing the tree of l: the node of an entry, and whether
 * it was there and showed another tree until now. Then ns_forget_below() after unlocking. 0 or
 * -ENOMEM. */
int ns_entry_node_locked(
        Namespace *ns,
        Node *dir,
        const Listing *l,
        const ListingEntry *e,
        Node **ret,
        bool *ret_switched);
/* "repo@feature%2Fx" to "repo" and "feature/x", each with room for NAME_MAX + 1. -ENOENT for what
 * can be no such name. */
int ns_split_name(const char *name, char *repo, char *refspec);
/* What a process before this one left belongs to what is in this one: 1; NS_PARKED; -ESTALE where
 * it does not any more; < 0. Without it nobody may look at a node's owner or checkout, unless the
 * node came from ns_child(). */
int ns_attach(Namespace *ns, const NsCall *call, Node *node);
/* Attaches all checkouts, as far as that goes without waiting. Pool threads. */
void ns_attach_all(Namespace *ns);
/* The kernel is about to be told of all that the checkout above this directory changed. */
void ns_note_told(Namespace *ns, Node *dir);

/* Makes the kernel ask again for everything it knows of this directory and below. */
void ns_forget_below(Namespace *ns, Node *dir);
NodeSpec ns_entry_spec(Node *dir, const Listing *l, const ListingEntry *e, int64_t mtime);
/* Takes a reference. -EEXIST. */
int ns_show_org(Namespace *ns, Org *org);
Org *ns_find_org(Namespace *ns, const char *name); /* a reference, or NULL */

/* Applies a new commit to a checkout. 0; 1 with the missing trees in *ret_missing (an allocated
 * array), to be fetched before calling again; < 0. Blindly: without comparing, where the old trees
 * cannot be had any more; the kernel is made to ask for everything again. */
int checkout_move(
        Namespace *ns,
        Checkout *c,
        const CheckoutState *to,
        bool blindly,
        Oid **ret_missing,
        size_t *ret_n_missing);

/* A file is wanted that is neither here nor on its way: asks for what is likely to be read next,
 * and where that shares its request for the file. 0; or NS_PARKED where it is about to be asked for
 * with others. On a thread that may block. */
int walk_missed(Namespace *ns, const NsCall *call, Node *file);
/* Somebody reads one file after the other. A hint, without a lock. */
bool walk_is_on(const Checkout *c);
/* A window is being asked for, of which a part may be on its way already. walk_missed() waits for
 * the whole of it. */
bool walk_is_gathering(Checkout *c);
/* The call waits for it: NS_PARKED or < 0; 1 where there is none. */
int walk_await_window(Namespace *ns, const NsCall *call, Checkout *c);
/* A file was read that is here: it may be time to ask for more. */
void walk_read(Namespace *ns, Node *file);

/* The size of an entry is wanted, which comes with content only: has the other files of the
 * directory fetched, and what a walk over directories wants next. The caller asks for the file
 * itself, after this. 0; or NS_PARKED where it is about to be asked for with others; < 0. On a
 * thread that may block. */
int size_walk_missed(
        Namespace *ns, const NsCall *call, Node *dir, Listing *l, const ListingEntry *missed);
/* A directory is listed of which sizes are not known, by READDIRPLUS. NS_PARKED where a walk has
 * its files on their way: then names alone would have a look-up follow for each. 0, or < 0. */
int size_walk_listed(Namespace *ns, const NsCall *call, Node *dir, Listing *l);
/* Sizes of a directory are used that are here: it may be time to ask for more. */
void size_walk_used(Namespace *ns, Node *dir, Listing *l);
