/* Each step ends in the next or in end():
 *
 *   1. start       files, on the worker that calls
 *   2. run_tool    gh or glab, on a thread of the helpers
 *   3. ask_git     credential.h
 *
 * Only one is under way at a time, so nothing here needs a lock. */

#include "forge/secret-chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/helper.h"
#include "forge/http.h"
#include "forge/secret-source.h"
#include "util/htable.h"

static void end(SecretChain *chain, int result) {
        Secret secret = chain->secret;
        const Failure why = chain->why;

        chain->secret = (Secret){0};
        if (result > 0)
                secret.serial = hash_string(secret.token) | 1; /* 0 is no token's */
        chain->done(chain, result, &secret, &why);
}

/* --- git --- */

static void on_git(CredentialFill *fill, int result, Credential *credential) {
        SecretChain *chain = container_of(fill, SecretChain, git);

        chain->secret.username = TAKE_PTR(credential->username);
        chain->secret.token = TAKE_PTR(credential->password);
        end(chain, result);
}

static void ask_git(SecretChain *chain) {
        if (!chain->ask_git) {
                end(chain, 0);
                return;
        }
        chain->secret.origin = SECRET_GIT;
        chain->git = (CredentialFill){
                .url = chain->url,
                .deadline_usec = chain->deadline_usec,
                .done = on_git,
        };
        credentials_fill(chain->context->credentials, &chain->git);
}

/* --- gh and glab --- */

static void run_tool(HelperJob *job) {
        SecretChain *chain = container_of(job, SecretChain, tool);

        chain->result = secret_read_tool(
                chain->kind,
                chain->host,
                chain->deadline_usec,
                helpers_stop_fd(chain->context->helpers),
                &chain->secret.token);
}

static void on_tool(HelperJob *job, bool cancelled) {
        SecretChain *chain = container_of(job, SecretChain, tool);

        if (cancelled)
                end(chain, -ECANCELED);
        else if (chain->result == 0)
                ask_git(chain);
        else
                end(chain, chain->result);
}

static void ask_tool(SecretChain *chain) {
        Helpers *helpers = chain->context->helpers;

        if (!helpers || !chain->host || !secret_has_tool(chain->kind)) {
                ask_git(chain);
                return;
        }
        chain->secret.origin = SECRET_TOOL;
        chain->tool = (HelperJob){
                .run = run_tool,
                .done = on_tool,
                .server = hash_string(chain->host),
                .limit = HELPERS_PER_SERVER,
        };
        helpers_submit(helpers, &chain->tool);
}

/* --- the start --- */

void secret_chain_start(SecretChain *chain, uint64_t deadline_usec) {
        Secret *secret = &chain->secret;

        chain->deadline_usec = deadline_usec;
        chain->why = (Failure){0};
        *secret = (Secret){.origin = SECRET_SYSTEMD};
        int r = secret_read_systemd(chain->org, &secret->token, &chain->why);
        if (r == 0) {
                secret->origin = SECRET_FILE;
                r = secret_read_file(chain->path, &secret->token, &chain->why);
        }
        if (r == 0)
                ask_tool(chain);
        else
                end(chain, r);
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

int secret_chain_init(
        SecretChain *chain,
        const OrgConfig *org,
        const char *url,
        const ForgeContext *context,
        bool ask_git) {
        chain->context = context;
        chain->kind = org->kind;
        chain->ask_git = ask_git;
        chain->org = strdup(org->name);
        chain->url = as_directory(url);
        chain->path = secret_file_path(context->config_home, org->name);
        if (!chain->org || !chain->url || !chain->path)
                return -ENOMEM;
        return tool_host(url, &chain->host);
}

void secret_chain_done(SecretChain *chain) {
        free(chain->org);
        free(chain->url);
        free(chain->host);
        free(chain->path);
}
