/* Entries are packed, because an org has thousands of them and most are read to be passed on only:
 * a byte of flags and kind, the length of the name, the name.
 *
 *      document = MAGIC alternative:u8 n_pages:u32 page...
 *      page     = part:u8 moved:u8 url etag last_modified next sso n_entries:u32 len:u32 entries
 *      string   = len:u16 bytes
 *
 * Numbers are little-endian. */

#include "forge/api-listing.h"

#include <endian.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/array.h"
#include "util/log.h"
#include "util/path.h"

#define MAGIC "gitfs-listing-1\n"
#define KEY "listing"
#define KIND_OWNER 0x80 /* beside the flags */
#define NAME_MAX_LEN 255
#define PART_MAX 255

static_assert(_API_ENTRY_ALL < KIND_OWNER, "flags and kind share a byte");

/* --- pages --- */

void api_page_done(ApiPage *page) {
        free(page->url);
        free(page->etag);
        free(page->last_modified);
        free(page->next);
        free(page->sso);
        buf_done(&page->entries);
        *page = (ApiPage){0};
}

int api_page_init(ApiPage *page, unsigned part, const char *url) {
        *page = (ApiPage){
                .part = part,
                .url = strdup(url),
                .etag = strdup(""),
                .last_modified = strdup(""),
                .next = strdup(""),
                .sso = strdup(""),
        };
        if (page->url && page->etag && page->last_modified && page->next && page->sso)
                return 0;
        api_page_done(page);
        return -ENOMEM;
}

int api_page_add(ApiPage *page, ForgeEntryKind kind, const char *name, unsigned flags) {
        const uint8_t head[2] = {
                (uint8_t) ((flags & _API_ENTRY_ALL) | (kind == FORGE_OWNER ? KIND_OWNER : 0)),
                (uint8_t) strnlen(name, NAME_MAX_LEN),
        };

        if (!name_is_valid(name))
                return 0;
        if (page->n_entries >= API_LISTING_MAX_ENTRIES)
                return -E2BIG;
        int r = buf_reserve(&page->entries, sizeof(head) + head[1]);
        if (r >= 0)
                r = buf_append(&page->entries, head, sizeof(head));
        if (r >= 0)
                r = buf_append(&page->entries, name, head[1]);
        if (r >= 0)
                page->n_entries++;
        return r;
}

int api_page_set_next(ApiPage *page, const char *path) {
        char *copy = strdup(path ? path : "");
        if (!copy)
                return -ENOMEM;
        free(page->next);
        page->next = copy;
        page->next_is_set = true;
        return 0;
}

bool api_page_each(
        const ApiPage *page, bool (*fn)(const ApiEntry *entry, void *userdata), void *userdata) {
        const uint8_t *p = page->entries.data;
        char name[NAME_MAX_LEN + 1];

        for (size_t i = 0; i < page->n_entries; i++) {
                const ApiEntry entry = {
                        .name = name,
                        .kind = p[0] & KIND_OWNER ? FORGE_OWNER : FORGE_REPO,
                        .flags = p[0] & _API_ENTRY_ALL,
                };
                memcpy(name, p + 2, p[1]);
                name[p[1]] = '\0';
                p += 2 + p[1];
                if (!fn(&entry, userdata))
                        return false;
        }
        return true;
}

void api_pages_done(ApiPages *pages) {
        for (size_t i = 0; i < pages->n_pages; i++)
                api_page_done(&pages->pages[i]);
        free(pages->pages);
        *pages = (ApiPages){0};
}

int api_pages_take(ApiPages *pages, ApiPage *page) {
        if (pages->n_pages >= API_LISTING_MAX_PAGES ||
            pages->n_entries + page->n_entries > API_LISTING_MAX_ENTRIES)
                return -E2BIG;
        int r = ARRAY_RESERVE(pages->pages, pages->cap_pages, pages->n_pages + 1);
        if (r < 0)
                return r;
        pages->pages[pages->n_pages++] = *page;
        pages->n_entries += page->n_entries;
        *page = (ApiPage){0};
        return 0;
}

ApiPage *api_pages_find(const ApiPages *pages, const char *url) {
        for (size_t i = 0; i < pages->n_pages; i++)
                if (pages->pages[i].url && strcmp(pages->pages[i].url, url) == 0)
                        return &pages->pages[i];
        return NULL;
}

