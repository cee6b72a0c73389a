/* The chain of places that a token comes from, with programs named gh and glab of our own, and the
 * real `git credential` with a helper that is a shell function. Each writes a line to `log`. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forge/credential.h"
#include "forge/secret-source.h"
#include "forge/secret.h"
#include "lib/check-main.h"
#include "lib/temp-dir.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/secret-memory.h"

typedef struct Fixture {
        TempDir dir;
        Credentials *credentials;
        Secrets *secrets;
} Fixture;

static char *in_dir(const Fixture *f, const char *name) {
        char *path = path_join(f->dir.path, name, NULL);

        ck_assert_ptr_nonnull(path);
        return path;
}

static void write_text(const Fixture *f, const char *name, const char *text, mode_t mode) {
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

static Secrets *make(const Fixture *f, const char *name, OrgKind kind, const char *url) {
        _cleanup_(org_config_freep) OrgConfig *org = NULL;
        Secrets *secrets = NULL;

        ck_assert_int_eq(org_config_new(name, kind, url, &org), 0);
        ck_assert_int_eq(secrets_new(org, url, f->dir.path, f->credentials, &secrets), 0);
        return secrets;
}

static void setup(Fixture *f, OrgKind kind, const char *url) {
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
        ck_assert_int_eq(credentials_new(true, &f->credentials), 0);
        f->secrets = make(f, "acme", kind, url);
}

static void teardown(Fixture *f) {
        secrets_unref(f->secrets);
        credentials_free(f->credentials);
        temp_dir_done(&f->dir);
}

static int get(const Fixture *f, Secret *ret) {
        *ret = (Secret){0};
        return secrets_get(f->secrets, now_usec() + 60 * USEC_PER_SEC, ret);
}

static void assert_token(const Fixture *f, SecretOrigin origin, const char *token) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        ck_assert_int_eq(secret.origin, origin);
        ck_assert_str_eq(secret.token, token);
        ck_assert_uint_ne(secret.serial, 0);
}

static void assert_result(const Fixture *f, int result) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), result);
}

static void refuse(const Fixture *f, bool again) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        ck_assert_int_eq(secrets_refused(f->secrets, &secret), again);
}

static void accept_it(const Fixture *f) {
        _cleanup_secret_ Secret secret = {0};

        ck_assert_int_eq(get(f, &secret), 1);
        secrets_accepted(f->secrets, &secret);
}

static void assert_log(const Fixture *f, const char *expected) {
        _cleanup_free_ char *path = in_dir(f, "log");
        _cleanup_buf_ Buf b = {0};

        if (access(path, F_OK) == 0)
                ck_assert_int_eq(read_file(path, 4096, &b), 0);
        ck_assert_str_eq(buf_str(&b), expected);
}

static void assert_words(const Fixture *f, FailureClass class, const char *part) {
        Failure failure = {0};

        ck_assert_int_lt(secrets_explain(f->secrets, &failure), 0);
        ck_assert_int_eq(failure.class, class);
        ck_assert_msg(strstr(failure.text, part), "\"%s\" is not in: %s", part, failure.text);
}

#define GH "gh auth token --hostname github.test\n"

/* --- the order --- */

START_TEST(the_first_place_that_has_one_wins) { /* issue 3, 5: the order */
        Fixture f;
        _cleanup_free_ char *systemd = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=from-git\n", 0600);
        assert_token(&f, SECRET_GIT, "from-git");
        assert_log(&f, GH "git get\n");

        write_text(&f, "gh-token", "from-gh\n", 0600);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_TOOL, "from-gh");

        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "from-file"), 0);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "from-file");

        systemd = in_dir(&f, "systemd");
        set("CREDENTIALS_DIRECTORY", systemd);
        write_text(&f, "systemd/gitfs.other", "wrong", 0400);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "from-file");
        write_text(&f, "systemd/gitfs.acme", "from-systemd\n", 0400);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_SYSTEMD, "from-systemd");
        teardown(&f);
}
END_TEST

