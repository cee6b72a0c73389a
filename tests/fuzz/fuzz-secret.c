/* Where tokens come from: what `git credential fill` prints, what a file, a pipe or a forge's own
 * tool holds, and the answers of a sign-in. The first byte says which. What is taken for a secret
 * can stand in a header, and is nowhere else afterwards. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "forge/credential.h"
#include "forge/login.h"
#include "forge/secret-source.h"
#include "fuzz.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/secret-memory.h"

typedef enum Kind {
        KIND_CREDENTIAL,
        KIND_DESCRIPTOR,
        KIND_CODE,
        KIND_TOKEN,
        _KIND_MAX,
} Kind;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static void check_part(const char *text, size_t size, const char *part) {
        FUZZ_CHECK(!part || (part > text && part + strlen(part) <= text + size));
        FUZZ_CHECK(!part || !strchr(part, '\n'));
}

static void read_credential(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        CredentialAnswer answer;

        FUZZ_CHECK(text);
        size_t len = strlen(text);
        credential_parse_answer(text, &answer);
        check_part(text, len, answer.username);
        check_part(text, len, answer.password);
}

static void read_descriptor(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = memfd_create("token", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        _cleanup_secret_free_ char *token = NULL;
        Failure failure = {0};

        FUZZ_CHECK(fd >= 0 && write_all(fd, data, size) == 0 && lseek(fd, 0, SEEK_SET) == 0);
        int r = secret_read_fd(fd, USEC_INFINITY, -1, &token, &failure);
        FUZZ_CHECK(r == 1 || r == -EINVAL);
        if (r < 0) {
                FUZZ_CHECK(failure.text[0] && !token);
                return;
        }
        size_t len = strlen(token);
        FUZZ_CHECK(secret_token_is_valid(token) && len <= size);
        FUZZ_CHECK(memcmp(token, data, len) == 0 && size - len <= strlen("\r\n"));
}

/* Of a secret that stood in one place of the answer nothing is left in the text. */
static void check_wiped(const char *text, const uint8_t *before, size_t size, const char *secret) {
        size_t len = secret ? strlen(secret) : 0;
        const uint8_t *first = len > 0 ? memmem(before, size, secret, len) : NULL;

        if (!first || strspn(secret, "*") == len)
                return;
        size_t left = size - (size_t) (first + 1 - before);
        if (!memmem(first + 1, left, secret, len))
                FUZZ_CHECK(!memmem(text, size, secret, len));
}

static void read_answer(const uint8_t *data, size_t size, bool first) {
        _cleanup_(login_answer_done) LoginAnswer answer = {0};
        _cleanup_free_ char *text = malloc(size + 1);
        Failure failure = {0};

        FUZZ_CHECK(text);
        memcpy(text, data, size);
        text[size] = '\0';
        int r = login_parse_answer(text, size, first, &answer, &failure);
        if (r < 0) {
                FUZZ_CHECK(failure.class != FAILURE_NONE && failure.text[0]);
                FUZZ_CHECK(!answer.device_code && !answer.token);
        } else if (first) {
                FUZZ_CHECK(answer.device_code && answer.user_code[0] && answer.verification_uri[0]);
                FUZZ_CHECK(answer.interval_usec >= USEC_PER_SEC);
                FUZZ_CHECK(answer.expires_in_usec >= USEC_PER_SEC);
        }
        check_wiped(text, data, size, answer.device_code);
        check_wiped(text, data, size, answer.token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        Kind kind = data[0] % _KIND_MAX;
        if (kind == KIND_CREDENTIAL)
                read_credential(data + 1, size - 1);
        else if (kind == KIND_DESCRIPTOR)
                read_descriptor(data + 1, size - 1);
        else
                read_answer(data + 1, size - 1, kind == KIND_CODE);
        return 0;
}
