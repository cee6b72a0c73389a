#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "util/buf.h"
#include "util/mutex.h"

/* An HTTP server on the loopback that answers the first request with the first line of its script,
 * the second with the second, and all that come later with the last. It fails the running test
 * itself where it cannot be started. One connection, and one request on it, at a time.
 *
 * An answer is written as
 *
 *      "301 Moved Permanently\nLocation: @SELF@/other\nX-Name: value\n\nbody"
 *
 * where @SELF@ stands for the server's own URL and @OTHER@ for `other`. Content-Length is added.
 * "lost" closes the connection instead. */
typedef struct ScriptServer {
        char *url;         /* "http://127.0.0.1:PORT"; owned */
        const char *other; /* borrowed; set before the first request */

        /* private */
        const char *const *script; /* borrowed */
        int fd;
        pthread_t thread;
        atomic_uint n_requests;
        Mutex mutex;
        Buf log; /* guarded by mutex */
} ScriptServer;

/* script is NULL-terminated, and not empty. */
void script_server_start(ScriptServer *s, const char *const *script);
void script_server_stop(ScriptServer *s);
/* How many requests came. */
unsigned script_server_count(const ScriptServer *s);
/* All that came, as it came, CR left out; owned by the caller. */
char *script_server_requests(ScriptServer *s);
