/* What any local process can ask of a mount: names, of which the daemon makes repositories and
 * refs; offsets in listings, where lseek() puts anything; extended attributes. The name space is
 * the real one, over a repository on this machine.
 *
 * A question is a byte that says which, one that picks a node, and what belongs to it. A listing
 * that is begun anywhere ends as the whole one does, and where a node says that it is, it is found.
 */

#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "lib/store-fixture.h"
#include "tree/namespace-admin.h"
#include "tree/namespace.h"
#include "util/clock.h"
#include "util/subprocess.h"

#define QUESTIONS_MAX 48u
/* Each question lists the largest directory twice at most. */
#define NODES_MAX (2 * QUESTIONS_MAX * 32)

typedef enum Question {
        ASK_NAME,
        ASK_LIST,
        ASK_LIST_PLUS,
        ASK_CONTENT,
        ASK_XATTR,
        ASK_PATH,
        ASK_FORGET,
        _QUESTION_MAX,
} Question;

static const char *const words[] = {
        "o",
        "work",
        "work@main",
        "work@v1",
        "work@refs%2Fheads%2Fmain",
        "work@HEAD",
        "dir",
        "file",
        "a",
        "deep",
        "work@",
        "work@0123456789abcdef0123456789abcdef01234567",
        "..",
        ".",
        "user.gitfs.oid",
        "user.gitfs.commit",
        "user.gitfs.url",
        "user.gitfs.ref",
};

typedef struct Input {
        const uint8_t *data;
        size_t left;
} Input;

/* One reference each. */
static struct {
        uint64_t ids[NODES_MAX];
        size_t n;
} known;
static Config config = {.max_object_size = 1 << 20};
static ForgeContext context = {.config = &config};
static FlightTable *flights;
static Namespace *ns;
static char *directory;

static uint8_t next_byte(Input *in) {
        if (in->left == 0)
                return 0;
        in->left--;
        return *in->data++;
}

static void next_name(Input *in, char ret[NAME_MAX + 1]) {
        uint8_t first = next_byte(in);
        size_t len = MIN((size_t) first & 0x7f, in->left);

        if (first & 0x80) {
                const char *word = words[(first & 0x7f) % ELEMENTSOF(words)];
                memcpy(ret, word, strlen(word) + 1);
                return;
        }
        memcpy(ret, in->data, len);
        ret[len] = '\0';
        in->data += len;
        in->left -= len;
}

static uint64_t pick(Input *in) {
        size_t i = next_byte(in) % (known.n + 1);

        return i < known.n ? known.ids[i] : NS_ROOT_ID;
}

static void keep(uint64_t id) {
        FUZZ_CHECK(known.n < NODES_MAX);
        known.ids[known.n++] = id;
}

/* --- calls that wait --- */

typedef struct Caller {
        FlightWaiter waiter;
        NsCall call;
        sem_t landed;
        int result;
} Caller;

static void on_landed(FlightWaiter *waiter, int result, const Failure *failure) {
        Caller *c = container_of(waiter, Caller, waiter);

        c->result = result;
        FUZZ_CHECK(sem_post(&c->landed) == 0);
}

static void caller_init(Caller *c) {
        *c = (Caller){.waiter.landed = on_landed};
        c->call = (NsCall){.flags = NS_MAY_BLOCK, .waiter = &c->waiter};
        FUZZ_CHECK(sem_init(&c->landed, 0, 0) == 0);
}

/* True if the call has to be made again, else *r is its result. */
static bool caller_waits(Caller *c, int *r) {
        if (*r == NS_PARKED) {
                while (sem_wait(&c->landed) < 0)
                        FUZZ_CHECK(errno == EINTR);
                if (c->result >= 0)
                        return true;
                *r = c->result;
        }
        FUZZ_CHECK(sem_destroy(&c->landed) == 0);
        return false;
}

static int look_up(uint64_t parent, const char *name, NsAttr *ret) {
        Caller c;
        int r;

        caller_init(&c);
        do
                r = ns_lookup(ns, &c.call, parent, name, ret);
        while (caller_waits(&c, &r));
        return r;
}

/* --- questions --- */