/* --- filters --- */

static bool matches(char **patterns, const char *owner, const char *name) {
        char path[PATH_MAX];

        if (snprintf(path, sizeof(path), "%s%s%s", owner, owner[0] ? "/" : "", name) >=
            (int) sizeof(path))
                return false;
        for (char **p = patterns; *p; p++)
                if (fnmatch(*p, strchr(*p, '/') ? path : name, 0) == 0)
                        return true;
        return false;
}

bool api_entry_is_shown(const OrgConfig *org, const char *owner, const ApiEntry *entry) {
        if (org->exclude && matches(org->exclude, owner, entry->name))
                return false;
        if (entry->kind == FORGE_OWNER)
                return true;
        if (org->no_archived && (entry->flags & API_ENTRY_ARCHIVED))
                return false;
        if (org->no_forks && (entry->flags & API_ENTRY_FORK))
                return false;
        return !org->include || matches(org->include, owner, entry->name);
}

/* --- writing --- */

static int append_u32(Buf *b, size_t value) {
        const uint32_t le = htole32((uint32_t) value);
        return buf_append(b, &le, sizeof(le));
}

static int append_string(Buf *b, const char *s) {
        size_t len = strlen(s);
        const uint16_t le = htole16((uint16_t) len);

        if (len > API_LISTING_MAX_TEXT)
                return -EFBIG;
        int r = buf_append(b, &le, sizeof(le));
        return r >= 0 ? buf_append(b, s, len) : r;
}

static int append_page(Buf *b, const ApiPage *page) {
        const char *const strings[] = {
                page->url, page->etag, page->last_modified, page->next, page->sso};
        const uint8_t head[2] = {(uint8_t) page->part, page->moved};

        int r = page->part <= PART_MAX ? buf_append(b, head, sizeof(head)) : -EFBIG;
        for (size_t i = 0; i < ELEMENTSOF(strings) && r >= 0; i++)
                r = append_string(b, strings[i]);
        if (r >= 0)
                r = append_u32(b, page->n_entries);
        if (r >= 0)
                r = append_u32(b, page->entries.len);
        if (r >= 0)
                r = buf_append(b, page->entries.data, page->entries.len);
        return r;
}

int api_pages_format(const ApiPages *pages, Buf *ret) {
        const uint8_t alternative = (uint8_t) pages->alternative;

        int r = buf_append(ret, MAGIC, strlen(MAGIC));
        if (r >= 0)
                r = buf_append(ret, &alternative, 1);
        if (r >= 0)
                r = append_u32(ret, pages->n_pages);
        for (size_t i = 0; i < pages->n_pages && r >= 0; i++)
                r = append_page(ret, &pages->pages[i]);
        return r;
}

/* --- reading --- */

typedef struct Reader {
        const uint8_t *p;
        size_t left;
} Reader;

static int take_bytes(Reader *r, size_t n, const uint8_t **ret) {
        if (r->left < n)
                return -EBADMSG;
        *ret = r->p;
        r->p += n;
        r->left -= n;
        return 0;
}

static int take_u32(Reader *r, size_t max, size_t *ret) {
        const uint8_t *bytes;
        uint32_t le;

        if (take_bytes(r, sizeof(le), &bytes) < 0)
                return -EBADMSG;
        memcpy(&le, bytes, sizeof(le));
        *ret = le32toh(le);
        return *ret <= max ? 0 : -EBADMSG;
}

static int take_string(Reader *r, char **ret) {
        const uint8_t *bytes;
        uint16_t le;

        if (take_bytes(r, sizeof(le), &bytes) < 0)
                return -EBADMSG;
        memcpy(&le, bytes, sizeof(le));
        size_t len = le16toh(le);
        if (len > API_LISTING_MAX_TEXT || take_bytes(r, len, &bytes) < 0)
                return -EBADMSG;
        if (memchr(bytes, '\0', len))
                return -EBADMSG;
        *ret = strndup((const char *) bytes, len);
        return *ret ? 0 : -ENOMEM;
}

