#include "util/redact.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "gitfs/macro.h"

/* Characters behind the prefix; what is shorter is a name that looks like one. */
#define TOKEN_MIN 12

static size_t until(const char *s, const char *stop) {
        return strcspn(s, stop);
}

/* Replaces [from, from + len) by up to three stars and closes the gap. */
static void star_out(char *from, size_t len) {
        size_t stars = MIN(len, (size_t) 3);
        memset(from, '*', stars);
        memmove(from + stars, from + len, strlen(from + len) + 1);
}

static void redact_userinfo(char *text) {
        for (char *p = text; (p = strstr(p, "://"));) {
                p += 3;
                size_t authority = until(p, "/?# \t\r\n\"'<>");
                char *at = memrchr(p, '@', authority);
                if (at)
                        star_out(p, (size_t) (at - p));
        }
}

static void redact_values(char *text) {
        static const char *const labels[] = {
                "authorization:", "private-token:", "password=", "credential="};

        for (size_t i = 0; i < ELEMENTSOF(labels); i++) {
                char *p = text;
                while ((p = strcasestr(p, labels[i]))) {
                        p += strlen(labels[i]);
                        while (*p == ' ')
                                p++;
                        star_out(p, until(p, "\r\n"));
                }
        }
}

static bool is_token_char(char c) {
        return isalnum((unsigned char) c) || c == '_' || c == '-' || c == '.';
}

/* Forges begin their tokens with a word, so that what leaks can be told. */
static void redact_tokens(char *text) {
        static const char *const prefixes[] = {
                "ghp_",
                "gho_",
                "ghu_",
                "ghs_",
                "ghr_",
                "github_pat_",
                "glpat-",
                "gldt-",
                "glrt-",
                "glft-",
                "glcbt-",
                "gloas-",
        };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                size_t prefix = strlen(prefixes[i]);

                for (char *p = text; (p = strstr(p, prefixes[i]));) {
                        size_t len = prefix;
                        while (is_token_char(p[len]))
                                len++;
                        if ((p == text || !isalnum((unsigned char) p[-1])) &&
                            len >= prefix + TOKEN_MIN)
                                star_out(p, len);
                        else
                                p += prefix;
                }
        }
}

void redact_urls(char *text) {
        redact_userinfo(text);
        redact_values(text);
        redact_tokens(text);
}
