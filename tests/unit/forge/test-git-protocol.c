/* Advertisements, requests, answers and refs: bytes as they were seen on the wire, and broken ones.
 */

#include <errno.h>
#include <string.h>

#include "forge/git-capabilities.h"
#include "forge/git-refs.h"
#include "forge/git-request.h"
#include "forge/git-response.h"
#include "lib/check-main.h"
#include "object/pktline.h"

#define HEX1 "1111111111111111111111111111111111111111"
#define HEX2 "2222222222222222222222222222222222222222"

typedef struct Answer {
        GitAdvertisement advertisement;
        GitRefs refs;
        Buf pack;
} Answer;

static int on_advertisement(PktType type, const char *data, size_t len, void *userdata) {
        Answer *a = userdata;
        int r = git_advertisement_packet(&a->advertisement, type, data, len);
        return r < 0 ? r : a->advertisement.complete;
}

static int on_pack(const uint8_t *data, size_t len, void *userdata) {
        return buf_append(&((Answer *) userdata)->pack, data, len);
}

static const GitResponseHandler handler = {.packet = on_advertisement, .pack = on_pack};

/* Feeds the bytes in pieces of `step`, as a network might. */
static int feed(GitResponse *r, const Buf *b, size_t step) {
        for (size_t i = 0; i < b->len; i += step) {
                int e = git_response_feed(r, b->data + i, MIN(step, b->len - i));
                if (e < 0)
                        return e;
        }
        return git_response_finish(r);
}

static int read_answer(GitResponseKind kind, const Buf *b, Answer *a, GitResponse *r) {
        git_response_init(r, kind, "test", &handler, a);
        int e = feed(r, b, 3);
        git_response_done(r);
        return e;
}

static void answer_done(Answer *a) {
        git_advertisement_done(&a->advertisement);
        git_refs_done(&a->refs);
        buf_done(&a->pack);
}

static void add(Buf *b, const char *text) {
        ck_assert_int_eq(pkt_append(b, text, strlen(text)), 0);
}

START_TEST(v2_capabilities) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add(&b, "# service=git-upload-pack\n"); /* some servers send it even then */
        (void) pkt_append_flush(&b);
        add(&b, "version 2\n");
        add(&b, "agent=git/2.39.5\n");
        add(&b, "ls-refs=unborn\n");
        add(&b, "fetch=shallow wait-for-done filter\n");
        add(&b, "something-new=1\n");
        add(&b, "object-format=sha1\n");
        add(&b, "object-info\n");
        (void) pkt_append_flush(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
        const GitCapabilities *c = &a.advertisement.capabilities;
        ck_assert_int_eq(c->version, 2);
        ck_assert_int_eq(c->algo, OID_SHA1);
        ck_assert(c->agent && c->object_format && c->filter && c->shallow && c->object_info);
        ck_assert(c->unborn && c->side_band);
        answer_done(&a);
}
END_TEST

START_TEST(v2_without_the_extras) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add(&b, "version 2\n");
        add(&b, "ls-refs\n");
        add(&b, "fetch=shallow filters\n"); /* is not "filter" */
        add(&b, "object-format=sha256\n");
        (void) pkt_append_flush(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
        const GitCapabilities *c = &a.advertisement.capabilities;
        ck_assert_int_eq(c->algo, OID_SHA256);
        ck_assert(!c->filter && !c->object_info && !c->unborn && !c->agent);
        answer_done(&a);
}
END_TEST

static void add_v0(Buf *b) {
        static const char first[] = HEX1 " HEAD\0side-band-64k ofs-delta shallow filter "
                                         "symref=HEAD:refs/heads/main object-format=sha1 "
                                         "agent=git/2.39.5\n";

        add(b, "# service=git-upload-pack\n");
        (void) pkt_append_flush(b);
        ck_assert_int_eq(pkt_append(b, first, sizeof(first) - 1), 0);
        add(b, HEX1 " refs/heads/main\n");
        add(b, HEX2 " refs/tags/v1\n");
        add(b, HEX1 " refs/tags/v1^{}\n");
        (void) pkt_append_flush(b);
}

