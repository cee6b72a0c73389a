#include "forge/git-request.h"

#include <string.h>

#include "object/pktline.h"
#include "version.h"

#define AGENT "gitfs/" GITFS_VERSION

/* Appends to *ret unless something failed before. */
#define PKT(r, ret, ...)                                                                           \
        do {                                                                                       \
                if ((r) >= 0)                                                                      \
                        (r) = pkt_appendf((ret), __VA_ARGS__);                                     \
        } while (0)

static int begin_command(const GitCapabilities *c, const char *command, Buf *ret) {
        int r = pkt_appendf(ret, "command=%s\n", command);
        if (c->agent)
                PKT(r, ret, "agent=%s\n", AGENT);
        if (c->object_format)
                PKT(r, ret, "object-format=sha1\n");
        return r < 0 ? r : pkt_append_delim(ret);
}

int git_request_ls_refs(const GitCapabilities *c, const char *refname, Buf *ret) {
        int r = begin_command(c, "ls-refs", ret);
        PKT(r, ret, "peel\n");
        PKT(r, ret, "symrefs\n");
        if (c->unborn)
                PKT(r, ret, "unborn\n");
        if (!refname)
                PKT(r, ret, "ref-prefix HEAD\n");
        else if (strncmp(refname, "refs/", 5) == 0)
                PKT(r, ret, "ref-prefix %s\n", refname);
        else {
                PKT(r, ret, "ref-prefix refs/heads/%s\n", refname);
                PKT(r, ret, "ref-prefix refs/tags/%s\n", refname);
        }
        return r < 0 ? r : pkt_append_flush(ret);
}

static int
append_oids(const GitWants *wants, const char *word, size_t max, size_t *position, Buf *ret) {
        char hex[OID_HEX_MAX + 1];
        int r = 0;

        for (size_t i = 0; i < max && r >= 0; i++) {
                const Oid *oid = git_wants_next(wants, position);
                if (!oid)
                        break;
                r = pkt_appendf(ret, "%s %s\n", word, oid_to_hex(oid, hex));
        }
        return r;
}

static int append_shape(const GitFetchShape *shape, Buf *ret) {
        int r = 0;

        if (shape->shallow)
                PKT(r, ret, "deepen 1\n");
        if (shape->filter)
                PKT(r, ret, "filter %s\n", shape->filter);
        return r;
}

static int request_fetch_v2(
        const GitCapabilities *c,
        const GitFetchShape *shape,
        const GitWants *wants,
        size_t max,
        size_t *position,
        Buf *ret) {
        char hex[OID_HEX_MAX + 1];

        int r = begin_command(c, "fetch", ret);
        PKT(r, ret, "no-progress\n");
        PKT(r, ret, "ofs-delta\n");
        if (r >= 0)
                r = append_oids(wants, "want", max, position, ret);
        if (r >= 0)
                r = append_shape(shape, ret);
        if (shape->have && !oid_is_none(shape->have))
                PKT(r, ret, "have %s\n", oid_to_hex(shape->have, hex));
        PKT(r, ret, "done\n");
        return r < 0 ? r : pkt_append_flush(ret);
}

static int request_fetch_v0(
        const GitCapabilities *c,
        const GitFetchShape *shape,
        const GitWants *wants,
        size_t max,
        size_t *position,
        Buf *ret) {
        char hex[OID_HEX_MAX + 1];
        const Oid *first = git_wants_next(wants, position);
        int r = 0;

        assert(first && max > 0);
        /* The capabilities go with the first want. */
        PKT(r,
            ret,
            "want %s side-band-64k%s%s%s%s%s%s\n",
            oid_to_hex(first, hex),
            c->ofs_delta ? " ofs-delta" : "",
            c->no_progress ? " no-progress" : "",
            c->filter ? " filter" : "",
            c->shallow ? " shallow" : "",
            c->object_format ? " object-format=sha1" : "",
            c->agent ? " agent=" AGENT : "");
        if (r >= 0)
                r = append_oids(wants, "want", max - 1, position, ret);
        if (r >= 0)
                r = append_shape(shape, ret);
        if (r >= 0)
                r = pkt_append_flush(ret);
        PKT(r, ret, "done\n");
        return r;
}

int git_request_fetch(
        const GitCapabilities *c,
        const GitFetchShape *shape,
        const GitWants *wants,
        size_t max,
        size_t *position,
        Buf *ret) {
        return c->version == 2 ? request_fetch_v2(c, shape, wants, max, position, ret)
                               : request_fetch_v0(c, shape, wants, max, position, ret);
}

int git_request_object_info(
        const GitCapabilities *c, const GitWants *wants, size_t max, size_t *position, Buf *ret) {
        int r = begin_command(c, "object-info", ret);
        /* Always: git before 2.41 reads an uninitialised flag without it. */
        PKT(r, ret, "size\n");
        if (r >= 0)
                r = append_oids(wants, "oid", max, position, ret);
        return r < 0 ? r : pkt_append_flush(ret);
}
