/* What was read last is kept with how it ended: a token, none, or words about a file that must not
 * be used. It is read again when the file has changed, when the server has refused it, when
 * somebody asks for it (a new generation, see credential.h), and, unless there is a token, after a
 * while.
 *
 * One thread reads, with no lock held; who comes meanwhile waits for it. A reader is bounded by the
 * time that each place is given.
 *
 * A token that was refused is known by its serial, a hash of it: when the same one is read again it
 * is kept back for a while. */

#include "forge/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "forge/credential.h"
#include "forge/http.h"
#include "forge/secret-source.h"
#include "util/clock.h"
#include "util/htable.h"
#include "util/mutex.h"
#include "util/ref.h"
#include "util/secret-memory.h"

/* How long it is believed that there is none, and a refused one is kept back. */
#define REMEMBER_USEC (60 * USEC_PER_SEC)
/* How often somebody looks whether the file has changed. */
#define LOOK_USEC USEC_PER_SEC

/* Which file it was; all zero: none. */
typedef struct FileId {
        dev_t dev;
        ino_t ino;
        struct timespec mtime, ctime;
        off_t size;
} FileId;

struct Secrets {
        Ref ref;
        /* Constant: */
        OrgKind kind;
        char *org, *url;
        char *host; /* for gh and glab; NULL: they are not asked */
        char *path;
        Credentials *credentials; /* not owned; NULL: git is not asked */

        Mutex lock;
        pthread_cond_t read_done;
        /* Guarded by lock: */
        bool reading;
        bool known;          /* what follows was read */
        int result;          /* 1: secret holds a token; 0 none; < 0 errno */
        Secret secret;       /* username is NULL unless it is git's */
        Failure why;         /* unless result is 1 */
        uint64_t until_usec; /* how long that is believed, unless result is 1 */
        uint64_t generation;
        FileId file;
        uint64_t looked_usec;
        uint64_t refused_serial, refused_until_usec; /* 0: none */
        uint64_t accepted_serial;
};

void secret_done(Secret *secret) {
        secret->username = secret_free(secret->username);
        secret->token = secret_free(secret->token);
}

static int secret_copy(const Secret *from, Secret *ret) {
        Secret copy = {
                .origin = from->origin,
                .username = from->username ? secret_strdup(from->username) : NULL,
                .token = secret_strdup(from->token),
                .serial = from->serial,
        };

        if (!copy.token || (from->username && !copy.username)) {
                secret_done(&copy);
                return -ENOMEM;
        }
        *ret = copy;
        return 1;
}

static const char *origin_name(SecretOrigin origin, OrgKind kind) {
        switch (origin) {
        case SECRET_SYSTEMD:
                return "the systemd credential";
        case SECRET_FILE:
                return "its file";
        case SECRET_TOOL:
                return kind == ORG_GITLAB ? "glab" : "gh";
        default:
                return "git credential";
        }
}

/* --- reading --- */

static void look_at_file(const char *path, FileId *ret) {
        struct stat st;

        *ret = (FileId){0};
        if (lstat(path, &st) < 0)
                return; /* what cannot be seen is as good as not there; reading it tells why */
        ret->dev = st.st_dev;
        ret->ino = st.st_ino;
        ret->mtime = st.st_mtim;
        ret->ctime = st.st_ctim;
        ret->size = st.st_size;
}

