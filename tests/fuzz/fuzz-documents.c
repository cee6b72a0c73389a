/* The small documents that are kept beside the store, from a disk that lies. The first byte says
 * what the rest is: a whole file, perhaps with its checksum made right; or the content of an intact
 * one, for each of those who read them. What does not make sense is as good as not there. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "forge/git-host.h"
#include "fuzz.h"
#include "lib/store-fixture.h"
#include "store/documents.h"
#include "tree/namespace-private.h"
#include "tree/remembered.h"
#include "util/fd.h"
#include "util/htable.h"

#define ORIGIN "https://example.org:443"
#define URL "https://example.org/acme/app"
#define KEY "any key"
#define CRC_OFFSET 20u
#define HEADER_SIZE 24u

typedef enum Kind {
        KIND_FILE,
        KIND_FILE_MENDED,
        KIND_HOST,
        KIND_NAME,
        KIND_REF,
        _KIND_MAX,
} Kind;

static void stub_free(Source *source) {
}

static char *directory;
static Documents *documents;
static Pool *pool;
static const SourceOps stub_ops = {.free = stub_free};
static Source source = {.ops = &stub_ops, .ref = REF_INIT, .url = (char *) URL};
static OrgConfig *org_config;
static Org org = {.ref = REF_INIT};
static ForgeContext context;
static Namespace ns = {.context = &context};
static Repo *repo;

static void clean_up(void) {
        repo_unref(repo);
        owner_done(&org.root);
        org_config_free(org_config);
        documents_close(documents);
        pool_free(pool);
        scratch_remove(directory);
        free(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        directory = scratch_new();
        if (atexit(clean_up) != 0 || documents_open(directory, 1 << 20, &documents) < 0 ||
            pool_new(1, &pool) < 0 ||
            org_config_new("acme", ORG_GIT, "https://example.org/acme", &org_config) < 0 ||
            owner_init(&org.root, &org) < 0 || repo_new(&org.root, "app", &source, &repo) < 0)
                abort();
        context.documents = documents;
        org.config = org_config;
        return 0;
}

/* As documents.c names it. */
static void write_file(const uint8_t *data, size_t size) {
        _cleanup_free_ char *path = NULL;

        FUZZ_CHECK(
                asprintf(
                        &path,
                        "%s/%016" PRIx64 "%016" PRIx64,
                        directory,
                        hash_bytes_stable(KEY, strlen(KEY), 1),
                        hash_bytes_stable(KEY, strlen(KEY), 2)) > 0);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        FUZZ_CHECK(fd >= 0 && write_all(fd, data, size) == 0);
}

/* The checksum covers the file but for itself. */
static void mend(uint8_t *file, size_t size) {
        if (size < HEADER_SIZE)
                return;
        uLong crc = crc32_z(0, file, CRC_OFFSET);
        crc = crc32_z(crc, file + HEADER_SIZE, size - HEADER_SIZE);
        for (unsigned i = 0; i < 4; i++)
                file[CRC_OFFSET + i] = (uint8_t) (crc >> (8 * i));
}

static void read_file_of(const uint8_t *data, size_t size, bool mended) {
        _cleanup_free_ uint8_t *file = malloc(size + 1);
        _cleanup_buf_ Buf content = {0};
        uint64_t n_checked, n_damaged;

        FUZZ_CHECK(file);
        if (size > 0)
                memcpy(file, data, size);
        if (mended)
                mend(file, size);
        write_file(file, size);
        int r = documents_get(documents, KEY, &content);
        FUZZ_CHECK(r == 0 || r == 1);
        if (r > 0) {
                size_t before = HEADER_SIZE + strlen(KEY);
                FUZZ_CHECK(before + content.len == size);
                FUZZ_CHECK(
                        content.len == 0 || memcmp(content.data, file + before, content.len) == 0);
        }
        FUZZ_CHECK(documents_verify(documents, &n_checked, &n_damaged) == 0);
        FUZZ_CHECK(n_checked == 1 && n_damaged == (r == 0));
        documents_remove(documents, KEY);
}

static void put(const char *key, const char *prefix, const uint8_t *data, size_t size) {
        _cleanup_buf_ Buf text = {0};

        FUZZ_CHECK(buf_append_str(&text, prefix) == 0 && buf_append(&text, data, size) == 0);
        FUZZ_CHECK(documents_put(documents, key, text.data, text.len) == 0);
}

/* What a server can do is believed for a day, so the content begins with the time. */
static void read_host(const uint8_t *data, size_t size) {
        static const char key[] = "git-capabilities " ORIGIN;
        GitCapabilities found, again;
        _cleanup_buf_ Buf text = {0};
        GitHosts *hosts;
        char now[32];

        (void) snprintf(now, sizeof(now), "%lld ", (long long) time(NULL)); /* it fits */
        put(key, now, data, size);
        FUZZ_CHECK(git_hosts_new(pool, documents, &hosts) == 0);
        if (git_hosts_get(hosts, ORIGIN, &found) > 0) {
                FUZZ_CHECK(git_capabilities_format(&found, &text) == 0 && buf_str(&text));
                FUZZ_CHECK(git_capabilities_parse((const char *) text.data, &again) == 0);
                FUZZ_CHECK(git_capabilities_cover(&found, &again));
                FUZZ_CHECK(git_capabilities_cover(&again, &found));
        }
        git_hosts_free(hosts);
        documents_remove(documents, key);
}

static void read_name(const uint8_t *data, size_t size) {
        static const char key[] = "name\nacme\ngit\nhttps://example.org/acme\n\n\napp";
        _cleanup_free_ char *url = NULL;

        put(key, "", data, size);
        int r = remembered_name(&ns, &org.root, "app", &url);
        FUZZ_CHECK(r == 0 || r == 1);
        FUZZ_CHECK(r == 1 || !url);
        documents_remove(documents, key);
}

static void read_ref(const uint8_t *data, size_t size) {
        static const char key[] = "ref\n" URL "\nmain";
        RememberedRef ref;

        put(key, "", data, size);
        int r = remembered_ref(&ns, repo, "main", &ref);
        FUZZ_CHECK(r == 0 || r == 1);
        if (r == 1) {
                FUZZ_CHECK(!oid_is_none(&ref.commit));
                FUZZ_CHECK(memchr(ref.resolved, '\0', sizeof(ref.resolved)));
        }
        documents_remove(documents, key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        Kind kind = data[0] % _KIND_MAX;
        if (kind <= KIND_FILE_MENDED)
                read_file_of(data + 1, size - 1, kind == KIND_FILE_MENDED);
        else if (kind == KIND_HOST)
                read_host(data + 1, size - 1);
        else if (kind == KIND_NAME)
                read_name(data + 1, size - 1);
        else
                read_ref(data + 1, size - 1);
        return 0;
}
