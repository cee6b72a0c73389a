/* The bus layer as it ships, on the fake manager: test-busd RUNTIME-DIRECTORY MOUNT-POINT. Says
 * "ready" on stdout once it serves; SIGTERM ends it in the order of the real daemon. */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "bus/bus.h"
#include "manager/manager.h"
#include "util/log.h"

static int block_sigterm(void) {
        sigset_t set;

        if (sigemptyset(&set) < 0 || sigaddset(&set, SIGTERM) < 0)
                return -1;
        return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(manager_freep) Manager *m = NULL;
        _cleanup_(bus_freep) Bus *bus = NULL;

        if (argc != 3 || block_sigterm() != 0)
                return 2;
        log_set_max_level(LOG_DEBUG);
        const ManagerOptions options = {
                .runtime_directory = argv[1],
                .mount_point = argv[2],
                .inherited = MOUNT_FDS_NONE,
        };
        int r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = manager_new(event, &options, &m);
        if (r >= 0)
                r = bus_new(event, m, /* session= */ true, &bus);
        if (r >= 0 && (puts("ready") < 0 || fflush(stdout) != 0))
                r = -1;
        if (r >= 0)
                r = sd_event_loop(event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
