#pragma once

#include <pthread.h>
#include <stdint.h>

#include "component/fake-forge.h"
#include "component/tree-fixture.h"
#include "tree/org.h"

/* Owners and their listings, with a forge that does what the test says. */

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

typedef struct Setup {
        TreeFixture f;
        FakeForge fake;
        Org *org;
        uint64_t id; /* of the org's directory */
} Setup;

void setup_init(Setup *s, const char *owner);
void setup_done(Setup *s);
#define _cleanup_setup_ _cleanup_(setup_done)

/* Names from *offset on, as far as they are there, each with a space behind it. */
char *take(Setup *s, uint64_t id, unsigned max, uint64_t *offset);
void check_take(Setup *s, unsigned max, uint64_t *offset, const char *expected);

/* Reads a listing to its end beside the test. */
typedef struct Reader {
        Setup *s;
        uint64_t offset;
        unsigned max;
        int result;
        Buf names;
        pthread_t thread;
} Reader;
void reader_start(Reader *r, Setup *s, uint64_t offset, unsigned max);
void reader_end(Reader *r, int result, const char *names);

/* A listing as nobody has to wait for: asked for, told, ended. */
void list_once(Setup *s, const char *const *names, const char *shown);
void forget_told(Setup *s);

/* Whoever waited for the forge's answer hears ENOENT, the others that there is no such name. */
void check_absent(Setup *s, const char *path);
