#include "forge/tree-paths.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "forge/git-wants.h"
#include "object/tree-object.h"
#include "util/array.h"
#include "util/htable.h"

#define MAX_TREES 1000000

/* A tree is read once, however often it occurs: ten levels of the same ten entries would be ten
 * thousand million paths. */
typedef struct SeenTree {
        HTableLink link;
        Oid oid;
} SeenTree;

/* A directory that is being read. Depth is bounded by the length of a path. */
typedef struct Level {
        ObjectRef tree;
        TreeIter iter;
        size_t path_len; /* of the directory, with the slash behind it */
} Level;

typedef struct Search {
        Store *store;
        GitWants wants;
        HTable seen;
        Level *levels; /* owned; the directories from the root down to the current one */
        size_t n_levels, n_allocated;
        char path[PATH_MAX];
        TreePaths found;
} Search;

/* True if the tree was not met before; false also when out of memory: then it is not read. */
static bool mark_seen(Search *s, const Oid *oid) {
        uint64_t hash = hash_bytes(oid->id, sizeof(oid->id), oid->algo);

        HTABLE_FOREACH (l, &s->seen, hash)
                if (oid_equal(&container_of(l, SeenTree, link)->oid, oid))
                        return false;
        if (s->seen.n_entries >= MAX_TREES)
                return false;
        SeenTree *seen = calloc(1, sizeof(*seen));
        if (!seen)
                return false;
        seen->oid = *oid;
        if (htable_add(&s->seen, &seen->link, hash) < 0) {
                free(seen);
                return false;
        }
        return true;
}

/* Goes down into a tree, if it is here and new. */
static int enter(Search *s, const Oid *oid, size_t path_len) {
        Level level = {.path_len = path_len};

        if (!mark_seen(s, oid))
                return 0;
        int r = ARRAY_RESERVE(s->levels, s->n_allocated, s->n_levels + 1);
        if (r < 0)
                return r;
        if (store_get(s->store, STORE_OBJECT, oid, &level.tree) <= 0)
                return 0;
        if (level.tree.type != OBJECT_TREE) {
                object_ref_done(&level.tree);
                return 0;
        }
        tree_iter_init(&level.iter, oid->algo, level.tree.data, level.tree.size);
        s->levels[s->n_levels++] = level;
        return 0;
}

static void leave(Search *s) {
        object_ref_done(&s->levels[--s->n_levels].tree);
}

static int add_found(Search *s, const Oid *oid) {
        if (!git_wants_arrived(&s->wants, oid))
                return 0;
        char *path = strdup(s->path);
        if (!path)
                return -ENOMEM;
        s->found.items[s->found.n++] = (TreePath){.oid = *oid, .path = path};
        return 0;
}

static int visit(Search *s, const TreeEntry *entry) {
        size_t start = s->levels[s->n_levels - 1].path_len;
        size_t end = start + entry->name_len;

        if (entry->kind == ENTRY_SUBMODULE || end + 2 > sizeof(s->path))
                return 0;
        memcpy(s->path + start, entry->name, entry->name_len);
        s->path[end] = '\0';
        int r = add_found(s, &entry->oid);
        if (r < 0 || entry->kind != ENTRY_DIR)
                return r;
        s->path[end] = '/';
        return enter(s, &entry->oid, end + 1);
}

static int search(Search *s, const Oid *root) {
        s->path[0] = '\0';
        int r = add_found(s, root);
        if (r >= 0)
                r = enter(s, root, 0);
        while (r >= 0 && s->n_levels > 0 && s->wants.n_open > 0) {
                TreeEntry entry;
                if (tree_iter_next(&s->levels[s->n_levels - 1].iter, &entry) > 0)
                        r = visit(s, &entry);
                else
                        leave(s);
        }
        return r;
}

static void seen_free(HTableLink *link, void *userdata) {
        htable_remove(userdata, link);
        free(container_of(link, SeenTree, link));
}

int tree_paths_find(Store *store, const Oid *root, const Oid *oids, size_t n_oids, TreePaths *ret) {
        _cleanup_free_ Search *s = calloc(1, sizeof(*s)); /* large for a stack */

        if (!s)
                return -ENOMEM;
        s->store = store;
        int r = git_wants_init(&s->wants, oids, n_oids);
        if (r < 0)
                return r;
        s->found.items = calloc(n_oids + 1, sizeof(*s->found.items));
        r = s->found.items ? search(s, root) : -ENOMEM;
        while (s->n_levels > 0)
                leave(s);
        free(s->levels);
        htable_each(&s->seen, seen_free, &s->seen);
        htable_done(&s->seen);
        git_wants_done(&s->wants);
        if (r < 0) {
                tree_paths_done(&s->found);
                return r;
        }
        *ret = s->found;
        return 0;
}

void tree_paths_done(TreePaths *paths) {
        for (size_t i = 0; i < paths->n; i++)
                free(paths->items[i].path);
        free(paths->items);
        *paths = (TreePaths){0};
}
