/* The file of an org: what is accepted survives being written and read again, and has no password
 * in its URL. */

#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "config/ssh-url.h"
#include "fuzz.h"

static int parse(const void *data, size_t size, OrgConfig **ret) {
        ConfigError e;

        int r = org_config_parse("name", data, size, "fuzz", ret, &e);
        if (r < 0)
                FUZZ_CHECK(r == -EINVAL && strncmp(e.text, "fuzz:", 5) == 0);
        return r;
}

/* No password in it, and nothing that ssh would take for an option. */
static void check_url(const OrgConfig *c) {
        const char *url = org_config_url(c);
        _cleanup_ssh_url_ SshUrl ssh = {0};

        if (c->kind == ORG_LOCAL)
                FUZZ_CHECK(url[0] == '/');
        else if (c->kind == ORG_GIT && ssh_url_is(url)) {
                FUZZ_CHECK(ssh_url_parse(url, &ssh) == 0);
                FUZZ_CHECK(ssh.host[0] != '-');
                FUZZ_CHECK(!ssh.user || (ssh.user[0] != '-' && !strchr(ssh.user, ':')));
        } else {
                const char *authority = strstr(url, "://");
                FUZZ_CHECK(authority);
                authority += strlen("://");
                FUZZ_CHECK(!memchr(authority, '@', strcspn(authority, "/")));
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(org_config_freep) OrgConfig *c = NULL;
        _cleanup_(org_config_freep) OrgConfig *again = NULL;
        _cleanup_buf_ Buf text = {0};
        _cleanup_buf_ Buf second = {0};

        if (parse(data, size, &c) < 0)
                return 0;
        check_url(c);
        FUZZ_CHECK(!c->owner || strcmp(c->owner, ORG_OWNER_ME) == 0 || !strchr(c->owner, '@'));
        FUZZ_CHECK(org_config_format(c, &text) == 0);
        FUZZ_CHECK(parse(text.data, text.len, &again) == 0);
        FUZZ_CHECK(org_config_format(again, &second) == 0);
        FUZZ_CHECK(text.len == second.len && memcmp(text.data, second.data, text.len) == 0);
        return 0;
}
