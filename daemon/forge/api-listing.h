#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "config/config.h"
#include "forge/api-forge.h"
#include "store/documents.h"
#include "util/buf.h"

/* A listing as it is kept: the pages that a server sent, with what asking for them again on
 * condition takes. Nothing is filtered out here, so that another configuration needs no request.
 * Embedded by value; not thread-safe. */

#define API_LISTING_MAX_PAGES 4000
#define API_LISTING_MAX_ENTRIES 500000
#define API_LISTING_MAX_TEXT 4096 /* of a URL and the like */

struct ApiPage {
        unsigned part;
        bool moved; /* it came from another place than was asked: the owner was renamed */
        char *url;  /* what was asked for; all strings are owned, "" for none */
        char *etag, *last_modified;
        char *next;       /* of the same part; "" for its last page */
        char *sso;        /* X-GitHub-SSO */
        bool next_is_set; /* by api_page_set_next() */
        size_t n_entries;
        Buf entries; /* packed; api_page_each() */
};

typedef struct ApiPages {
        unsigned alternative;
        ApiPage *pages; /* owned; in the order of the listing */
        size_t n_pages, cap_pages;
        size_t n_entries; /* in all of them */
} ApiPages;

void api_pages_done(ApiPages *pages);
#define _cleanup_api_pages_ _cleanup_(api_pages_done)
void api_page_done(ApiPage *page);
#define _cleanup_api_page_ _cleanup_(api_page_done)

/* All strings "". 0 or -ENOMEM. */
int api_page_init(ApiPage *page, unsigned part, const char *url);
/* Takes the page over, which is empty then. 0, -ENOMEM, -E2BIG. */
int api_pages_take(ApiPages *pages, ApiPage *page);
/* The page with this URL; NULL. Pages that were taken out by api_pages_take() are not there. */
ApiPage *api_pages_find(const ApiPages *pages, const char *url);

/* Valid during the call only. */
typedef struct ApiEntry {
        const char *name;
        ForgeEntryKind kind;
        unsigned flags;
} ApiEntry;
/* In the order of the page. Returning false ends it; returns whether it came to its end. */
bool api_page_each(
        const ApiPage *page, bool (*fn)(const ApiEntry *entry, void *userdata), void *userdata);

/* True if the configuration shows it. Archived and forks count, and the names: a pattern with a
 * slash stands for the path below the org, another for the name. owner: the directory, as in
 * ForgeList. Owners are hidden by Exclude= only: what is to be shown may be below them. */
bool api_entry_is_shown(const OrgConfig *org, const char *owner, const ApiEntry *entry);

/* As bytes, and back. What is read is from disk: -EBADMSG for whatever was not written so. */
int api_pages_format(const ApiPages *pages, Buf *ret);
int api_pages_parse(const void *data, size_t len, ApiPages *ret);

/* 1 and the pages; 0: nothing is kept, or it cannot be read. Reads the disk: workers only. */
int api_pages_load(const ApiForge *forge, const char *owner, ApiPages *ret);
/* Likewise writes it. What fails is logged: a listing that is not kept is asked for again. */
void api_pages_keep(const ApiForge *forge, const char *owner, const ApiPages *pages);
void api_pages_forget(const ApiForge *forge, const char *owner);
