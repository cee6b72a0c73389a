#include "forge/api-link.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "forge/api-private.h"
#include "forge/http.h"

#define BLANKS " \t"

/* One parameter, "; name=value": the value without its quotes, in place. */
typedef struct LinkParameter {
        const char *name;
        size_t name_len;
        const char *value;
        size_t value_len;
} LinkParameter;

/* The end of the quoted string whose opening quote is at s: behind the closing one. */
static const char *quoted_end(const char *s) {
        for (s++; *s && *s != '"'; s++)
                if (*s == '\\' && s[1])
                        s++;
        return *s ? s + 1 : s;
}

/* Reads the parameter behind the semicolon at s; tells where it ends. */
static const char *parse_parameter(const char *s, LinkParameter *ret) {
        s += 1 + strspn(s + 1, BLANKS);
        *ret = (LinkParameter){.name = s, .name_len = strcspn(s, BLANKS "=;,")};
        s += ret->name_len;
        s += strspn(s, BLANKS);
        if (*s != '=')
                return s;
        s += 1 + strspn(s + 1, BLANKS);
        ret->value = s;
        if (*s != '"') {
                ret->value_len = strcspn(s, BLANKS ";,");
                return s + ret->value_len;
        }
        const char *end = quoted_end(s);
        ret->value = s + 1;
        ret->value_len = (size_t) (end - ret->value) - (end[-1] == '"' && end - s > 1 ? 1 : 0);
        return end;
}

static bool is_named(const LinkParameter *p, const char *name) {
        return p->name_len == strlen(name) && strncasecmp(p->name, name, p->name_len) == 0;
}

/* True if the word is one of those in the value, in any case. */
static bool has_word(const LinkParameter *p, const char *word) {
        const char *end = p->value ? p->value + p->value_len : NULL;

        for (const char *s = p->value; s < end;) {
                size_t n = 0;
                while (s + n < end && s[n] != ' ' && s[n] != '\t')
                        n++;
                if (n == strlen(word) && strncasecmp(s, word, n) == 0)
                        return true;
                s += n + 1;
        }
        return false;
}

/* Reads the parameters of one link; tells where the next link begins. */
static const char *parse_parameters(const char *s, bool *ret_next) {
        bool seen = false;

        *ret_next = false;
        for (;;) {
                LinkParameter p;

                s += strcspn(s, ";,\"");
                if (*s == '"') {
                        s = quoted_end(s);
                        continue;
                }
                if (*s != ';')
                        return s;
                s = parse_parameter(s, &p);
                /* Of several, only the first counts. */
                if (is_named(&p, "rel") && !seen) {
                        seen = true;
                        *ret_next = has_word(&p, "next");
                }
        }
}

/* The target of the first such link, within the header. */
static const char *find_next(const char *header, size_t *ret_len) {
        for (const char *s = header; (s = strchr(s, '<'));) {
                const char *target = s + 1;
                size_t len = strcspn(target, ">");
                bool is_next;

                if (!target[len])
                        return NULL;
                s = parse_parameters(target + len + 1, &is_next);
                if (is_next) {
                        *ret_len = len;
                        return target;
                }
        }
        return NULL;
}

int api_link_next(const char *header, const char *url, char **ret) {
        _cleanup_free_ char *whole = NULL;
        size_t len = 0;

        const char *target = find_next(header, &len);
        _cleanup_free_ char *verbatim = strndup(target ? target : "", len);
        if (!verbatim)
                return -ENOMEM;
        if (len > 0 && api_url_same_server(url, verbatim)) {
                *ret = TAKE_PTR(verbatim);
                return 0;
        }
        int r = len > 0 ? http_url_resolve(url, verbatim, &whole) : -EINVAL;
        if (r == -ENOMEM)
                return r;
        if (r >= 0 && api_url_same_server(url, whole)) {
                *ret = TAKE_PTR(whole);
                return 0;
        }
        verbatim[0] = '\0';
        *ret = TAKE_PTR(verbatim);
        return 0;
}

bool api_link_has_next(const char *header) {
        size_t len;

        return find_next(header, &len) != NULL;
}
