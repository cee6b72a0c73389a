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
#include <sys/queue.h>

#include "forge/http.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/htable.h"
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

/* What git is told, and nobody waits for. */
typedef struct Notice {
        HelperJob job;
        const char *verb;
        Credential credential;
} Notice;

struct Credentials {
        bool use_helper;
        Helpers *helpers; /* not owned */
        atomic_uint_least64_t generation;
        Mutex mutex;
        /* Guarded by mutex: */
        LIST_HEAD(, Entry) entries;
        size_t n_entries;
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

static int copy_out(const char *username, const char *password, const char *url, Credential *ret) {
        Credential copy = {
                .username = secret_strdup(username),
                .password = secret_strdup(password),
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
                return copy_out(e->username, e->password, url, ret);
        if (e && now_usec() < e->refused_until)
                return 0;
        if (e)
                entry_free(c, e);
        return -ENOENT;
}

int credentials_peek(Credentials *c, const char *url, Credential *ret) {
        MUTEX_GUARD(&c->mutex);
        Entry *e = find_entry(c, url);

        return e && e->password ? copy_out(e->username, e->password, url, ret) : 0;
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

void credential_parse_answer(char *text, CredentialAnswer *ret) {
        char *save = NULL;

        *ret = (CredentialAnswer){0};
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
        CredentialAnswer answer = {0};
        uint64_t now = now_usec();

        if (deadline_usec <= now)
                return -ETIMEDOUT;
        stat_add(STAT_CREDENTIAL_FILLS, 1);
        int r = run_helper(
                "fill",
                &question,
                MIN(HELPER_TIMEOUT_USEC, deadline_usec - now),
                helpers_stop_fd(c->helpers),
                &output);
        bool hurried = r == -ETIMEDOUT && deadline_usec - now < HELPER_TIMEOUT_USEC;
        if (r == -ENOMEM || r == -ECANCELED || hurried)
                return r;
        /* One that fails has no answer: the others that wait need not all try it, one by one. */
        if (r == 0) {
                if (!buf_str(&output))
                        return -ENOMEM;
                credential_parse_answer((char *) output.data, &answer);
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

static int look_up_once(Credentials *c, const char *url, Credential *ret) {
        MUTEX_GUARD(&c->mutex);
        return look_up(c, url, ret);
}

/* Who waited for the helper of the same server may find here what it said. */
static void fill_run(HelperJob *job) {
        CredentialFill *fill = container_of(job, CredentialFill, job);
        Credentials *c = fill->credentials;

        fill->result = look_up_once(c, fill->url, &fill->found);
        if (fill->result == -ENOENT)
                fill->result = ask_helper(c, fill->url, fill->deadline_usec, &fill->found);
}

static void fill_end(CredentialFill *fill, int result) {
        _cleanup_(credential_done) Credential found = fill->found;

        fill->found = (Credential){0};
        fill->done(fill, result, &found);
}

static void fill_done(HelperJob *job, bool cancelled) {
        CredentialFill *fill = container_of(job, CredentialFill, job);

        fill_end(fill, cancelled ? -ECANCELED : fill->result);
}

/* One at a time per server, and in order: what is refused is forgotten before git is asked again.
 */
static int job_init(HelperJob *job, const char *url) {
        _cleanup_free_ char *origin = NULL;

        int r = http_url_origin(url, &origin);
        if (r < 0)
                return r;
        *job = (HelperJob){.server = hash_string(origin), .limit = 1};
        return 0;
}

void credentials_fill(Credentials *c, CredentialFill *fill) {
        fill->found = (Credential){0};
        fill->credentials = c;
        int r = c->use_helper ? job_init(&fill->job, fill->url) : 0;
        if (r >= 0 && c->use_helper)
                r = look_up_once(c, fill->url, &fill->found);
        if (r != -ENOENT) {
                fill_end(fill, r);
                return;
        }
        fill->job.run = fill_run;
        fill->job.done = fill_done;
        helpers_submit(c->helpers, &fill->job);
}

/* --- what the server said --- */

static bool entry_is(const Entry *e, const Credential *credential) {
        return e && e->password && strcmp(e->username, credential->username) == 0 &&
               strcmp(e->password, credential->password) == 0;
}

static void notice_run(HelperJob *job) {
        Notice *n = container_of(job, Notice, job);
        _cleanup_(buf_wipe) Buf output = {0};

        /* Fails only for those who keep secrets: we have it in memory, and a helper that does not
         * forget one will see it refused again. Not stopped: it may be in the middle of writing its
         * file. */
        (void) run_helper(n->verb, &n->credential, HELPER_TIMEOUT_USEC, -1, &output);
        credential_done(&n->credential);
        free(n);
}

static void tell_helper(Credentials *c, const char *verb, const Credential *what) {
        _cleanup_free_ Notice *n = calloc(1, sizeof(*n));

        /* Without memory it is lost, which is as bad as a helper that fails. */
        if (!n || job_init(&n->job, what->url) < 0 ||
            copy_out(what->username, what->password, what->url, &n->credential) < 0)
                return;
        n->verb = verb;
        n->job.run = notice_run;
        helpers_submit(c->helpers, &TAKE_PTR(n)->job);
}

void credentials_approve(Credentials *c, const Credential *credential) {
        mutex_lock(&c->mutex);
        Entry *e = find_entry(c, credential->url);
        bool news = entry_is(e, credential) && !e->approved;
        if (news)
                e->approved = true;
        mutex_unlock(&c->mutex);
        if (news)
                tell_helper(c, "approve", credential);
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
                tell_helper(c, "reject", credential);
}

int credentials_new(bool use_helper, Helpers *helpers, Credentials **ret) {
        Credentials *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->use_helper = use_helper;
        c->helpers = helpers;
        mutex_init(&c->mutex, LOCK_RANK_FORGE);
        LIST_INIT(&c->entries);
        *ret = c;
        return 0;
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
        mutex_destroy(&c->mutex);
        free(c);
        return NULL;
}
