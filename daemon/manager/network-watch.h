#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Notices when this machine's way to servers changed: an address or a route came or went, or the
 * machine has slept. Where the kernel tells nothing (a sandbox without netlink) only the latter is
 * noticed. Main thread. */
typedef struct NetworkWatch NetworkWatch;

/* 0, -ENOMEM. */
int network_watch_new(sd_event *event, NetworkWatch **ret);
NetworkWatch *network_watch_free(NetworkWatch *w);

/* A few times a second: true if anything changed since the last call. *ret_slept_usec is how long
 * the machine has slept meanwhile, which the monotonic clock does not count. */
bool network_watch_changed(NetworkWatch *w, uint64_t *ret_slept_usec);

/* What it makes of messages of rtnetlink, aligned for them: true if one of them tells of an address
 * or a route that came or went. Any thread. */
bool network_watch_is_news(const void *messages, size_t size);
