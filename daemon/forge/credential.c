/* What `git credential` knows, kept under the URL it holds for. git tells by a `path` in its answer
 * that a secret is for this one repository (credential.useHttpPath); otherwise it is kept for all
 * repositories beside it, so that an org of a thousand repositories asks the helper once.
 *
 * `git credential reject` erases the user's stored secret. So a secret that the server has accepted
 * before is only dropped from memory when it is refused: it is asked for once more, and only a
 * fresh one that is refused, too, is rejected. */

#include "forge/credential.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "forge/http.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/mutex.h"
#include "util/secret-memory.h"
#include "util/stats.h"
#include "util/subprocess.h"

#define HELPER_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define HELPER_MAX_OUTPUT (256 * 1024)
#define REFUSED_USEC (60 * USEC_PER_SEC)
#define MAX_ENTRIES 1000

typedef struct Entry {
        LIST_ENTRY(Entry) entry;
        char *scope;               /* URL of a repository, or of what holds it */
        char *username, *password; /* NULL: git had none */
        uint64_t refused_until;
        bool approved;
} Entry;

/* One helper at a time per server: its origin is here while one runs. */
typedef struct Filling {
        LIST_ENTRY(Filling) entry;
        const char *origin;
} Filling;

struct Credentials {
        bool use_helper;
        int stop; /* an eventfd: readable once helpers are not to be waited for */
        atomic_uint_least64_t generation;
        Mutex mutex;
        pthread_cond_t filled;
        /* Guarded by mutex: */
        LIST_HEAD(, Entry) entries;
        size_t n_entries;
        LIST_HEAD(, Filling) filling;
};

static const char *const helper_env[] = {
        /* Nobody is there to answer a question. */
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ASKPASS=",
        "SSH_ASKPASS=",
        "GCM_INTERACTIVE=never",
        NULL,
};

void credential_done(Credential *c) {
        c->username = secret_free(c->username);
        c->password = secret_free(c->password);
        free(c->url);
        c->url = NULL;
}

static void entry_free(Credentials *c, Entry *e) {
        LIST_REMOVE(e, entry);
        c->n_entries--;
        secret_free(e->username);
        secret_free(e->password);
        free(e->scope);
        free(e);
}

/* --- the memory --- */

/* "https://host/org/repo" is in the scope "https://host/org/", and in itself. */
static bool scope_holds(const char *scope, const char *url) {
        size_t n = strlen(scope);

        if (strncmp(scope, url, n) != 0)
                return false;
        return url[n] == '\0' || (n > 0 && scope[n - 1] == '/' && !strchr(url + n, '/'));
}

static Entry *find_entry(Credentials *c, const char *url) {
        Entry *e;

        LIST_FOREACH (e, &c->entries, entry)
                if (scope_holds(e->scope, url))
                        return e;
        return NULL;
}

static int copy_out(const Entry *e, const char *url, Credential *ret) {
        Credential copy = {
                .username = secret_strdup(e->username),
                .password = secret_strdup(e->password),
                .url = strdup(url),
        };

        if (!copy.username || !copy.password || !copy.url) {
                credential_done(&copy);
                return -ENOMEM;
        }
        *ret = copy;
        return 1;
}

/* 1 known, 0 known that there is none, -ENOENT not known; -ENOMEM. */
static int look_up(Credentials *c, const char *url, Credential *ret) {
        Entry *e = find_entry(c, url);

        if (e && e->password)
                return copy_out(e, url, ret);
        if (e && now_usec() < e->refused_until)
                return 0;
        if (e)
                entry_free(c, e);
        return -ENOENT;
}

int credentials_peek(Credentials *c, const char *url, Credential *ret) {
        MUTEX_GUARD(&c->mutex);
        Entry *e = find_entry(c, url);

        return e && e->password ? copy_out(e, url, ret) : 0;
}

