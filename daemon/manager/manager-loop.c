/* What the main thread does by itself: what others post, and what is due four times a second. */

#include <malloc.h>
#include <sys/epoll.h>

#include "manager/manager-private.h"
#include "manager/network-watch.h"
#include "manager/pins.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/stats.h"

#define TICK_USEC (250 * USEC_PER_MSEC)
#define POLL_EVERY_N_TICKS 4
#define TRIM_BYTES ((size_t) 8 << 20) /* that much is worth it */

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
                if (manager_is_careful(m) && now >= m->careful_until_usec)
                        manager_be_careful(m, 0);
                if (m->ready && !manager_is_careful(m))
                        pins_tick(m->pins, now);
        }

        int r = sd_event_source_set_time_relative(s, TICK_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int manager_start_loop(Manager *m) {
        m->poll_task.run = poll_run;
        m->trim_task.run = trim_run;
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