static bool same_file(const FileId *a, const FileId *b) {
        return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
               a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
               a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static int ask_git(const Secrets *s, uint64_t deadline_usec, Secret *ret) {
        _cleanup_(credential_done) Credential credential = {0};

        if (!s->credentials)
                return 0;
        int r = credentials_fill(s->credentials, s->url, deadline_usec, &credential);
        if (r <= 0)
                return r;
        ret->username = TAKE_PTR(credential.username);
        ret->token = TAKE_PTR(credential.password);
        return 1;
}

/* Asks one place after the other. *ret is written where this returns 1. */
static int read_chain(const Secrets *s, uint64_t deadline_usec, Secret *ret, Failure *ret_failure) {
        Secret secret = {.origin = SECRET_SYSTEMD};

        int r = secret_read_systemd(s->org, &secret.token, ret_failure);
        if (r == 0) {
                secret.origin = SECRET_FILE;
                r = secret_read_file(s->path, &secret.token, ret_failure);
        }
        if (r == 0 && s->host) {
                secret.origin = SECRET_TOOL;
                int stop_fd = s->credentials ? credentials_stop_fd(s->credentials) : -1;
                r = secret_read_tool(s->kind, s->host, deadline_usec, stop_fd, &secret.token);
        }
        if (r == 0) {
                secret.origin = SECRET_GIT;
                r = ask_git(s, deadline_usec, &secret);
        }
        if (r <= 0)
                return r;
        secret.serial = hash_string(secret.token) | 1; /* 0 is no token's */
        *ret = secret;
        return 1;
}

/* --- what is known; all of these with the lock held --- */

static void forget(Secrets *s) {
        secret_done(&s->secret);
        s->secret = (Secret){0};
        s->known = false;
}

static bool is_stale(const Secrets *s) {
        return s->credentials && s->generation != credentials_generation(s->credentials);
}

/* Writes down how a read has ended. Takes the secret. */
static void remember(Secrets *s, int result, Secret *secret, const Failure *why) {
        uint64_t now = now_usec();
        bool refused = s->refused_serial != 0 && now < s->refused_until_usec &&
                       (result == 0 || (result > 0 && secret->serial == s->refused_serial));

        forget(s);
        s->known = true;
        s->result = result;
        s->why = *why;
        s->until_usec = now + REMEMBER_USEC;
        if (refused) {
                s->result = -EKEYREJECTED;
                s->until_usec = s->refused_until_usec;
                (void) failure_set(
                        &s->why,
                        FAILURE_TOKEN_REFUSED,
                        "the token of \"%s\"%s%s was refused, and is not tried again before it "
                        "changes: set a new one with `gitfsctl token set %s`",
                        s->org,
                        result > 0 ? " from " : "",
                        result > 0 ? origin_name(secret->origin, s->kind) : "",
                        s->org); /* the errno is ours */
                secret_done(secret);
        } else if (result == 0)
                (void) failure_set(
                        &s->why,
                        FAILURE_TOKEN_MISSING,
                        "no token is set for \"%s\": set one with `gitfsctl token set %s`",
                        s->org,
                        s->org); /* it is in result */
        else if (result > 0)
                s->secret = *secret;
}

/* 1 and a copy, 0, or an errno, as it is known; -EAGAIN: it must be read. */
static int look_up(Secrets *s, Secret *ret) {
        if (is_stale(s)) {
                forget(s);
                s->refused_serial = 0;
        }
        if (s->known && s->result <= 0 && now_usec() >= s->until_usec)
                forget(s);
        if (!s->known)
                return -EAGAIN;
        return s->result > 0 ? secret_copy(&s->secret, ret) : s->result;
}

/* --- asking --- */

static bool is_look_due(const Secrets *s, uint64_t now) {
        return now - s->looked_usec >= LOOK_USEC;
}

static void look_for_changes(Secrets *s) {
        FileId id;
        uint64_t now = now_usec();

        mutex_lock(&s->lock);
        bool due = s->known && is_look_due(s, now);
        if (due)
                s->looked_usec = now;
        mutex_unlock(&s->lock);
        if (!due)
                return;
        look_at_file(s->path, &id);
        MUTEX_GUARD(&s->lock);
        if (!same_file(&id, &s->file))
                forget(s);
}

/* Reads with no lock held, as the only one. */
static int read_now(Secrets *s, uint64_t deadline_usec, Secret *ret) {
        uint64_t generation = s->credentials ? credentials_generation(s->credentials) : 0;
        Secret secret = {0};
        Failure why = {0};
        FileId id;

        look_at_file(s->path, &id); /* before: a change in between is found later */
        int r = read_chain(s, deadline_usec, &secret, &why);

        MUTEX_GUARD(&s->lock);
        s->reading = false;
        (void) pthread_cond_broadcast(&s->read_done);
        if (r == -ENOMEM || r == -ETIMEDOUT || r == -ECANCELED)
                return r; /* says nothing about the token: the next one tries again */
        s->generation = generation;
        s->file = id;
        s->looked_usec = now_usec();
        remember(s, r, &secret, &why);
        return s->result > 0 ? secret_copy(&s->secret, ret) : s->result;
}

int secrets_get(Secrets *s, uint64_t deadline_usec, Secret *ret) {
        look_for_changes(s);
        mutex_lock(&s->lock);
        while (s->reading)
                mutex_wait(&s->lock, &s->read_done);
        int r = look_up(s, ret);
        if (r == -EAGAIN)
                s->reading = true;
        mutex_unlock(&s->lock);
        return r == -EAGAIN ? read_now(s, deadline_usec, ret) : r;
}

int secrets_peek(Secrets *s, Secret *ret) {
        MUTEX_GUARD(&s->lock);
        return s->known && s->result > 0 && !is_stale(s) ? secret_copy(&s->secret, ret) : 0;
}

int secrets_get_at_once(Secrets *s, Secret *ret) {
        MUTEX_GUARD(&s->lock);
        if (!s->known || s->result <= 0 || is_stale(s) || is_look_due(s, now_usec()))
                return 0;
        return secret_copy(&s->secret, ret);
}

int secrets_explain(Secrets *s, Failure *ret) {
        MUTEX_GUARD(&s->lock);
        if (!s->known || s->result > 0 || is_stale(s))
                return 0;
        *ret = s->why;
        return s->result < 0 ? s->result : failure_errno(s->why.class);
}

/* --- what the server said --- */

/* What git was asked, for telling it how that went. Borrows everything. */
static Credential as_credential(const Secrets *s, const Secret *secret) {
        return (Credential){.username = secret->username, .password = secret->token, .url = s->url};
}

bool secrets_refused(Secrets *s, const Secret *secret) {
        mutex_lock(&s->lock);
        bool current = s->known && s->result > 0 && s->secret.serial == secret->serial;
        if (current) {
                s->refused_serial = secret->serial;
                s->refused_until_usec = now_usec() + REMEMBER_USEC;
                if (s->accepted_serial == secret->serial)
                        s->accepted_serial = 0;
                forget(s);
        }
        bool again = !s->known || s->result > 0;
        mutex_unlock(&s->lock);

        if (current && secret->origin == SECRET_GIT && s->credentials) {
                const Credential credential = as_credential(s, secret);
                credentials_reject(s->credentials, &credential);
        }
        return again;
}

void secrets_accepted(Secrets *s, const Secret *secret) {
        mutex_lock(&s->lock);
        bool news = s->accepted_serial != secret->serial;
        s->accepted_serial = secret->serial;
        mutex_unlock(&s->lock);

        if (news && secret->origin == SECRET_GIT && s->credentials) {
                const Credential credential = as_credential(s, secret);
                credentials_approve(s->credentials, &credential);
        }
}

void secrets_flush(Secrets *s) {
        MUTEX_GUARD(&s->lock);
        forget(s);
        s->refused_serial = 0;
}

/* --- life --- */

/* gh and glab know servers by their host, and speak https to them. */
static int tool_host(const char *url, char **ret) {
        _cleanup_free_ char *origin = NULL;
        static const char scheme[] = "https://", port[] = ":443";

        int r = http_url_origin(url, &origin);
        if (r < 0)
                return r;
        if (strncmp(origin, scheme, strlen(scheme)) != 0)
                return 0;
        size_t len = strlen(origin);
        if (len > strlen(port) && strcmp(origin + len - strlen(port), port) == 0)
                origin[len - strlen(port)] = '\0';
        *ret = strdup(origin + strlen(scheme));
        return *ret ? 0 : -ENOMEM;
}

/* What git knows for an org holds for what is in it, and not for the org beside it. */
static char *as_directory(const char *url) {
        size_t len = strlen(url);
        char *copy;

        return asprintf(&copy, "%s%s", url, len > 0 && url[len - 1] == '/' ? "" : "/") < 0 ? NULL
                                                                                           : copy;
}

int secrets_new(
        const OrgConfig *org,
        const char *url,
        const char *config_home,
        struct Credentials *credentials,
        Secrets **ret) {
        _cleanup_(secrets_unrefp) Secrets *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->ref = REF_INIT;
        mutex_init(&s->lock, LOCK_RANK_FORGE);
        (void) pthread_cond_init(&s->read_done, NULL); /* cannot fail with glibc */
        s->kind = org->kind;
        s->credentials = credentials;
        s->org = strdup(org->name);
        s->url = as_directory(url);
        s->path = secret_file_path(config_home, org->name);
        if (!s->org || !s->url || !s->path)
                return -ENOMEM;
        int r = tool_host(url, &s->host);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Secrets *secrets_ref(Secrets *s) {
        ref_get(&s->ref);
        return s;
}

Secrets *secrets_unref(Secrets *s) {
        if (!s || !ref_put(&s->ref))
                return NULL;
        secret_done(&s->secret);
        (void) pthread_cond_destroy(&s->read_done);
        mutex_destroy(&s->lock);
        free(s->org);
        free(s->url);
        free(s->host);
        free(s->path);
        free(s);
        return NULL;
}
