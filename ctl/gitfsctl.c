/* gitfsctl: the command line. One table of verbs and one of options, from which --help is printed;
 * an option that a verb does not list is refused, never ignored. */

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/bus-client.h"
#include "ctl/ctl.h"
#include "ctl/verbs.h"
#include "util/array.h"
#include "util/clock.h"
#include "version.h"

#define MAX_POLL_INTERVAL_SEC (366ull * 24 * 60 * 60)

typedef struct Verb {
        const char *group; /* "org" in `org add`; NULL */
        const char *name;
        unsigned min_args, max_args;
        unsigned options;  /* that it takes */
        unsigned required; /* among these */
        /* What else the command line must hold: EXIT_SUCCESS, or EXIT_USAGE with the reason told;
         * may be NULL. */
        int (*check)(const Ctl *ctl);
        int (*run)(Ctl *ctl, char **args);
        const char *synopsis, *help;
} Verb;

#define COMMON OPTION_RUNTIME_DIRECTORY
#define ANY_NUMBER 10000u
#define ORG_OPTIONS                                                                                \
        (OPTION_FORGE | OPTION_URL | OPTION_API_URL | OPTION_OWNER | OPTION_REPO |                 \
         OPTION_INCLUDE | OPTION_EXCLUDE | OPTION_ARCHIVED | OPTION_FORKS | OPTION_CLIENT_ID |     \
         OPTION_POLL_INTERVAL | OPTION_TOKEN_STDIN)

static const Verb verbs[] = {
        {
                .name = "status",
                .options = COMMON | OPTION_JSON,
                .run = verb_status,
                .synopsis = "",
                .help = "Show the daemon, its orgs, its jobs, and what servers allow",
        },
        {
                .group = "org",
                .name = "add",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | ORG_OPTIONS,
                .required = OPTION_FORGE,
                .check = check_org_add,
                .run = verb_org_add,
                .synopsis = "NAME --forge KIND [--url URL-OR-DIR] [--owner OWNER]",
                .help = "Show the repositories of a forge, server or directory under NAME",
        },
        {
                .group = "org",
                .name = "remove",
                .min_args = 1,
                .max_args = ANY_NUMBER,
                .options = COMMON,
                .run = verb_org_remove,
                .synopsis = "NAME...",
                .help = "Take orgs out of the mount",
        },
        {
                .group = "org",
                .name = "list",
                .options = COMMON | OPTION_JSON,
                .run = verb_org_list,
                .synopsis = "",
                .help = "List the orgs",
        },
        {
                .group = "org",
                .name = "show",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | OPTION_JSON,
                .run = verb_org_show,
                .synopsis = "NAME",
                .help = "Show all that is known about an org",
        },
        {
                .group = "token",
                .name = "set",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON,
                .run = verb_token_set,
                .synopsis = "ORG",
                .help = "Read a token from standard input and use it for ORG",
        },
        {
                .group = "token",
                .name = "forget",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON,
                .run = verb_token_forget,
                .synopsis = "ORG",
                .help = "Remove the token that was set for ORG",
        },
        {
                .name = "login",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | OPTION_CLIENT_ID,
                .run = verb_login,
                .synopsis = "ORG",
                .help = "Sign in to GitHub with a browser, and use that for ORG",
        },
        {
                .name = "prefetch",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | OPTION_JSON | OPTION_CONTENTS | OPTION_WAIT,
                .run = verb_prefetch,
                .synopsis = "PATH",
                .help = "Load what lies below PATH; prints the number of the job",
        },
        {
                .name = "pin",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | OPTION_WAIT,
                .run = verb_pin,
                .synopsis = "PATH",
                .help = "Keep all below PATH on this machine, also when its branch moves",
        },
        {
                .name = "unpin",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON,
                .run = verb_unpin,
                .synopsis = "PATH",
                .help = "Keep it no longer",
        },
        {
                .name = "pins",
                .options = COMMON | OPTION_JSON,
                .run = verb_pins,
                .synopsis = "",
                .help = "List what is pinned, and whether it is complete",
        },
        {
                .name = "jobs",
                .options = COMMON | OPTION_JSON,
                .run = verb_jobs,
                .synopsis = "",
                .help = "List the jobs",
        },
        {
                .name = "cancel",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON,
                .run = verb_cancel,
                .synopsis = "JOB",
                .help = "End a job",
        },
        {
                .name = "flush",
                .max_args = 1,
                .options = COMMON | OPTION_KERNEL | OPTION_MEMORY | OPTION_DISK,
                .run = verb_flush,
                .synopsis = "[PATH]",
                .help = "Forget what is cached; without options --kernel and --memory",
        },
        {
                .name = "verify",
                .options = COMMON | OPTION_JSON,
                .run = verb_verify,
                .synopsis = "",
                .help = "Check every object in the cache, and drop what is damaged",
        },
        {
                .name = "refresh",
                .max_args = 1,
                .options = COMMON,
                .run = verb_refresh,
                .synopsis = "[PATH]",
                .help = "Look now whether branches have moved",
        },
        {
                .name = "stats",
                .options = COMMON | OPTION_JSON,
                .run = verb_stats,
                .synopsis = "",
                .help = "Show the counters",
        },
        {
                .name = "which",
                .min_args = 1,
                .max_args = 1,
                .options = COMMON | OPTION_JSON,
                .run = verb_which,
                .synopsis = "PATH",
                .help = "Show which repository, commit and object PATH is",
        },
        {
                .name = "path",
                .max_args = 1,
                .options = COMMON,
                .run = verb_path,
                .synopsis = "[ORG[/REPO]]",
                .help = "Print where the mount, an org or a repository is",
        },
        {
                .name = "reload",
                .options = COMMON,
                .run = verb_reload,
                .synopsis = "",
                .help = "Read the configuration again",
        },
};

