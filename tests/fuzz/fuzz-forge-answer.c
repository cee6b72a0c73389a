/* Answers of every forge, of any shape: what comes out of them are names that can be in a directory
 * and paths that stay on the server. The first byte says whose answer it is, and to which question.
 */

#include <errno.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/api-listing.h"
#include "forge/git-refs.h"
#include "forge/github.h"
#include "fuzz.h"
#include "util/path.h"

#define N_HEADS 3u /* that are looked for in an answer of GraphQL */

static OrgConfig org;
static Config config;
static const ForgeContext context = {.config = &config};

/* Some forges keep more of themselves behind it. */
static union {
        ApiForge forge;
        char room[sizeof(ApiForge) + 64];
} closed;

static const ApiForgeOps *const forges[] = {
        &github_api_ops,
        &gitlab_api_ops,
        &gitea_api_ops,
        &mesa_api_ops,
};

static bool check_entry(const ApiEntry *entry, void *userdata) {
        FUZZ_CHECK(name_is_valid(entry->name));
        return true;
}

static void read_page(const ApiForgeOps *ops, const ApiListing *listing, const ApiAnswer *answer) {
        _cleanup_api_page_ ApiPage page = {0};

        FUZZ_CHECK(api_page_init(&page, listing->part, listing->url) == 0);
        int r = ops->list_page(&closed.forge, listing, answer, &page);
        FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -E2BIG);
        FUZZ_CHECK(api_page_each(&page, check_entry, NULL));
        FUZZ_CHECK(!page.next[0] || page.next[0] == '/');
}

static void read_others(const ApiForgeOps *ops, const ApiAnswer *answer) {
        _cleanup_api_repo_ ApiRepo repo = {0};
        Failure failure = {0};

        int r = ops->owner(&closed.forge, "acme", answer);
        FUZZ_CHECK(r == 0 || r == 1 || r == -EBADMSG);
        r = ops->repo(&closed.forge, answer, &repo, &failure);
        FUZZ_CHECK(r <= 1);
        if (r > 0)
                FUZZ_CHECK(repo.owner && repo.owner[0] && repo.name && repo.name[0]);
        for (size_t i = 0; ops == &github_api_ops && i < N_HEADS; i++) {
                Fetch head;
                if (github_head_read(json_get_object(answer->json, "data"), i, &head))
                        FUZZ_CHECK(
                                head.commit.algo == OID_SHA1 &&
                                git_refname_is_valid(head.resolved));
        }
        if (ops->identity)
                (void) ops->identity(answer->json); /* borrowed; whatever it is */
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const owners[] = {"acme", "@me", "github/acme", ""};
        _cleanup_(json_freep) Json *json = NULL;

        if (size < 1 || json_parse(data + 1, size - 1, &json) < 0)
                return 0;
        const ApiForgeOps *ops = forges[data[0] & 3];
        const ApiListing listing = {
                .owner = owners[(data[0] >> 2) & 3],
                .part = (data[0] >> 4) & 1,
                .page = (data[0] >> 5) & 1,
                .url = "/x?page=1",
        };
        const ApiAnswer answer = {
                .code = data[0] & 0x80 ? 202 : 200,
                .json = json,
                .etag = "",
                .last_modified = "",
                .next = "",
                .sso = "",
        };

        memset(&closed, 0, sizeof(closed));
        closed.forge.ops = ops;
        closed.forge.org = &org;
        closed.forge.context = &context;
        read_page(ops, &listing, &answer);
        read_others(ops, &answer);
        return 0;
}