static int remember(
        Credentials *c,
        const char *url,
        bool only_this,
        const char *username,
        const char *password) {
        const char *host = strstr(url, "://");
        const char *slash = strrchr(url, '/');
        /* What names no more than a server has nothing beside it. */
        bool alone = only_this || !host || slash < host + 3;
        size_t n = alone ? strlen(url) : (size_t) (slash - url) + 1;

        Entry *old = find_entry(c, url);
        if (old)
                entry_free(c, old);
        if (c->n_entries >= MAX_ENTRIES)
                entry_free(c, LIST_FIRST(&c->entries));

        Entry *e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        e->scope = strndup(url, n);
        e->username = username ? secret_strdup(username) : NULL;
        e->password = password ? secret_strdup(password) : NULL;
        e->refused_until = password ? 0 : now_usec() + REFUSED_USEC;
        LIST_INSERT_HEAD(&c->entries, e, entry);
        c->n_entries++;
        if (!e->scope || (username && !e->username) || (password && !e->password)) {
                entry_free(c, e);
                return -ENOMEM;
        }
        return 0;
}

/* --- the helper --- */

static int append_field(Buf *b, const char *key, const char *value) {
        /* A line break would let the value speak for other fields. */
        if (strpbrk(value, "\r\n"))
                return -EINVAL;
        int r = buf_append_str(b, key);
        if (r >= 0)
                r = buf_append_str(b, "=");
        if (r >= 0)
                r = buf_append_str(b, value);
        return r >= 0 ? buf_append_str(b, "\n") : r;
}

/* Exit status, or a negative errno. */
static int run_helper(
        const char *verb,
        const Credential *what,
        uint64_t timeout_usec,
        int stop_fd,
        Buf *ret_output) {
        const char *const argv[] = {"git", "credential", verb, NULL};
        _cleanup_(buf_wipe) Buf input = {0};

        int r = append_field(&input, "url", what->url);
        if (r >= 0 && what->username)
                r = append_field(&input, "username", what->username);
        if (r >= 0 && what->password)
                r = append_field(&input, "password", what->password);
        if (r >= 0)
                r = buf_append_str(&input, "\n");
        if (r < 0)
                return r;
        return subprocess_run_until(
                argv,
                helper_env,
                input.data,
                input.len,
                HELPER_MAX_OUTPUT,
                timeout_usec,
                stop_fd,
                ret_output);
}

typedef struct Answer {
        const char *username, *password; /* into the output */
        bool has_path;
} Answer;

/* Splits the output into lines, in place. */
static void parse_answer(char *text, Answer *ret) {
        char *save = NULL;

        *ret = (Answer){0};
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                if (strncmp(line, "username=", 9) == 0)
                        ret->username = line + 9;
                else if (strncmp(line, "password=", 9) == 0)
                        ret->password = line + 9;
                else if (strncmp(line, "path=", 5) == 0)
                        ret->has_path = true;
        }
}

/* Asks git, with no lock held, and remembers the answer. */
static int ask_helper(Credentials *c, const char *url, uint64_t deadline_usec, Credential *ret) {
        _cleanup_(buf_wipe) Buf output = {0};
        Credential question = {.url = (char *) url};
        Answer answer = {0};
        uint64_t now = now_usec();

        if (deadline_usec <= now)
                return -ETIMEDOUT;
        stat_add(STAT_CREDENTIAL_FILLS, 1);
        int r = run_helper(
                "fill", &question, MIN(HELPER_TIMEOUT_USEC, deadline_usec - now), c->stop, &output);
        bool hurried = r == -ETIMEDOUT && deadline_usec - now < HELPER_TIMEOUT_USEC;
        if (r == -ENOMEM || r == -ECANCELED || hurried)
                return r;
        /* One that fails has no answer: the others that wait need not all try it, one by one. */
        if (r == 0) {
                if (!buf_str(&output))
                        return -ENOMEM;
                parse_answer((char *) output.data, &answer);
        }

        MUTEX_GUARD(&c->mutex);
        bool found = answer.username && answer.password;
        r = remember(
                c,
                url,
                answer.has_path,
                found ? answer.username : NULL,
                found ? answer.password : NULL);
        return r < 0 ? r : look_up(c, url, ret);
}

static bool is_filling(Credentials *c, const char *origin) {
        Filling *f;

        LIST_FOREACH (f, &c->filling, entry)
                if (strcmp(f->origin, origin) == 0)
                        return true;
        return false;
}

