#include "forge/git-capabilities.h"

#include <errno.h>
#include <string.h>

static bool starts_with(const char *data, size_t len, const char *prefix) {
        size_t n = strlen(prefix);
        return len >= n && memcmp(data, prefix, n) == 0;
}

static bool equals(const char *data, size_t len, const char *text) {
        return len == strlen(text) && memcmp(data, text, len) == 0;
}

/* True if `word` is one of the words in this list, which are separated by spaces. A word with "="
 * and a value counts as well. */
static bool has_word(const char *list, size_t len, const char *word) {
        for (size_t i = 0; i < len;) {
                const char *end = memchr(list + i, ' ', len - i);
                size_t n = end ? (size_t) (end - (list + i)) : len - i;
                const char *equal = memchr(list + i, '=', n);
                if (equals(list + i, equal ? (size_t) (equal - (list + i)) : n, word))
                        return true;
                i += n + 1;
        }
        return false;
}

static OidAlgo algo_from_name(const char *name, size_t len) {
        return equals(name, len, "sha1")     ? OID_SHA1
               : equals(name, len, "sha256") ? OID_SHA256
                                             : OID_NONE;
}

/* "key" or "key=value". Unknown keys are for others. */
static int parse_v2_capability(GitCapabilities *c, const char *line, size_t len) {
        const char *equal = memchr(line, '=', len);
        size_t key = equal ? (size_t) (equal - line) : len;
        const char *value = equal ? equal + 1 : "";
        size_t value_len = equal ? len - key - 1 : 0;

        if (equals(line, key, "agent"))
                c->agent = true;
        else if (equals(line, key, "ls-refs"))
                c->unborn = has_word(value, value_len, "unborn");
        else if (equals(line, key, "fetch")) {
                c->filter = has_word(value, value_len, "filter");
                c->shallow = has_word(value, value_len, "shallow");
        } else if (equals(line, key, "object-info"))
                c->object_info = true;
        else if (equals(line, key, "object-format")) {
                c->object_format = true;
                c->algo = algo_from_name(value, value_len);
                if (c->algo == OID_NONE)
                        return -EBADMSG;
        }
        return 0;
}

/* Copies the value of "key=value" in a list of words; the first one wins. */
static bool word_value(const char *list, size_t len, const char *key, char *out, size_t out_size) {
        size_t n_key = strlen(key);

        for (size_t i = 0; i < len;) {
                const char *end = memchr(list + i, ' ', len - i);
                size_t n = end ? (size_t) (end - (list + i)) : len - i;
                if (n > n_key && n - n_key < out_size && memcmp(list + i, key, n_key) == 0) {
                        memcpy(out, list + i + n_key, n - n_key);
                        out[n - n_key] = '\0';
                        return true;
                }
                i += n + 1;
        }
        return false;
}

static int parse_v0_capabilities(GitAdvertisement *a, const char *list, size_t len) {
        GitCapabilities *c = &a->capabilities;
        char format[16];

        c->agent = has_word(list, len, "agent");
        /* Of no use where what was left out cannot be asked for: but over HTTP, v0 serves tips of
         * refs alone unless it says otherwise. */
        c->filter = has_word(list, len, "filter") &&
                    (a->over_http || has_word(list, len, "allow-any-sha1-in-want"));
        c->shallow = has_word(list, len, "shallow");
        c->side_band = has_word(list, len, "side-band-64k");
        c->ofs_delta = has_word(list, len, "ofs-delta");
        c->no_progress = has_word(list, len, "no-progress");
        if (word_value(list, len, "object-format=", format, sizeof(format))) {
                c->object_format = true;
                c->algo = algo_from_name(format, strlen(format));
                if (c->algo == OID_NONE)
                        return -EBADMSG;
        }
        (void) word_value(list, len, "symref=HEAD:", a->head_target, sizeof(a->head_target));
        return 0;
}

/* "<oid> <name>"; "<oid> <tag>^{}" tells what the tag before it points to. */
static int parse_v0_ref(GitAdvertisement *a, const char *line, size_t len) {
        const char *space = memchr(line, ' ', len);
        Oid oid;

        if (starts_with(line, len, "shallow "))
                return 0;
        if (!space || oid_from_hex(&oid, line, (size_t) (space - line)) < 0)
                return -EBADMSG;
        const char *name = space + 1;
        size_t name_len = len - (size_t) (name - line);
        if (memchr(name, '\0', name_len))
                return -EBADMSG;
        if (equals(name, name_len, "capabilities^{}"))
                return 0; /* there are no refs */
        if (name_len > 3 && memcmp(name + name_len - 3, "^{}", 3) == 0) {
                if (a->refs.n == 0)
                        return -EBADMSG;
                a->refs.refs[a->refs.n - 1].peeled = oid;
                return 0;
        }
        bool head = equals(name, name_len, "HEAD") && a->head_target[0];
        return git_refs_add(&a->refs, name, name_len, &oid, head ? a->head_target : NULL);
}

