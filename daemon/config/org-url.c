#include "config/org-url.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "config/ini-text.h"
#include "config/ssh-url.h"

#define URL_MAX 2048
#define HOST_MAX 255
#define PORT_MAX 65535

static const char *skip_scheme(const char *url) {
        static const char *const schemes[] = {"https://", "http://"};

        for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
                if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
                        return url + strlen(schemes[i]);
        return NULL;
}

/* Bytes that RFC 3986 allows nowhere in a URL, and the backslash that some take for a slash. */
static bool holds_foreign_bytes(const char *s) {
        for (; *s; s++)
                if (!isgraph((unsigned char) *s) || strchr("\\\"<>^`{|}", *s))
                        return true;
        return false;
}

/* A name, an IPv4 address or an IPv6 address in brackets; returns its length, 0 when it is none. */
static size_t host_length(const char *authority, size_t len) {
        size_t n = 0;

        if (len > 0 && authority[0] == '[') {
                for (n = 1; n < len; n++)
                        if (!isxdigit((unsigned char) authority[n]) && !strchr(":.", authority[n]))
                                break;
                return n > 2 && n < len && authority[n] == ']' ? n + 1 : 0;
        }
        while (n < len && (isalnum((unsigned char) authority[n]) || strchr("-._", authority[n])))
                n++;
        return n > 0 && isalnum((unsigned char) authority[0]) ? n : 0;
}

static bool port_is_valid(const char *s, size_t len) {
        unsigned port = 0;

        if (len == 0)
                return true;
        if (s[0] != ':' || len < 2)
                return false;
        for (size_t i = 1; i < len; i++) {
                if (!isdigit((unsigned char) s[i]))
                        return false;
                port = port * 10 + (unsigned) (s[i] - '0');
                if (port > PORT_MAX)
                        return false;
        }
        return port > 0;
}

int org_url_check_http(const char *url, ConfigError *ret_error) {
        const char *authority = skip_scheme(url);

        if (!authority)
                return config_error_set(ret_error, "the URL is not http:// or https://");
        size_t len = strcspn(authority, "/?#");
        if (memchr(authority, '@', len))
                return config_error_set(
                        ret_error,
                        "the URL holds credentials; leave them to git's credential helpers");
        if (strlen(url) > URL_MAX)
                return config_error_set(ret_error, "the URL is longer than %d bytes", URL_MAX);
        if (holds_foreign_bytes(url))
                return config_error_set(
                        ret_error, "the URL holds characters that must be percent-encoded");
        if (strpbrk(authority, "?#"))
                return config_error_set(ret_error, "the URL holds a query or a fragment");

        size_t host = host_length(authority, len);
        if (host == 0 || host > HOST_MAX)
                return config_error_set(ret_error, "the URL has no valid host");
        if (!port_is_valid(authority + host, len - host))
                return config_error_set(ret_error, "the URL has no valid host and port");
        return 0;
}

static int check_ssh(const char *url, ConfigError *ret_error) {
        _cleanup_ssh_url_ SshUrl parsed = {0};

        if (strlen(url) > URL_MAX)
                return config_error_set(ret_error, "the URL is longer than %d bytes", URL_MAX);
        for (const char *p = url; *p; p++)
                if (!isgraph((unsigned char) *p))
                        return config_error_set(
                                ret_error, "the URL holds blanks or characters beyond ASCII");
        int r = ssh_url_parse(url, &parsed);
        if (r == -EINVAL)
                return config_error_set(
                        ret_error,
                        "the URL is neither ssh://[user@]host[:port]/path nor [user@]host:path; "
                        "passwords are left to ssh");
        return r;
}

int org_url_check(const char *url, ConfigError *ret_error) {
        if (ssh_url_is(url))
                return check_ssh(url, ret_error);
        if (!skip_scheme(url))
                return config_error_set(
                        ret_error, "the URL is not http://, https://, ssh:// or [user@]host:path");
        return org_url_check_http(url, ret_error);
}
