/* Gitea gives a tree in pages of a thousand entries, and calls all but the last "truncated". First
 * the pages of the directory that somebody looks at, then those of the root, whose order is the one
 * in which the tree layer asks for what comes next: so the next fetch begins on the page on which
 * the last one ended. */

#include "forge/gitea-sizes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/size-query.h"

#define PER_PAGE "1000" /* more is not given */
#define MAX_PAGES 500

int gitea_sizes_read(const Json *json, ApiSizes *sizes) {
        const Json *tree = json_get_array(json, "tree");

        for (size_t i = 0; i < json_array_size(tree); i++) {
                const Json *entry = json_array_get(tree, i);
                const char *type = json_get_string(entry, "type");
                const char *oid = json_get_string(entry, "sha");
                uint64_t size;
                /* Of a directory it tells 0, of a submodule nothing that helps. */
                if (type && strcmp(type, "blob") == 0 && oid &&
                    json_get_uint64(entry, "size", &size) > 0)
                        api_sizes_found(sizes, oid, size);
        }
        return json_array_size(tree) > 0 && json_get_bool(json, "truncated");
}

typedef struct GiteaSizes {
        SizeQuery query;
        const Oid *tree; /* which is being read; NULL: none is left */
        unsigned page, first_page;
        bool wrapped; /* the root is read from the start, up to where it was begun */
} GiteaSizes;

static void read_root(GiteaSizes *q) {
        q->tree = &q->query.fetch->root;
        q->page = q->first_page = MAX(atomic_load(&q->query.source->notes), 1u);
}

static int prepare(SizeQuery *query) {
        GiteaSizes *q = container_of(query, GiteaSizes, query);
        const Fetch *fetch = query->fetch;

        if (oid_is_none(&fetch->root))
                return -EOPNOTSUPP;
        if (oid_is_none(&fetch->tree) || oid_equal(&fetch->tree, &fetch->root))
                read_root(q);
        else {
                q->tree = &fetch->tree;
                q->page = 1;
        }
        return 0;
}

static int ask(SizeQuery *query, char **ret_path, Buf *ret_body) {
        GiteaSizes *q = container_of(query, GiteaSizes, query);
        const ApiSource *source = query->source;
        char hex[OID_HEX_MAX + 1], page[16];

        if (!q->tree)
                return 0;
        (void) snprintf(page, sizeof(page), "%u", q->page);
        int r = api_path(
                ret_path,
                "/repos/%/%/git/trees/%?recursive=true&per_page=" PER_PAGE "&page=%",
                source->owner,
                source->name,
                oid_to_hex(q->tree, hex),
                page);
        return r < 0 ? r : 1;
}

static int read_answer(SizeQuery *query, const ApiAnswer *answer) {
        GiteaSizes *q = container_of(query, GiteaSizes, query);
        bool is_root = q->tree == &query->fetch->root;
        bool more = gitea_sizes_read(answer->json, query->sizes) > 0;

        if (is_root)
                atomic_store(&query->source->notes, q->page);
        q->page++;
        if (more && !(q->wrapped && q->page >= q->first_page))
                return 0;
        if (!is_root)
                read_root(q);
        else if (!q->wrapped && q->first_page > 1) {
                q->wrapped = true;
                q->page = 1;
        } else
                q->tree = NULL;
        return 0;
}

static const SizeQueryOps query_ops = {
        .size = sizeof(GiteaSizes),
        .max_requests = MAX_PAGES,
        .max_beyond = 8, /* somebody waits; the next fetch goes on from there */
        .prepare = prepare,
        .ask = ask,
        .read = read_answer,
};

void gitea_sizes(ApiSource *source, Fetch *fetch) {
        size_query_start(&query_ops, source, fetch);
}
