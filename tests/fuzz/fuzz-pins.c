/* The list of pins, which people edit: a path, a NUL, and what stands in the file. What is read can
 * be written, and a path that is pinned besides is there in the next process, too. */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gitfs/macro.h"

#include "fuzz.h"
#include "lib/store-fixture.h"
#include "manager/manager-private.h"
#include "manager/pins.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"

#define FILE_MAX ((size_t) 64 << 10)

static Manager manager;
static char *directory, *file;

int __wrap_manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure);
int __wrap_manager_cancel_job(Manager *m, uint32_t id);

int __wrap_manager_start_pin_job(
        Manager *m, const char *path, bool background, uint32_t *ret_job, Failure *ret_failure) {
        *ret_job = ++m->next_job_id;
        return 0;
}

int __wrap_manager_cancel_job(Manager *m, uint32_t id) {
        return 0;
}

static void clean_up(void) {
        scratch_remove(directory);
        free(directory);
        free(file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        log_set_max_level(LOG_CRIT);
        directory = scratch_new();
        file = path_join(directory, "pins", NULL);
        manager = (Manager){.config_home = directory, .mount_point = (char *) "/mnt"};
        TAILQ_INIT(&manager.jobs);
        FUZZ_CHECK(file);
        return atexit(clean_up);
}

typedef struct Search {
        const char *path;
        size_t n, n_found;
} Search;

static int on_pin(const PinInfo *info, void *userdata) {
        _cleanup_free_ char *again = NULL;
        Search *s = userdata;

        FUZZ_CHECK(info->path[0] && !strchr(info->path, '\n'));
        FUZZ_CHECK(path_below(manager.mount_point, info->path, &again, NULL) == 0);
        FUZZ_CHECK(strcmp(again, info->path) == 0);
        s->n++;
        s->n_found += s->path && strcmp(s->path, info->path) == 0;
        return 0;
}

static Search look_at_all(const char *path) {
        Search s = {.path = path};

        FUZZ_CHECK(manager_each_pin(&manager, on_pin, &s) == 0 && s.n_found <= 1);
        return s;
}

/* Pins what somebody typed, if that can be pinned; and ends the process. */
static void pin(const char *typed) {
        _cleanup_free_ char *path = NULL;
        size_t before = look_at_all(NULL).n;
        uint32_t job;

        if (path_below(manager.mount_point, typed, &path, NULL) < 0 ||
            manager_pin(&manager, path, &job, NULL) < 0)
                return;
        Search s = look_at_all(path);
        FUZZ_CHECK(s.n_found == 1 && s.n <= before + 1);
        pins_free(manager.pins);
        FUZZ_CHECK(pins_new(&manager, &manager.pins) == 0);
        Search next = look_at_all(path);
        /* Unless the file was as it is already, it was written now. */
        FUZZ_CHECK(next.n_found == 1 && next.n == s.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;

        if (!end || size > FILE_MAX)
                return 0;
        FUZZ_CHECK(write_file_atomic(file, end + 1, size - (size_t) (end + 1 - data), 0600) == 0);
        FUZZ_CHECK(pins_new(&manager, &manager.pins) == 0);
        pin((const char *) data);
        manager.pins = pins_free(manager.pins);
        return 0;
}
