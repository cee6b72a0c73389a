/* The order of things. Starting: configuration, then what needs no other, up to the mount; ready
 * when the mount has answered a call of our own. Stopping is the reverse, with one rule: whoever
 * may still call back is stopped before what it calls back into is freed. So first the jobs, then
 * the mount (every parked call is answered), then the network (every transfer ends), then the name
 * space waits for the last operation, and only then memory is freed. */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "manager/manager-private.h"
#include "manager/network-watch.h"
#include "manager/pins.h"
#include "object/object.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"
#include "util/stats.h"
#include "version.h"

#define TICK_USEC (250 * USEC_PER_MSEC)
#define POLL_EVERY_N_TICKS 4
#define TRIM_BYTES ((size_t) 8 << 20) /* that much is worth it */
#define STOP_TIMEOUT_USEC (4 * USEC_PER_SEC)
#define DOCUMENTS_MAX (UINT64_C(256) << 20)
#define DOCUMENTS_SHARE 8 /* of DiskLimit=, where that is less */
/* What directories take: a few blocks, and an entry for each document, which has a block at least.
 */
#define DIRECTORIES_SIZE (UINT64_C(16) << 10)
#define ENTRIES_SHARE 64

/* --- start --- */

static int
copy_or(char **to, const char *given, int (*fallback)(const char *, char **), const char *suffix) {
        if (!given)
                return fallback(suffix, to);
        *to = strdup(given);
        return *to ? 0 : -ENOMEM;
}

static int load_config(Manager *m, const ManagerOptions *o) {
        ConfigError error;

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

static uint64_t documents_limit(const Config *c) {
        return MIN(DOCUMENTS_MAX, c->disk_limit / DOCUMENTS_SHARE);
}

/* DiskLimit= is for all that is in the cache's directory. */
static StoreConfig store_config(const Config *c) {
        uint64_t documents = documents_limit(c);
        uint64_t directories = documents / ENTRIES_SHARE + DIRECTORIES_SIZE;

        return (StoreConfig){
                .directory = c->cache_directory,
                .disk_limit = c->disk_limit - documents - directories,
                .free_space_floor = c->free_space_floor,
                .memory_limit = c->memory_limit,
        };
}

/* What is read ahead must still be there when the reader comes to it: two windows are on their way
 * or not read yet, and what he has read is kept for a while, too. */
#define AHEAD_SHARE 8

static NsConfig ns_config(const Config *c) {
        uint64_t ahead = c->disk_limit / AHEAD_SHARE;
        uint64_t sibling_limit = MIN(c->sibling_limit, ahead);
        uint64_t walk_limit = MIN(c->walk_limit, ahead);

        return (NsConfig){
                .request_timeout_usec = c->request_timeout_usec,
                .negative_timeout_usec = c->negative_timeout_usec,
                .listing_limit = c->listing_limit,
                .prefetch =
                        {
                                .children = c->prefetch_children,
                                .sibling_limit = sibling_limit,
                                .walk_limit = walk_limit,
                        },
                .poll_interval_usec = c->poll_interval_usec,
        };
}

static unsigned default_workers(void) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        /* Workers also wait for disks, so there are some more than processors. */
        return n < 1 ? 4 : (unsigned) MIN(n, 30) + 2;
}

/* Two daemons do not share a directory, and a person who starts the second has to know. But a disk
 * that is full, read-only or broken is no reason not to serve: only slower. */
static int open_store(Manager *m) {
        StoreConfig config = store_config(m->config);

        int r = store_open(&config, &m->store);
        if (r == -EBUSY)
                log_error(
                        "Another gitfsd uses the cache \"%s\": stop it, or give this one its own "
                        "with --cache-directory",
                        config.directory);
        if (r >= 0 || r == -EBUSY || r == -ENOMEM)
                return r;
        log_warning(
                "Cannot use the cache \"%s\": %s: nothing will be kept on disk",
                config.directory,
                strerrordesc_np(-r));
        m->cache_error = r;
        config.directory = NULL;
        return store_open(&config, &m->store);
}

