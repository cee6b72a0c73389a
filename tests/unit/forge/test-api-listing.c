#include <errno.h>
#include <string.h>

#include "forge/api-listing.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"

/* Listings as they are kept. */

static void add_page(ApiPages *pages, const char *url, const char *const *names, unsigned flags) {
        ApiPage page;

        ck_assert_int_eq(api_page_init(&page, 3, url), 0);
        for (; *names; names++)
                ck_assert_int_eq(api_page_add(&page, FORGE_REPO, *names, flags), 0);
        ck_assert_int_eq(api_pages_take(pages, &page), 0);
        api_page_done(&page); /* of what was taken nothing is left */
}

typedef struct Names {
        char text[1000];
        unsigned flags;
        unsigned n_owners;
        unsigned stop_after;
} Names;

static bool collect(const ApiEntry *entry, void *userdata) {
        Names *names = userdata;

        strcat(names->text, entry->name);
        strcat(names->text, " ");
        names->flags |= entry->flags;
        names->n_owners += entry->kind == FORGE_OWNER;
        return names->stop_after == 0 || --names->stop_after > 0;
}

START_TEST(entries_are_names_in_a_directory) {
        _cleanup_api_page_ ApiPage page = {0};
        Names names = {0};
        char longest[257];

        memset(longest, 'x', sizeof(longest));
        longest[256] = '\0';
        ck_assert_int_eq(api_page_init(&page, 0, "/u"), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, "one", API_ENTRY_FORK), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_OWNER, "two", API_ENTRY_ARCHIVED), 0);
        /* What would leave the directory, or cannot be in it. */
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, "..", 0), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, "a/b", 0), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, "", 0), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, "a\nb", 0), 0);
        ck_assert_int_eq(api_page_add(&page, FORGE_REPO, longest, 0), 0);
        ck_assert_uint_eq(page.n_entries, 2);
        ck_assert(api_page_each(&page, collect, &names));
        ck_assert_str_eq(names.text, "one two ");
        ck_assert_uint_eq(names.flags, API_ENTRY_FORK | API_ENTRY_ARCHIVED);
        ck_assert_uint_eq(names.n_owners, 1);

        names = (Names){.stop_after = 1};
        ck_assert(!api_page_each(&page, collect, &names));
        ck_assert_str_eq(names.text, "one ");
}
END_TEST

static void fill(ApiPages *pages) {
        add_page(pages, "/first", (const char *const[]){"a", "b", NULL}, API_ENTRY_ARCHIVED);
        add_page(pages, "https://h/second?page=2", (const char *const[]){"c", NULL}, 0);
        add_page(pages, "/empty", (const char *const[]){NULL}, 0);
        pages->alternative = 1;
        free(pages->pages[0].etag);
        pages->pages[0].etag = strdup("W/\"abc\"");
        ck_assert_int_eq(api_page_set_next(&pages->pages[0], "https://h/second?page=2"), 0);
        pages->pages[1].moved = true;
        free(pages->pages[1].sso);
        pages->pages[1].sso = strdup("partial-results; organizations=1");
}

START_TEST(what_is_written_is_read_again) {
        _cleanup_api_pages_ ApiPages pages = {0};
        _cleanup_api_pages_ ApiPages again = {0};
        _cleanup_buf_ Buf text = {0};
        Names names = {0};

        fill(&pages);
        ck_assert_int_eq(api_pages_format(&pages, &text), 0);
        ck_assert_int_eq(api_pages_parse(text.data, text.len, &again), 0);
        ck_assert_uint_eq(again.alternative, 1);
        ck_assert_uint_eq(again.n_pages, 3);
        ck_assert_uint_eq(again.n_entries, 3);
        ck_assert_uint_eq(again.pages[0].part, 3);
        ck_assert_str_eq(again.pages[0].url, "/first");
        ck_assert_str_eq(again.pages[0].etag, "W/\"abc\"");
        ck_assert_str_eq(again.pages[0].last_modified, "");
        ck_assert_str_eq(again.pages[0].next, "https://h/second?page=2");
        ck_assert(again.pages[1].moved);
        ck_assert_str_eq(again.pages[1].sso, "partial-results; organizations=1");
        ck_assert(api_page_each(&again.pages[0], collect, &names));
        ck_assert(api_page_each(&again.pages[1], collect, &names));
        ck_assert(api_page_each(&again.pages[2], collect, &names));
        ck_assert_str_eq(names.text, "a b c ");
        ck_assert_uint_eq(names.flags, API_ENTRY_ARCHIVED);
        ck_assert_ptr_eq(api_pages_find(&again, "/empty"), &again.pages[2]);
        ck_assert_ptr_null(api_pages_find(&again, "/other"));
}
END_TEST

