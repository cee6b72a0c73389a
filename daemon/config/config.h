#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "util/buf.h"

/* The daemon's settings: text in, values out. Parsing does no I/O beyond the given text;
 * config_load() reads the files. Every option is a row of config_options[], from which the parser,
 * the documentation test and `gitfsctl` work. */

typedef struct Config {
        /* [Mount] */
        char *mount_point;              /* MountPoint= */
        uint64_t request_timeout_usec;  /* RequestTimeoutSec=: a waiting call fails with ETIMEDOUT
                                           after */
        uint64_t negative_timeout_usec; /* NegativeTimeoutSec=: how long "no such repository" is
                                           believed */
        uint64_t max_pending_requests;  /* MaxPendingRequests=: parked calls over this fail with
                                           EAGAIN */
        bool kernel_dir_cache;          /* KernelDirectoryCache= (auto|yes|no resolved at load) */
        /* [Cache] */
        char *cache_directory;     /* Directory= */
        uint64_t disk_limit;       /* DiskLimit= bytes, K M G T suffixes (1024) */
        uint64_t free_space_floor; /* KeepFree= */
        uint64_t memory_limit;     /* MemoryLimit= */
        uint64_t listing_limit;    /* ListingMemoryLimit=: parsed directories kept in memory */
        /* [Network] */
        uint64_t connect_timeout_usec; /* ConnectTimeoutSec= */
        uint64_t stall_timeout_usec;   /* StallTimeoutSec=: no byte for that long ends a transfer */
        unsigned max_per_host;         /* MaxRequestsPerHost= */
        unsigned max_total;            /* MaxRequests= */
        unsigned max_per_second;       /* MaxRequestsPerSecond=: to one host; 0 no limit */
        uint64_t max_bytes_in_flight;  /* MaxBytesInFlight=: of answers that nobody worked on yet */
        unsigned retries;              /* Retries= */
        uint64_t max_object_size;      /* MaxObjectSize= */
        char *ca_file;                 /* CAFile=: NULL for the system's */
        bool use_credential_helper;    /* GitCredential= */
        /* [Prefetch] */
        bool prefetch_children; /* Children= */
        uint64_t sibling_limit; /* SiblingLimit=, bytes */
        uint64_t walk_limit;    /* WalkLimit=, bytes */
        uint64_t push_limit;    /* PushLimit=, bytes */
        /* [Daemon] */
        unsigned workers;            /* Workers=: 0 means by the number of processors */
        unsigned fuse_threads;       /* FuseThreads= */
        uint64_t spin_usec;          /* SpinSec= */
        int log_level;               /* LogLevel= */
        uint64_t poll_interval_usec; /* PollIntervalSec=: default of the orgs; 0 never */
} Config;

typedef enum OrgKind {
        ORG_LOCAL,
        ORG_GIT,
        ORG_GITHUB,
        ORG_GITLAB,
        ORG_GITEA, /* and Forgejo */
        ORG_MESA,
        _ORG_KIND_MAX,
        _ORG_KIND_INVALID = -22, /* -EINVAL */
} OrgKind;

/* orgs.d/NAME.conf, section [Org]. */
typedef struct OrgConfig {
        char *name;
        OrgKind kind;  /* Forge= */
        char *url;     /* Url=: base URL, or an absolute directory for local; "" for the forge's own
                          public instance */
        char **repos;  /* Repo=, repeatable; NULL-terminated; NULL when none is named */
        char *api_url; /* ApiUrl=: NULL: derived from Url= as the forge documents it */
        char *owner;   /* Owner=: NULL: all of the forge; "@me": whose token it is */
        char **include;   /* Include=, repeatable: names to show, as fnmatch(3); NULL: all */
        char **exclude;   /* Exclude=, repeatable: names not to show; it has the last word */
        bool no_archived; /* Archived=no */
        bool no_forks;    /* Forks=no */
        char *client_id; /* ClientId=: of the OAuth application that `gitfsctl login` signs in to */
        uint64_t poll_interval_usec; /* PollIntervalSec=; 0 never; ORG_POLL_DEFAULT when unset */
} OrgConfig;

