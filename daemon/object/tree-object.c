#include "object/tree-object.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* git's own number for a submodule; not a file type of any system. */
#define MODE_SUBMODULE 0160000

/* More digits than any mode has: S_IFMT is six, old tools wrote leading zeros. */
#define MODE_DIGITS_MAX 8

void tree_iter_init(TreeIter *it, OidAlgo algo, const void *data, size_t len) {
        const uint8_t *p = data;

        /* The empty tree may be NULL, to which not even 0 can be added. */
        *it = (TreeIter){.p = p, .end = len > 0 ? p + len : p, .algo = algo};
}

/* Reads "100644 "; returns the bytes consumed or -EBADMSG. */
static int parse_mode(const uint8_t *p, size_t len, EntryKind *ret) {
        unsigned mode = 0;
        size_t n = 0;

        for (; n < len && p[n] >= '0' && p[n] <= '7'; n++) {
                if (n == MODE_DIGITS_MAX)
                        return -EBADMSG;
                mode = mode << 3 | (unsigned) (p[n] - '0');
        }
        if (n == 0 || n == len || p[n] != ' ')
                return -EBADMSG;

        /* Only the type and the owner's x count, as in a checkout: trees of old tools hold 100664,
         * 100640 and the like. */
        if ((mode & S_IFMT) == S_IFREG)
                *ret = mode & S_IXUSR ? ENTRY_EXEC : ENTRY_FILE;
        else if ((mode & S_IFMT) == S_IFLNK)
                *ret = ENTRY_SYMLINK;
        else if ((mode & S_IFMT) == S_IFDIR)
                *ret = ENTRY_DIR;
        else if ((mode & S_IFMT) == MODE_SUBMODULE)
                *ret = ENTRY_SUBMODULE;
        else
                return -EBADMSG;
        return mode > 0177777 ? -EBADMSG : (int) n + 1;
}

/* Refuses names that could not be shown, or that would lead out of the directory or into what git
 * programs take for a repository's own files. */
static bool entry_name_is_safe(const char *name, size_t len) {
        if (len == 0 || memchr(name, '/', len))
                return false;
        if (name[0] != '.')
                return true;
        return len != 1 && !(len == 2 && name[1] == '.') &&
               !(len == 4 && strncasecmp(name, ".git", 4) == 0);
}

int tree_iter_next(TreeIter *it, TreeEntry *ret) {
        if (it->p == it->end)
                return 0;

        TreeEntry e;
        int n = parse_mode(it->p, (size_t) (it->end - it->p), &e.kind);
        if (n < 0)
                return n;

        const uint8_t *name = it->p + n;
        const uint8_t *nul = memchr(name, '\0', (size_t) (it->end - name));
        size_t raw = oid_raw_size(it->algo);
        if (!nul || (size_t) (it->end - nul) - 1 < raw)
                return -EBADMSG;

        e.name = (const char *) name;
        e.name_len = (size_t) (nul - name);
        if (!entry_name_is_safe(e.name, e.name_len))
                return -EBADMSG;
        oid_from_raw(&e.oid, it->algo, nul + 1);
        it->p = nul + 1 + raw;
        *ret = e;
        return 1;
}