/* Over ssh a filter is of use only with the right to ask for what it left out. */
START_TEST(v0_filter_wants_any_object) {
        static const char *const rights[] = {"", " allow-any-sha1-in-want"};

        for (size_t i = 0; i < ELEMENTSOF(rights); i++) {
                _cleanup_buf_ Buf b = {0}, first = {0};
                Answer a = {0};
                GitResponse r;

                ck_assert_int_eq(buf_append(&first, HEX1 " HEAD", 46), 0); /* with its NUL */
                ck_assert_int_eq(buf_appendf(&first, "side-band-64k filter%s\n", rights[i]), 0);
                ck_assert_int_eq(pkt_append(&b, first.data, first.len), 0);
                (void) pkt_append_flush(&b);
                ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
                ck_assert_int_eq(a.advertisement.capabilities.version, 0);
                ck_assert(a.advertisement.capabilities.side_band);
                ck_assert(a.advertisement.capabilities.filter == (i == 1));
                answer_done(&a);
        }
}
END_TEST

START_TEST(v0_capabilities_and_refs) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;
        Oid one;
        Fetch fetch = {.refname = "v1"};
        Failure failure;

        add_v0(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
        const GitCapabilities *c = &a.advertisement.capabilities;
        ck_assert_int_eq(c->version, 0);
        ck_assert(c->side_band && c->ofs_delta && c->shallow && c->filter && c->agent);
        ck_assert(!c->object_info);
        (void) oid_from_hex(&one, HEX1, 40);

        ck_assert_int_eq(git_refs_resolve(&a.advertisement.refs, &fetch, &failure), 0);
        ck_assert_str_eq(fetch.resolved, "refs/tags/v1");
        ck_assert(oid_equal(&fetch.commit, &one)); /* peeled */
        ck_assert(!fetch.moves);
        fetch = (Fetch){0};
        ck_assert_int_eq(git_refs_resolve(&a.advertisement.refs, &fetch, &failure), 0);
        ck_assert_str_eq(fetch.resolved, "refs/heads/main");
        ck_assert(fetch.moves);
        answer_done(&a);
}
END_TEST

START_TEST(v0_of_an_empty_repository) {
        static const char only[] = "0000000000000000000000000000000000000000 "
                                   "capabilities^{}\0side-band-64k shallow\n";
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;
        Fetch fetch = {0};
        Failure failure;

        ck_assert_int_eq(pkt_append(&b, only, sizeof(only) - 1), 0);
        (void) pkt_append_flush(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
        ck_assert_uint_eq(a.advertisement.refs.n, 0);
        ck_assert_int_eq(git_refs_resolve(&a.advertisement.refs, &fetch, &failure), 0);
        ck_assert(oid_is_none(&fetch.commit));
        answer_done(&a);
}
END_TEST

/* What git before 2.41 sends for one. */
START_TEST(v0_of_an_empty_repository_without_capabilities) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add(&b, "# service=git-upload-pack\n");
        (void) pkt_append_flush(&b);
        (void) pkt_append_flush(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), 0);
        ck_assert_uint_eq(a.advertisement.refs.n, 0);
        const GitCapabilities *c = &a.advertisement.capabilities;
        ck_assert_int_eq(c->version, 0);
        ck_assert_int_eq(c->algo, OID_SHA1);
        ck_assert(c->side_band && c->shallow && !c->filter && !c->object_info);
        answer_done(&a);
}
END_TEST

START_TEST(broken_advertisements_are_refused) {
        static const char *const lines[] = {
                "<html>",
                "",
                HEX1,
                "1111 refs/heads/x",
                HEX1 "  HEAD\n# service",
                "version 3",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_buf_ Buf b = {0};
                Answer a = {0};
                GitResponse r;
                add(&b, lines[i]);
                if (i == 4)
                        add(&b, lines[0]);
                (void) pkt_append_flush(&b);
                ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &b, &a, &r), -EBADMSG);
                answer_done(&a);
        }
}
END_TEST

START_TEST(a_cut_advertisement_is_incomplete) {
        _cleanup_buf_ Buf b = {0};

        add_v0(&b);
        for (size_t len = 0; len < b.len; len++) {
                const Buf cut = {.data = b.data, .len = len};
                Answer a = {0};
                GitResponse r;
                ck_assert_int_eq(read_answer(GIT_RESPONSE_LINES, &cut, &a, &r), -ENODATA);
                answer_done(&a);
        }
}
END_TEST

