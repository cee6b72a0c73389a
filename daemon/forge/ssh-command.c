#include "forge/ssh-command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/buf.h"
#include "util/clock.h"
#include "util/subprocess.h"

#define GIT_TIMEOUT_USEC (5 * USEC_PER_SEC)
#define GIT_MAX_OUTPUT 4096
#define MAX_ARGS 16

/* --- which --- */

/* NULL where it is not set, or empty. */
static const char *variable(const char *name) {
        const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): nobody sets any */

        return value && value[0] ? value : NULL;
}

/* What git is configured with; NULL in *ret where it is not, or where git cannot tell: then ssh
 * says what is wrong. */
static int git_config_get(const char *key, char **ret) {
        const char *const argv[] = {"git", "config", "--get", key, NULL};
        _cleanup_buf_ Buf output = {0};

        *ret = NULL;
        int r = subprocess_run(argv, NULL, NULL, 0, GIT_MAX_OUTPUT, GIT_TIMEOUT_USEC, &output);
        if (r == -ENOMEM)
                return r;
        if (r != 0 || output.len == 0)
                return 0;
        if (!buf_str(&output))
                return -ENOMEM;
        output.data[strcspn((char *) output.data, "\n")] = '\0';
        if (output.data[0] == '\0')
                return 0;
        *ret = (char *) TAKE_PTR(output.data);
        output = (Buf){0};
        return 0;
}

static int take(const char *command, bool shell, SshProgram *p) {
        p->command = strdup(command);
        p->shell = shell;
        return p->command ? 0 : -ENOMEM;
}

static int find_command(SshProgram *p) {
        const char *text = variable("GIT_SSH_COMMAND");

        if (text)
                return take(text, true, p);
        int r = git_config_get("core.sshCommand", &p->command);
        if (r < 0 || p->command) {
                p->shell = true;
                return r;
        }
        text = variable("GIT_SSH");
        return take(text ? text : "ssh", false, p);
}

static int find_variant(SshProgram *p) {
        _cleanup_free_ char *configured = NULL;
        const char *text = variable("GIT_SSH_VARIANT");

        if (!text) {
                int r = git_config_get("ssh.variant", &configured);
                if (r < 0)
                        return r;
                text = configured ? configured : "";
        }
        p->simple = strcmp(text, "simple") == 0;
        return 0;
}

int ssh_program_find(SshProgram *ret) {
        _cleanup_ssh_program_ SshProgram p = {0};

        int r = find_command(&p);
        if (r >= 0)
                r = find_variant(&p);
        if (r < 0)
                return r;
        *ret = p;
        p = (SshProgram){0};
        return 0;
}

void ssh_program_done(SshProgram *p) {
        free(p->command);
        free(p->config);
        *p = (SshProgram){0};
}

/* --- how --- */

/* For the shell on the other side, as git quotes. */
static int append_quoted(Buf *b, const char *s) {
        int r = buf_append_str(b, "'");

        for (; *s && r >= 0; s++)
                r = *s == '\'' || *s == '!' ? buf_appendf(b, "'\\%c'", *s) : buf_append(b, s, 1);
        return r >= 0 ? buf_append_str(b, "'") : r;
}

static int add(char **argv, size_t *n, const char *text) {
        assert(*n < MAX_ARGS);
        argv[*n] = strdup(text);
        return argv[(*n)++] ? 0 : -ENOMEM;
}

static int addf(char **argv, size_t *n, const char *a, const char *b, const char *c) {
        _cleanup_buf_ Buf text = {0};

        int r = buf_appendf(&text, "%s%s%s", a, b, c);
        if (r < 0 || !buf_str(&text))
                return -ENOMEM;
        return add(argv, n, (const char *) text.data);
}

static int add_program(const SshProgram *p, char **argv, size_t *n) {
        if (!p->shell)
                return add(argv, n, p->command);
        int r = add(argv, n, "/bin/sh");
        if (r >= 0)
                r = add(argv, n, "-c");
        if (r >= 0)
                r = addf(argv, n, p->command, " \"$@\"", "");
        return r >= 0 ? add(argv, n, p->command) : r; /* its $0 */
}

static int add_options(const SshProgram *p, const SshUrl *url, bool v2, char **argv, size_t *n) {
        char port[16];

        int r = 0;

        /* Who names another one himself wants no other. */
        if (p->config && !(p->shell && strstr(p->command, "-F")))
                r = addf(argv, n, "-F", p->config, "");
        if (r >= 0)
                r = add(argv, n, "-oBatchMode=yes");
        /* A master of ours could not make its socket where the service may not write. */
        if (r >= 0)
                r = add(argv, n, "-oControlMaster=no");
        if (r >= 0 && v2)
                r = add(argv, n, "-oSendEnv=GIT_PROTOCOL");
        if (r >= 0 && url->port > 0) {
                (void) snprintf(port, sizeof(port), "-p%u", url->port);
                r = add(argv, n, port);
        }
        return r;
}

int ssh_program_argv(const SshProgram *p, const SshUrl *url, bool v2, char ***ret) {
        _cleanup_(ssh_argv_freep) char **argv = calloc(MAX_ARGS + 1, sizeof(*argv));
        _cleanup_buf_ Buf command = {0};
        size_t n = 0;

        if (p->simple && url->port > 0)
                return -EINVAL;
        if (!argv)
                return -ENOMEM;
        int r = add_program(p, argv, &n);
        if (r >= 0 && !p->simple)
                r = add_options(p, url, v2, argv, &n);
        if (r >= 0)
                r = addf(argv, &n, url->user ? url->user : "", url->user ? "@" : "", url->host);
        if (r >= 0)
                r = buf_append_str(&command, "git-upload-pack ");
        if (r >= 0)
                r = append_quoted(&command, url->path);
        if (r >= 0)
                r = buf_str(&command) ? add(argv, &n, (const char *) command.data) : -ENOMEM;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(argv);
        return 0;
}

char **ssh_argv_free(char **argv) {
        for (char **p = argv; p && *p; p++)
                free(*p);
        free(argv);
        return NULL;
}