static int check_entries(const uint8_t *p, size_t len, size_t n) {
        Reader r = {p, len};
        const uint8_t *head, *bytes;
        char name[NAME_MAX_LEN + 1];

        for (size_t i = 0; i < n; i++) {
                if (take_bytes(&r, 2, &head) < 0 || take_bytes(&r, head[1], &bytes) < 0)
                        return -EBADMSG;
                memcpy(name, bytes, head[1]);
                name[head[1]] = '\0';
                if (strlen(name) != head[1] || !name_is_valid(name) ||
                    (head[0] & ~(_API_ENTRY_ALL | KIND_OWNER)))
                        return -EBADMSG;
        }
        return r.left == 0 ? 0 : -EBADMSG;
}

static int take_page(Reader *reader, ApiPage *page) {
        char **strings[] = {&page->url, &page->etag, &page->last_modified, &page->next, &page->sso};
        const uint8_t *head, *entries;
        size_t n, len;

        int r = take_bytes(reader, 2, &head);
        for (size_t i = 0; i < ELEMENTSOF(strings) && r >= 0; i++)
                r = take_string(reader, strings[i]);
        if (r >= 0)
                r = take_u32(reader, API_LISTING_MAX_ENTRIES, &n);
        if (r >= 0)
                r = take_u32(reader, UINT32_MAX, &len);
        if (r >= 0)
                r = take_bytes(reader, len, &entries);
        if (r >= 0)
                r = head[1] <= 1 ? check_entries(entries, len, n) : -EBADMSG;
        if (r >= 0)
                r = buf_append(&page->entries, entries, len);
        if (r < 0)
                return r;
        page->part = head[0];
        page->moved = head[1];
        page->n_entries = n;
        return 0;
}

int api_pages_parse(const void *data, size_t len, ApiPages *ret) {
        Reader reader = {data, len};
        _cleanup_api_pages_ ApiPages pages = {0};
        const uint8_t *bytes;
        size_t n;

        if (take_bytes(&reader, strlen(MAGIC), &bytes) < 0 ||
            memcmp(bytes, MAGIC, strlen(MAGIC)) != 0 || take_bytes(&reader, 1, &bytes) < 0 ||
            take_u32(&reader, API_LISTING_MAX_PAGES, &n) < 0)
                return -EBADMSG;
        pages.alternative = bytes[0];
        for (size_t i = 0; i < n; i++) {
                _cleanup_api_page_ ApiPage page = {0};
                int r = take_page(&reader, &page);
                if (r >= 0)
                        r = api_pages_take(&pages, &page);
                if (r < 0)
                        return r == -E2BIG ? -EBADMSG : r;
        }
        if (reader.left > 0)
                return -EBADMSG;
        *ret = pages;
        pages = (ApiPages){0};
        return 0;
}

/* --- documents --- */

/* Which document is whose. */
static int pages_key(const ApiForge *forge, const char *owner, char **ret) {
        char *key;

        /* The org's name: the same owner may look different to the token of another org. */
        if (asprintf(&key, KEY " %s %s %s", forge->org->name, forge->api.base, owner) < 0)
                return -ENOMEM;
        *ret = key;
        return 0;
}

int api_pages_load(const ApiForge *forge, const char *owner, ApiPages *ret) {
        _cleanup_free_ char *key = NULL;
        _cleanup_buf_ Buf text = {0};

        if (!forge->context->documents || pages_key(forge, owner, &key) < 0)
                return 0;
        int r = documents_get(forge->context->documents, key, &text);
        if (r > 0)
                r = api_pages_parse(text.data, text.len, ret) < 0 ? -EBADMSG : 1;
        if (r < 0)
                log_debug("%s: %s, ignoring", key, strerrordesc_np(-r));
        return r > 0;
}

void api_pages_keep(const ApiForge *forge, const char *owner, const ApiPages *pages) {
        _cleanup_free_ char *key = NULL;
        _cleanup_buf_ Buf text = {0};

        if (!forge->context->documents)
                return;
        int r = pages_key(forge, owner, &key);
        if (r >= 0)
                r = api_pages_format(pages, &text);
        if (r >= 0)
                r = documents_put(forge->context->documents, key, text.data, text.len);
        if (r < 0)
                log_debug("a listing cannot be kept: %s, ignoring", strerrordesc_np(-r));
}

void api_pages_forget(const ApiForge *forge, const char *owner) {
        _cleanup_free_ char *key = NULL;

        if (forge->context->documents && pages_key(forge, owner, &key) >= 0)
                documents_remove(forge->context->documents, key);
}
