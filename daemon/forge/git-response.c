#include "forge/git-response.h"

#include <errno.h>
#include <string.h>

#define BAND_PACK 1
#define BAND_PROGRESS 2
#define BAND_ERROR 3
/* What a server may say beside what it was asked for: progress, although told to keep quiet, and
 * packets that keep a connection alive. */
#define MAX_CHATTER ((size_t) 16 << 20)
/* Of all lines of an answer without a pack: a million refs are less. */
#define MAX_LINES ((size_t) 256 << 20)

void git_response_init(
        GitResponse *r,
        GitResponseKind kind,
        const char *origin,
        const GitResponseHandler *handler,
        void *userdata) {
        *r = (GitResponse){
                .kind = kind,
                .origin = origin,
                .handler = handler,
                .userdata = userdata,
        };
}

void git_response_done(GitResponse *r) {
        pkt_reader_done(&r->packets);
}

static bool equals(const char *data, size_t len, const char *text) {
        return len == strlen(text) && memcmp(data, text, len) == 0;
}

static bool starts_with(const char *data, size_t len, const char *text) {
        return len >= strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

static int bad_answer(GitResponse *r, const char *what) {
        (void) failure_set(&r->failure, FAILURE_SERVER, "%s: %s", r->origin, what);
        return -EBADMSG;
}

/* What a server says about a failure is shown to people: one line of printable ASCII. */
static void copy_message(char *out, size_t size, const char *data, size_t len) {
        size_t n = 0;

        for (size_t i = 0; i < len && n + 1 < size && data[i] != '\0' && data[i] != '\n'; i++)
                out[n++] = (char) (data[i] >= ' ' && data[i] <= '~' ? data[i] : '?');
        out[n] = '\0';
}

static int server_complaint(GitResponse *r, const char *data, size_t len) {
        char message[120];

        copy_message(message, sizeof(message), data, len);
        return failure_set(
                &r->failure, FAILURE_SERVER, "%s: the server says \"%s\"", r->origin, message);
}

/* "upload-pack: not our ref <oid>" */
static int error_packet(GitResponse *r, const char *data, size_t len) {
        static const char not_our_ref[] = "not our ref ";
        const char *p = memmem(data, len, not_our_ref, strlen(not_our_ref));

        if (p) {
                p += strlen(not_our_ref);
                size_t n = 0;
                while (p + n < data + len && p[n] != ' ' && p[n] != '\n')
                        n++;
                if (oid_from_hex(&r->not_our_ref, p, n) >= 0)
                        return failure_set(
                                &r->failure,
                                FAILURE_NOT_FOUND,
                                "%s: the repository has no object %.*s",
                                r->origin,
                                (int) n,
                                p);
        }
        return server_complaint(r, data, len);
}

static int count_chatter(GitResponse *r, size_t len) {
        r->n_chatter += len + 4; /* the length before the packet */
        return r->n_chatter > MAX_CHATTER ? bad_answer(r, "an answer without end") : 0;
}

static int band_packet(GitResponse *r, const uint8_t *data, size_t len) {
        if (len == 0)
                return bad_answer(r, "a packet without a band");
        switch (data[0]) {
        case BAND_PACK:
                r->has_pack = true;
                if (len == 1)
                        return count_chatter(r, len);
                return r->handler_error = r->handler->pack(data + 1, len - 1, r->userdata);
        case BAND_PROGRESS:
                return count_chatter(r, len);
        case BAND_ERROR:
                return server_complaint(r, (const char *) data + 1, len - 1);
        default:
                return bad_answer(r, "a packet in an unknown band");
        }
}

static int packet_v2(GitResponse *r, PktType type, const uint8_t *data, size_t len) {
        if (type == PKT_FLUSH) {
                r->complete = r->has_pack;
                return r->complete ? 0 : bad_answer(r, "an answer without a pack");
        }
        if (type == PKT_DELIM) {
                r->section = SECTION_NONE;
                return count_chatter(r, 0);
        }
        switch (r->section) {
        case SECTION_NONE:
                r->section = equals((const char *) data, len, "packfile") ||
                                             equals((const char *) data, len, "packfile\n")
                                     ? SECTION_PACK
                                     : SECTION_IGNORED;
                return 0;
        case SECTION_IGNORED:
                return count_chatter(r, len);
        case SECTION_PACK:
                return band_packet(r, data, len);
        }
        return 0;
}

static int packet_v0(GitResponse *r, PktType type, const uint8_t *data, size_t len) {
        const char *text = (const char *) data;

        if (type == PKT_DELIM)
                return bad_answer(r, "a delimiter in a v0 answer");
        if (type == PKT_FLUSH) {
                /* One ends the list of shallow commits, the other the pack. */
                r->complete = r->has_pack;
                return count_chatter(r, 0);
        }
        if (r->section == SECTION_PACK)
                return band_packet(r, data, len);
        if (starts_with(text, len, "NAK") || starts_with(text, len, "ACK ")) {
                r->section = SECTION_PACK;
                return 0;
        }
        if (starts_with(text, len, "shallow ") || starts_with(text, len, "unshallow "))
                return count_chatter(r, len);
        return bad_answer(r, "an unknown line in a v0 answer");
}

static int on_packet(PktType type, const uint8_t *data, size_t len, void *userdata) {
        GitResponse *r = userdata;
        const char *text = (const char *) data;

        if (r->complete)
                return r->kind == GIT_RESPONSE_LINES ? 0 : bad_answer(r, "data behind the end");
        if (type == PKT_DATA && r->section != SECTION_PACK && starts_with(text, len, "ERR "))
                return error_packet(r, text + 4, len - 4);
        if (r->kind == GIT_RESPONSE_PACK_V2)
                return packet_v2(r, type, data, len);
        if (r->kind == GIT_RESPONSE_PACK_V0)
                return packet_v0(r, type, data, len);
        if (type == PKT_DATA && len > 0 && text[len - 1] == '\n')
                len--;
        int e = r->handler->packet(type, text, len, r->userdata);
        r->complete = e > 0;
        return r->handler_error = MIN(e, 0);
}

int git_response_feed(GitResponse *r, const uint8_t *data, size_t len) {
        r->any = r->any || len > 0;
        if (r->kind == GIT_RESPONSE_LINES) {
                r->n_chatter += len;
                if (r->n_chatter > MAX_LINES)
                        return bad_answer(r, "an answer without end");
        }
        int e = pkt_reader_feed(&r->packets, data, len, on_packet, r);
        if (e == -EBADMSG && r->failure.class == FAILURE_NONE && r->handler_error == 0)
                return bad_answer(r, "an answer that makes no sense");
        return e;
}

int git_response_finish(GitResponse *r) {
        if (r->complete && pkt_reader_idle(&r->packets))
                return 0;
        (void) failure_set(
                &r->failure,
                FAILURE_SERVER,
                "%s: %s",
                r->origin,
                r->any ? "the answer was cut off" : "an empty answer");
        return -ENODATA;
}