START_TEST(tools_are_asked_for_their_own_servers_only) {
        Fixture f;

        setup(&f, ORG_GITLAB, "https://gitlab.test:8443/group");
        write_text(&f, "glab-token", "from-glab\n", 0600);
        assert_token(&f, SECRET_TOOL, "from-glab");
        assert_log(&f, "glab config get token --host gitlab.test:8443\n");
        teardown(&f);

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        assert_result(&f, 0);
        assert_log(&f, "git get\n");
        teardown(&f);

        /* They would send what is meant for https. */
        setup(&f, ORG_GITHUB, "http://127.0.0.1:8080/acme");
        assert_result(&f, 0);
        assert_log(&f, "git get\n");
        teardown(&f);
}
END_TEST

START_TEST(git_tells_the_user_name_too) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=s3cret\n", 0600);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        ck_assert_int_eq(get(&f, &secret), 1);
        ck_assert_str_eq(secret.username, "alice");
        secret_done(&secret);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 1);
        ck_assert_str_eq(secret.token, "s3cret");
        secret_done(&secret);
        /* 0 only where it is time to look at the file again. */
        while (secrets_get_at_once(f.secrets, &secret) == 0)
                assert_token(&f, SECRET_GIT, "s3cret");
        ck_assert_str_eq(secret.token, "s3cret");
        assert_log(&f, "git get\n");
        teardown(&f);
}
END_TEST

START_TEST(orgs_of_one_server_have_their_own) {
        Fixture f;
        Secret secret = {0};

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=of-acme\n", 0600);
        assert_token(&f, SECRET_GIT, "of-acme");
        write_text(&f, "git-token", "username=bob\npassword=of-other\n", 0600);
        _cleanup_(secrets_unrefp) Secrets *other =
                make(&f, "other", ORG_GITEA, "https://gitea.test/other");
        ck_assert_int_eq(secrets_get(other, now_usec() + 60 * USEC_PER_SEC, &secret), 1);
        ck_assert_str_eq(secret.token, "of-other");
        secret_done(&secret);
        teardown(&f);
}
END_TEST

START_TEST(that_there_is_none_is_remembered) {
        Fixture f;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        assert_result(&f, 0);
        assert_result(&f, 0);
        assert_log(&f, GH "git get\n");
        assert_words(&f, FAILURE_TOKEN_MISSING, "no token is set for \"acme\"");
        teardown(&f);
}
END_TEST

/* --- files --- */

START_TEST(a_file_that_others_may_read_is_refused) { /* issue 3, 5: a 0600 file */
        static const mode_t modes[] = {0640, 0604, 0660, 0700, 0622};
        Fixture f;

        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                setup(&f, ORG_GITHUB, "https://github.test/acme");
                write_text(&f, "gh-token", "from-gh\n", 0600);
                write_text(&f, "credentials/acme", "token\n", modes[i]);
                assert_result(&f, -EPERM);
                assert_words(&f, FAILURE_LOCAL, "chmod 600");
                assert_log(&f, ""); /* nobody else is asked instead */
                teardown(&f);
        }
        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "credentials/acme", "token\n", 0400);
        assert_token(&f, SECRET_FILE, "token");
        teardown(&f);
}
END_TEST

START_TEST(what_is_no_plain_file_of_ours_is_refused) {
        Fixture f;
        _cleanup_free_ char *path = NULL, *elsewhere = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "elsewhere", "token\n", 0600);
        write_text(&f, "credentials/other", "token\n", 0600);
        path = in_dir(&f, "credentials/acme");
        elsewhere = in_dir(&f, "elsewhere");
        ck_assert_int_eq(symlink(elsewhere, path), 0);
        assert_result(&f, -EPERM);
        assert_words(&f, FAILURE_LOCAL, "symbolic link");

        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        secrets_flush(f.secrets);
        assert_result(&f, -EPERM);
        assert_words(&f, FAILURE_LOCAL, "no regular file");

        if (geteuid() == 0) { /* else it cannot be given away, which is fine too */
                write_text(&f, "credentials/mine", "token\n", 0600);
                _cleanup_free_ char *mine = in_dir(&f, "credentials/mine");
                ck_assert_int_eq(chown(mine, 65534, 65534), 0);
                ck_assert_int_eq(rename(mine, path), 0);
                secrets_flush(f.secrets);
                assert_result(&f, -EPERM);
                assert_words(&f, FAILURE_LOCAL, "another user");
        }
        teardown(&f);
}
END_TEST