START_TEST(refs_lines) {
        GitRefs refs = {0};
        Failure failure;
        static const char head[] = HEX1 " HEAD symref-target:refs/heads/main";
        static const char both[] = HEX1 " refs/heads/x";
        static const char tag[] = HEX2 " refs/tags/x peeled:" HEX1;

        ck_assert_int_eq(git_refs_add_line(&refs, head, strlen(head)), 0);
        ck_assert_int_eq(git_refs_add_line(&refs, tag, strlen(tag)), 0);
        ck_assert_int_eq(git_refs_add_line(&refs, both, strlen(both)), 0);
        Fetch fetch = {.refname = "x"};
        ck_assert_int_eq(git_refs_resolve(&refs, &fetch, &failure), 0);
        ck_assert_str_eq(fetch.resolved, "refs/heads/x"); /* a branch comes first */
        fetch.refname = "refs/tags/x";
        ck_assert_int_eq(git_refs_resolve(&refs, &fetch, &failure), 0);
        ck_assert_str_eq(fetch.resolved, "refs/tags/x");
        fetch.refname = "gone";
        ck_assert_int_eq(git_refs_resolve(&refs, &fetch, &failure), -ENOENT);
        ck_assert_int_eq(failure.class, FAILURE_NOT_FOUND);
        fetch.refname = "11111";
        ck_assert_int_eq(git_refs_resolve(&refs, &fetch, &failure), -ENOENT);
        ck_assert_ptr_nonnull(strstr(failure.text, "all its digits"));
        git_refs_done(&refs);

        static const char *const bad[] = {"", "x", HEX1, "xyz HEAD", HEX1 " a peeled:12"};
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_int_eq(git_refs_add_line(&refs, bad[i], strlen(bad[i])), -EBADMSG);
        git_refs_done(&refs);
}
END_TEST

/* A server that repeats one long name compresses well, but must not fill our memory. */
START_TEST(endless_refs_are_refused) {
        _cleanup_buf_ Buf line = {0};
        GitRefs refs = {0};
        int r = 0;

        ck_assert_int_eq(buf_append_str(&line, HEX1 " refs/heads/"), 0);
        ck_assert_int_eq(buf_reserve(&line, 60000), 0);
        memset(line.data + line.len, 'x', 60000);
        line.len += 60000;
        size_t n = 0;
        for (; r == 0 && n < 10000; n++)
                r = git_refs_add_line(&refs, (const char *) line.data, line.len);
        ck_assert_int_eq(r, -EFBIG);
        git_refs_done(&refs);
}
END_TEST

START_TEST(an_unborn_branch_is_no_commit) {
        GitRefs refs = {0};
        Failure failure;
        Fetch fetch = {0};
        static const char unborn[] = "unborn HEAD symref-target:refs/heads/main";

        ck_assert_int_eq(git_refs_add_line(&refs, unborn, strlen(unborn)), 0);
        ck_assert_int_eq(git_refs_resolve(&refs, &fetch, &failure), 0);
        ck_assert(oid_is_none(&fetch.commit));
        ck_assert_str_eq(fetch.resolved, "refs/heads/main");
        git_refs_done(&refs);
}
END_TEST

START_TEST(names_that_are_no_refs) {
        static const char *const bad[] = {
                "",
                "a b",
                "a\nb",
                "a..b",
                "a~1",
                "a^",
                "x:y",
                "a*",
                "/a",
                "a/",
                "a//b",
                "@{-1}",
                "a."};
        Oid oid;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(!git_refname_is_valid(bad[i]), "%s", bad[i]);
        ck_assert(git_refname_is_valid("feature/x-1.2_\xc3\xa4"));
        ck_assert(git_refname_is_oid(HEX1, &oid));
        ck_assert(!git_refname_is_oid("111111", &oid));
}
END_TEST

static bool contains(const Buf *b, const char *text) {
        return memmem(b->data, b->len, text, strlen(text)) != NULL;
}

START_TEST(requests_send_only_what_is_advertised) {
        const GitCapabilities plain = {.version = 2, .algo = OID_SHA1};
        const GitCapabilities rich = {
                .version = 2,
                .algo = OID_SHA1,
                .agent = true,
                .object_format = true,
                .unborn = true,
        };
        _cleanup_buf_ Buf a = {0}, b = {0};

        ck_assert_int_eq(git_request_ls_refs(&plain, NULL, &a), 0);
        ck_assert(contains(&a, "0014command=ls-refs\n0001"));
        ck_assert(contains(&a, "0014ref-prefix HEAD\n0000"));
        ck_assert(!contains(&a, "agent=") && !contains(&a, "unborn"));
        ck_assert_int_eq(git_request_ls_refs(&rich, "main", &b), 0);
        ck_assert(contains(&b, "agent=gitfs/") && contains(&b, "0017object-format=sha1\n0001"));
        ck_assert(contains(&b, "ref-prefix refs/heads/main\n"));
        ck_assert(contains(&b, "ref-prefix refs/tags/main\n"));
}
END_TEST

