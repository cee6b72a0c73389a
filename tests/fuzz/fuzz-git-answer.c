/* The first byte says what was asked for, the rest is the answer. In pieces, it must say the same.
 */

#include <string.h>

#include "gitfs/macro.h"

#include "forge/git-capabilities.h"
#include "forge/git-refs.h"
#include "forge/git-response.h"
#include "forge/git-size-line.h"
#include "fuzz.h"

typedef enum Question {
        ASK_ADVERTISEMENT,
        ASK_REFS,
        ASK_PACK_V2,
        ASK_PACK_V0,
        ASK_SIZES,
        _QUESTION_MAX,
} Question;

typedef struct Answer {
        Question question;
        GitAdvertisement advertisement;
        GitRefs refs;
        Buf pack;
        size_t n_sizes;
        int result;
        FailureClass class;
} Answer;

static int on_size(Answer *a, const char *data, size_t len) {
        uint64_t size;
        Oid oid;

        int r = git_size_line_parse(data, len, &oid, &size);
        if (r > 0) {
                FUZZ_CHECK(size <= INT64_MAX);
                a->n_sizes++;
        }
        FUZZ_CHECK(r < 0 || oid_raw_size(oid.algo) > 0);
        return MIN(r, 0);
}

static int on_packet(PktType type, const char *data, size_t len, void *userdata) {
        Answer *a = userdata;

        if (a->question == ASK_ADVERTISEMENT) {
                int r = git_advertisement_packet(&a->advertisement, type, data, len);
                return r < 0 ? r : a->advertisement.complete;
        }
        if (type != PKT_DATA)
                return 1;
        return a->question == ASK_SIZES ? on_size(a, data, len)
                                        : git_refs_add_line(&a->refs, data, len);
}

static int on_pack(const uint8_t *data, size_t len, void *userdata) {
        return buf_append(&((Answer *) userdata)->pack, data, len);
}

static void run(const uint8_t *data, size_t size, size_t piece, Answer *a) {
        static const GitResponseHandler handler = {.packet = on_packet, .pack = on_pack};
        const GitResponseKind kind = a->question == ASK_PACK_V2   ? GIT_RESPONSE_PACK_V2
                                     : a->question == ASK_PACK_V0 ? GIT_RESPONSE_PACK_V0
                                                                  : GIT_RESPONSE_LINES;
        GitResponse r;

        git_response_init(&r, kind, "fuzz", &handler, a);
        for (size_t at = 0; a->result == 0 && at < size; at += piece)
                a->result = git_response_feed(&r, data + at, MIN(piece, size - at));
        if (a->result == 0)
                a->result = git_response_finish(&r);
        a->class = r.failure.class;
        FUZZ_CHECK(a->result != 0 || r.complete);
        for (const char *p = r.failure.text; *p; p++)
                FUZZ_CHECK(*p >= ' ' && *p <= '~');
        git_response_done(&r);
}

static void answer_done(Answer *a) {
        git_advertisement_done(&a->advertisement);
        git_refs_done(&a->refs);
        buf_done(&a->pack);
}

/* What a server calls its refs reaches the name space: it must fit, and be what was asked for. */
static void check_refs(const GitRefs *refs) {
        static const char *const names[] = {NULL, "main", "refs/tags/v1", "1234"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                Fetch fetch = {.refname = names[i]};
                Failure failure;
                if (git_refs_resolve(refs, &fetch, &failure) < 0)
                        continue;
                FUZZ_CHECK(memchr(fetch.resolved, '\0', sizeof(fetch.resolved)));
                FUZZ_CHECK(!names[i] || strstr(fetch.resolved, names[i]));
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 2)
                return 0;
        Answer whole = {.question = data[0] % _QUESTION_MAX}, pieces = whole;

        run(data + 2, size - 2, SIZE_MAX / 2, &whole);
        run(data + 2, size - 2, 1 + (size_t) data[1], &pieces);
        FUZZ_CHECK(whole.result == pieces.result && whole.class == pieces.class);
        FUZZ_CHECK(whole.pack.len == pieces.pack.len && whole.refs.n == pieces.refs.n);
        FUZZ_CHECK(whole.n_sizes == pieces.n_sizes);
        FUZZ_CHECK(
                whole.pack.len == 0 ||
                memcmp(whole.pack.data, pieces.pack.data, whole.pack.len) == 0);
        check_refs(&whole.refs);
        check_refs(&whole.advertisement.refs);
        answer_done(&whole);
        answer_done(&pieces);
        return 0;
}
