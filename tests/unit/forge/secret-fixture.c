#include "secret-fixture.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"

char *in_dir(const Fixture *f, const char *name) {
        char *path = path_join(f->dir.path, name, NULL);

        ck_assert_ptr_nonnull(path);
        return path;
}

uint64_t in_a_minute(void) {
        return now_usec() + 60 * USEC_PER_SEC;
}

void write_text(const Fixture *f, const char *name, const char *text, mode_t mode) {
        _cleanup_free_ char *path = in_dir(f, name);

        temp_dir_write(&f->dir, name, text, strlen(text));
        ck_assert_int_eq(chmod(path, mode), 0);
}

static void set(const char *name, const char *value) {
        ck_assert_int_eq(setenv(name, value, 1), 0);
}

/* A program that prints the file TOOL-token, where that is there. */
static void install_tool(const Fixture *f, const char *tool) {
        _cleanup_free_ char *path = NULL, *script = NULL;

        ck_assert_int_gt(asprintf(&path, "bin/%s", tool), 0);
        ck_assert_int_gt(
                asprintf(
                        &script,
                        "#!/bin/sh\necho \"%s $*\" >>%s/log\ncat %s/%s-token 2>/dev/null\n",
                        tool,
                        f->dir.path,
                        f->dir.path,
                        tool),
                0);
        write_text(f, path, script, 0755);
}

static void install_git_helper(const Fixture *f) {
        _cleanup_free_ char *helper = NULL;

        ck_assert_int_gt(
                asprintf(
                        &helper,
                        "!f() { cat >/dev/null; echo git $1 >>%s/log; "
                        "test $1 = get && cat %s/git-token 2>/dev/null; }; f",
                        f->dir.path,
                        f->dir.path),
                0);
        set("HOME", f->dir.path);
        set("GIT_CONFIG_NOSYSTEM", "1");
        set("GIT_CONFIG_COUNT", "1");
        set("GIT_CONFIG_KEY_0", "credential.helper");
        set("GIT_CONFIG_VALUE_0", helper);
}

Secrets *make(const Fixture *f, const char *name, OrgKind kind, const char *url) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        Secrets *secrets = NULL;

        ck_assert_int_eq(org_config_new(name, kind, url, &org), 0);
        ck_assert_int_eq(secrets_new(org, url, &f->context, /* ask_git= */ true, &secrets), 0);
        return secrets;
}

void setup(Fixture *f, OrgKind kind, const char *url) {
        _cleanup_free_ char *bin = NULL, *path = NULL;

        *f = (Fixture){0};
        temp_dir_init(&f->dir);
        bin = in_dir(f, "bin");
        ck_assert_int_gt(asprintf(&path, "%s:/usr/local/bin:/usr/bin:/bin", bin), 0);
        set("PATH", path);
        ck_assert_int_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
        install_tool(f, "gh");
        install_tool(f, "glab");
        install_git_helper(f);
        f->context.config_home = f->dir.path;
        ck_assert_int_eq(pool_new(1, &f->context.pool), 0);
        ck_assert_int_eq(helpers_new(f->context.pool, &f->context.helpers), 0);
        ck_assert_int_eq(credentials_new(true, f->context.helpers, &f->context.credentials), 0);
        f->secrets = make(f, "acme", kind, url);
}

void teardown(Fixture *f) {
        helpers_stop(f->context.helpers);
        pool_free(f->context.pool);
        helpers_free(f->context.helpers);
        secrets_unref(f->secrets);
        credentials_free(f->context.credentials);
        temp_dir_done(&f->dir);
}

static void on_secret(SecretWaiter *waiter, int result, Secret *secret) {
        Asker *a = container_of(waiter, Asker, waiter);

        a->result = result;
        a->secret = *secret;
        *secret = (Secret){0};
        (void) sem_post(&a->ended); /* cannot fail */
}

void ask(Secrets *secrets, uint64_t deadline_usec, Asker *ret) {
        *ret = (Asker){.waiter = {.deadline_usec = deadline_usec, .done = on_secret}};
        ck_assert_int_eq(sem_init(&ret->ended, 0, 0), 0);
        secrets_get(secrets, &ret->waiter);
}

int answer(Asker *asker, Secret *ret) {
        while (sem_wait(&asker->ended) < 0)
                ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(sem_destroy(&asker->ended), 0);
        *ret = asker->secret;
        return asker->result;
}

int get(const Fixture *f, Secret *ret) {
        Asker asker;

        ask(f->secrets, in_a_minute(), &asker);
        return answer(&asker, ret);
}

void assert_token(const Fixture *f, SecretOrigin origin, const char *token) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        ck_assert_int_eq(secret.origin, origin);
        ck_assert_str_eq(secret.token, token);
        ck_assert_uint_ne(secret.serial, 0);
}

void assert_result(const Fixture *f, int result) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), result);
}

void refuse(const Fixture *f, bool again) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        ck_assert_int_eq(secrets_refused(f->secrets, &secret), again);
}

void accept_it(const Fixture *f) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        secrets_accepted(f->secrets, &secret);
}

/* What git is told nobody waits for. */
void assert_log(const Fixture *f, const char *expected) {
        _cleanup_free_ char *path = in_dir(f, "log");
        uint64_t deadline = in_a_minute();

        for (;;) {
                _cleanup_buf_ Buf b = {0};

                if (access(path, F_OK) == 0)
                        ck_assert_int_eq(read_file(path, 4096, &b), 0);
                if (b.len >= strlen(expected) || now_usec() >= deadline) {
                        ck_assert_str_eq(buf_str(&b), expected);
                        return;
                }
                (void) sched_yield();
        }
}

void assert_words(const Fixture *f, FailureClass class, const char *part) {
        Failure failure = {0};

        ck_assert_int_lt(secrets_explain(f->secrets, &failure), 0);
        ck_assert_int_eq(failure.class, class);
        ck_assert_msg(strstr(failure.text, part), "\"%s\" is not in: %s", part, failure.text);
}

/* Asks until it is this one: the file is looked at once a second. */
void await_token(const Fixture *f, const char *token) {
        uint64_t deadline = now_usec() + 60 * USEC_PER_SEC;
        bool found = false;

        while (!found && now_usec() < deadline) {
                _cleanup_secret_ Secret secret = {0};
                found = get(f, &secret) == 1 && strcmp(secret.token, token) == 0;
                (void) sched_yield();
        }
        ck_assert_msg(found, "\"%s\" is not read", token);
}