START_TEST(fetch_requests_of_both_versions) {
        GitCapabilities c = {.version = 2, .algo = OID_SHA1};
        Oid oids[2], have;
        GitWants w;
        _cleanup_buf_ Buf v2 = {0}, v0 = {0};
        size_t position = 0;

        (void) oid_from_hex(&oids[0], HEX1, 40);
        (void) oid_from_hex(&oids[1], HEX2, 40);
        have = oids[1];
        ck_assert_int_eq(git_wants_init(&w, oids, 2), 0);
        const GitFetchShape shape = {.shallow = true, .filter = "blob:none", .have = &have};
        ck_assert_int_eq(git_request_fetch(&c, &shape, &w, 1, &position, &v2), 0);
        ck_assert_uint_eq(position, 1);
        ck_assert(contains(&v2, "0032want " HEX1 "\n000ddeepen 1\n"));
        ck_assert(contains(&v2, "filter blob:none\n"));
        ck_assert(contains(&v2, "0032have " HEX2 "\n0009done\n0000"));
        ck_assert(!contains(&v2, "want " HEX2));

        c = (GitCapabilities){.algo = OID_SHA1, .side_band = true, .shallow = true, .filter = true};
        position = 0;
        ck_assert_int_eq(git_request_fetch(&c, &shape, &w, 8, &position, &v0), 0);
        ck_assert(contains(&v0, "want " HEX1 " side-band-64k filter shallow\n"));
        ck_assert(contains(&v0, "0032want " HEX2 "\n000ddeepen 1\n"));
        ck_assert(contains(&v0, "blob:none\n00000009done\n"));
        git_wants_done(&w);
}
END_TEST

static void add_v2_answer(Buf *b) {
        add(b, "shallow-info\n");
        add(b, "shallow " HEX1);
        (void) pkt_append_delim(b);
        add(b, "wanted-refs\n");
        add(b, "ERRor is not at the start of a section");
        (void) pkt_append_delim(b);
        add(b, "packfile\n");
        add(b, "\2counting");
        add(b, "\1PACK");
        add(b, "\1"); /* keep-alive */
        add(b, "\1more");
        (void) pkt_append_flush(b);
}

START_TEST(v2_sections_are_found_by_name) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add_v2_answer(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_PACK_V2, &b, &a, &r), 0);
        ck_assert_uint_eq(a.pack.len, 8);
        ck_assert_mem_eq(a.pack.data, "PACKmore", 8);
        answer_done(&a);
}
END_TEST

START_TEST(a_cut_answer_is_incomplete) {
        _cleanup_buf_ Buf b = {0};

        add_v2_answer(&b);
        for (size_t len = 0; len < b.len; len++) {
                const Buf cut = {.data = b.data, .len = len};
                Answer a = {0};
                GitResponse r;
                ck_assert_int_eq(read_answer(GIT_RESPONSE_PACK_V2, &cut, &a, &r), -ENODATA);
                ck_assert_int_eq(r.failure.class, FAILURE_SERVER);
                answer_done(&a);
        }
}
END_TEST

START_TEST(v0_answer) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add(&b, "shallow " HEX1);
        (void) pkt_append_flush(&b);
        add(&b, "NAK\n");
        add(&b, "\1PACK");
        (void) pkt_append_flush(&b);
        ck_assert_int_eq(read_answer(GIT_RESPONSE_PACK_V0, &b, &a, &r), 0);
        ck_assert_mem_eq(a.pack.data, "PACK", 4);
        answer_done(&a);
}
END_TEST

#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16