START_TEST(what_is_no_token_is_refused) { /* issue 3, bad input: a token with a newline */
        static const char *const bad[] = {
                "", "\n", "two\nlines\n", "with blank", "tab\tbed", "b\xc3\xa4r", "a\r\nb", "\x7f"};
        Fixture f;
        _cleanup_free_ char *big = malloc(20001);

        ck_assert_ptr_nonnull(big);
        memset(big, 'x', 20000);
        big[20000] = '\0';
        setup(&f, ORG_GITHUB, "https://github.test/acme");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_int_eq(secret_file_write(f.dir.path, "acme", bad[i]), -EINVAL);
                write_text(&f, "credentials/acme", bad[i], 0600);
                secrets_flush(f.secrets);
                assert_result(&f, -EINVAL);
                assert_words(&f, FAILURE_LOCAL, "holds no token");
        }
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", big), -EINVAL);
        write_text(&f, "credentials/acme", big, 0600);
        secrets_flush(f.secrets);
        assert_result(&f, -EINVAL);
        write_text(&f, "credentials/acme", "dos\r\n", 0600);
        secrets_flush(f.secrets);
        assert_token(&f, SECRET_FILE, "dos");

        /* What a tool prints goes into headers just the same. */
        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        write_text(&f, "gh-token", "two\nlines\n", 0600);
        secrets_flush(f.secrets);
        assert_result(&f, 0);
        teardown(&f);
}
END_TEST

/* A file of our own mount would wait for whoever reads it, a terminal is not ours to change. */
START_TEST(what_cannot_be_waited_for_is_refused) {
        static const char *const paths[] = {"/proc/self/stat", "/dev/zero", "/proc/self"};
        char *token = NULL;

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_close_ int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
                Failure failure = {0};

                ck_assert_int_ge(fd, 0);
                ck_assert_int_eq(
                        secret_read_fd(fd, now_usec() + USEC_PER_SEC, -1, &token, &failure),
                        -EINVAL);
                ck_assert_ptr_nonnull(strstr(failure.text, "a pipe"));
                ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        }
}
END_TEST

START_TEST(a_token_comes_by_pipe_or_memory) {
        for (int memory = 0; memory < 2; memory++) {
                _cleanup_secret_free_ char *token = NULL;
                Failure failure = {0};
                int fds[2] = {-1, -1};

                if (memory)
                        fds[0] = fds[1] = memfd_create("token", MFD_CLOEXEC);
                else
                        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
                ck_assert_int_eq(write_all(fds[1], "abc\n", 4), 0);
                if (memory)
                        ck_assert_int_eq(lseek(fds[0], 0, SEEK_SET), 0);
                else
                        ck_assert_int_eq(close(fds[1]), 0);
                ck_assert_int_eq(
                        secret_read_fd(
                                fds[0], now_usec() + 10 * USEC_PER_SEC, -1, &token, &failure),
                        1);
                ck_assert_str_eq(token, "abc");
                ck_assert_int_eq(close(fds[0]), 0);
        }
}
END_TEST

