/* The inode table that another process left, with any bytes in it: it is refused, or what comes out
 * of it hangs together, and takes new nodes beside those that were there.
 *
 * The input changes what a real table has written, so that most of what is tried is nearly right:
 * its first byte says how many files there are, and then each four bytes are a page, a place in it
 * and the byte to put there. */

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tree/checkout.h"
#include "tree/node-table.h"
#include "tree/org.h"
#include "tree/repo.h"
#include "util/fd.h"

#define PAGE_BYTES 4096u
#define N_PAGES 64u       /* that are changed */
#define PLACES_BYTES 512u /* of each */
#define IMAGE_BYTES ((off_t) (1 + N_PAGES) * PAGE_BYTES)
#define ARENA_BYTES ((off_t) 64 << 20) /* no arena is smaller */
#define N_IMAGES 26u

static void stub_free(Source *source) {
}

static const SourceOps stub_ops = {.free = stub_free};

/* What the directories belong to. */
static Org org = {.ref = REF_INIT};
static Source source = {.ops = &stub_ops, .ref = REF_INIT, .url = (char *) "https://example.org/r"};
static Checkout *checkout;
static Buf images[N_IMAGES]; /* by the number of files */

static Node *add(NodeTable *t, Node *parent, NodeKind kind, const char *name) {
        const NodeSpec spec = {
                .kind = kind,
                .parent = parent,
                .name = name,
                .name_len = strlen(name),
                .oid = {.id = {1, 2, 3}, .algo = OID_SHA1},
                .owner = &org.root,
                .checkout = checkout,
        };
        Node *node;

        FUZZ_CHECK(node_table_get_or_add(t, &spec, &node) == 1);
        node_table_kernel_get(t, node);
        return node;
}

/* What a table with so many files has written. */
static void make_image(unsigned n_files, Buf *ret) {
        static const NodeKind kinds[] = {NODE_ORG, NODE_CHECKOUT, NODE_DIR, NODE_DIR};
        char name[] = "file a";
        NodeTable *t;

        FUZZ_CHECK(node_table_new(&t) == 0);
        Node *parent = node_ref(node_table_root(t));
        for (unsigned depth = 0; depth < ELEMENTSOF(kinds); depth++) {
                Node *dir = add(t, parent, kinds[depth], "directory");
                node_table_put(t, parent);
                parent = dir;
        }
        for (unsigned i = 0; i < n_files; i++) {
                name[5] = (char) ('a' + i);
                node_table_put(t, add(t, parent, NODE_FILE, name));
        }
        node_table_put(t, parent);
        FUZZ_CHECK(lseek(node_table_fd(t), IMAGE_BYTES, SEEK_DATA) < 0); /* there is no more */
        FUZZ_CHECK(buf_reserve(ret, IMAGE_BYTES) == 0);
        FUZZ_CHECK(pread(node_table_fd(t), ret->data, IMAGE_BYTES, 0) == IMAGE_BYTES);
        ret->len = IMAGE_BYTES;
        node_table_keep(t);
        node_table_free(t);
}

/* In a file as small as may be: looking through it takes less. */
static int make_arena(unsigned n_files) {
        static const uint8_t zeros[PAGE_BYTES];
        const uint8_t *image = images[n_files].data;
        int fd = memfd_create("nodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        FUZZ_CHECK(fd >= 0 && ftruncate(fd, ARENA_BYTES) == 0);
        for (off_t at = 0; at < IMAGE_BYTES; at += PAGE_BYTES)
                if (memcmp(image + at, zeros, PAGE_BYTES) != 0)
                        FUZZ_CHECK(pwrite(fd, image + at, PAGE_BYTES, at) == PAGE_BYTES);
        FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
        return fd;
}

static void change(int fd, const uint8_t *data, size_t size) {
        for (; size >= 4; data += 4, size -= 4) {
                unsigned page = 1 + data[0] % N_PAGES,
                         place = (data[1] << 8 | data[2]) % PLACES_BYTES;
                FUZZ_CHECK(pwrite(fd, data + 3, 1, (off_t) (page * PAGE_BYTES + place)) == 1);
        }
}

static void check_node(Node *node, void *userdata) {
        const Node *n = node;
        NodeTable *t = userdata;

        FUZZ_CHECK(strlen(node_name(node)) == node->name_len);
        FUZZ_CHECK(node_is_dir(node) || node->algo != OID_NONE);
        while (node_parent(n)) {
                n = node_parent(n);
                FUZZ_CHECK(node_is_dir(n));
        }
        FUZZ_CHECK(n == node_table_root(t));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        const CheckoutState state = {0};
        Repo *repo;

        FUZZ_CHECK(owner_init(&org.root, &org) == 0);
        FUZZ_CHECK(repo_new(&org.root, "repo", &source, &repo) == 0);
        FUZZ_CHECK(checkout_new(repo, "", "refs/heads/main", true, &state, &checkout) == 0);
        repo_unref(repo);
        for (unsigned i = 0; i < N_IMAGES; i++)
                make_image(i, &images[i]);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        NodeTable *t;

        if (size == 0)
                return 0;
        int fd = make_arena(data[0] % N_IMAGES);
        change(fd, data + 1, size - 1);
        if (node_table_recover(fd, &t) < 0) {
                safe_close(fd);
                return 0;
        }
        FUZZ_CHECK(node_table_each(t, check_node, t) == 0);
        node_table_put(t, add(t, node_table_root(t), NODE_DIR, "new"));
        node_table_free(t);
        return 0;
}
