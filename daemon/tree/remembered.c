#include "tree/remembered.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/documents.h"
#include "tree/namespace-private.h"
#include "util/buf.h"
#include "util/log.h"

/* One document for each name, and one for each ref of a repository:
 *
 *      name ORG KIND URL OWNER PATH NAME       "repo URL", or "owner"
 *      ref URL REFSPEC                         "COMMIT branch|fixed RESOLVED"
 *
 * The key holds what the configuration says of the org, so that an org that is configured otherwise
 * begins with nothing. Parts of a key are separated by newlines; the trees and the commit itself
 * are in the store, or the document is of no use. */

bool remembered_will_do(int result, const Failure *failure) {
        if (result >= 0 || !failure)
                return false;
        switch (failure->class) {
        case FAILURE_OFFLINE:
        case FAILURE_TIMEOUT:
        case FAILURE_RATE_LIMITED:
        case FAILURE_BUSY:
        case FAILURE_SERVER:
                return true;
        default:
                return false;
        }
}

static Documents *documents_of(Namespace *ns) {
        return ns->context->documents;
}

static void put(Namespace *ns, int r, const char *key, const Buf *text) {
        _cleanup_buf_ Buf before = {0};

        /* Mostly it is there already, and reading is cheaper. What is used stays young. */
        if (r >= 0 && documents_get(documents_of(ns), key, &before) > 0 &&
            before.len == text->len && memcmp(before.data, text->data, text->len) == 0) {
                documents_touch(documents_of(ns), key);
                return;
        }
        if (r >= 0)
                r = documents_put(documents_of(ns), key, text->data, text->len);
        if (r < 0)
                log_debug("a name is not remembered: %s, ignoring", strerrorname_np(-r));
}

/* 1 and the text, NUL-terminated; 0; < 0. */
static int get(Namespace *ns, int r, const char *key, Buf *ret) {
        if (r >= 0)
                r = documents_get(documents_of(ns), key, ret);
        return r > 0 && !buf_str(ret) ? -ENOMEM : r;
}

/* --- names --- */

static int name_key(const Owner *owner, const char *name, Buf *ret) {
        const OrgConfig *org = owner->org->config;

        int r = buf_appendf(
                ret,
                "name\n%s\n%s\n%s\n%s\n%s\n%s",
                org->name,
                org_kind_name(org->kind),
                org->url ? org->url : "",
                org->owner ? org->owner : "",
                owner->path,
                name);
        return r < 0 || !buf_str(ret) ? -ENOMEM : 0;
}

void remember_repo(Namespace *ns, Owner *owner, const char *name, const Source *source) {
        _cleanup_buf_ Buf key = {0}, text = {0};

        /* What is on this machine answers always. */
        if (!documents_of(ns) || source->objects_in_memory)
                return;
        int r = name_key(owner, name, &key);
        if (r >= 0)
                r = buf_appendf(&text, "repo %s", source->url);
        put(ns, r, (const char *) key.data, &text);
}

void remember_owner(Namespace *ns, Owner *owner, const char *name) {
        _cleanup_buf_ Buf key = {0}, text = {0};

        if (!documents_of(ns))
                return;
        int r = name_key(owner, name, &key);
        if (r >= 0)
                r = buf_append_str(&text, "owner");
        put(ns, r, (const char *) key.data, &text);
}

void remember_no_name(Namespace *ns, Owner *owner, const char *name) {
        _cleanup_buf_ Buf key = {0};

        if (documents_of(ns) && name_key(owner, name, &key) >= 0)
                documents_remove(documents_of(ns), (const char *) key.data);
}

int remembered_name(Namespace *ns, Owner *owner, const char *name, char **ret_url) {
        _cleanup_buf_ Buf key = {0}, text = {0};
        char *url = NULL;

        if (!documents_of(ns))
                return 0;
        int r = name_key(owner, name, &key);
        r = get(ns, r, (const char *) key.data, &text);
        if (r <= 0)
                return r;
        const char *said = (const char *) text.data;
        if (strncmp(said, "repo ", strlen("repo ")) == 0) {
                url = strdup(said + strlen("repo "));
                if (!url)
                        return -ENOMEM;
        } else if (strcmp(said, "owner") != 0)
                return 0; /* written by another version */
        *ret_url = url;
        return 1;
}

/* --- refs --- */

static int ref_key(const Repo *repo, const char *refspec, Buf *ret) {
        int r = buf_appendf(ret, "ref\n%s\n%s", repo->source->url, refspec);

        return r < 0 || !buf_str(ret) ? -ENOMEM : 0;
}

void remember_ref(Namespace *ns, Repo *repo, const char *refspec, const RememberedRef *ref) {
        _cleanup_buf_ Buf key = {0}, text = {0};
        char hex[OID_HEX_MAX + 1];

        if (!documents_of(ns) || repo->source->objects_in_memory || oid_is_none(&ref->commit) ||
            strncmp(ref->resolved, "refs/", strlen("refs/")) != 0)
                return;
        int r = ref_key(repo, refspec, &key);
        if (r >= 0)
                r = buf_appendf(
                        &text,
                        "%s %s %s",
                        oid_to_hex(&ref->commit, hex),
                        ref->moves ? "branch" : "fixed",
                        ref->resolved);
        put(ns, r, (const char *) key.data, &text);
}

void remember_no_ref(Namespace *ns, Repo *repo, const char *refspec) {
        _cleanup_buf_ Buf key = {0};

        if (documents_of(ns) && ref_key(repo, refspec, &key) >= 0)
                documents_remove(documents_of(ns), (const char *) key.data);
}

int remembered_ref(Namespace *ns, Repo *repo, const char *refspec, RememberedRef *ret) {
        _cleanup_buf_ Buf key = {0}, text = {0};
        char *commit, *kind;

        if (!documents_of(ns))
                return 0;
        int r = ref_key(repo, refspec, &key);
        r = get(ns, r, (const char *) key.data, &text);
        if (r <= 0)
                return r;
        char *rest = (char *) text.data;
        commit = strsep(&rest, " ");
        kind = strsep(&rest, " ");
        if (!rest || strlen(rest) >= sizeof(ret->resolved))
                return 0;
        *ret = (RememberedRef){.moves = strcmp(kind, "branch") == 0};
        memcpy(ret->resolved, rest, strlen(rest) + 1);
        return oid_from_hex(&ret->commit, commit, strlen(commit)) >= 0;
}