/* What is kept there saves requests, no more: without it everything works. */
static int open_documents(Manager *m) {
        _cleanup_free_ char *directory = path_join(m->config->cache_directory, "documents", NULL);

        if (!directory)
                return -ENOMEM;
        int r = documents_open(directory, documents_limit(m->config), &m->documents);
        if (r < 0)
                log_warning(
                        "Listings will not be kept in \"%s\": %s, ignoring",
                        directory,
                        strerrordesc_np(-r));
        return r == -ENOMEM ? r : 0;
}

/* Whoever needs it and comes too early waits for it there, and sees the failure. */
static void start_library(Task *task) {
        int r = object_library_init();
        if (r < 0)
                log_debug("cannot set up libgit2: %s", strerrorname_np(-r));
}

static int start_engine(Manager *m, MountFds *inherited) {
        const Config *c = m->config;
        const HttpConfig http = {
                .connect_timeout_usec = c->connect_timeout_usec,
                .stall_timeout_usec = c->stall_timeout_usec,
                .ca_file = c->ca_file,
                .user_agent = "gitfs/" GITFS_VERSION,
                .max_idle = c->max_total,
                .budget = &m->inbox_budget,
        };
        const SshConfig ssh = {
                .stall_timeout_usec = c->stall_timeout_usec,
                .budget = &m->inbox_budget,
        };

        const GateLimits limits = {
                .max_per_host = c->max_per_host,
                .max_total = c->max_total,
                .max_per_second = c->max_per_second,
        };

        m->inbox_budget.limit = c->max_bytes_in_flight;
        int r = pool_new(c->workers > 0 ? c->workers : default_workers(), &m->pool);
        if (r >= 0) {
                pool_submit(m->pool, &m->library_task, TASK_NORMAL);
                r = flight_table_new(m->pool, &m->flights);
        }
        if (r >= 0)
                r = mailbox_new(&m->mailbox);
        if (r >= 0)
                r = open_store(m);
        if (r >= 0)
                r = open_documents(m);
        if (r >= 0)
                r = http_client_new(&http, m->pool, &m->http);
        if (r >= 0)
                r = ssh_client_new(&ssh, m->pool, &m->ssh);
        if (r >= 0)
                r = host_gates_new(m->pool, &limits, &m->gates);
        if (r >= 0)
                r = helpers_new(m->pool, &m->helpers);
        if (r >= 0)
                r = credentials_new(c->use_credential_helper, m->helpers, &m->credentials);
        if (r >= 0)
                r = git_hosts_new(m->pool, m->documents, &m->git_hosts);
        if (r < 0)
                return r;
        m->context = (ForgeContext){
                .pool = m->pool,
                .http = m->http,
                .store = m->store,
                .config = m->config,
                .gates = m->gates,
                .helpers = m->helpers,
                .credentials = m->credentials,
                .git_hosts = m->git_hosts,
                .ssh = m->ssh,
                .documents = m->documents,
                .config_home = m->config_home,
        };
        const NsConfig nsc = ns_config(c);
        if (inherited->session < 0)
                return ns_new(&nsc, &m->context, m->flights, &m->ns);
        r = ns_new_from(&nsc, &m->context, m->flights, inherited->nodes, &m->ns);
        if (r >= 0)
                TAKE_FD(inherited->nodes);
        else if (r != -ENOMEM) {
                log_warning(
                        "Cannot take over the nodes of the last gitfsd: %s", strerrordesc_np(-r));
                r = -ESTALE;
        }
        return r;
}

static void update_status(Manager *m) {
        if (m->ready)
                (void) sd_notifyf(/* advice to systemd, no more */
                                  false,
                                  "READY=1\nSTATUS=Serving %s",
                                  m->mount_point);
}

/* --- the mount --- */

typedef struct Ended {
        MailboxItem item;
        Manager *manager;
} Ended;

