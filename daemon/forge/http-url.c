#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/http-transfer.h"

int http_url_origin(const char *url, char **ret) {
        char *scheme = NULL, *host = NULL, *port = NULL;
        int r = -EINVAL;

        CURLU *u = curl_url();
        if (!u)
                return -ENOMEM;
        if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
                for (char *p = host; *p; p++)
                        if (*p >= 'A' && *p <= 'Z')
                                *p = (char) (*p - 'A' + 'a');
                r = asprintf(ret, "%s://%s:%s", scheme, host, port) < 0 ? -ENOMEM : 0;
        }
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_url_cleanup(u);
        return r;
}

int http_url_resolve(const char *base, const char *url, char **ret) {
        char *text = NULL;
        int r = -EINVAL;

        CURLU *u = curl_url();
        if (!u)
                return -ENOMEM;
        if (curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
            curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK) {
                *ret = strdup(text);
                r = *ret ? 0 : -ENOMEM;
        }
        curl_free(text);
        curl_url_cleanup(u);
        return r;
}

int http_parse_date(const char *text, int64_t *ret) {
        time_t seconds = curl_getdate(text, NULL);

        if (seconds < 0)
                return -EINVAL;
        *ret = seconds;
        return 0;
}
