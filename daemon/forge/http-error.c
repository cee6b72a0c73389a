#include <errno.h>

#include "forge/http-transfer.h"

static int curl_failure_class(CURLcode code, bool connected) {
        switch (code) {
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_PROXY:
                return FAILURE_OFFLINE;
        case CURLE_OPERATION_TIMEDOUT:
                return connected ? FAILURE_TIMEOUT : FAILURE_OFFLINE;
        case CURLE_OUT_OF_MEMORY:
        case CURLE_WRITE_ERROR:
        case CURLE_FAILED_INIT:
        case CURLE_SSL_CACERT_BADFILE:
                return FAILURE_LOCAL;
        default:
                return FAILURE_SERVER;
        }
}

static bool connection_lost(CURLcode code) {
        switch (code) {
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
                return true;
        default:
                return false;
        }
}

int http_error(
        CURLcode code,
        const char *origin,
        const char *detail,
        bool connected,
        Failure *ret_failure) {
        const char *cause = detail[0] ? detail : curl_easy_strerror(code);

        if (connection_lost(code)) {
                (void) failure_set(
                        ret_failure, FAILURE_SERVER, "%s: connection lost: %s", origin, cause);
                return -ECONNRESET;
        }
        return failure_set(
                ret_failure, curl_failure_class(code, connected), "%s: %s", origin, cause);
}