static void mount_ended_main(MailboxItem *item) {
        Ended *e = container_of(item, Ended, item);

        log_error("\"%s\" was unmounted from outside: stopping", e->manager->mount_point);
        /* A failure, so that the service manager starts a successor that mounts again. */
        (void) sd_event_exit(e->manager->event, EXIT_FAILURE); /* fails only when exiting already */
        free(e);
}

static void mount_ended(void *userdata) {
        Manager *m = userdata;
        Ended *e = calloc(1, sizeof(*e));

        if (!e)
                return; /* the watchdog or the next start finds out */
        e->item.run = mount_ended_main;
        e->manager = m;
        manager_post(m, &e->item);
}

/* Before the kernel hears a word, so that a crash at any time loses nothing. */
static void store_fds(Manager *m) {
        const MountInherited legacy = mount_session_legacy(m->session);
        const MountFds fds = {
                .fuse = legacy.fuse_fd,
                .session = legacy.journal_fd,
                .nodes = ns_nodes_fd(m->ns),
        };

        fd_store_put(&fds);
}

static int start_mount(Manager *m, MountFds *inherited) {
        const bool succeeds = inherited->session >= 0;
        const MountInherited given = {
                .fuse_fd = TAKE_FD(inherited->fuse),
                .journal_fd = TAKE_FD(inherited->session),
        };
        const MountConfig config = {
                .mount_point = m->mount_point,
                .n_threads = m->config->fuse_threads,
                .request_timeout_usec = m->config->request_timeout_usec,
                .max_pending = m->config->max_pending_requests,
                .spin_usec = m->config->spin_usec,
                .kernel_dir_cache = m->config->kernel_dir_cache,
                .push_limit = m->config->push_limit,
                .inherited = given.fuse_fd >= 0 ? &given : NULL,
        };
        NsObserver observer;
        Failure failure = {0};

        int r = mount_session_new(
                &config, m->ns, m->pool, m->flights, mount_ended, m, &m->session, &failure);
        if (r >= 0) {
                if (!succeeds) /* otherwise they are where these came from */
                        store_fds(m);
                mount_session_observer(m->session, &observer);
                ns_set_observer(m->ns, &observer);
                r = mount_session_start(m->session, &failure);
        }
        if (r >= 0) {
                if (succeeds)
                        log_info(
                                "Took over \"%s\" with %zu nodes",
                                m->mount_point,
                                ns_n_recovered(m->ns));
                return 0;
        }
        const char *reason = failure.text[0] ? failure.text : strerrordesc_np(-r);
        if (succeeds) {
                log_warning(
                        "Cannot take over \"%s\" from the last gitfsd: %s", m->mount_point, reason);
                return -ESTALE;
        }
        log_error("Cannot mount \"%s\": %s", m->mount_point, reason);
        return r;
}

typedef struct Probe {
        Task task;
        MailboxItem item;
        Manager *manager;
        int result;
} Probe;

static void probe_answered(MailboxItem *item) {
        Probe *p = container_of(item, Probe, item);
        Manager *m = p->manager;

        if (p->result < 0) {
                log_error(
                        "The mount \"%s\" does not answer: %s",
                        m->mount_point,
                        strerrordesc_np(-p->result));
                (void) sd_event_exit(m->event, EXIT_FAILURE); /* fails only when exiting already */
        } else {
                m->ready = true;
                ns_list_all(m->ns);
                log_info("Serving \"%s\"", m->mount_point);
                update_status(m);
                if (m->observer.ready)
                        m->observer.ready(m->observer.userdata);
        }
        free(p);
}

static void probe_run(Task *task) {
        Probe *p = container_of(task, Probe, task);
        struct stat st;

        p->result = stat(p->manager->mount_point, &st) < 0 ? -errno
                    : st.st_ino == NS_ROOT_ID              ? 0
                                                           : -ENODEV;
        manager_post(p->manager, &p->item);
}

