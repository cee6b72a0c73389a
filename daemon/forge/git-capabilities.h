#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forge/git-refs.h"
#include "object/oid.h"
#include "object/pktline.h"
#include "util/buf.h"
#include "util/failure.h"

/* What a git server says about itself in the answer to info/refs (gitprotocol-v2(5), and
 * gitprotocol-http(5) for v0, which tells all refs there, too). Only what is read here decides what
 * is asked of a server later, never its name. */
typedef struct GitCapabilities {
        int version; /* 2, or 0 for v0 and v1 */
        OidAlgo algo;
        bool agent;         /* takes agent= */
        bool object_format; /* takes object-format= */
        bool filter;
        bool shallow;
        bool object_info;
        bool unborn;
        bool side_band; /* side-band-64k; v2 always */
        bool ofs_delta; /* v2 always */
        bool no_progress;
} GitCapabilities;

/* True if a can do all that b can. */
bool git_capabilities_cover(const GitCapabilities *a, const GitCapabilities *b);
/* As one line of words, and back: 0, -EBADMSG for what was not written so, -ENOMEM. The objects'
 * algorithm is SHA-1: it is a matter of the repository. */
int git_capabilities_format(const GitCapabilities *c, Buf *ret);
int git_capabilities_parse(const char *text, GitCapabilities *ret);

/* Reads an advertisement packet by packet. Zeroed is the start. */
typedef struct GitAdvertisement {
        GitCapabilities capabilities;
        GitRefs refs; /* owned; v0: all that there are */
        bool complete;
        /* private */
        bool over_http; /* it said so */
        enum {
                ADVERTISEMENT_START,
                ADVERTISEMENT_PREAMBLE, /* "# service=", up to its flush */
                ADVERTISEMENT_BODY,     /* behind that */
                ADVERTISEMENT_V2,
                ADVERTISEMENT_V0_FIRST,
                ADVERTISEMENT_V0,
        } state;
        char head_target[256];
} GitAdvertisement;

/* One packet, a trailing newline removed. 0; -EBADMSG for what is no advertisement; -ENOMEM;
 * -EFBIG. */
int git_advertisement_packet(GitAdvertisement *a, PktType type, const char *data, size_t len);
void git_advertisement_done(GitAdvertisement *a);
