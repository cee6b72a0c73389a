/* Names and texts that go from servers, users and disks to terminals, logs and D-Bus. What is
 * spelled otherwise can be read back; what is shown is clean and holds no password. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "forge/git-refs.h"
#include "fuzz.h"
#include "tree/namespace-private.h"
#include "util/base64.h"
#include "util/path.h"
#include "util/redact.h"
#include "util/text.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static bool is_clean(const char *s) {
        uint32_t c;

        for (size_t n; *s; s += n) {
                n = utf8_decode(s, &c);
                if (n == 0 || c < ' ')
                        return false;
        }
        return true;
}

static void check_escape(const char *text) {
        _cleanup_free_ char *spelled = text_escape(text);
        _cleanup_free_ char *shown = strdup(text);

        FUZZ_CHECK(spelled && shown);
        FUZZ_CHECK(text_unescape(spelled) == 0 && strcmp(spelled, text) == 0);
        text_sanitize(shown);
        FUZZ_CHECK(is_clean(shown) && strlen(shown) <= strlen(text));
        /* Typed by a person: as it is, or not at all. */
        memcpy(shown, text, strlen(text) + 1);
        int r = text_unescape(shown);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
}

static void check_percent(const char *text) {
        _cleanup_free_ char *encoded = percent_encode(text, "/");
        _cleanup_free_ char *decoded = strdup(text);

        FUZZ_CHECK(encoded && decoded);
        FUZZ_CHECK(percent_decode(encoded) == 0 && strcmp(encoded, text) == 0);
        int r = percent_decode(decoded);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
}

/* A URL with a password is hidden behind any text, and what was hidden once is hidden. */
static void check_redact(const char *text) {
        _cleanup_buf_ Buf shown = {0};
        _cleanup_free_ char *again = NULL;

        FUZZ_CHECK(buf_appendf(&shown, "%s https://user:hunter2@example.org/", text) == 0);
        FUZZ_CHECK(buf_str(&shown));
        redact_urls((char *) shown.data);
        FUZZ_CHECK(strlen((char *) shown.data) <= shown.len);
        FUZZ_CHECK(!strstr((char *) shown.data, "://user:hunter2@"));
        again = strdup((char *) shown.data);
        FUZZ_CHECK(again);
        redact_urls(again);
        FUZZ_CHECK(strcmp(again, (char *) shown.data) == 0);
}

static void check_path(const char *text) {
        _cleanup_free_ char *once = strdup(text);
        _cleanup_free_ char *twice = NULL;

        FUZZ_CHECK(once);
        path_simplify(once);
        FUZZ_CHECK(!strstr(once, "//") && !strstr(once, "/./"));
        FUZZ_CHECK((text[0] == '/') == (once[0] == '/'));
        twice = strdup(once);
        FUZZ_CHECK(twice);
        path_simplify(twice);
        FUZZ_CHECK(strcmp(once, twice) == 0);
}

/* What a user types, below the mount point. */
static void check_below(const char *text) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ char *again = NULL;
        Failure failure = {0};

        int r = path_below("/mnt", text, &path, &failure);
        FUZZ_CHECK(r == 0 || (r == -EINVAL && failure.text[0]));
        if (r < 0)
                return;
        FUZZ_CHECK(path[0] != '/' && strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0);
        FUZZ_CHECK(!strstr(path, "/../"));
        FUZZ_CHECK(path_below("/mnt", path, &again, NULL) == 0 && strcmp(path, again) == 0);
}

/* "repository@ref", as the kernel asks for it. */
static void check_name(const char *text) {
        char repo[NAME_MAX + 1], ref[NAME_MAX + 1];

        if (strlen(text) > NAME_MAX || ns_split_name(text, repo, ref) < 0)
                return;
        FUZZ_CHECK(name_is_valid(repo) && !strchr(repo, '@') && strcmp(ref, "HEAD") != 0);
        if (git_refname_is_valid(ref))
                for (const char *p = ref; *p; p++)
                        FUZZ_CHECK(
                                (unsigned char) *p > ' ' && *p != 0x7f && !strchr("~^:?*[\\", *p));
}

static void check_base64(const uint8_t *data, size_t size, const char *text) {
        _cleanup_free_ char *encoded = base64_encode(data, size);
        _cleanup_buf_ Buf decoded = {0};
        _cleanup_buf_ Buf typed = {0};

        FUZZ_CHECK(encoded && base64_decode(encoded, &decoded) == 0);
        FUZZ_CHECK(decoded.len == size && (size == 0 || memcmp(decoded.data, data, size) == 0));
        int r = base64_decode(text, &typed);
        FUZZ_CHECK(r == 0 || (r == -EBADMSG && typed.len == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);

        FUZZ_CHECK(text);
        check_escape(text);
        check_percent(text);
        check_redact(text);
        check_path(text);
        check_below(text);
        check_name(text);
        check_base64(data, size, text);
        return 0;
}
