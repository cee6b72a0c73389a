#include "forge/git-refs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/array.h"

/* Bounds what a v0 server, which tells all its refs, can make us keep. */
#define MAX_REFS 1000000
#define MAX_BYTES ((size_t) 128 << 20) /* of names and targets */
#define MAX_REFNAME 200

static int refs_reserve(GitRefs *refs) {
        if (refs->n >= MAX_REFS || refs->n_bytes > MAX_BYTES)
                return -EFBIG;
        return ARRAY_RESERVE(refs->refs, refs->cap, refs->n + 1);
}

int git_refs_add(
        GitRefs *refs, const char *name, size_t name_len, const Oid *oid, const char *target) {
        int r = refs_reserve(refs);
        if (r < 0)
                return r;
        GitRef ref = {
                .name = strndup(name, name_len),
                .oid = *oid,
                .target = target ? strdup(target) : NULL,
        };
        if (!ref.name || (target && !ref.target)) {
                free(ref.name);
                free(ref.target);
                return -ENOMEM;
        }
        refs->refs[refs->n++] = ref;
        refs->n_bytes += name_len + (target ? strlen(target) : 0);
        return 0;
}

static GitRef *find_ref(const GitRefs *refs, const char *name) {
        for (size_t i = 0; i < refs->n; i++)
                if (strcmp(refs->refs[i].name, name) == 0)
                        return &refs->refs[i];
        return NULL;
}

void git_refs_done(GitRefs *refs) {
        for (size_t i = 0; i < refs->n; i++) {
                free(refs->refs[i].name);
                free(refs->refs[i].target);
        }
        free(refs->refs);
        *refs = (GitRefs){0};
}

static int parse_attributes(GitRef *ref, char *attributes) {
        char *save = NULL;

        for (char *a = strtok_r(attributes, " ", &save); a; a = strtok_r(NULL, " ", &save)) {
                if (strncmp(a, "symref-target:", 14) == 0) {
                        free(ref->target);
                        ref->target = strdup(a + 14);
                        if (!ref->target)
                                return -ENOMEM;
                } else if (strncmp(a, "peeled:", 7) == 0) {
                        if (oid_from_hex(&ref->peeled, a + 7, strlen(a + 7)) < 0)
                                return -EBADMSG;
                }
        }
        return 0;
}

int git_refs_add_line(GitRefs *refs, const char *line, size_t len) {
        _cleanup_free_ char *copy = strndup(line, len);
        Oid oid = {0};
        char *name, *attributes;

        if (!copy)
                return -ENOMEM;
        if (strlen(copy) != len)
                return -EBADMSG;
        name = strchr(copy, ' ');
        if (!name)
                return -EBADMSG;
        *name++ = '\0';
        attributes = strchrnul(name, ' ');
        if (*attributes)
                *attributes++ = '\0';
        if (strcmp(copy, "unborn") != 0 && oid_from_hex(&oid, copy, strlen(copy)) < 0)
                return -EBADMSG;
        int r = git_refs_add(refs, name, strlen(name), &oid, NULL);
        refs->n_bytes += len; /* the attributes are in there */
        return r < 0 ? r : parse_attributes(&refs->refs[refs->n - 1], attributes);
}

/* --- names --- */

static bool is_hex(const char *s) {
        for (; *s; s++)
                if (!isxdigit((unsigned char) *s))
                        return false;
        return true;
}

bool git_refname_is_oid(const char *refname, Oid *ret) {
        return oid_from_hex(ret, refname, strlen(refname)) >= 0 && ret->algo == OID_SHA1;
}

/* The rules of git-check-ref-format(1) that keep a name from being taken for something else. */
bool git_refname_is_valid(const char *refname) {
        size_t len = strlen(refname);

        if (len == 0 || len > MAX_REFNAME || refname[0] == '/' || refname[len - 1] == '/' ||
            refname[len - 1] == '.' || strstr(refname, "..") || strstr(refname, "//") ||
            strstr(refname, "@{"))
                return false;
        for (const char *p = refname; *p; p++)
                if ((unsigned char) *p <= ' ' || *p == 0x7f || strchr("~^:?*[\\", *p))
                        return false;
        return true;
}

static void set_result(Fetch *fetch, const GitRef *ref, const char *resolved, bool moves) {
        fetch->commit = oid_is_none(&ref->peeled) ? ref->oid : ref->peeled;
        (void) snprintf(fetch->resolved, sizeof(fetch->resolved), "%s", resolved);
        fetch->moves = moves;
}

static int resolve_default(const GitRefs *refs, Fetch *fetch) {
        static const GitRef empty = {0};
        const GitRef *head = find_ref(refs, "HEAD");

        /* Without HEAD nothing is checked out: the repository is empty. */
        if (!head)
                head = &empty;
        /* People see this name: one that git would refuse is none. */
        bool named = head->target && git_refname_is_valid(head->target);
        set_result(fetch, head, named ? head->target : "", true);
        return 0;
}

static const GitRef *
find_in(const GitRefs *refs, const char *prefix, const char *name, char *full, size_t size) {
        (void) snprintf(full, size, "%s%s", prefix, name);
        const GitRef *ref = find_ref(refs, full);
        return ref && !oid_is_none(&ref->oid) ? ref : NULL;
}

int git_refs_resolve(const GitRefs *refs, Fetch *fetch, Failure *ret_failure) {
        const char *name = fetch->refname;
        char full[MAX_REFNAME + 16];
        const GitRef *ref;

        if (!name)
                return resolve_default(refs, fetch);
        if (strncmp(name, "refs/", 5) == 0)
                ref = find_in(refs, "", name, full, sizeof(full));
        else {
                ref = find_in(refs, "refs/heads/", name, full, sizeof(full));
                if (!ref)
                        ref = find_in(refs, "refs/tags/", name, full, sizeof(full));
        }
        if (ref) {
                set_result(fetch, ref, full, strncmp(full, "refs/tags/", 10) != 0);
                return 0;
        }
        if (strlen(name) >= 4 && is_hex(name))
                return failure_set(
                        ret_failure,
                        FAILURE_NOT_FOUND,
                        "no branch or tag \"%s\"; a commit id needs all its digits here",
                        name);
        return failure_set(ret_failure, FAILURE_NOT_FOUND, "no branch or tag \"%s\"", name);
}
