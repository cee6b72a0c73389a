#include <errno.h>
#include <stdlib.h>

#include "ctl/bus-client.h"
#include "ctl/token.h"
#include "ctl/verbs.h"
#include "util/secret-memory.h"
#include "util/text.h"

int verb_token_set(Ctl *ctl, char **args) {
        _cleanup_secret_free_ char *token = NULL;

        if (token_read(args[0], &token) < 0)
                return EXIT_FAILURE;
        return token_send(ctl, args[0], token) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int verb_token_forget(Ctl *ctl, char **args) {
        _cleanup_free_ char *name = text_escape(args[0]);

        if (!name)
                return client_report(ctl, -ENOMEM, NULL), EXIT_FAILURE;
        return client_call(ctl, NULL, "ForgetToken", "s", name) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
