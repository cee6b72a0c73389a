#include "component/owner-fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/check-main.h"

void setup_init(Setup *s, const char *owner) {
        tree_fixture_init(&s->f);
        s->org = fake_forge_init(&s->fake, &s->f, owner);
        s->id = (uint64_t) fs_walk(&s->f, "f");
}

void setup_done(Setup *s) {
        org_unref(s->org);
        tree_fixture_done(&s->f);
        fake_forge_done(&s->fake);
}

char *take(Setup *s, uint64_t id, unsigned max, uint64_t *offset) {
        Buf names = {0};

        ck_assert_int_eq(fs_list(&s->f, id, false, max, offset, &names), 0);
        char *text = strdup(names.len > 0 ? buf_str(&names) : "");
        for (char *p = text; *p; p++)
                if (*p == '\n')
                        *p = ' ';
        buf_done(&names);
        return text;
}

void check_take(Setup *s, unsigned max, uint64_t *offset, const char *expected) {
        _cleanup_free_ char *names = take(s, s->id, max, offset);

        ck_assert_str_eq(names, expected);
}

static void *read_on(void *userdata) {
        Reader *r = userdata;

        for (size_t before = SIZE_MAX; r->result == 0 && r->names.len != before;) {
                before = r->names.len;
                r->result = fs_list(&r->s->f, r->s->id, false, r->max, &r->offset, &r->names);
        }
        return NULL;
}

void reader_start(Reader *r, Setup *s, uint64_t offset, unsigned max) {
        *r = (Reader){.s = s, .offset = offset, .max = max};
        ck_assert_int_eq(pthread_create(&r->thread, NULL, read_on, r), 0);
}

void reader_end(Reader *r, int result, const char *names) {
        ck_assert_int_eq(pthread_join(r->thread, NULL), 0);
        ck_assert_int_eq(r->result, result);
        ck_assert_str_eq(r->names.len > 0 ? buf_str(&r->names) : "", names);
        buf_done(&r->names);
}

void list_once(Setup *s, const char *const *names, const char *shown) {
        Reader reader;

        reader_start(&reader, s, 0, UINT32_MAX);
        fake_forge_expect(&s->fake, "");
        ck_assert(fake_forge_page(&s->fake, names));
        fake_forge_end(&s->fake, 0, NULL);
        reader_end(&reader, 0, shown);
}

void forget_told(Setup *s) {
        (void) pthread_mutex_lock(&s->f.mutex);
        buf_done(&s->f.told);
        (void) pthread_mutex_unlock(&s->f.mutex);
}

void check_absent(Setup *s, const char *path) {
        int64_t r = fs_walk(&s->f, path);

        ck_assert_msg(r == 0 || r == -ENOENT, "%s: %lld", path, (long long) r);
}