/* Values of getopt_long(): the option's bit, moved out of the range of characters. */
#define OPTION_VALUE(option) ((int) (option) << 8)
#define VALUE_HELP 'h'
#define VALUE_VERSION 'V'

static const struct option options[] = {
        {"help", no_argument, NULL, VALUE_HELP},
        {"version", no_argument, NULL, VALUE_VERSION},
        {"json", no_argument, NULL, OPTION_VALUE(OPTION_JSON)},
        {"runtime-directory", required_argument, NULL, OPTION_VALUE(OPTION_RUNTIME_DIRECTORY)},
        {"forge", required_argument, NULL, OPTION_VALUE(OPTION_FORGE)},
        {"url", required_argument, NULL, OPTION_VALUE(OPTION_URL)},
        {"api-url", required_argument, NULL, OPTION_VALUE(OPTION_API_URL)},
        {"owner", required_argument, NULL, OPTION_VALUE(OPTION_OWNER)},
        {"repo", required_argument, NULL, OPTION_VALUE(OPTION_REPO)},
        {"include", required_argument, NULL, OPTION_VALUE(OPTION_INCLUDE)},
        {"exclude", required_argument, NULL, OPTION_VALUE(OPTION_EXCLUDE)},
        {"archived", required_argument, NULL, OPTION_VALUE(OPTION_ARCHIVED)},
        {"forks", required_argument, NULL, OPTION_VALUE(OPTION_FORKS)},
        {"client-id", required_argument, NULL, OPTION_VALUE(OPTION_CLIENT_ID)},
        {"token-stdin", no_argument, NULL, OPTION_VALUE(OPTION_TOKEN_STDIN)},
        {"poll-interval", required_argument, NULL, OPTION_VALUE(OPTION_POLL_INTERVAL)},
        {"contents", no_argument, NULL, OPTION_VALUE(OPTION_CONTENTS)},
        {"wait", no_argument, NULL, OPTION_VALUE(OPTION_WAIT)},
        {"kernel", no_argument, NULL, OPTION_VALUE(OPTION_KERNEL)},
        {"memory", no_argument, NULL, OPTION_VALUE(OPTION_MEMORY)},
        {"disk", no_argument, NULL, OPTION_VALUE(OPTION_DISK)},
        {0},
};