static void ask_name(uint64_t parent, Input *in) {
        char name[NAME_MAX + 1];
        NsAttr attr, again;

        next_name(in, name);
        if (look_up(parent, name, &attr) <= 0)
                return;
        FUZZ_CHECK(attr.id != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
        FUZZ_CHECK(ns_getattr(ns, attr.id, &again) == 0);
        FUZZ_CHECK(again.mode == attr.mode && again.size == attr.size);
        keep(attr.id);
}

typedef struct NameListing {
        Buf names;       /* each with a slash behind */
        uint64_t offset; /* of the last */
        bool plus;
} NameListing;

static bool on_entry(const char *name, const NsAttr *attr, uint64_t next_offset, void *userdata) {
        NameListing *l = userdata;

        FUZZ_CHECK(name[0] && strlen(name) <= NAME_MAX && !strchr(name, '/'));
        FUZZ_CHECK(next_offset != 0 && next_offset <= INT64_MAX); /* it becomes an off_t */
        FUZZ_CHECK(l->plus || attr->id == 0);
        if (attr->id != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
                keep(attr->id);
        FUZZ_CHECK(buf_append_str(&l->names, name) == 0 && buf_append(&l->names, "/", 1) == 0);
        l->offset = next_offset;
        return true;
}

static int list(uint64_t id, uint64_t offset, bool plus, NameListing *l) {
        Caller c;
        int r;

        l->plus = plus;
        caller_init(&c);
        do
                r = ns_readdir(ns, &c.call, id, offset, plus, on_entry, l);
        while (caller_waits(&c, &r));
        return r;
}

static uint64_t next_offset(Input *in, uint64_t last) {
        uint8_t kind = next_byte(in);
        uint64_t offset = 0;

        if (kind < 64) /* near the end of what was listed */
                return last - kind;
        for (unsigned i = 0; i < 8; i++)
                offset = offset << 8 | next_byte(in);
        return kind < 128 ? offset : (last & ~(uint64_t) UINT32_MAX) | (offset >> 32);
}

static void ask_list(uint64_t id, Input *in, bool plus) {
        NameListing whole = {0}, part = {0};

        if (list(id, 0, plus, &whole) == 0 &&
            list(id, next_offset(in, whole.offset), plus, &part) == 0) {
                FUZZ_CHECK(part.names.len <= whole.names.len);
                FUZZ_CHECK(
                        part.names.len == 0 ||
                        memcmp(whole.names.data + whole.names.len - part.names.len,
                               part.names.data,
                               part.names.len) == 0);
        }
        buf_done(&whole.names);
        buf_done(&part.names);
}

static void ask_content(uint64_t id) {
        _cleanup_object_ref_ ObjectRef content = {0};
        NsAttr attr;
        Caller c;
        int r;

        caller_init(&c);
        do
                r = ns_content(ns, &c.call, id, &content);
        while (caller_waits(&c, &r));
        if (r >= 0 && ns_getattr(ns, id, &attr) == 0)
                FUZZ_CHECK(content.size == attr.size);
}

static void ask_xattr(uint64_t id, Input *in) {
        _cleanup_buf_ Buf names = {0};
        _cleanup_buf_ Buf value = {0};
        char name[NAME_MAX + 1];

        next_name(in, name);
        (void) ns_getxattr(ns, id, name, &value); /* mostly there is none */
        if (ns_listxattr(ns, id, &names) < 0)
                return;
        FUZZ_CHECK(names.len == 0 || names.data[names.len - 1] == '\0');
        for (size_t at = 0; at < names.len; at += strlen((char *) names.data + at) + 1) {
                _cleanup_buf_ Buf listed = {0};
                FUZZ_CHECK(ns_getxattr(ns, id, (char *) names.data + at, &listed) == 0);
        }
}

static void ask_path(uint64_t id) {
        _cleanup_buf_ Buf path = {0};
        NsAttr attr = {.id = NS_ROOT_ID};
        char *rest;

        if (ns_path(ns, id, &path) < 0)
                return;
        FUZZ_CHECK(buf_str(&path));
        rest = (char *) path.data;
        for (char *name; path.len > 0 && (name = strsep(&rest, "/"));) {
                uint64_t parent = attr.id;
                FUZZ_CHECK(look_up(parent, name, &attr) == 1);
                if (parent != NS_ROOT_ID)
                        ns_forget(ns, parent, 1);
        }
        FUZZ_CHECK(attr.id == id);
        if (id != NS_ROOT_ID)
                ns_forget(ns, id, 1);
}

static void ask_forget(void) {
        if (known.n > 0)
                ns_forget(ns, known.ids[--known.n], 1);
}

/* --- */

static void clean_up(void) {
        ns_stop(ns);
        pool_free(context.pool);
        ns_free(ns);
        flight_table_free(flights);
        store_close(context.store);
        object_library_done();
        scratch_remove(directory);
        free(directory);
}

static void make_repository(void) {
        static const char script[] =
                "set -e; git init -q -b main \"$1/work\"; cd \"$1/work\"; mkdir -p dir "
                "deep/deep/deep;"
                "for i in a b c d e f g h i j k l m n o p q r s t u v w x y z; do echo $i >dir/$i; "
                "done;"
                "echo content >file; echo deep >deep/deep/deep/file; ln -s dir/a link; git add -A;"
                "git -c user.name=n -c user.email=e commit -q -m m; git tag v1";
        const char *const argv[] = {"sh", "-c", script, "sh", directory, NULL};
        _cleanup_buf_ Buf output = {0};

        FUZZ_CHECK(subprocess_run(argv, NULL, NULL, 0, 4096, 60 * USEC_PER_SEC, &output) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        const StoreConfig store_config = {.memory_limit = 16 << 20};
        const NsConfig ns_config = {
                .request_timeout_usec = 60 * USEC_PER_SEC,
                .negative_timeout_usec = 60 * USEC_PER_SEC,
                .listing_limit = 1 << 20,
        };
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        Failure failure;

        FUZZ_CHECK(object_library_init() == 0);
        directory = scratch_new();
        make_repository();
        FUZZ_CHECK(pool_new(1, &context.pool) == 0);
        FUZZ_CHECK(store_open(&store_config, &context.store) == 0);
        FUZZ_CHECK(flight_table_new(context.pool, &flights) == 0);
        FUZZ_CHECK(ns_new(&ns_config, &context, flights, &ns) == 0);
        FUZZ_CHECK(org_config_new("o", ORG_LOCAL, directory, &org) == 0);
        FUZZ_CHECK(ns_add_org(ns, org, &failure) == 0);
        return atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = {data, size};

        for (unsigned i = 0; i < QUESTIONS_MAX && in.left >= 2; i++) {
                Question q = next_byte(&in) % _QUESTION_MAX;
                uint64_t id = pick(&in);

                if (q == ASK_NAME)
                        ask_name(id, &in);
                else if (q == ASK_LIST || q == ASK_LIST_PLUS)
                        ask_list(id, &in, q == ASK_LIST_PLUS);
                else if (q == ASK_CONTENT)
                        ask_content(id);
                else if (q == ASK_XATTR)
                        ask_xattr(id, &in);
                else if (q == ASK_PATH)
                        ask_path(id);
                else
                        ask_forget();
        }
        while (known.n > 0)
                ask_forget();
        return 0;
}
