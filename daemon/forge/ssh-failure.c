/* ssh tells by its exit status only that it failed (255) or that the other side did; the rest must
 * be read from what it says, which it says in English. Words of the other side come last in the
 * table, for they are the server's to choose. */

#include "forge/ssh-failure.h"

#include <string.h>

#define STATUS_SSH 255
#define MAX_LINE 200

static const struct {
        const char *words;
        FailureClass class;
} meanings[] = {
        {"Host key verification failed", FAILURE_AUTH},
        {"REMOTE HOST IDENTIFICATION HAS CHANGED", FAILURE_AUTH},
        {"Permission denied (", FAILURE_TOKEN_REFUSED},
        {"Too many authentication failures", FAILURE_TOKEN_REFUSED},
        {"Could not resolve hostname", FAILURE_OFFLINE},
        {"Connection refused", FAILURE_OFFLINE},
        {"Connection timed out", FAILURE_OFFLINE},
        {"Operation timed out", FAILURE_OFFLINE},
        {"No route to host", FAILURE_OFFLINE},
        {"Network is unreachable", FAILURE_OFFLINE},
        {"command not found", FAILURE_UNSUPPORTED},
        {"git-upload-pack: not found", FAILURE_UNSUPPORTED},
        {"does not appear to be a git repository", FAILURE_NOT_FOUND},
        {"Repository not found", FAILURE_NOT_FOUND},
        {"could not be found", FAILURE_NOT_FOUND},
        {"does not exist", FAILURE_NOT_FOUND},
        {"dubious ownership", FAILURE_FORBIDDEN},
        {"access denied", FAILURE_FORBIDDEN},
        {"permission denied", FAILURE_FORBIDDEN},
};

/* Copies the line around this place. */
static void copy_line(char *out, size_t size, const char *text, const char *place) {
        while (place > text && place[-1] != '\n')
                place--;
        size_t n = strcspn(place, "\r\n");
        n = n < size - 1 ? n : size - 1;
        memcpy(out, place, n);
        out[n] = '\0';
}

/* The last line that is not blank; "" when there is none. */
static void copy_last_line(char *out, size_t size, const char *text) {
        size_t n = strlen(text);

        while (n > 0 && strchr(" \t\r\n", text[n - 1]))
                n--;
        copy_line(out, size, text, n > 0 ? text + n - 1 : text);
}

static FailureClass find_meaning(int status, const char *errors, char *line, size_t size) {
        for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
                const char *place = strcasestr(errors, meanings[i].words);
                if (place) {
                        copy_line(line, size, errors, place);
                        return meanings[i].class;
                }
        }
        copy_last_line(line, size, errors);
        return status == STATUS_SSH ? FAILURE_OFFLINE : FAILURE_SERVER;
}

int ssh_failure(const char *origin, int status, const char *errors, Failure *ret_failure) {
        char line[MAX_LINE];
        FailureClass class = find_meaning(status, errors, line, sizeof(line));

        if (line[0] == '\0')
                return failure_set(
                        ret_failure, class, "%s: ssh has ended with status %d", origin, status);
        switch (class) {
        case FAILURE_AUTH:
                return failure_set(
                        ret_failure,
                        class,
                        "the host key of %s is not known, or has changed (ssh says \"%s\"); "
                        "connect once by hand",
                        origin,
                        line);
        case FAILURE_TOKEN_REFUSED:
                return failure_set(
                        ret_failure,
                        class,
                        "%s takes none of your keys (ssh says \"%s\")",
                        origin,
                        line);
        case FAILURE_NOT_FOUND:
                return failure_set(
                        ret_failure, class, "%s has no such repository (\"%s\")", origin, line);
        default:
                return failure_set(ret_failure, class, "%s: ssh says \"%s\"", origin, line);
        }
}
