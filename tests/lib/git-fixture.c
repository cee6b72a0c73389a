#include "lib/git-fixture.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/subprocess.h"

#define ARGS_MAX 24
#define OUTPUT_MAX ((size_t) 256 << 20)

/* The user's own configuration must not change what the tests see. */
static const char *const environment[] = {
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_AUTHOR_NAME=A",
        "GIT_AUTHOR_EMAIL=a@example.org",
        "GIT_AUTHOR_DATE=1700000000 +0000",
        "GIT_COMMITTER_NAME=C",
        "GIT_COMMITTER_EMAIL=c@example.org",
        "GIT_COMMITTER_DATE=1700000001 +0100",
        NULL,
};

static void run_list(GitFixture *f, const Buf *input, Buf *output, va_list ap) {
        const char *argv[ARGS_MAX] = {"git", "-C", f->dir.path};
        size_t n = 3;

        for (const char *arg; (arg = va_arg(ap, const char *));) {
                ck_assert_uint_lt(n, ARGS_MAX - 1);
                argv[n++] = arg;
        }
        int r = subprocess_run(
                argv,
                environment,
                input ? input->data : NULL,
                input ? input->len : 0,
                OUTPUT_MAX,
                60 * USEC_PER_SEC,
                output);
        ck_assert_msg(r == 0, "git %s: %d", argv[3], r);
}

void git_fixture_run(GitFixture *f, const Buf *input, Buf *ret_output, ...) {
        _cleanup_buf_ Buf ignored = {0};
        va_list ap;

        va_start(ap, ret_output);
        run_list(f, input, ret_output ? ret_output : &ignored, ap);
        va_end(ap);
}

char *git_fixture_line(GitFixture *f, ...) {
        Buf output = {0};
        va_list ap;

        va_start(ap, f);
        run_list(f, NULL, &output, ap);
        va_end(ap);
        ck_assert_ptr_nonnull(buf_str(&output));
        char *line = (char *) output.data;
        line[strcspn(line, "\n")] = '\0';
        return line;
}

void git_fixture_init(GitFixture *f, const char *object_format) {
        char format[40];

        temp_dir_init(&f->dir);
        (void) snprintf(format, sizeof(format), "--object-format=%s", object_format);
        git_fixture_run(f, NULL, NULL, "init", "-q", "-b", "main", format, NULL);
}

void git_fixture_done(GitFixture *f) {
        temp_dir_done(&f->dir);
}

void git_fixture_write(GitFixture *f, const char *name, const void *data, size_t len) {
        temp_dir_write(&f->dir, name, data, len);
}

void git_fixture_commit(GitFixture *f, const char *message) {
        git_fixture_run(f, NULL, NULL, "add", "-A", NULL);
        git_fixture_run(f, NULL, NULL, "commit", "-q", "-m", message, NULL);
}
