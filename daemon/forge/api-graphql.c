#include <errno.h>
#include <string.h>

#include "forge/api-private.h"

/* Types of errors, as GitHub names them; GitLab names none. */
static const struct {
        const char *type;
        FailureClass class;
} types[] = {
        {"RATE_LIMITED", FAILURE_RATE_LIMITED},
        {"RATE_LIMIT", FAILURE_RATE_LIMITED},
        {"NOT_FOUND", FAILURE_NOT_FOUND},
        {"FORBIDDEN", FAILURE_FORBIDDEN},
        {"INSUFFICIENT_SCOPES", FAILURE_FORBIDDEN},
};

static FailureClass class_of(const Json *error) {
        const char *type = json_get_string(error, "type");

        if (json_get_bool(json_get_object(error, "extensions"), "saml_failure"))
                return FAILURE_SSO;
        for (size_t i = 0; type && i < ELEMENTSOF(types); i++)
                if (strcmp(types[i].type, type) == 0)
                        return types[i].class;
        return FAILURE_SERVER;
}

int api_graphql_error(const ApiCall *call, const Json *json, Failure *ret) {
        const Json *error = json_array_get(json_get_array(json, "errors"), 0);
        const char *message = json_get_string(error, "message");

        if (json_get_object(json, "data"))
                return 0;
        if (!error)
                return failure_set(
                        ret,
                        FAILURE_SERVER,
                        "%s: %s: an answer that makes no sense: neither data nor errors",
                        call->server->base,
                        call->what);
        return failure_set(
                ret,
                class_of(error),
                "%s: %s: %.200s",
                call->server->base,
                call->what,
                message ? message : "no reason is given");
}
