/* Mesa lists a directory, and up to ten levels below it, by path. What lies in the directory that
 * somebody looks at comes first, then everything from the root on; what is deeper, or was left out
 * of an answer, is asked for by its own directory. */

#include "forge/mesa-sizes.h"

#include <errno.h>
#include <string.h>

#include "forge/mesa.h"
#include "forge/size-query.h"
#include "forge/tree-paths.h"

#define DEPTH "10" /* more is not given */

/* As deep as the parser lets JSON be. */
void mesa_sizes_read(const Json *json, ApiSizes *sizes) {
        const Json *entries = json_get_array(json, "entries");
        const char *type = json_get_string(json, "type");
        const char *oid = json_get_string(json, "sha");
        uint64_t size;

        if (type && oid && (strcmp(type, "file") == 0 || strcmp(type, "symlink") == 0) &&
            json_get_uint64(json, "size", &size) > 0)
                api_sizes_found(sizes, oid, size);
        for (size_t i = 0; i < json_array_size(entries); i++)
                mesa_sizes_read(json_array_get(entries, i), sizes);
}

typedef struct MesaSizes {
        SizeQuery query;
        TreePaths paths;
        char *first; /* the directory that somebody looks at; owned; NULL: the root */
        char *last;  /* that was asked for; owned */
        bool root_asked;
        size_t next; /* in paths: the next to ask for by its directory */
} MesaSizes;

static int find_paths(MesaSizes *q) {
        const Fetch *fetch = q->query.fetch;

        return tree_paths_find(
                q->query.source->forge->context->store,
                &fetch->root,
                fetch->oids,
                fetch->n_oids,
                &q->paths);
}

static int prepare(SizeQuery *query) {
        MesaSizes *q = container_of(query, MesaSizes, query);
        _cleanup_tree_paths_ TreePaths first = {0};
        const Fetch *fetch = query->fetch;

        if (oid_is_none(&fetch->root))
                return -EOPNOTSUPP;
        int r = oid_is_none(&fetch->tree) ? 0
                                          : tree_paths_find(
                                                    query->source->forge->context->store,
                                                    &fetch->root,
                                                    &fetch->tree,
                                                    1,
                                                    &first);
        if (r < 0)
                return r;
        if (first.n == 1 && first.items[0].path[0])
                q->first = TAKE_PTR(first.items[0].path);
        return find_paths(q);
}

/* The directory of the next blob whose size is still missing, if it was not asked for just now. 1,
 * 0 there is none, -ENOMEM. */
static int next_directory(MesaSizes *q, char **ret) {
        while (q->next < q->paths.n) {
                const TreePath *item = &q->paths.items[q->next++];
                if (!api_sizes_wanted(q->query.sizes, &item->oid))
                        continue;
                const char *slash = strrchr(item->path, '/');
                size_t len = slash ? (size_t) (slash - item->path) : 0;
                if (q->last && strlen(q->last) == len && memcmp(q->last, item->path, len) == 0)
                        continue; /* the answer lacked it */
                *ret = strndup(item->path, len);
                return *ret ? 1 : -ENOMEM;
        }
        return 0;
}

static int ask(SizeQuery *query, char **ret_path, Buf *ret_body) {
        MesaSizes *q = container_of(query, MesaSizes, query);
        _cleanup_free_ char *directory = NULL;
        int r = 1;

        if (q->first)
                directory = TAKE_PTR(q->first);
        else if (!q->root_asked) {
                q->root_asked = true;
                directory = strdup("");
                r = directory ? 1 : -ENOMEM;
        } else
                r = next_directory(q, &directory);
        if (r <= 0)
                return r;
        free(q->last);
        q->last = TAKE_PTR(directory);
        r = mesa_content_path(
                query->source, &query->fetch->commit, q->last, "&depth=" DEPTH, ret_path);
        return r < 0 ? r : 1;
}

static int read_answer(SizeQuery *query, const ApiAnswer *answer) {
        mesa_sizes_read(answer->json, query->sizes);
        return 0;
}

static void done(SizeQuery *query) {
        MesaSizes *q = container_of(query, MesaSizes, query);

        tree_paths_done(&q->paths);
        free(q->first);
        free(q->last);
}

static const SizeQueryOps query_ops = {
        .size = sizeof(MesaSizes),
        .max_requests = 64,
        .max_beyond = 4,
        .prepare = prepare,
        .ask = ask,
        .read = read_answer,
        .done = done,
};

void mesa_sizes(ApiSource *source, Fetch *fetch) {
        size_query_start(&query_ops, source, fetch);
}
