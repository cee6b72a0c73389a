#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "forge/http-transfer.h"
#include "util/secret-memory.h"

/* --- of a response --- */

/* The easy handle is the network thread's, and headers are asked for on the strand: hence a copy.
 */
void http_headers_take(CURL *easy, Buf *ret) {
        struct curl_header *h = NULL;

        while ((h = curl_easy_nextheader(easy, CURLH_HEADER, -1, h))) {
                size_t before = ret->len;
                size_t name_len = strlen(h->name) + 1;
                size_t value_len = strcspn(h->value, "\r\n"); /* of an empty one, some is left */
                if (name_len + value_len + 1 > HTTP_HEADERS_LIMIT - ret->len)
                        continue;
                if (buf_append(ret, h->name, name_len) < 0 ||
                    buf_append(ret, h->value, value_len) < 0 || buf_append(ret, "", 1) < 0)
                        ret->len = before; /* as if it had not come */
        }
}

const char *http_response_header(const HttpResponse *response, const char *name) {
        const char *found = "";

        for (size_t at = 0; response->headers && at < response->headers->len;) {
                const char *key = (const char *) response->headers->data + at;
                const char *value = key + strlen(key) + 1;
                if (strcasecmp(key, name) == 0)
                        found = value;
                at += strlen(key) + strlen(value) + 2;
        }
        return found;
}

/* --- of a request --- */

/* True for "Name: value", false for the value alone. */
static bool has_name(const char *authorization) {
        size_t n = strspn(
                authorization, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        return n > 0 && authorization[n] == ':';
}

int http_authorization_line(const HttpRequest *request, char **ret) {
        const char *authorization = request->authorization;
        bool named = has_name(authorization);

        for (const char *p = authorization; *p; p++)
                if (iscntrl((unsigned char) *p))
                        return -EINVAL;
        /* Of all headers, curl holds back only this one where a redirect leads to another host. */
        if (named && !request->no_redirects &&
            strncasecmp(authorization, "Authorization:", strlen("Authorization:")) != 0)
                return -EINVAL;
        const char *prefix = named ? "" : "Authorization: ";
        size_t size = strlen(prefix) + strlen(authorization) + 1;
        char *line = secret_alloc(size);
        if (!line)
                return -ENOMEM;
        (void) snprintf(line, size, "%s%s", prefix, authorization);
        *ret = line;
        return 0;
}

void http_slist_wipe(struct curl_slist *list) {
        for (struct curl_slist *item = list; item; item = item->next)
                explicit_bzero(item->data, strlen(item->data));
        curl_slist_free_all(list);
}
