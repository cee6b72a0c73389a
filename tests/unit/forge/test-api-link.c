#include <string.h>

#include "gitfs/macro.h"

#include "forge/api-link.h"
#include "lib/check-main.h"

#define URL "https://api.example.org/orgs/acme/repos?per_page=100"
#define NEXT "https://api.example.org/organizations/7/repos?per_page=100&page=2"

START_TEST(the_next_page_is_found) {
        static const struct {
                const char *header, *next;
        } cases[] = {
                {"", ""},
                {"<" NEXT ">; rel=\"next\"", NEXT},
                {"<" NEXT ">; rel=\"next\", <https://api.example.org/x?page=9>; rel=\"last\"",
                 NEXT},
                {"<https://api.example.org/x>; rel=\"prev\", <" NEXT ">; rel=\"next\"", NEXT},
                {"<https://api.example.org/x>; rel=\"first\",<https://api.example.org/x>;rel=last",
                 ""},
                /* RFC 8288: blanks, no quotes, any case, several words, other parameters */
                {"  <" NEXT ">  ;  REL = \"NEXT\"  ", NEXT},
                {"<" NEXT ">;rel=next", NEXT},
                {"<" NEXT ">; rel=\"last next\"", NEXT},
                {"<" NEXT ">; rel=\"nextish\"", ""},
                {"<" NEXT ">; rel=\"prev-next\"", ""},
                {"<" NEXT ">; xrel=\"next\"", ""},
                {"<" NEXT ">; rel", ""},
                {"<" NEXT ">; rel=", ""},
                {"<" NEXT ">; rel=\"\"", ""},
                {"<" NEXT ">; title=\"a, b; rel=\\\"prev\\\"\"; rel=\"next\"", NEXT},
                {"<" NEXT ">; title=\"<x>; rel=next\"; rel=last", ""},
                {"<" NEXT ">; rel=prev; rel=next", ""}, /* the first counts */
                {"<" NEXT ">; rel=\"next\"; rel=\"prev\"", NEXT},
                /* the first next */
                {"<" NEXT ">; rel=next, <https://api.example.org/other>; rel=next", NEXT},
                /* a comma and a semicolon in the URL */
                {"<https://api.example.org/x?a=1,2;b>; rel=next",
                 "https://api.example.org/x?a=1,2;b"},
                /* what stands there stays: no case is changed, nothing is decoded */
                {"<https://API.example.org:443/x%2f/../y?q=%41>; rel=next",
                 "https://API.example.org:443/x%2f/../y?q=%41"},
                /* relative ones */
                {"<?page=2>; rel=next", "https://api.example.org/orgs/acme/repos?page=2"},
                {"</x?page=2>; rel=next", "https://api.example.org/x?page=2"},
                {"<page/2>; rel=next", "https://api.example.org/orgs/acme/page/2"},
                {"<//api.example.org/x>; rel=next", "https://api.example.org/x"},
                /* other servers: the token would go there */
                {"<https://evil.example.org/x>; rel=next", ""},
                {"<http://api.example.org/x>; rel=next", ""},
                {"<https://api.example.org:8443/x>; rel=next", ""},
                {"<https://api.example.org@evil.example.org/x>; rel=next", ""},
                {"<https://user:pw@api.example.org/x>; rel=next", ""},
                {"<//evil.example.org/x>; rel=next", ""},
                {"<ftp://api.example.org/x>; rel=next", ""},
                {"<javascript:alert(1)>; rel=next", ""},
                /* broken */
                {"<" NEXT, ""},
                {NEXT "; rel=next", ""},
                {"<>; rel=next", ""},
                {"<" NEXT ">; rel=\"next", NEXT},
                {"<" NEXT ">; title=\"open; rel=next", ""},
                {"<", ""},
                {">;;;,,,\"", ""},
                {"<a>;=", ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *next = NULL;
                ck_assert_int_eq(api_link_next(cases[i].header, URL, &next), 0);
                ck_assert_msg(strcmp(next, cases[i].next) == 0, "%s: %s", cases[i].header, next);
        }
}
END_TEST

START_TEST(that_there_is_more_is_told_wherever_it_is) {
        ck_assert(api_link_has_next("<" NEXT ">; rel=\"next\""));
        ck_assert(api_link_has_next("<https://evil.example.org/x>; rel=next"));
        ck_assert(!api_link_has_next("<" NEXT ">; rel=\"last\""));
        ck_assert(!api_link_has_next(""));
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, the_next_page_is_found);
        tcase_add_test(tc, that_there_is_more_is_told_wherever_it_is);
}

CHECK_MAIN("api-link", add_tests)