START_TEST(a_file_is_written_for_its_owner_only) {
        Fixture f;
        struct stat st;
        _cleanup_free_ char *path = NULL, *directory = NULL;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        (void) umask(0);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "token"), 0);
        path = in_dir(&f, "credentials/acme");
        directory = in_dir(&f, "credentials");
        ck_assert_int_eq(lstat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
        ck_assert_int_eq(lstat(directory, &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
        ck_assert_int_eq(secret_file_write(f.dir.path, "..", "token"), -EINVAL);
        ck_assert_int_eq(secret_file_write(f.dir.path, "a/b", "token"), -EINVAL);

        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        ck_assert_int_lt(lstat(path, &st), 0);
        ck_assert_int_eq(secret_file_remove(f.dir.path, "acme"), 0);
        teardown(&f);
}
END_TEST

/* --- change --- */

/* Asks until it is this one: the file is looked at once a second. */
static void await_token(const Fixture *f, const char *token) {
        uint64_t deadline = now_usec() + 60 * USEC_PER_SEC;
        bool found = false;

        while (!found && now_usec() < deadline) {
                _cleanup_secret_ Secret secret = {0};
                found = get(f, &secret) == 1 && strcmp(secret.token, token) == 0;
                (void) sched_yield();
        }
        ck_assert_msg(found, "\"%s\" is not read", token);
}

START_TEST(a_changed_file_is_read_again) { /* issue 3, 5: rotated without a restart */
        Fixture f;
        _cleanup_secret_ Secret old = {0};
        _cleanup_secret_ Secret new = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        assert_result(&f, 0);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        await_token(&f, "first");
        ck_assert_int_eq(get(&f, &old), 1);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "other"), 0);
        await_token(&f, "other");
        ck_assert_int_eq(get(&f, &new), 1);
        ck_assert_uint_ne(old.serial, new.serial);

        /* Back to the old one, which has the old budget. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        await_token(&f, "first");
        secret_done(&new);
        ck_assert_int_eq(get(&f, &new), 1);
        ck_assert_uint_eq(old.serial, new.serial);
        teardown(&f);
}
END_TEST

START_TEST(a_new_generation_is_read_at_once) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        assert_token(&f, SECRET_FILE, "first");
        refuse(&f, true);
        assert_result(&f, -EKEYREJECTED);
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "other"), 0);
        credentials_flush(f.credentials);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        assert_token(&f, SECRET_FILE, "other");
        /* The user may know better than the server. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "first"), 0);
        credentials_flush(f.credentials);
        assert_token(&f, SECRET_FILE, "first");
        teardown(&f);
}
END_TEST

START_TEST(a_refused_one_is_read_once_more) { /* issue 3, 5: reloaded when it is refused once */
        Fixture f;
        _cleanup_secret_ Secret old = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "first\n", 0600);
        ck_assert_int_eq(get(&f, &old), 1);
        write_text(&f, "gh-token", "second\n", 0600);
        ck_assert(secrets_refused(f.secrets, &old));
        assert_token(&f, SECRET_TOOL, "second");
        /* Somebody else's request comes back late with the old one: the new one stays. */
        ck_assert(secrets_refused(f.secrets, &old));
        assert_token(&f, SECRET_TOOL, "second");
        assert_log(&f, GH GH);
        teardown(&f);
}
END_TEST

START_TEST(a_refused_one_is_not_given_out_again) {
        Fixture f;
        _cleanup_secret_ Secret secret = {0};

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "wrong\n", 0600);
        ck_assert_int_eq(get(&f, &secret), 1);
        ck_assert(secrets_refused(f.secrets, &secret));
        assert_result(&f, -EKEYREJECTED);
        ck_assert(!secrets_refused(f.secrets, &secret));
        assert_result(&f, -EKEYREJECTED);
        assert_log(&f, GH GH);
        assert_words(&f, FAILURE_TOKEN_REFUSED, "from gh was refused");
        secret_done(&secret);
        ck_assert_int_eq(secrets_peek(f.secrets, &secret), 0);
        /* A new file is found while that is so. */
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "right"), 0);
        await_token(&f, "right");
        teardown(&f);
}
END_TEST

/* --- what git is told --- */

START_TEST(git_is_told_of_a_refusal_of_what_was_never_good) { /* only on a clean 401 */
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=wrong\n", 0600);
        refuse(&f, true);
        assert_log(&f, "git get\ngit erase\n");
        assert_result(&f, -EKEYREJECTED);
        assert_words(&f, FAILURE_TOKEN_REFUSED, "was refused");
        teardown(&f);
}
END_TEST