#define ORG_POLL_DEFAULT UINT64_MAX /* as the daemon's PollIntervalSec= */
#define ORG_OWNER_ME "@me"
#define ORG_OWNER_MAX 1024 /* bytes, and ORG_OWNER_DEPTH_MAX names */
#define ORG_OWNER_DEPTH_MAX 20
#define ORG_REPOS_MAX 10000
#define ORG_PATTERNS_MAX 256                     /* of Include=, and of Exclude= */
#define ORG_PATTERN_MAX 255                      /* bytes */
#define CONFIG_POLL_MAX UINT64_C(31536000000000) /* a year, in microseconds */

/* One option, for parsing, documentation and tests. */
typedef struct ConfigOption {
        const char *section, *key;
        const char *default_text; /* as it would stand in the file; "" for unset */
        const char *doc;          /* one sentence */
} ConfigOption;
extern const ConfigOption config_options[]; /* ends with section == NULL */
extern const ConfigOption org_options[];    /* likewise, for [Org] */

/* What is wrong with a file, for people: "/path:12: unknown option \"Foo\" in [Mount]". */
typedef struct ConfigError {
        char text[300];
} ConfigError;

/* Defaults that depend on nothing: directories are NULL until config_load(). */
int config_new(Config **ret);
Config *config_free(Config *c);
DEFINE_CLEANUP(Config *, config_free)
/* Applies INI text on top of c. `origin` names it in errors. 0, -EINVAL with *ret_error, -ENOMEM.
 * Unknown sections and options are errors: a typo must not pass for a default. c is unchanged on
 * failure. */
int config_parse(
        Config *c, const char *text, size_t len, const char *origin, ConfigError *ret_error);
/* Reads, in this order, the later winning: gitfs.conf in the system's directory, normally
 * SYSCONFDIR/gitfs, the drop-ins in its gitfs.conf.d (*.conf, sorted by name), gitfs.conf and its
 * drop-ins in the user's, normally ~/.config/gitfs; and fills in the directories that no file
 * names. Missing files are fine. */
int config_load(
        const char *system_config, const char *config_home, Config **ret, ConfigError *ret_error);

int org_config_new(const char *name, OrgKind kind, const char *url, OrgConfig **ret);
OrgConfig *org_config_free(OrgConfig *c);
DEFINE_CLEANUP(OrgConfig *, org_config_free)
int org_config_copy(const OrgConfig *c, OrgConfig **ret);
/* What is there already is not added again. -E2BIG over ORG_REPOS_MAX, ORG_PATTERNS_MAX. */
int org_config_add_repo(OrgConfig *c, const char *name);
int org_config_add_include(OrgConfig *c, const char *pattern);
int org_config_add_exclude(OrgConfig *c, const char *pattern);
/* Where the org is: Url=, or the public instance of its forge. */
const char *org_config_url(const OrgConfig *c);
/* Parses one orgs.d file; the name comes from the file name. */
int org_config_parse(
        const char *name,
        const char *text,
        size_t len,
        const char *origin,
        OrgConfig **ret,
        ConfigError *ret_error);
/* Refuses, with the reason: an invalid name of the org, of its owner or of a repository; a URL that
 * is not one, or holds credentials, a query or a fragment; a local directory that is not absolute;
 * a pattern that is too long; and options that mean nothing to this kind of forge. */
int org_config_check(const OrgConfig *c, ConfigError *ret_error);
/* The text of the file that org_config_parse() reads back to the same value. */
int org_config_format(const OrgConfig *c, Buf *ret);
/* Reads every *.conf in the user's orgs.d, and those in the system's that have no namesake there,
 * sorted by name. An empty file, or a link to /dev/null, is no org: in the user's directory it
 * hides the system's. A broken file does not hide the others: it is reported through on_error and
 * left out. *ret is an allocated array of n owned pointers. */
int org_config_load_all(
        const char *system_config,
        const char *config_home,
        void (*on_error)(const ConfigError *error, void *userdata),
        void *userdata,
        OrgConfig ***ret,
        size_t *ret_n);

const char *org_kind_name(OrgKind kind);
OrgKind org_kind_from_string(const char *s);
/* It has an API that lists owners and repositories. */
bool org_kind_has_api(OrgKind kind);
