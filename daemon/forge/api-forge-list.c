/* A listing, page by page: each page is passed on as soon as it is there, and kept with the others
 * when the last one was read. The next time every page is asked for on condition, so that what has
 * not changed costs a 304, which many servers do not count.
 *
 * One request at a time, because each page says where the next one is. So an operation belongs to
 * one thread at a time, and needs no lock. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/api-forge-private.h"
#include "forge/api-listing.h"
#include "util/htable.h"

typedef struct Seen {
        HTableLink link;
        char text[];
} Seen;

typedef struct ListOp {
        Task task;
        ApiForge *forge; /* a reference */
        ForgeList *list;
        char *owner, *what;

        ApiPages old;   /* what was kept */
        ApiPages pages; /* what is there by now */
        ApiListing position;
        ApiPage page;   /* the one that was asked for */
        bool from_kept; /* the alternative is what was kept, not what was found out */
        bool changed;   /* against what was kept */
        bool stopped;   /* by found() */
        size_t n_new;   /* names in this page that no former one had */
        HTable names;   /* of Seen */
        HTable urls;    /* likewise */
        int result;     /* of an entry */
} ListOp;

static void free_seen(HTableLink *link, void *userdata) {
        HTable *table = userdata;
        htable_remove(table, link);
        free(container_of(link, Seen, link));
}

static void seen_done(HTable *table) {
        htable_each(table, free_seen, table);
        htable_done(table);
}

/* 1: it is new; 0: not; -ENOMEM. */
static int see(HTable *table, const char *text) {
        uint64_t hash = hash_string(text);
        size_t size = strlen(text) + 1;

        HTABLE_FOREACH (l, table, hash)
                if (strcmp(container_of(l, Seen, link)->text, text) == 0)
                        return 0;
        Seen *seen = malloc(sizeof(*seen) + size);
        if (!seen)
                return -ENOMEM;
        memcpy(seen->text, text, size);
        if (htable_add(table, &seen->link, hash) < 0) {
                free(seen);
                return -ENOMEM;
        }
        return 1;
}

static void list_op_free(ListOp *op) {
        api_pages_done(&op->old);
        api_pages_done(&op->pages);
        api_page_done(&op->page);
        seen_done(&op->names);
        seen_done(&op->urls);
        (void) forge_unref(&op->forge->forge);
        free(op->owner);
        free(op->what);
        free(op);
}

static void list_end(ListOp *op, int result, const Failure *failure) {
        ForgeList *list = op->list;
        Failure copy = *failure;

        list_op_free(op);
        list->done(list, result, &copy);
}

static void list_fail(ListOp *op, int r) {
        Failure failure;

        switch (r) {
        case -EBADMSG:
                r = failure_set(
                        &failure, FAILURE_SERVER, "%s: a page that makes no sense", op->what);
                break;
        case -E2BIG:
                r = failure_set(&failure, FAILURE_TOO_LARGE, "%s: too many entries", op->what);
                break;
        default:
                (void) failure_set(
                        &failure, FAILURE_LOCAL, "%s: %s", op->what, strerrordesc_np(-r));
        }
        list_end(op, r, &failure);
}

/* --- passing on --- */

static bool pass_on(const ApiEntry *entry, void *userdata) {
        ListOp *op = userdata;
        const ForgeEntry found = {.name = entry->name, .kind = entry->kind};

        op->result = see(&op->names, entry->name);
        if (op->result <= 0)
                return op->result == 0;
        op->n_new++;
        if (!api_entry_is_shown(op->forge->org, op->list->owner, entry))
                return true;
        op->stopped = !op->list->found(op->list, &found);
        return !op->stopped;
}

/* 0, also when the receiver wants no more; -ENOMEM. */
static int pass_page_on(ListOp *op, const ApiPage *page) {
        op->n_new = 0;
        op->result = 0;
        (void) api_page_each(page, pass_on, op);
        if (op->result < 0)
                return op->result;
        if (!op->stopped && op->list->page)
                op->list->page(op->list);
        return 0;
}

/* The list is good, but: what is missing in it, or that its owner has another name. */
static void add_notice(const ListOp *op, Failure *failure) {
        for (size_t i = 0; i < op->pages.n_pages; i++) {
                const ApiPage *page = &op->pages.pages[i];
                if (page->sso[0]) {
                        (void) failure_set(
                                failure,
                                FAILURE_SSO,
                                "%s is not complete: the token must be authorized for single "
                                "sign-on (%s)",
                                op->what,
                                page->sso);
                        return;
                }
                if (page->moved)
                        (void) failure_set(
                                failure, FAILURE_RENAMED, "%s has another name now", op->what);
        }
}

