/* What the configuration says: read at the start and on reload, and what of it is for whom. */

#include <errno.h>
#include <string.h>

#include "manager/manager-private.h"
#include "manager/pins.h"
#include "util/log.h"
#include "util/path.h"
#include "version.h"

#define DOCUMENTS_MAX (UINT64_C(256) << 20)
#define DOCUMENTS_SHARE 8 /* of DiskLimit=, where that is less */
/* What directories take: a few blocks, and an entry for each document, which has a block at least.
 */
#define DIRECTORIES_SIZE (UINT64_C(16) << 10)
#define ENTRIES_SHARE 64
/* What is read ahead must still be there when the reader comes to it: two windows are on their way
 * or not read yet, and what he has read is kept for a while, too. */
#define AHEAD_SHARE 8

static int
copy_or(char **to, const char *given, int (*fallback)(const char *, char **), const char *suffix) {
        if (!given)
                return fallback(suffix, to);
        *to = strdup(given);
        return *to ? 0 : -ENOMEM;
}

/* What is evicted may have to be read and hashed first. */
static void room_run(Task *task) {
        Manager *m = container_of(task, Manager, room_task);
        unsigned n;

        do {
                n = atomic_load(&m->room_wanted);
                store_make_room(m->store);
        } while (atomic_fetch_sub(&m->room_wanted, n) != n);
}

int manager_load_config(Manager *m, const ManagerOptions *o) {
        ConfigError error;

        m->room_task.run = room_run;
        m->system_config = strdup(o->system_config ? o->system_config : GITFS_SYSCONFDIR "/gitfs");
        if (!m->system_config)
                return -ENOMEM;
        int r = copy_or(&m->config_home, o->config_home, path_config, "gitfs");
        if (r >= 0)
                r = copy_or(&m->runtime_directory, o->runtime_directory, path_runtime, "gitfsd");
        if (r < 0) {
                log_error(
                        "Cannot find the directories of the configuration: %s",
                        strerrordesc_np(-r));
                return r;
        }
        r = config_load(m->system_config, m->config_home, &m->config, &error);
        if (r < 0) {
                log_error("Configuration: %s", r == -EINVAL ? error.text : strerrordesc_np(-r));
                return r;
        }
        const char *cache = o->cache_directory;
        if (cache) {
                char *copy = strdup(cache);
                if (!copy)
                        return -ENOMEM;
                free(m->config->cache_directory);
                m->config->cache_directory = copy;
                m->cache_override = true;
        }
        m->mount_point = strdup(o->mount_point ? o->mount_point : m->config->mount_point);
        if (!m->mount_point)
                return -ENOMEM;
        m->log_level_override = o->log_level;
        log_set_max_level(o->log_level >= 0 ? o->log_level : m->config->log_level);
        return 0;
}

uint64_t manager_documents_limit(const Config *c) {
        return MIN(DOCUMENTS_MAX, c->disk_limit / DOCUMENTS_SHARE);
}

/* DiskLimit= is for all that is in the cache's directory. */
StoreConfig manager_store_config(const Config *c) {
        uint64_t documents = manager_documents_limit(c);
        uint64_t directories = documents / ENTRIES_SHARE + DIRECTORIES_SIZE;

        return (StoreConfig){
                .directory = c->cache_directory,
                .disk_limit = c->disk_limit - documents - directories,
                .free_space_floor = c->free_space_floor,
                .memory_limit = c->memory_limit,
        };
}

static NsAhead ahead_config(const Manager *m, const Config *c) {
        uint64_t most = c->disk_limit / AHEAD_SHARE;
        uint64_t sibling_limit = MIN(c->sibling_limit, most);
        uint64_t walk_limit = MIN(c->walk_limit, most);

        if (manager_is_careful(m))
                return (NsAhead){.alone = true};
        return (NsAhead){
                .children = c->prefetch_children,
                .sibling_limit = sibling_limit,
                .walk_limit = walk_limit,
        };
}

NsConfig manager_ns_config(const Manager *m, const Config *c) {
        return (NsConfig){
                .request_timeout_usec = c->request_timeout_usec,
                .negative_timeout_usec = c->negative_timeout_usec,
                .listing_limit = c->listing_limit,
                .ahead = ahead_config(m, c),
                .poll_interval_usec = c->poll_interval_usec,
        };
}

static void warn_fixed(const Manager *m, const Config *c) {
        const Config *now = m->config;

        bool moved = !m->cache_override && strcmp(c->cache_directory, now->cache_directory) != 0;

        if (moved || c->max_per_host != now->max_per_host || c->max_total != now->max_total ||
            c->max_per_second != now->max_per_second ||
            c->max_bytes_in_flight != now->max_bytes_in_flight || c->workers != now->workers ||
            c->fuse_threads != now->fuse_threads ||
            c->connect_timeout_usec != now->connect_timeout_usec ||
            c->stall_timeout_usec != now->stall_timeout_usec)
                log_notice("Some changed options of [Cache], [Network] or [Daemon] take effect at "
                           "the next start");
}

int manager_reload(Manager *m, Failure *ret_failure) {
        _cleanup_(config_freep) Config *c = NULL;
        ConfigError error;

        int r = config_load(m->system_config, m->config_home, &c, &error);
        if (r < 0) {
                log_error(
                        "Configuration not reloaded: %s",
                        r == -EINVAL ? error.text : strerrordesc_np(-r));
                (void) failure_set(/* r says the same */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "%s",
                                   r == -EINVAL ? error.text : strerrordesc_np(-r));
                return r;
        }
        warn_fixed(m, c);
        if (m->log_level_override < 0)
                log_set_max_level(c->log_level);
        const NsConfig nsc = manager_ns_config(m, c);
        ns_set_config(m->ns, &nsc);
        const StoreConfig sc = manager_store_config(c);
        store_set_limits(m->store, &sc);
        if (atomic_fetch_add(&m->room_wanted, 1) == 0)
                pool_submit(m->pool, &m->room_task, TASK_BACKGROUND);
        r = manager_reload_orgs(m);
        pins_reload(m->pins);
        log_info("Configuration reloaded");
        return r;
}
