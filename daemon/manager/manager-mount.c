/* The mount: made or taken over, asked whether it answers, and when it ends by itself. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "fuse/wait-fd.h"
#include "manager/manager-private.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define PROBE_TIMEOUT_USEC (4 * USEC_PER_SEC)
#define CAREFUL_USEC (600 * USEC_PER_SEC) /* after a crash */

static void update_status(Manager *m) {
        if (m->ready)
                (void) sd_notifyf(/* advice to systemd, no more */
                                  false,
                                  "READY=1\nSTATUS=Serving %s",
                                  m->mount_point);
}

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
static void store_fds(Manager *m, bool kept) {
        const MountInherited legacy = mount_session_legacy(m->session);
        const MountFds fds = {
                .fuse = kept ? -1 : legacy.fuse_fd,
                .session = legacy.journal_fd,
                .nodes = ns_nodes_fd(m->ns),
        };

        fd_store_put(&fds);
}

void manager_be_careful(Manager *m, uint64_t until_usec) {
        m->careful_until_usec = until_usec;
        const NsConfig config = manager_ns_config(m, m->config);
        ns_set_config(m->ns, &config);
        if (manager_is_careful(m))
                log_notice("The last gitfsd crashed: for a while nothing is fetched ahead");
}

int manager_start_mount(Manager *m, MountFds *inherited) {
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
                        store_fds(m, inherited->kept);
                mount_session_observer(m->session, &observer);
                ns_set_observer(m->ns, &observer);
                if (mount_session_follows_crash(m->session))
                        manager_be_careful(m, now_usec() + CAREFUL_USEC);
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

typedef enum ProbeState {
        PROBE_QUEUED,
        PROBE_ASKS,
        PROBE_OVER,
} ProbeState;

/* Whoever asks the mount waits for a reader: as long as one does, the readers must not end. */
struct Probe {
        Task task;
        MailboxItem item;
        Manager *manager;
        int result;
        atomic_int state; /* ProbeState */
        int over_fd;      /* eventfd, written when the mount has answered */
};

static void probe_answered(MailboxItem *item) {
        Probe *p = container_of(item, Probe, item);
        Manager *m = p->manager;

        if (manager_is_stopping(m))
                return;
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
}

static void probe_run(Task *task) {
        Probe *p = container_of(task, Probe, task);
        int queued = PROBE_QUEUED;
        struct stat st;

        if (!atomic_compare_exchange_strong(&p->state, &queued, PROBE_ASKS))
                return;
        p->result = stat(p->manager->mount_point, &st) < 0 ? -errno
                    : st.st_ino == NS_ROOT_ID              ? 0
                                                           : -ENODEV;
        manager_post(p->manager, &p->item);
        (void) eventfd_write(p->over_fd, 1); /* once: cannot overflow */
}

Probe *probe_free(Probe *p) {
        if (!p)
                return NULL;
        (void) safe_close(p->over_fd);
        free(p);
        return NULL;
}
int manager_start_probe(Manager *m) {
        _cleanup_(probe_freep) Probe *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (p->over_fd < 0)
                return -errno;
        p->task.run = probe_run;
        p->item.run = probe_answered;
        p->manager = m;
        m->probe = TAKE_PTR(p);
        pool_submit(m->pool, &m->probe->task, TASK_NORMAL);
        return 0;
}

void probe_end(Probe *p) {
        int queued = PROBE_QUEUED;

        if (!p || atomic_compare_exchange_strong(&p->state, &queued, PROBE_OVER))
                return;
        if (!wait_readable(p->over_fd, now_usec() + PROBE_TIMEOUT_USEC))
                log_warning("The mount \"%s\" does not answer", p->manager->mount_point);
}