static void list_kept(ListOp *op) {
        Failure failure = {0};
        int r = 0;

        if (!api_pages_load(op->forge, op->owner, &op->pages)) {
                (void) failure_set(&failure, FAILURE_LOCAL, "%s is not kept", op->what);
                list_end(op, -ENODATA, &failure);
                return;
        }
        for (size_t i = 0; i < op->pages.n_pages && r >= 0 && !op->stopped; i++)
                r = pass_page_on(op, &op->pages.pages[i]);
        if (r < 0) {
                list_fail(op, r);
                return;
        }
        add_notice(op, &failure);
        list_end(op, 0, &failure);
}

/* --- asking --- */

static void list_ask(ListOp *op, char *url);

static void list_finish(ListOp *op) {
        Failure failure = {0};

        op->pages.alternative = op->position.alternative;
        if (op->changed || op->pages.alternative != op->old.alternative ||
            op->pages.n_pages != op->old.n_pages)
                api_pages_keep(op->forge, op->owner, &op->pages);
        add_notice(op, &failure);
        list_end(op, 0, &failure);
}

/* The first page of the part in op->position, or the end. */
static void list_part(ListOp *op) {
        _cleanup_free_ char *url = NULL;

        op->position.page = 0;
        op->position.url = NULL;
        int r = op->forge->ops->list_url(op->forge, &op->position, &url);
        if (r < 0)
                list_fail(op, r);
        else if (r > 0)
                list_ask(op, TAKE_PTR(url));
        else
                list_finish(op);
}

/* Nobody of that kind: perhaps another kind is meant. False: there is none left. */
static bool next_alternative(ListOp *op) {
        _cleanup_free_ char *url = NULL;

        if (op->position.part > 0 || op->position.page > 0)
                return false;
        bool again = op->from_kept && op->position.alternative > 0;
        op->position.alternative = again ? 0 : op->position.alternative + 1;
        op->from_kept = false;
        op->position.url = NULL;
        if (op->forge->ops->list_url(op->forge, &op->position, &url) <= 0)
                return false;
        seen_done(&op->urls);
        op->urls = (HTable){0};
        list_ask(op, TAKE_PTR(url));
        return true;
}

static void list_next(ListOp *op, const char *next) {
        char *url;

        if (!next[0]) {
                op->position.part++;
                list_part(op);
                return;
        }
        url = strdup(next);
        if (!url) {
                list_fail(op, -ENOMEM);
                return;
        }
        op->position.page++;
        list_ask(op, url);
}

/* Passes the page on that was just added, and goes on to the next one. */
static void list_page_done(ListOp *op) {
        const ApiPage *page = &op->pages.pages[op->pages.n_pages - 1];
        Failure failure;

        int r = pass_page_on(op, page);
        if (r < 0)
                list_fail(op, r);
        else if (op->stopped)
                list_end(op, 0, &(const Failure){0});
        else if (page->n_entries > 0 && op->n_new == 0 && page->next[0]) {
                r = failure_set(&failure, FAILURE_SERVER, "%s repeats itself", op->what);
                list_end(op, r, &failure);
        } else
                list_next(op, page->next);
}

static int set_text(char **field, const char *text) {
        if (strlen(text) > API_LISTING_MAX_TEXT)
                text = "";
        char *copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(*field);
        *field = copy;
        return 0;
}

static int read_page(ListOp *op, const ApiAnswer *answer) {
        ApiPage *page = &op->page;

        int r = op->forge->ops->list_page(op->forge, &op->position, answer, page);
        if (r >= 0)
                r = set_text(&page->etag, answer->etag);
        if (r >= 0)
                r = set_text(&page->last_modified, answer->last_modified);
        if (r >= 0)
                r = set_text(&page->sso, answer->sso);
        if (r >= 0 && !page->next_is_set)
                r = api_page_set_next(page, answer->next);
        if (r >= 0 && strlen(page->next) > API_LISTING_MAX_TEXT)
                r = -EBADMSG;
        page->moved = answer->moved;
        op->changed = true;
        return r >= 0 ? api_pages_take(&op->pages, page) : r;
}

