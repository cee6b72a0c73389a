/* The order of things. Starting: configuration, then what needs no other, up to the mount; ready
 * when the mount has answered a call of our own. Stopping is the reverse, with one rule: whoever
 * may still call back is stopped before what it calls back into is freed. So first the jobs, then
 * the mount (every parked call is answered), then the network (every transfer ends), then the name
 * space waits for the last operation, and only then memory is freed. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

#define STOP_TIMEOUT_USEC (4 * USEC_PER_SEC)

/* --- start --- */

static unsigned default_workers(void) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        /* Workers also wait for disks, so there are some more than processors. */
        return n < 1 ? 4 : (unsigned) MIN(n, 30) + 2;
}

/* Two daemons do not share a directory, and a person who starts the second has to know. But a disk
 * that is full, read-only or broken is no reason not to serve: only slower. */
static int open_store(Manager *m) {
        StoreConfig config = manager_store_config(m->config);

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
        int r = documents_open(directory, manager_documents_limit(m->config), &m->documents);
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
        _cleanup_free_ char *ssh_directory = path_join(m->runtime_directory, "ssh", NULL);
        const SshConfig ssh = {
                .directory = ssh_directory,
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
        const NsConfig nsc = manager_ns_config(m, c);
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

int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret) {
        _cleanup_(mount_fds_close) MountFds inherited = options->inherited;
        Manager *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->event = sd_event_ref(event);
        TAILQ_INIT(&alloc->jobs);
        alloc->library_task.run = start_library;
        _cleanup_(manager_freep) Manager *m = alloc;

        int r = manager_load_config(m, options);
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
                r = manager_start_mount(m, &inherited);
        if (r >= 0)
                r = manager_start_loop(m);
        if (r >= 0)
                r = manager_start_probe(m);
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
        probe_end(m->probe);
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
        probe_free(m->probe);
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