static int parse_v0_first(GitAdvertisement *a, const char *line, size_t len) {
        const char *nul = memchr(line, '\0', len);
        size_t ref_len = nul ? (size_t) (nul - line) : len;

        a->capabilities = (GitCapabilities){.version = 0, .algo = OID_SHA1};
        if (nul) {
                int r = parse_v0_capabilities(a, nul + 1, len - ref_len - 1);
                if (r < 0)
                        return r;
        }
        a->state = ADVERTISEMENT_V0;
        return parse_v0_ref(a, line, ref_len);
}

static int parse_start(GitAdvertisement *a, const char *line, size_t len) {
        if (a->state == ADVERTISEMENT_START && starts_with(line, len, "# service=")) {
                a->state = ADVERTISEMENT_PREAMBLE;
                a->over_http = true;
                return 0;
        }
        if (equals(line, len, "version 2")) {
                a->capabilities = (GitCapabilities){
                        .version = 2,
                        .algo = OID_SHA1,
                        .side_band = true,
                        .ofs_delta = true,
                        .no_progress = true,
                };
                a->state = ADVERTISEMENT_V2;
                return 0;
        }
        if (equals(line, len, "version 1")) {
                a->state = ADVERTISEMENT_V0_FIRST;
                return 0;
        }
        return parse_v0_first(a, line, len);
}

static int parse_line(GitAdvertisement *a, const char *line, size_t len) {
        switch (a->state) {
        case ADVERTISEMENT_START:
        case ADVERTISEMENT_BODY:
                return parse_start(a, line, len);
        case ADVERTISEMENT_PREAMBLE:
                return -EBADMSG; /* only a flush ends it */
        case ADVERTISEMENT_V2:
                return parse_v2_capability(&a->capabilities, line, len);
        case ADVERTISEMENT_V0_FIRST:
                return parse_v0_first(a, line, len);
        case ADVERTISEMENT_V0:
                return parse_v0_ref(a, line, len);
        }
        return -EBADMSG;
}

/* An empty repository. Before 2.41 git tells no capabilities with it; these are what every git has
 * that serves HTTP, for when it has got its first commit. */
static void assume_v0(GitCapabilities *c) {
        *c = (GitCapabilities){
                .version = 0,
                .algo = OID_SHA1,
                .side_band = true,
                .shallow = true,
                .ofs_delta = true,
                .no_progress = true,
        };
}

static int parse_flush(GitAdvertisement *a) {
        switch (a->state) {
        case ADVERTISEMENT_PREAMBLE:
                a->state = ADVERTISEMENT_BODY;
                return 0;
        case ADVERTISEMENT_BODY:
                assume_v0(&a->capabilities);
                a->complete = true;
                return 0;
        case ADVERTISEMENT_V2:
        case ADVERTISEMENT_V0:
                a->complete = true;
                return 0;
        case ADVERTISEMENT_START:
        case ADVERTISEMENT_V0_FIRST:
                break;
        }
        return -EBADMSG;
}

int git_advertisement_packet(GitAdvertisement *a, PktType type, const char *data, size_t len) {
        if (a->complete)
                return 0;
        switch (type) {
        case PKT_DATA:
                return parse_line(a, data, len);
        case PKT_FLUSH:
                return parse_flush(a);
        case PKT_DELIM:
                break;
        }
        return -EBADMSG;
}

/* --- kept ones --- */

static const struct {
        const char *word;
        size_t offset;
} flags[] = {
        {"agent", offsetof(GitCapabilities, agent)},
        {"object-format", offsetof(GitCapabilities, object_format)},
        {"filter", offsetof(GitCapabilities, filter)},
        {"shallow", offsetof(GitCapabilities, shallow)},
        {"object-info", offsetof(GitCapabilities, object_info)},
        {"unborn", offsetof(GitCapabilities, unborn)},
        {"side-band-64k", offsetof(GitCapabilities, side_band)},
        {"ofs-delta", offsetof(GitCapabilities, ofs_delta)},
        {"no-progress", offsetof(GitCapabilities, no_progress)},
};

static bool has_flag(const GitCapabilities *c, size_t i) {
        return *(const bool *) ((const char *) c + flags[i].offset);
}

bool git_capabilities_cover(const GitCapabilities *a, const GitCapabilities *b) {
        if (a->version < b->version)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                if (has_flag(b, i) && !has_flag(a, i))
                        return false;
        return true;
}

int git_capabilities_format(const GitCapabilities *c, Buf *ret) {
        int r = buf_appendf(ret, "version=%d", c->version);

        for (size_t i = 0; i < ELEMENTSOF(flags) && r >= 0; i++)
                if (has_flag(c, i))
                        r = buf_appendf(ret, " %s", flags[i].word);
        return r >= 0 ? buf_append_str(ret, "\n") : r;
}

int git_capabilities_parse(const char *text, GitCapabilities *ret) {
        size_t len = strcspn(text, "\n");
        bool v2 = starts_with(text, len, "version=2");
        GitCapabilities c = {.version = v2 ? 2 : 0, .algo = OID_SHA1};

        if (text[len] != '\n' || (!v2 && !starts_with(text, len, "version=0")))
                return -EBADMSG;
        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                *(bool *) ((char *) &c + flags[i].offset) = has_word(text, len, flags[i].word);
        *ret = c;
        return 0;
}

void git_advertisement_done(GitAdvertisement *a) {
        git_refs_done(&a->refs);
}
