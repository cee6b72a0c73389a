#include "forge/gitlab-sizes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/size-query.h"

#define QUERY                                                                                      \
        "query($project:ID!,$paths:[String!]!,$ref:String){"                                       \
        "project(fullPath:$project){repository{blobs(paths:$paths,ref:$ref){nodes{oid size}}}}}"

int gitlab_sizes_format(
        const char *project, const char *ref, const TreePath *paths, size_t n, Buf *ret) {
        int r = buf_append_str(ret, "{\"query\":\"" QUERY "\",\"variables\":{\"project\":");

        if (r >= 0)
                r = json_append_string(ret, project);
        if (r >= 0 && ref)
                r = buf_append_str(ret, ",\"ref\":");
        if (r >= 0 && ref)
                r = json_append_string(ret, ref);
        if (r >= 0)
                r = buf_append_str(ret, ",\"paths\":[");
        for (size_t i = 0; r >= 0 && i < n; i++) {
                if (i > 0)
                        r = buf_append_str(ret, ",");
                if (r >= 0)
                        r = json_append_string(ret, paths[i].path);
        }
        return r >= 0 ? buf_append_str(ret, "]}}") : r;
}

/* GraphQL says 200 to everything. What costs too much is told in words only. */
static int read_errors(const Json *json) {
        const Json *errors = json_get_array(json, "errors");

        for (size_t i = 0; i < json_array_size(errors); i++) {
                const char *message = json_get_string(json_array_get(errors, i), "message");
                if (message && strstr(message, "complexity"))
                        return -E2BIG;
        }
        return -EOPNOTSUPP;
}

int gitlab_sizes_read(const Json *json, ApiSizes *sizes) {
        const Json *project = json_get_object(json_get_object(json, "data"), "project");
        const Json *blobs = json_get_object(json_get_object(project, "repository"), "blobs");
        const Json *nodes = json_get_array(blobs, "nodes");

        if (!nodes)
                return read_errors(json);
        for (size_t i = 0; i < json_array_size(nodes); i++) {
                const Json *node = json_array_get(nodes, i);
                const char *oid = json_get_string(node, "oid");
                uint64_t size;
                /* The id counts: a path may lead to something else in what the server looked at. */
                if (oid && json_get_uint64(node, "size", &size) > 0)
                        api_sizes_found(sizes, oid, size);
        }
        return 0;
}

/* --- asking --- */

typedef struct GitlabSizes {
        SizeQuery query;
        TreePaths paths;
        char *project, *url;          /* owned */
        char ref[OID_HEX_MAX + 1];    /* "" for the default branch */
        size_t start, end, max_paths; /* of the question under way */
} GitlabSizes;

/* Beside ".../api/v4" is ".../api/graphql". */
static int graphql_url(const char *base, char **ret) {
        const char *slash = strrchr(base, '/');

        if (asprintf(ret, "%.*s/graphql", (int) (slash - base), base) < 0) {
                *ret = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return 0;
}

static int prepare(SizeQuery *query) {
        GitlabSizes *q = container_of(query, GitlabSizes, query);
        const ApiSource *source = query->source;
        const Fetch *fetch = query->fetch;

        q->max_paths = GITLAB_SIZES_MAX;
        (void) oid_to_hex(&fetch->commit, q->ref);
        int r = graphql_url(source->forge->api.base, &q->url);
        if (r < 0)
                return r;
        if (asprintf(&q->project, "%s/%s", source->owner, source->name) < 0) {
                q->project = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        return tree_paths_find(
                source->forge->context->store, &fetch->root, fetch->oids, fetch->n_oids, &q->paths);
}

static int ask(SizeQuery *query, char **ret_path, Buf *ret_body) {
        GitlabSizes *q = container_of(query, GitlabSizes, query);

        if (q->start == q->paths.n)
                return 0;
        q->end = MIN(q->start + q->max_paths, q->paths.n);
        int r = gitlab_sizes_format(
                q->project,
                q->ref[0] ? q->ref : NULL,
                q->paths.items + q->start,
                q->end - q->start,
                ret_body);
        if (r < 0)
                return r;
        *ret_path = strdup(q->url);
        return *ret_path ? 1 : -ENOMEM;
}

static int read_answer(SizeQuery *query, const ApiAnswer *answer) {
        GitlabSizes *q = container_of(query, GitlabSizes, query);

        int r = gitlab_sizes_read(answer->json, query->sizes);
        if (r == -E2BIG && q->end - q->start > 1) {
                q->max_paths = (q->end - q->start) / 2;
                return 0;
        }
        if (r >= 0)
                q->start = q->end;
        return r == -E2BIG ? -EOPNOTSUPP : r;
}

static void done(SizeQuery *query) {
        GitlabSizes *q = container_of(query, GitlabSizes, query);

        tree_paths_done(&q->paths);
        free(q->project);
        free(q->url);
}

static const SizeQueryOps query_ops = {
        .size = sizeof(GitlabSizes),
        .max_requests = 250, /* whatever the tree asks for at once, and some that were too large */
        .max_beyond = 10,
        .prepare = prepare,
        .ask = ask,
        .read = read_answer,
        .done = done,
};

void gitlab_sizes(ApiSource *source, Fetch *fetch) {
        size_query_start(&query_ops, source, fetch);
}