START_TEST(git_keeps_what_was_good_once) {
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        write_text(&f, "git-token", "username=alice\npassword=right\n", 0600);
        accept_it(&f);
        accept_it(&f);
        assert_log(&f, "git get\ngit store\n");
        refuse(&f, true);
        assert_result(&f, -EKEYREJECTED);
        assert_log(&f, "git get\ngit store\ngit get\n");
        teardown(&f);
}
END_TEST

START_TEST(git_is_told_nothing_of_other_tokens) {
        Fixture f;

        setup(&f, ORG_GITEA, "https://gitea.test/acme");
        ck_assert_int_eq(secret_file_write(f.dir.path, "acme", "token"), 0);
        accept_it(&f);
        refuse(&f, true);
        assert_log(&f, "");
        teardown(&f);
}
END_TEST

/* --- many at once --- */

typedef struct Asker {
        pthread_t thread;
        const Fixture *fixture;
        bool good;
} Asker;

static void *ask(void *userdata) {
        Asker *asker = userdata;
        _cleanup_secret_ Secret secret = {0};

        asker->good = get(asker->fixture, &secret) == 1 && strcmp(secret.token, "from-gh") == 0;
        return NULL;
}

START_TEST(many_threads_make_one_read) {
        Fixture f;
        Asker askers[64];

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "from-gh\n", 0600);
        for (size_t i = 0; i < ELEMENTSOF(askers); i++) {
                askers[i] = (Asker){.fixture = &f};
                ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(askers); i++) {
                ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
                ck_assert(askers[i].good);
        }
        assert_log(&f, GH);
        teardown(&f);
}
END_TEST

START_TEST(who_has_no_time_spoils_nothing_for_others) {
        Fixture f;
        Secret secret;

        setup(&f, ORG_GITHUB, "https://github.test/acme");
        write_text(&f, "gh-token", "from-gh\n", 0600);
        ck_assert_int_eq(secrets_get(f.secrets, now_usec(), &secret), -ETIMEDOUT);
        assert_token(&f, SECRET_TOOL, "from-gh");
        teardown(&f);
}
END_TEST

START_TEST(nobody_waits_for_a_writer_when_the_daemon_stops) {
        char *token = NULL;
        Failure failure;
        int fds[2], stop_fd = eventfd(1, EFD_CLOEXEC);

        ck_assert_int_ge(stop_fd, 0);
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(
                secret_read_fd(fds[0], now_usec() + 60 * USEC_PER_SEC, stop_fd, &token, &failure),
                -ECANCELED);
        ck_assert_ptr_null(token);
        (void) safe_close(fds[0]);
        (void) safe_close(fds[1]);
        (void) safe_close(stop_fd);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, nobody_waits_for_a_writer_when_the_daemon_stops);
        tcase_add_test(tc, what_cannot_be_waited_for_is_refused);
        tcase_add_test(tc, a_token_comes_by_pipe_or_memory);
        tcase_add_test(tc, the_first_place_that_has_one_wins);
        tcase_add_test(tc, tools_are_asked_for_their_own_servers_only);
        tcase_add_test(tc, git_tells_the_user_name_too);
        tcase_add_test(tc, orgs_of_one_server_have_their_own);
        tcase_add_test(tc, that_there_is_none_is_remembered);
        tcase_add_test(tc, a_file_that_others_may_read_is_refused);
        tcase_add_test(tc, what_is_no_plain_file_of_ours_is_refused);
        tcase_add_test(tc, what_is_no_token_is_refused);
        tcase_add_test(tc, a_file_is_written_for_its_owner_only);
        tcase_add_test(tc, a_changed_file_is_read_again);
        tcase_add_test(tc, a_new_generation_is_read_at_once);
        tcase_add_test(tc, a_refused_one_is_read_once_more);
        tcase_add_test(tc, a_refused_one_is_not_given_out_again);
        tcase_add_test(tc, git_is_told_of_a_refusal_of_what_was_never_good);
        tcase_add_test(tc, git_keeps_what_was_good_once);
        tcase_add_test(tc, git_is_told_nothing_of_other_tokens);
        tcase_add_test(tc, many_threads_make_one_read);
        tcase_add_test(tc, who_has_no_time_spoils_nothing_for_others);
}

CHECK_MAIN("secret", add_tests)
