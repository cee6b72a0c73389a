#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object/oid.h"
#include "object/pktline.h"
#include "util/failure.h"

/* Reads the answer of git-upload-pack while it arrives. Embedded by value; used by one thread at a
 * time. Bytes may come from a hostile server. */

typedef enum GitResponseKind {
        GIT_RESPONSE_LINES,   /* v2 ls-refs, object-info, an advertisement: packets up to a flush */
        GIT_RESPONSE_PACK_V2, /* v2 fetch: named sections */
        GIT_RESPONSE_PACK_V0, /* shallow lines, NAK, side-band pack */
} GitResponseKind;

typedef struct GitResponseHandler {
        /* LINES: each packet, its newline removed. Returns 1 for the last one, else 0 or an errno.
         */
        int (*packet)(PktType type, const char *data, size_t len, void *userdata);
        /* PACK: bytes of the pack. */
        int (*pack)(const uint8_t *data, size_t len, void *userdata);
} GitResponseHandler;

typedef struct GitResponse {
        GitResponseKind kind;
        const GitResponseHandler *handler;
        void *userdata;
        const char *origin; /* borrowed, for texts */
        PktReader packets;
        enum {
                SECTION_NONE,
                SECTION_IGNORED,
                SECTION_PACK,
        } section;
        bool any;          /* at least one byte came */
        size_t n_chatter;  /* bytes that are no part of a pack; bounded */
        bool has_pack;     /* the pack section has begun */
        bool complete;     /* the final flush came */
        int handler_error; /* what the handler returned to stop */
        Oid not_our_ref;   /* the server has no such object; none otherwise */
        Failure failure;   /* why feeding or finishing failed */
} GitResponse;

void git_response_init(
        GitResponse *r,
        GitResponseKind kind,
        const char *origin,
        const GitResponseHandler *handler,
        void *userdata);
void git_response_done(GitResponse *r);

/* 0 or a negative errno with r->failure: -ENOENT and not_our_ref, -EBADMSG for what makes no sense,
 * -EIO for a complaint of the server, or what the handler returned; then the failure is of class
 * none, for the handler knows why. */
int git_response_feed(GitResponse *r, const uint8_t *data, size_t len);
/* The stream has ended: 0 if the answer was complete, -ENODATA otherwise. */
int git_response_finish(GitResponse *r);
