/* /proc/self/mountinfo, whatever stands in it: the path to look for, a NUL, the text. What is
 * mounted there last is found, whatever stands above it. */

#include <stdlib.h>
#include <string.h>

#include "fuse/mountinfo.h"
#include "fuzz.h"
#include "util/buf.h"

#define OURS "fuse.gitfs"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

static void check(const MountInfo *info) {
        FUZZ_CHECK(memchr(info->fstype, '\0', sizeof(info->fstype)));
        FUZZ_CHECK(!strpbrk(info->fstype, " \n"));
}

/* As the kernel writes it. */
static void append_line(Buf *text, const char *path) {
        FUZZ_CHECK(buf_append_str(text, "\n36 35 0:77 / ") == 0);
        for (; *path; path++)
                FUZZ_CHECK(
                        (strchr(" \t\n\\", *path) ? buf_appendf(text, "\\%03o", (unsigned) *path)
                                                  : buf_append(text, path, 1)) == 0);
        FUZZ_CHECK(buf_append_str(text, " ro,nosuid shared:1 - " OURS " gitfs ro") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *path = (const char *) data;
        const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;
        _cleanup_buf_ Buf text = {0};
        MountInfo info;

        if (!end || end == data)
                return 0;
        size_t len = size - (size_t) (end + 1 - data);
        int r = mountinfo_find((const char *) end + 1, len, path, &info);
        FUZZ_CHECK(r == 0 || r == 1);
        if (r == 1)
                check(&info);

        FUZZ_CHECK(buf_append(&text, end + 1, len) == 0);
        append_line(&text, path);
        FUZZ_CHECK(mountinfo_find((const char *) text.data, text.len, path, &info) == 1);
        FUZZ_CHECK(info.major == 0 && info.minor == 77 && strcmp(info.fstype, OURS) == 0);
        return 0;
}