static int start_probe(Manager *m) {
        Probe *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->task.run = probe_run;
        p->item.run = probe_answered;
        p->manager = m;
        pool_submit(m->pool, &p->task, TASK_NORMAL);
        return 0;
}

/* --- the main loop's part --- */

static int on_mailbox(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Manager *m = userdata;

        mailbox_drain(m->mailbox);
        return 0;
}

static void poll_run(Task *task) {
        Manager *m = container_of(task, Manager, poll_task);

        ns_poll(m->ns);
        atomic_store(&m->poll_queued, false);
}

/* Walks and packs need a lot for a moment, of things that live for long between others that do not:
 * then the heaps are full of holes, which stay with us unless we ask. What was given back counts as
 * free still, so only what became free since is worth another try. */
static void trim_run(Task *task) {
        Manager *m = container_of(task, Manager, trim_task);
        size_t n = mallinfo2().fordblks;

        if (n >= m->heap_free + TRIM_BYTES) {
                (void) malloc_trim(0); /* whether anything was to be had does not matter */
                m->heap_free = n;
        } else
                m->heap_free = MIN(n, m->heap_free);
        atomic_store(&m->trim_queued, false);
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

/* What could not be reached may be there now, and connections that were open may lead nowhere. */
static void look_at_network(Manager *m) {
        uint64_t slept;

        if (!network_watch_changed(m->network, &slept))
                return;
        log_debug("the network changed%s: asking servers anew", slept > 0 ? " in a sleep" : "");
        stat_add(STAT_NETWORK_CHANGES, 1);
        host_gates_retry(m->gates, slept);
        http_client_renew(m->http);
        ssh_client_renew(m->ssh);
        pins_retry(m->pins);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        uint64_t now = now_usec();

        look_at_network(m);
        host_gates_tick(m->gates);
        mount_session_tick(m->session, now);
        manager_expire_jobs(m, now);
        if (++m->n_ticks % POLL_EVERY_N_TICKS == 0) {
                if (!atomic_exchange(&m->poll_queued, true))
                        pool_submit(m->pool, &m->poll_task, TASK_BACKGROUND);
                if (!atomic_exchange(&m->trim_queued, true))
                        pool_submit(m->pool, &m->trim_task, TASK_BACKGROUND);
                if (m->ready)
                        pins_tick(m->pins, now);
        }

        int r = sd_event_source_set_time_relative(s, TICK_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int start_loop(Manager *m) {
        manager_watch_orgs(m);
        int r = network_watch_new(m->event, &m->network);
        if (r >= 0)
                r = sd_event_add_io(
                        m->event,
                        &m->mailbox_source,
                        mailbox_fd(m->mailbox),
                        EPOLLIN,
                        on_mailbox,
                        m);
        if (r >= 0)
                r = sd_event_add_time_relative(
                        m->event, &m->tick_source, CLOCK_MONOTONIC, TICK_USEC, 0, on_tick, m);
        return r;
}

int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret) {
        _cleanup_(mount_fds_close) MountFds inherited = options->inherited;
        Manager *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->event = sd_event_ref(event);
        TAILQ_INIT(&alloc->jobs);
        alloc->library_task.run = start_library;
        alloc->poll_task.run = poll_run;
        alloc->trim_task.run = trim_run;
        alloc->room_task.run = room_run;
        _cleanup_(manager_freep) Manager *m = alloc;

        int r = load_config(m, options);
        if (r < 0)
                return r;
        r = mkdir_parents(m->runtime_directory, 0700);
        if (r < 0) {
                log_error("Cannot create \"%s\": %s", m->runtime_directory, strerrordesc_np(-r));
                return r;
        }
        r = start_engine(m, &inherited);
        if (r >= 0)
                r = manager_load_orgs(m);
        if (r >= 0)
                r = pins_new(m, &m->pins);
        if (r >= 0)
                r = start_mount(m, &inherited);
        if (r >= 0)
                r = start_loop(m);
        if (r >= 0)
                r = start_probe(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* --- stop --- */

void manager_leave(Manager *m) {
        m->left = true;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        m->observer = (ManagerObserver){0};
        m->tick_source = sd_event_source_disable_unref(m->tick_source);
        m->network = network_watch_free(m->network);
        if (m->left) {
                /* First: what fails from here on fails for nobody, and what the kernel was not told
                 * by then a successor tells it. */
                ns_keep_nodes(m->ns);
                mount_session_leave(m->session);
        }
        if (m->ns) {
                ns_set_org_observer(m->ns, NULL);
                manager_cancel_jobs(m);
        }
        if (m->helpers)
                helpers_stop(m->helpers);
        if (m->session && mount_session_stop(m->session, STOP_TIMEOUT_USEC) < 0)
                log_warning("The mount did not end in time and was aborted");
        if (m->gates)
                host_gates_shut(m->gates);
        if (m->http)
                http_client_stop(m->http);
        if (m->ssh)
                ssh_client_stop(m->ssh);
        if (m->ns)
                ns_stop(m->ns);
        m->mailbox_source = sd_event_source_disable_unref(m->mailbox_source);
        pool_free(m->pool);
        helpers_free(m->helpers);
        /* Nothing runs beside this thread from here on. */
        mailbox_free(m->mailbox);
        manager_free_jobs(m);
        pins_free(m->pins);
        mount_session_free(m->session);
        ns_free(m->ns);
        flight_table_free(m->flights);
        http_client_free(m->http);
        ssh_client_free(m->ssh);
        host_gates_free(m->gates);
        git_hosts_free(m->git_hosts);
        credentials_free(m->credentials);
        documents_close(m->documents);
        store_close(m->store);
        config_free(m->config);
        free(m->system_config);
        free(m->config_home);
        free(m->runtime_directory);
        free(m->mount_point);
        sd_event_unref(m->event);
        object_library_done();
        free(m);
        return NULL;
}

/* --- reload --- */

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
        const NsConfig nsc = ns_config(c);
        ns_set_config(m->ns, &nsc);
        const StoreConfig sc = store_config(c);
        store_set_limits(m->store, &sc);
        if (atomic_fetch_add(&m->room_wanted, 1) == 0)
                pool_submit(m->pool, &m->room_task, TASK_BACKGROUND);
        r = manager_reload_orgs(m);
        pins_reload(m->pins);
        log_info("Configuration reloaded");
        return r;
}

/* --- small things --- */

const char *manager_mount_point(const Manager *m) {
        return m->mount_point;
}

const char *manager_runtime_directory(const Manager *m) {
        return m->runtime_directory;
}

bool manager_ready(const Manager *m) {
        return m->ready;
}

void manager_set_observer(Manager *m, const ManagerObserver *observer) {
        m->observer = observer ? *observer : (ManagerObserver){0};
        manager_watch_orgs(m);
}

int manager_each_host(Manager *m, int (*fn)(const GateInfo *info, void *userdata), void *userdata) {
        return host_gates_each(m->gates, fn, userdata);
}

const char *manager_cache_directory(const Manager *m) {
        return m->config->cache_directory;
}

const char *manager_cache_error(Manager *m) {
        StoreUsage usage;

        store_usage(m->store, &usage);
        int error = m->cache_error < 0 ? m->cache_error : usage.disk_error;
        return error < 0 ? strerrordesc_np(-error) : "";
}

void manager_update_stats(Manager *m) {
        StoreUsage usage;

        store_usage(m->store, &usage);
        /* Gauges are set by the difference: they have no other writer than the store itself. */
        stat_add(
                STAT_STORE_DISK_BYTES,
                (int64_t) usage.disk_bytes - stat_get(STAT_STORE_DISK_BYTES));
        stat_add(
                STAT_STORE_MEMORY_BYTES,
                (int64_t) usage.memory_bytes - stat_get(STAT_STORE_MEMORY_BYTES));
}