int credentials_fill(Credentials *c, const char *url, uint64_t deadline_usec, Credential *ret) {
        _cleanup_free_ char *origin = NULL;

        if (!c->use_helper)
                return 0;
        int r = http_url_origin(url, &origin);
        if (r < 0)
                return r;
        Filling self = {.origin = origin};

        mutex_lock(&c->mutex);
        while (is_filling(c, origin)) /* no longer than HELPER_TIMEOUT_USEC each */
                mutex_wait(&c->mutex, &c->filled);
        r = look_up(c, url, ret);
        if (r == -ENOENT)
                LIST_INSERT_HEAD(&c->filling, &self, entry);
        mutex_unlock(&c->mutex);
        if (r != -ENOENT)
                return r;

        r = ask_helper(c, url, deadline_usec, ret);

        MUTEX_GUARD(&c->mutex);
        LIST_REMOVE(&self, entry);
        (void) pthread_cond_broadcast(&c->filled);
        return r;
}

/* --- what the server said --- */

static bool entry_is(const Entry *e, const Credential *credential) {
        return e && e->password && strcmp(e->username, credential->username) == 0 &&
               strcmp(e->password, credential->password) == 0;
}

/* Fails only for those who keep secrets: we have it in memory, and a helper that does not forget
 * one will see it refused again. */
static void tell_helper(const char *verb, const Credential *credential) {
        _cleanup_(buf_wipe) Buf output = {0};

        /* Not stopped: it may be in the middle of writing its file. */
        (void) run_helper(verb, credential, HELPER_TIMEOUT_USEC, -1, &output);
}

void credentials_approve(Credentials *c, const Credential *credential) {
        mutex_lock(&c->mutex);
        Entry *e = find_entry(c, credential->url);
        bool news = entry_is(e, credential) && !e->approved;
        if (news)
                e->approved = true;
        mutex_unlock(&c->mutex);
        if (news)
                tell_helper("approve", credential);
}

void credentials_reject(Credentials *c, const Credential *credential) {
        mutex_lock(&c->mutex);
        Entry *e = find_entry(c, credential->url);
        bool known = entry_is(e, credential);
        bool was_good = known && e->approved;
        if (was_good)
                entry_free(c, e);
        else if (known) {
                /* Not to be asked for, and refused, again and again: servers lock accounts. */
                e->username = secret_free(e->username);
                e->password = secret_free(e->password);
                e->refused_until = now_usec() + REFUSED_USEC;
        }
        mutex_unlock(&c->mutex);
        if (known && !was_good)
                tell_helper("reject", credential);
}

int credentials_new(bool use_helper, Credentials **ret) {
        Credentials *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->stop < 0) {
                int r = -errno;
                free(c);
                return r;
        }
        c->use_helper = use_helper;
        mutex_init(&c->mutex, LOCK_RANK_FORGE);
        (void) pthread_cond_init(&c->filled, NULL); /* cannot fail with glibc */
        LIST_INIT(&c->entries);
        LIST_INIT(&c->filling);
        *ret = c;
        return 0;
}

void credentials_stop(Credentials *c) {
        (void) eventfd_write(c->stop, 1); /* full is as good */
}

int credentials_stop_fd(const Credentials *c) {
        return c->stop;
}

uint64_t credentials_generation(Credentials *c) {
        return atomic_load_explicit(&c->generation, memory_order_acquire);
}

void credentials_flush(Credentials *c) {
        MUTEX_GUARD(&c->mutex);
        while (!LIST_EMPTY(&c->entries))
                entry_free(c, LIST_FIRST(&c->entries));
        /* Last: who reads an old entry now has seen the old generation. */
        atomic_fetch_add_explicit(&c->generation, 1, memory_order_release);
}

Credentials *credentials_free(Credentials *c) {
        if (!c)
                return NULL;
        credentials_flush(c);
        safe_close(c->stop);
        (void) pthread_cond_destroy(&c->filled);
        mutex_destroy(&c->mutex);
        free(c);
        return NULL;
}
