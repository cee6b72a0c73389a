#include "config/ssh-url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/path.h"

#define SCHEME "ssh://"
#define HOST_MAX 255
#define PORT_MAX 65535

static bool has_scheme(const char *url) {
        return strncasecmp(url, SCHEME, strlen(SCHEME)) == 0;
}

/* "https:/host" is a slip of the pen rather than a host of that name. */
static bool is_scheme_name(const char *s, size_t len) {
        static const char *const names[] = {"http", "https", "ssh", "git", "file", "ftp", "ftps"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strlen(names[i]) == len && strncasecmp(s, names[i], len) == 0)
                        return true;
        return false;
}

/* The colon behind the host in the short form; NULL: it is none. */
static const char *find_colon(const char *url) {
        const char *slash = strchr(url, '/');
        const char *host = strchr(url, '[');
        const char *end = host ? strchr(host, ']') : NULL;
        /* Those of an address in brackets come before. */
        bool address = host && end && (host == url || host[-1] == '@') && (!slash || end < slash);
        const char *colon = strchr(address ? end : url, ':');

        if (!colon || (slash && slash < colon) || strncmp(colon, "://", 3) == 0)
                return NULL;
        return is_scheme_name(url, (size_t) (colon - url)) ? NULL : colon;
}

bool ssh_url_is(const char *url) {
        return has_scheme(url) || find_colon(url);
}

static bool is_clean(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        return false;
        return true;
}

static bool name_has_only(const char *s, const char *more) {
        if (!isalnum((unsigned char) s[0]) && s[0] != '_')
                return false; /* a "-" would make it an option */
        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && !strchr(more, *s))
                        return false;
        return true;
}

static bool address_is_valid(const char *s) {
        for (const char *p = s; *p; p++)
                if (!isxdigit((unsigned char) *p) && !strchr(":.", *p))
                        return false;
        return strchr(s, ':') != NULL;
}

static int parse_port(const char *s, unsigned *ret) {
        unsigned port = 0;

        for (; *s; s++) {
                if (!isdigit((unsigned char) *s))
                        return -EINVAL;
                port = port * 10 + (unsigned) (*s - '0');
                if (port > PORT_MAX)
                        return -EINVAL;
        }
        if (port == 0)
                return -EINVAL;
        *ret = port;
        return 0;
}

/* "host", "[address]", either with ":port" where one may be. */
static int parse_host(char *text, bool port_too, SshUrl *u) {
        char *host = text, *port = strchr(text, ':');
        bool address = text[0] == '[';

        if (address) {
                char *end = strchr(text, ']');
                if (!end)
                        return -EINVAL;
                *end = '\0';
                host++;
                port = end[1] ? end + 1 : NULL;
                if (port && *port != ':')
                        return -EINVAL;
        }
        if (port) {
                *port++ = '\0';
                if (!port_too || parse_port(port, &u->port) < 0)
                        return -EINVAL;
        }
        if (strlen(host) > HOST_MAX ||
            !(address ? address_is_valid(host) : name_has_only(host, "-._")))
                return -EINVAL;
        u->host = strdup(host);
        return u->host ? 0 : -ENOMEM;
}

static int parse_authority(char *text, bool is_url, SshUrl *u) {
        char *at = strrchr(text, '@');
        char *host = at ? at + 1 : text;

        if (at) {
                *at = '\0';
                if (!name_has_only(text, "-._+@"))
                        return -EINVAL; /* a colon would lead to a password */
                u->user = strdup(text);
                if (!u->user)
                        return -ENOMEM;
        }
        return parse_host(host, is_url, u);
}

/* What the path is for the other side, where a shell reads it. */
static int set_path(const char *path, bool is_url, SshUrl *u) {
        u->path = strdup(path);
        if (!u->path)
                return -ENOMEM;
        if (is_url && percent_decode(u->path) < 0)
                return -EINVAL;
        if (is_url && strncmp(u->path, "/~", 2) == 0)
                memmove(u->path, u->path + 1, strlen(u->path));
        return is_clean(u->path) && u->path[0] != '-' ? 0 : -EINVAL;
}

int ssh_url_parse(const char *url, SshUrl *ret) {
        _cleanup_ssh_url_ SshUrl u = {0};
        bool is_url = has_scheme(url);
        const char *start = url + (is_url ? strlen(SCHEME) : 0);
        const char *end = is_url ? start + strcspn(start, "/") : find_colon(url);

        if (!end || end == start)
                return -EINVAL;
        _cleanup_free_ char *authority = strndup(start, (size_t) (end - start));
        if (!authority)
                return -ENOMEM;
        int r = parse_authority(authority, is_url, &u);
        if (r >= 0)
                r = set_path(is_url ? end : end + 1, is_url, &u);
        if (r < 0)
                return r;
        *ret = u;
        u = (SshUrl){0};
        return 0;
}

void ssh_url_done(SshUrl *u) {
        free(u->user);
        free(u->host);
        free(u->path);
        *u = (SshUrl){0};
}

char *ssh_url_join(const char *url, const char *name) {
        size_t n = strlen(url);
        /* "host:" stands for a home. */
        bool bare = n > 0 && (url[n - 1] == '/' || (url[n - 1] == ':' && !has_scheme(url)));
        _cleanup_free_ char *encoded = has_scheme(url) ? percent_encode(name, "") : strdup(name);
        char *joined;

        if (!encoded || asprintf(&joined, "%s%s%s", url, bare ? "" : "/", encoded) < 0)
                return NULL;
        return joined;
}
