/* What was read last is kept with how it ended: a token, none, or words about a file that must not
 * be used. It is read again when the file has changed, when the server has refused it, when
 * somebody asks for it (a new generation, see credential.h), and, unless there is a token, after a
 * while.
 *
 * One waiter reads (secret-chain.h), with no lock held; who comes meanwhile is put on a list, and
 * looks again when it has ended. A reader is bounded by its deadline and by the time that each
 * place is given.
 *
 * A token that was refused is known by its serial, a hash of it: when the same one is read again it
 * is kept back for a while. */

#include "forge/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "forge/credential.h"
#include "forge/secret-chain.h"
#include "util/clock.h"
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
        /* Of whoever reads, but for what is constant in it: */
        SecretChain chain;
        SecretWaiter *reader;
        uint64_t read_generation;
        FileId read_file;

        Mutex lock;
        /* Guarded by lock: */
        bool reading;
        STAILQ_HEAD(, SecretWaiter) waiters; /* while somebody reads */
        bool known;                          /* what follows was read */
        int result;                          /* 1: secret holds a token; 0 none; < 0 errno */
        Secret secret;                       /* username is NULL unless it is git's */
        Failure why;                         /* unless result is 1 */
        uint64_t until_usec;                 /* how long that is believed, unless result is 1 */
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

/* 0 where nobody keeps any. */
static uint64_t current_generation(const Secrets *s) {
        Credentials *credentials = s->chain.context->credentials;

        return credentials ? credentials_generation(credentials) : 0;
}

/* --- what is known; all of these with the lock held --- */

static void forget(Secrets *s) {
        secret_done(&s->secret);
        s->secret = (Secret){0};
        s->known = false;
}

static bool is_stale(const Secrets *s) {
        return s->generation != current_generation(s);
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
                        s->chain.org,
                        result > 0 ? " from " : "",
                        result > 0 ? origin_name(secret->origin, s->chain.kind) : "",
                        s->chain.org); /* the errno is ours */
                secret_done(secret);
        } else if (result == 0)
                (void) failure_set(
                        &s->why,
                        FAILURE_TOKEN_MISSING,
                        "no token is set for \"%s\": set one with `gitfsctl token set %s`",
                        s->chain.org,
                        s->chain.org); /* it is in result */
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
        look_at_file(s->chain.path, &id);
        MUTEX_GUARD(&s->lock);
        if (!same_file(&id, &s->file))
                forget(s);
}

static void answer(SecretWaiter *w, int result, Secret *secret) {
        _cleanup_secret_ Secret copy = *secret;

        w->done(w, result, &copy);
}

/* They look again, each as a task of its own. */
static void wake_waiters(Secrets *s) {
        SecretWaiter *w, *next;

        mutex_lock(&s->lock);
        s->reading = false;
        w = STAILQ_FIRST(&s->waiters);
        STAILQ_INIT(&s->waiters);
        mutex_unlock(&s->lock);
        for (; w; w = next) {
                next = STAILQ_NEXT(w, entry); /* once submitted, the waiter may be gone */
                pool_submit(s->chain.context->pool, &w->task, w->priority);
        }
}

/* The end of a reading. What is no more than a want of time or memory says nothing about the token:
 * the next one tries again. */
static void on_read(SecretChain *chain, int result, Secret *secret, const Failure *why) {
        Secrets *s = container_of(chain, Secrets, chain);
        SecretWaiter *reader = s->reader;
        Secret copy = {0};

        if (result != -ENOMEM && result != -ETIMEDOUT && result != -ECANCELED) {
                MUTEX_GUARD(&s->lock);
                s->generation = s->read_generation;
                s->file = s->read_file;
                s->looked_usec = now_usec();
                remember(s, result, secret, why);
                result = s->result > 0 ? secret_copy(&s->secret, &copy) : s->result;
        }
        wake_waiters(s);
        answer(reader, result, &copy);
        (void) secrets_unref(s);
}

/* With no lock held, by the only one. */
static void read_now(Secrets *s, SecretWaiter *reader) {
        (void) secrets_ref(s);
        s->reader = reader;
        s->read_generation = current_generation(s);
        look_at_file(s->chain.path, &s->read_file); /* before: a change in between is found later */
        secret_chain_start(&s->chain, reader->deadline_usec);
}

/* As look_up(); -EINPROGRESS: the waiter is woken when the one who reads is done. */
static int look_up_or_wait(Secrets *s, SecretWaiter *w, Secret *ret) {
        MUTEX_GUARD(&s->lock);
        if (s->reading) {
                STAILQ_INSERT_TAIL(&s->waiters, w, entry);
                return -EINPROGRESS;
        }
        int r = look_up(s, ret);
        if (r == -EAGAIN)
                s->reading = true;
        return r;
}

static void get_run(Task *task) {
        SecretWaiter *w = container_of(task, SecretWaiter, task);
        Secrets *s = w->secrets;
        Secret secret = {0};

        look_for_changes(s);
        int r = look_up_or_wait(s, w, &secret);
        if (r == -EAGAIN)
                read_now(s, w);
        else if (r != -EINPROGRESS)
                answer(w, r, &secret);
}

void secrets_get(Secrets *s, SecretWaiter *w) {
        w->secrets = s;
        w->task.run = get_run;
        pool_submit(s->chain.context->pool, &w->task, w->priority);
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
        return (Credential){
                .username = secret->username, .password = secret->token, .url = s->chain.url};
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

        if (current && secret->origin == SECRET_GIT) {
                const Credential credential = as_credential(s, secret);
                credentials_reject(s->chain.context->credentials, &credential);
        }
        return again;
}

void secrets_accepted(Secrets *s, const Secret *secret) {
        mutex_lock(&s->lock);
        bool news = s->accepted_serial != secret->serial;
        s->accepted_serial = secret->serial;
        mutex_unlock(&s->lock);

        if (news && secret->origin == SECRET_GIT) {
                const Credential credential = as_credential(s, secret);
                credentials_approve(s->chain.context->credentials, &credential);
        }
}

void secrets_flush(Secrets *s) {
        MUTEX_GUARD(&s->lock);
        forget(s);
        s->refused_serial = 0;
}

/* --- life --- */

int secrets_new(
        const OrgConfig *org,
        const char *url,
        const ForgeContext *context,
        bool ask_git,
        Secrets **ret) {
        _cleanup_(secrets_unrefp) Secrets *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->ref = REF_INIT;
        mutex_init(&s->lock, LOCK_RANK_FORGE);
        STAILQ_INIT(&s->waiters);
        s->chain.done = on_read;
        int r = secret_chain_init(&s->chain, org, url, context, ask_git);
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
        mutex_destroy(&s->lock);
        secret_chain_done(&s->chain);
        free(s);
        return NULL;
}