/* A server that keeps talking and never comes to the point. */
START_TEST(answers_without_end_are_refused) {
        static const struct {
                GitResponseKind kind;
                const char *start, *again;
        } cases[] = {
                {GIT_RESPONSE_PACK_V2, "000dpackfile\n", "000a\x02Hello"},
                {GIT_RESPONSE_PACK_V2, "000dpackfile\n", "0005\x01"},
                {GIT_RESPONSE_PACK_V2, "0010shallow-info", "0009Hello"},
                {GIT_RESPONSE_PACK_V2, "", "0001"},
                {GIT_RESPONSE_PACK_V0, "", "0000"},
                {GIT_RESPONSE_PACK_V0, "", "000cshallow "},
                {GIT_RESPONSE_LINES, "000dversion 2", "0104" X64 X64 X64 X64},
                {GIT_RESPONSE_LINES, "000dversion 20000", "0104" X64 X64 X64 X64},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf b = {0};
                Answer a = {0};
                GitResponse r;
                int added = 0;
                while (added == 0 && b.len < 1 << 20)
                        added = buf_append_str(&b, cases[i].again);
                ck_assert_int_eq(added, 0);
                git_response_init(&r, cases[i].kind, "test", &handler, &a);
                const char *start = cases[i].start;
                int e = git_response_feed(&r, (const uint8_t *) start, strlen(start));
                for (int n = 0; n < 512 && e == 0; n++)
                        e = git_response_feed(&r, b.data, b.len);
                ck_assert_msg(e == -EBADMSG, "%zu", i);
                ck_assert_ptr_nonnull(strstr(r.failure.text, "without end"));
                git_response_done(&r);
                answer_done(&a);
        }
}
END_TEST

START_TEST(complaints_of_the_server) {
        static const struct {
                const char *packfile, *line;
                int result;
                FailureClass class;
        } cases[] = {
                {NULL, "ERR upload-pack: not our ref " HEX2, -ENOENT, FAILURE_NOT_FOUND},
                {NULL, "ERR upload-pack: not our ref soup", -EIO, FAILURE_SERVER},
                {NULL, "ERR filter 'tree' not supported\n", -EIO, FAILURE_SERVER},
                {"packfile\n", "\3aborting", -EIO, FAILURE_SERVER},
                {"packfile\n", "\4what", -EBADMSG, FAILURE_SERVER},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ Buf b = {0};
                Answer a = {0};
                GitResponse r;
                Oid two;
                if (cases[i].packfile)
                        add(&b, cases[i].packfile);
                add(&b, cases[i].line);
                ck_assert_int_eq(read_answer(GIT_RESPONSE_PACK_V2, &b, &a, &r), cases[i].result);
                ck_assert_int_eq(r.failure.class, cases[i].class);
                (void) oid_from_hex(&two, HEX2, 40);
                ck_assert_int_eq(oid_equal(&r.not_our_ref, &two), i == 0);
                answer_done(&a);
        }
}
END_TEST

/* What a server says is shown to people, on one line and without control characters. */
START_TEST(complaints_are_made_printable) {
        _cleanup_buf_ Buf b = {0};
        Answer a = {0};
        GitResponse r;

        add(&b, "ERR no\033[31mway\nsecond line");
        ck_assert_int_eq(read_answer(GIT_RESPONSE_PACK_V2, &b, &a, &r), -EIO);
        ck_assert_ptr_nonnull(strstr(r.failure.text, "no?[31mway"));
        ck_assert_ptr_null(strstr(r.failure.text, "second"));
        answer_done(&a);
}
END_TEST

static void add_tests(TCase *tc) {
        tcase_add_test(tc, v2_capabilities);
        tcase_add_test(tc, v2_without_the_extras);
        tcase_add_test(tc, v0_filter_wants_any_object);
        tcase_add_test(tc, v0_capabilities_and_refs);
        tcase_add_test(tc, v0_of_an_empty_repository);
        tcase_add_test(tc, v0_of_an_empty_repository_without_capabilities);
        tcase_add_test(tc, broken_advertisements_are_refused);
        tcase_add_test(tc, a_cut_advertisement_is_incomplete);
        tcase_add_test(tc, refs_lines);
        tcase_add_test(tc, endless_refs_are_refused);
        tcase_add_test(tc, an_unborn_branch_is_no_commit);
        tcase_add_test(tc, names_that_are_no_refs);
        tcase_add_test(tc, requests_send_only_what_is_advertised);
        tcase_add_test(tc, fetch_requests_of_both_versions);
        tcase_add_test(tc, v2_sections_are_found_by_name);
        tcase_add_test(tc, a_cut_answer_is_incomplete);
        tcase_add_test(tc, v0_answer);
        tcase_add_test(tc, answers_without_end_are_refused);
        tcase_add_test(tc, complaints_of_the_server);
        tcase_add_test(tc, complaints_are_made_printable);
}

CHECK_MAIN("git-protocol", add_tests)