static const struct {
        const char *text, *help;
} option_help[] = {
        {"--json",
         "Print JSON (status, org list, org show, prefetch, pins, jobs, stats, verify, which)"},
        {"--runtime-directory DIR", "Talk to the gitfsd of that directory, and to no other"},
        {"--forge KIND", "org add: github, gitlab, gitea, mesa, git (a server) or local"},
        {"--url URL-OR-DIR", "org add: the server or directory; else the forge's public one"},
        {"--owner OWNER", "org add: whose repositories; @me: one's own; else the whole forge"},
        {"--api-url URL", "org add: the forge's API, where it is at an unusual place"},
        {"--repo NAME", "org add: a repository, where the server cannot list them; repeatable"},
        {"--include PATTERN", "org add: names of repositories to list; repeatable"},
        {"--exclude PATTERN", "org add: names of repositories not to list; repeatable"},
        {"--archived yes|no", "org add: whether to list archived repositories"},
        {"--forks yes|no", "org add: whether to list forks"},
        {"--client-id ID", "org add, login: the OAuth application to sign in to (github)"},
        {"--token-stdin", "org add: read its token from standard input"},
        {"--poll-interval SEC", "org add: how often to look for moved branches; 0 is never"},
        {"--contents", "prefetch: files too, not only listings"},
        {"--wait", "prefetch, pin: show the progress and wait for the end"},
        {"--kernel", "flush: what the kernel caches"},
        {"--memory", "flush: what the daemon holds in memory"},
        {"--disk", "flush: objects on disk"},
        {"-h, --help", "Print this"},
        {"--version", "Print the version"},
};

static int help(void) {
        printf("Usage: gitfsctl [OPTION...] VERB [ARGUMENT...]\n\n"
               "Controls gitfsd, the daemon that shows repositories as directories.\n\nVerbs:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                const Verb *v = &verbs[i];

                printf("  %s%s%s%s%s\n        %s\n",
                       v->group ? v->group : "",
                       v->group ? " " : "",
                       v->name,
                       v->synopsis[0] ? " " : "",
                       v->synopsis,
                       v->help);
        }
        printf("\nOptions:\n");
        for (size_t i = 0; i < ELEMENTSOF(option_help); i++)
                printf("  %-24s %s\n", option_help[i].text, option_help[i].help);
        printf("\nPATH is absolute, or relative to the current directory if that lies in the "
               "mount\n"
               "or PATH begins with ./ or ../, else relative to the mount: org/repo/dir.\n\n"
               "Exit status: 0 success, 1 failure, 2 wrong usage.\n");
        return ctl_flush(EXIT_SUCCESS);
}

static int version(void) {
        printf("gitfsctl %s\n", GITFS_VERSION);
        return ctl_flush(EXIT_SUCCESS);
}

static int parse_interval(const char *text, uint64_t *ret_usec) {
        char *end;

        errno = 0;
        unsigned long long sec = strtoull(text, &end, 10);
        if (errno != 0 || end == text || *end || text[0] == '-' || sec > MAX_POLL_INTERVAL_SEC)
                return -EINVAL;
        *ret_usec = sec * USEC_PER_SEC;
        return 0;
}

static int parse_switch(const char *option, const char *text, bool *ret) {
        bool yes = strcmp(text, "yes") == 0;

        if (!yes && strcmp(text, "no") != 0)
                return ctl_usage_error("--%s: \"%s\" is neither yes nor no", option, text);
        *ret = yes;
        return EXIT_SUCCESS;
}

static int list_add(CtlList *list, const char *value) {
        if (ARRAY_RESERVE(list->items, list->n_allocated, list->n + 1) < 0) {
                ctl_error("out of memory");
                return EXIT_FAILURE;
        }
        list->items[list->n++] = value;
        return EXIT_SUCCESS;
}

/* EXIT_SUCCESS, or the exit status with the reason told. */
static int take_option(Ctl *ctl, CtlOption option, const char *value) {
        ctl->given |= option;
        switch (option) {
        case OPTION_RUNTIME_DIRECTORY:
                ctl->runtime_directory = value;
                break;
        case OPTION_FORGE:
                ctl->forge = value;
                break;
        case OPTION_URL:
                ctl->url = value;
                break;
        case OPTION_API_URL:
                ctl->api_url = value;
                break;
        case OPTION_OWNER:
                ctl->owner = value;
                break;
        case OPTION_CLIENT_ID:
                ctl->client_id = value;
                break;
        case OPTION_REPO:
                return list_add(&ctl->repos, value);
        case OPTION_INCLUDE:
                return list_add(&ctl->include, value);
        case OPTION_EXCLUDE:
                return list_add(&ctl->exclude, value);
        case OPTION_ARCHIVED:
                return parse_switch("archived", value, &ctl->archived);
        case OPTION_FORKS:
                return parse_switch("forks", value, &ctl->forks);
        case OPTION_POLL_INTERVAL:
                if (parse_interval(value, &ctl->poll_interval_usec) < 0)
                        return ctl_usage_error(
                                "--poll-interval: \"%s\" is no number of seconds", value);
                break;
        case OPTION_JSON:
        case OPTION_TOKEN_STDIN:
        case OPTION_CONTENTS:
        case OPTION_WAIT:
        case OPTION_KERNEL:
        case OPTION_MEMORY:
        case OPTION_DISK:
                break; /* flags: given says all */
        }
        return EXIT_SUCCESS;
}

