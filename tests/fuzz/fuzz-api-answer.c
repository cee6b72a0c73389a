/* What a forge's API answers. The first byte says which forge was asked, the second what for; the
 * rest is the answer. Whatever it is, no name gets out of its directory. */

#include <errno.h>
#include <string.h>

#include "forge/api-forges.h"
#include "forge/api-listing.h"
#include "forge/gitea-sizes.h"
#include "forge/gitlab-sizes.h"
#include "forge/mesa-sizes.h"
#include "fuzz.h"

static const ApiForgeOps *const forges[] = {&gitlab_api_ops, &gitea_api_ops, &mesa_api_ops};

typedef enum Question {
        ASK_LIST,
        ASK_SECOND_PART,
        ASK_ME,
        ASK_MIRROR,
        ASK_OWNER,
        ASK_REPO,
        ASK_SIZES,
        ASK_BLOB,
        _QUESTION_MAX,
} Question;

static OrgConfig org;
static Config config;
static const ForgeContext context = {.config = &config};

static union {
        ApiForge forge;
        char room[sizeof(ApiForge) + 64]; /* Mesa has more of itself */
} closed;

static bool check_entry(const ApiEntry *entry, void *userdata) {
        FUZZ_CHECK(entry->name[0] && !strchr(entry->name, '/'));
        FUZZ_CHECK(strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0);
        return true;
}

static void list(Question question, const ApiForgeOps *ops, const ApiAnswer *answer) {
        static const char *const owners[] = {"acme", "acme", "@me", "github"};
        const ApiListing listing = {
                .owner = owners[question],
                .part = question == ASK_SECOND_PART,
                .url = "/acme?page=1",
        };
        ApiPage page;

        FUZZ_CHECK(api_page_init(&page, listing.part, listing.url) == 0);
        int r = ops->list_page(&closed.forge, &listing, answer, &page);
        FUZZ_CHECK(r == 0 || r == -EBADMSG);
        FUZZ_CHECK(api_page_each(&page, check_entry, NULL));
        /* What comes next is asked of the same server. */
        FUZZ_CHECK(!page.next[0] || page.next[0] == '/');
        FUZZ_CHECK(page.next[0] != '/' || page.next[1] != '/');
        api_page_done(&page);
}

static void find_repo(const ApiForgeOps *ops, const ApiAnswer *answer) {
        _cleanup_api_repo_ ApiRepo repo = {0};
        Failure failure;

        if (ops->repo(&closed.forge, answer, &repo, &failure) > 0)
                FUZZ_CHECK(repo.owner[0] && repo.name[0]);
}

static void on_size(Fetch *fetch, const Oid *oid, uint64_t size) {
        FUZZ_CHECK(size <= INT64_MAX);
        FUZZ_CHECK(oid_equal(oid, fetch->oids));
}

static void read_sizes(const Json *json) {
        static const Oid asked = {.algo = OID_SHA1};
        Fetch fetch = {.oids = &asked, .n_oids = 1, .size = on_size};
        _cleanup_(api_sizes_freep) ApiSizes *sizes = NULL;

        FUZZ_CHECK(api_sizes_new(&fetch, &sizes) == 0);
        (void) gitlab_sizes_read(json, sizes); /* what it makes of it does not matter here */
        (void) gitea_sizes_read(json, sizes);  /* likewise */
        mesa_sizes_read(json, sizes);
}

static void read_blob(const Json *json) {
        _cleanup_buf_ Buf blob = {0};

        if (gitea_api_ops.blob_read(json, &blob) < 0)
                FUZZ_CHECK(blob.len == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) Json *json = NULL;

        if (size < 2 || json_parse(data + 2, size - 2, &json) < 0)
                return 0;
        const ApiForgeOps *ops = forges[data[0] % ELEMENTSOF(forges)];
        const ApiAnswer answer = {
                .code = data[0] & 0x80 ? 202 : 200,
                .json = json,
                .more = data[0] & 0x40,
                .next = "",
        };
        memset(&closed, 0, sizeof(closed));
        closed.forge.ops = ops;
        closed.forge.org = &org;
        closed.forge.context = &context;

        Question question = data[1] % _QUESTION_MAX;
        switch (question) {
        case ASK_LIST:
        case ASK_SECOND_PART:
        case ASK_ME:
        case ASK_MIRROR:
                list(question, ops, &answer);
                break;
        case ASK_OWNER:
                (void) ops->owner(&closed.forge, "acme", &answer); /* must only come back */
                break;
        case ASK_REPO:
                find_repo(ops, &answer);
                break;
        case ASK_SIZES:
                read_sizes(json);
                break;
        case ASK_BLOB:
                read_blob(json);
                break;
        case _QUESTION_MAX:
                break;
        }
        return 0;
}