/* Whatever is cut off or damaged is no listing; no byte of it is trusted. */
START_TEST(damage_is_noticed) {
        _cleanup_api_pages_ ApiPages pages = {0};
        _cleanup_buf_ Buf text = {0};

        fill(&pages);
        ck_assert_int_eq(api_pages_format(&pages, &text), 0);
        for (size_t len = 0; len < text.len; len++) {
                ApiPages bad = {0};
                ck_assert_int_eq(api_pages_parse(text.data, len, &bad), -EBADMSG);
        }
        for (size_t i = 0; i < text.len; i++) {
                _cleanup_api_pages_ ApiPages other = {0};
                text.data[i] ^= 0xff;
                int r = api_pages_parse(text.data, text.len, &other);
                ck_assert(r == 0 || r == -EBADMSG);
                text.data[i] ^= 0xff;
        }
        ck_assert_int_eq(buf_append(&text, "x", 1), 0);
        ApiPages bad = {0};
        ck_assert_int_eq(api_pages_parse(text.data, text.len, &bad), -EBADMSG);
}
END_TEST

static bool shown(const OrgConfig *org, const char *owner, const char *name, unsigned flags) {
        const ApiEntry entry = {.name = name, .kind = FORGE_REPO, .flags = flags};
        return api_entry_is_shown(org, owner, &entry);
}

START_TEST(filters_hide_what_they_say) {
        char app[] = "app*", tools[] = "tools/*", old[] = "*-old", secret[] = "secret";
        char *include[] = {app, tools, NULL};
        char *exclude[] = {old, secret, NULL};
        OrgConfig org = {0};

        ck_assert(shown(&org, "", "x", _API_ENTRY_ALL));
        org.no_archived = true;
        ck_assert(!shown(&org, "", "x", API_ENTRY_ARCHIVED));
        ck_assert(shown(&org, "", "x", API_ENTRY_FORK));
        org.no_forks = true;
        ck_assert(!shown(&org, "", "x", API_ENTRY_FORK));

        org.include = include;
        ck_assert(shown(&org, "", "app1", 0));
        ck_assert(shown(&org, "deep/below", "app1", 0));
        ck_assert(!shown(&org, "", "lib", 0));
        ck_assert(shown(&org, "tools", "lib", 0)); /* a path */
        ck_assert(!shown(&org, "other", "lib", 0));
        org.exclude = exclude;
        ck_assert(!shown(&org, "", "app-old", 0)); /* it has the last word */

        /* Owners hold what may be shown. */
        const ApiEntry owner = {.name = "lib", .kind = FORGE_OWNER};
        const ApiEntry hidden = {.name = "secret", .kind = FORGE_OWNER};
        ck_assert(api_entry_is_shown(&org, "", &owner));
        ck_assert(!api_entry_is_shown(&org, "", &hidden));
}
END_TEST

START_TEST(listings_are_kept_by_owner) {
        _cleanup_temp_dir_ TempDir dir = {0};
        _cleanup_(documents_closep) Documents *documents = NULL;
        _cleanup_api_pages_ ApiPages pages = {0};
        _cleanup_api_pages_ ApiPages again = {0};
        ApiPages none = {0};
        ForgeContext context = {0};
        char name[] = "work", base[] = "https://h/api";
        OrgConfig org = {.name = name};
        ApiForge forge = {.context = &context, .org = &org, .api = {.base = base}};

        temp_dir_init(&dir);
        fill(&pages);
        api_pages_keep(&forge, "acme", &pages); /* nowhere */
        ck_assert_int_eq(api_pages_load(&forge, "acme", &none), 0);
        ck_assert_int_eq(documents_open(dir.path, 1 << 20, &documents), 0);
        context.documents = documents;
        ck_assert_int_eq(api_pages_load(&forge, "acme", &none), 0);
        api_pages_keep(&forge, "acme", &pages);
        ck_assert_int_eq(api_pages_load(&forge, "other", &none), 0);
        ck_assert_int_eq(api_pages_load(&forge, "acme", &again), 1);
        ck_assert_uint_eq(again.n_entries, 3);
        api_pages_forget(&forge, "acme");
        ck_assert_int_eq(api_pages_load(&forge, "acme", &none), 0);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, entries_are_names_in_a_directory);
        tcase_add_test(tc, what_is_written_is_read_again);
        tcase_add_test(tc, damage_is_noticed);
        tcase_add_test(tc, filters_hide_what_they_say);
        tcase_add_test(tc, listings_are_kept_by_owner);
}

CHECK_MAIN("api-listing", add_tests)