/* What was kept of this page still holds. Where the next page is need not be said again. */
static int keep_page(ListOp *op, const ApiAnswer *answer) {
        ApiPage *page = api_pages_find(&op->old, op->page.url);
        int r = 0;

        if (!page)
                return -EBADMSG; /* nobody asked on condition */
        page->part = op->position.part;
        if (answer->next[0] && strcmp(answer->next, page->next) != 0 &&
            strlen(answer->next) <= API_LISTING_MAX_TEXT) {
                r = api_page_set_next(page, answer->next);
                op->changed = true;
        }
        return r >= 0 ? api_pages_take(&op->pages, page) : r;
}

static void on_page(void *userdata, int result, const ApiAnswer *answer, const Failure *failure) {
        ListOp *op = userdata;

        if (result == -ENOENT) {
                if (next_alternative(op))
                        return;
                api_pages_forget(op->forge, op->owner);
        }
        if (result < 0) {
                list_end(op, result, failure);
                return;
        }
        int r = answer->code == 304 ? keep_page(op, answer) : read_page(op, answer);
        if (r < 0)
                list_fail(op, r);
        else
                list_page_done(op);
}

/* The page that was kept, if it can be asked for on condition. A last page that is full cannot:
 * when a page comes behind it, nothing in it changes. Servers send a round number of entries. */
static const ApiPage *find_condition(const ListOp *op, const char *url) {
        const ApiPage *page = api_pages_find(&op->old, url);
        bool full = page && page->n_entries > 0 && page->n_entries % 10 == 0;

        return page && (page->next[0] || !full) ? page : NULL;
}

/* Takes url. */
static void list_ask(ListOp *op, char *url) {
        _cleanup_free_ _unused_ char *owned = url;
        Failure failure;

        int r = see(&op->urls, url);
        if (r == 0) {
                r = failure_set(&failure, FAILURE_SERVER, "%s goes round in circles", op->what);
                list_end(op, r, &failure);
                return;
        }
        if (r > 0) {
                api_page_done(&op->page);
                r = api_page_init(&op->page, op->position.part, url);
        }
        if (r < 0) {
                list_fail(op, r);
                return;
        }
        const ApiPage *kept = find_condition(op, url);
        op->position.url = op->page.url;
        const ApiAsk ask = {
                .path = op->page.url,
                .what = op->what,
                .if_none_match = kept ? kept->etag : NULL,
                .if_modified_since = kept ? kept->last_modified : NULL,
                .priority = op->list->priority,
                .deadline_usec = api_forge_deadline(op->forge),
                .done = on_page,
                .userdata = op,
        };
        api_ask(op->forge, &ask);
}

/* --- the start --- */

static void list_run(Task *task) {
        ListOp *op = container_of(task, ListOp, task);

        op->position.owner = op->owner;
        if (op->list->kept) {
                list_kept(op);
                return;
        }
        op->from_kept = api_pages_load(op->forge, op->owner, &op->old);
        op->position.alternative = op->old.alternative;
        list_part(op);
}

static int make_op(ApiForge *forge, ForgeList *list, ListOp **ret) {
        _cleanup_free_ char *owner = NULL;
        char *what;

        int r = api_forge_owner(forge, list->owner, true, &owner);
        if (r < 0)
                return r;
        if (asprintf(&what, "the list of %s", owner[0] ? owner : forge->ops->dialect->name) < 0)
                return -ENOMEM;
        ListOp *op = calloc(1, sizeof(*op));
        if (!op) {
                free(what);
                return -ENOMEM;
        }
        *op = (ListOp){
                .task.run = list_run,
                .forge = forge,
                .list = list,
                .owner = TAKE_PTR(owner),
                .what = what,
        };
        (void) forge_ref(&forge->forge);
        *ret = op;
        return 0;
}

void api_forge_list(Forge *forge, ForgeList *list) {
        ApiForge *f = container_of(forge, ApiForge, forge);
        ListOp *op;

        int r = make_op(f, list, &op);
        if (r < 0) {
                Failure failure;
                (void) failure_set(&failure, FAILURE_LOCAL, "out of memory");
                list->done(list, r, &failure);
                return;
        }
        pool_submit(
                f->context->pool,
                &op->task,
                list->priority == FETCH_WAITING ? TASK_NORMAL : TASK_BACKGROUND);
}