static const Verb *find_verb(char **args, size_t *ret_words) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                const Verb *v = &verbs[i];

                if (!args[0] || strcmp(args[0], v->group ? v->group : v->name) != 0)
                        continue;
                if (v->group && (!args[1] || strcmp(args[1], v->name) != 0))
                        continue;
                *ret_words = v->group ? 2 : 1;
                return v;
        }
        return NULL;
}

static bool is_group(const char *word) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (verbs[i].group && strcmp(verbs[i].group, word) == 0)
                        return true;
        return false;
}

/* EXIT_SUCCESS, or EXIT_USAGE with the reason told. */
static int check_options(const Ctl *ctl, const Verb *v) {
        const char *group = v->group ? v->group : "", *blank = v->group ? " " : "";

        for (const struct option *o = options; o->name; o++) {
                unsigned bit = (unsigned) o->val >> 8;

                if ((ctl->given & bit) && !(v->options & bit))
                        return ctl_usage_error(
                                "--%s means nothing to `%s%s%s`", o->name, group, blank, v->name);
                if ((v->required & bit) && !(ctl->given & bit))
                        return ctl_usage_error(
                                "`%s%s%s` needs --%s", group, blank, v->name, o->name);
        }
        return v->check ? v->check(ctl) : EXIT_SUCCESS;
}

static int run_verb(Ctl *ctl, char **args) {
        size_t words = 0, n_args = 0;

        if (!args[0])
                return ctl_usage_error("what is to be done is missing");
        const Verb *v = find_verb(args, &words);
        if (!v) {
                bool two = is_group(args[0]) && args[1];
                return ctl_usage_error(
                        "unknown verb \"%s%s%s\"", args[0], two ? " " : "", two ? args[1] : "");
        }

        for (args += words; args[n_args];)
                n_args++;
        if (n_args < v->min_args || n_args > v->max_args)
                return ctl_usage_error(
                        "usage: gitfsctl %s%s%s %s",
                        v->group ? v->group : "",
                        v->group ? " " : "",
                        v->name,
                        v->synopsis);
        int status = check_options(ctl, v);
        if (status != EXIT_SUCCESS)
                return status;
        return client_connect(ctl) < 0 ? EXIT_FAILURE : v->run(ctl, args);
}

int main(int argc, char **argv) {
        Ctl ctl = {0};
        int status = EXIT_SUCCESS;

        /* Column widths; the output is UTF-8 whatever the locale. Without it wide characters count
         * as narrow. */
        (void) setlocale(LC_CTYPE, "C.UTF-8"); // NOLINT(concurrency-mt-unsafe): one thread
        // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
        ctl.runtime_directory = getenv("GITFS_RUNTIME_DIRECTORY");
        if (ctl.runtime_directory && !*ctl.runtime_directory)
                ctl.runtime_directory = NULL;

        while (status == EXIT_SUCCESS) {
                // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
                int c = getopt_long(argc, argv, "h", options, NULL);
                if (c < 0)
                        break;
                if (c == VALUE_HELP)
                        return help();
                if (c == VALUE_VERSION)
                        return version();
                status = c == '?' ? ctl_usage_error("the command line was not understood")
                                  : take_option(&ctl, (CtlOption) (c >> 8), optarg);
        }
        if (status == EXIT_SUCCESS)
                status = run_verb(&ctl, argv + optind);
        sd_bus_close_unref(ctl.bus);
        free(ctl.mount_point);
        free(ctl.repos.items);
        free(ctl.include.items);
        free(ctl.exclude.items);
        return status;
}
