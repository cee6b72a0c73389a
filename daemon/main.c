#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bus/bus.h"
#include "bus/service.h"
#include "manager/manager.h"
#include "util/clock.h"
#include "util/log.h"
#include "version.h"

#define LARGE_BUFFER (128 << 10)
#define MAX_HEAPS 2

static const char usage[] =
        "Usage: gitfsd [OPTION]...\n"
        "Mounts the repositories of the configured orgs. Runs in the foreground.\n\n"
        "  --mount DIR              where to mount (default: $XDG_RUNTIME_DIR/gitfs)\n"
        "  --runtime-directory DIR  control socket (default: $XDG_RUNTIME_DIR/gitfsd)\n"
        "  --config-home DIR        configuration (default: ~/.config/gitfs)\n"
        "  --system-config DIR      that of all users (default: " GITFS_SYSCONFDIR "/gitfs)\n"
        "  --cache-directory DIR    objects (default: ~/.cache/gitfs)\n"
        "  --log-level LEVEL        err, warning, notice, info or debug\n"
        "  --no-session-bus         serve only the control socket\n"
        "  --fuse-fd N              serve this descriptor of /dev/fuse, which somebody has "
        "mounted\n"
        "  --help, --version\n";

/* An open one, which no child inherits; or -1. */
static int parse_fd(const char *text) {
        char *end;

        errno = 0;
        long fd = strtol(text, &end, 10);
        if (errno != 0 || *end || end == text || fd <= STDERR_FILENO || fd > INT_MAX)
                return -1;
        return fcntl((int) fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : (int) fd;
}

/* 1: go on; otherwise 0 or a negative errno to exit with. */
static int parse_options(int argc, char **argv, ManagerOptions *o, bool *ret_session_bus) {
        static const struct option options[] = {
                {"mount", required_argument, NULL, 'm'},
                {"runtime-directory", required_argument, NULL, 'r'},
                {"config-home", required_argument, NULL, 'c'},
                {"system-config", required_argument, NULL, 's'},
                {"cache-directory", required_argument, NULL, 'C'},
                {"log-level", required_argument, NULL, 'l'},
                {"no-session-bus", no_argument, NULL, 'n'},
                {"fuse-fd", required_argument, NULL, 'f'},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'V'},
                {NULL, 0, NULL, 0},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) // NOLINT: no threads yet
                switch (c) {
                case 'm':
                        o->mount_point = optarg;
                        break;
                case 'r':
                        o->runtime_directory = optarg;
                        break;
                case 'c':
                        o->config_home = optarg;
                        break;
                case 's':
                        o->system_config = optarg;
                        break;
                case 'C':
                        o->cache_directory = optarg;
                        break;
                case 'l':
                        o->log_level = log_level_from_string(optarg);
                        if (o->log_level < 0) {
                                (void) fprintf(stderr, "gitfsd: \"%s\" is no log level\n", optarg);
                                return -EINVAL;
                        }
                        break;
                case 'n':
                        *ret_session_bus = false;
                        break;
                case 'f':
                        o->inherited.fuse = parse_fd(optarg);
                        if (o->inherited.fuse < 0) {
                                (void) fprintf(stderr, "gitfsd: \"%s\" is no descriptor\n", optarg);
                                return -EINVAL;
                        }
                        break;
                case 'h':
                        (void) fputs(usage, stdout);
                        return 0;
                case 'V':
                        (void) puts("gitfsd " GITFS_VERSION);
                        return 0;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "gitfsd: unexpected argument \"%s\"\n", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Failure failure;

        (void) sd_notifyf(
                false, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long) now_usec());
        (void) manager_reload(
                userdata, &failure); /* has logged the reason; the old configuration stays */
        (void) sd_notify(false, "READY=1");
        return 0;
}

static int block_signals(void) {
        sigset_t set;

        if (sigemptyset(&set) < 0 || sigaddset(&set, SIGHUP) < 0 || sigaddset(&set, SIGINT) < 0 ||
            sigaddset(&set, SIGTERM) < 0)
                return -errno;
        int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r < 0)
                return r;
        /* Connections end and files may grow too large: the call that finds out says so. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
                return -errno;
        return 0;
}

/* What holds tokens is left out of core dumps (util/secret-memory.h), but not what a TLS library
 * may have left behind. So a release writes no core at all, and shows its memory to root only. */
static void hide_memory(void) {
#ifndef GITFS_DEVELOPER
        (void) prctl(PR_SET_DUMPABLE, 0); /* cannot fail with this value */
#endif
}

/* Buffers for packs come and go between millions of small things that stay. Left to itself the
 * allocator learns from the first large one that is freed to take them from the same heaps, which
 * then keep a quarter more than what is in them; and every thread gets a heap of its own, with
 * holes of its own, another quarter. */
static void keep_heaps_small(void) {
        /* Where they cannot be set memory is used less well. */
        (void) mallopt(M_ARENA_MAX, MAX_HEAPS);         // NOLINT: no threads yet
        (void) mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER); // NOLINT: no threads yet
        (void) mallopt(M_TRIM_THRESHOLD, LARGE_BUFFER); // NOLINT: no threads yet
}

static int start(sd_event *event, ManagerOptions *options, Manager **ret) {
        int r = manager_new(event, options, ret);

        if (r < 0 && options->inherited.fuse < 0)
                fd_store_clear(); /* what is left of a mount that is gone: who mounts for us looks
                                   */
        options->inherited = MOUNT_FDS_NONE;
        if (r == -ESTALE) {
                /* Somebody else may keep the connection as well, so that nobody could mount in its
                 * place: who mounts for us ends it. */
                log_warning("What waits in the mount fails, and the next start makes it anew");
                fd_store_clear();
        }
        return r;
}

/* The service manager keeps what is mounted where it is about to start the next gitfsd. Otherwise
 * it has nothing more to keep. */
static void finish(Manager *manager, int result) {
        bool is_service = sd_notify(false, "STOPPING=1\nSTATUS=Ending") > 0;

        if (is_service && result == 0 && service_restarts())
                manager_leave(manager);
        else
                fd_store_clear();
}

static int run(ManagerOptions *options, bool session_bus) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(manager_freep) Manager *manager = NULL;
        _cleanup_(bus_freep) Bus *bus = NULL;

        /* Before the first thread, so that every thread inherits the mask. */
        int r = block_signals();
        if (r >= 0)
                r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(event, true);
        if (r < 0)
                log_error("Cannot set up the event loop: %s", strerrordesc_np(-r));
        else
                r = start(event, options, &manager);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, manager);
        if (r >= 0)
                r = bus_new(event, manager, session_bus, &bus);
        if (r >= 0)
                r = sd_event_loop(event);
        if (manager)
                finish(manager, r);
        return r;
}

int main(int argc, char **argv) {
        ManagerOptions options = {.log_level = -1, .inherited = MOUNT_FDS_NONE};
        bool session_bus = true;

        int r = parse_options(argc, argv, &options, &session_bus);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;
        if (options.inherited.fuse < 0)
                options.inherited = fd_store_take();
        hide_memory();
        keep_heaps_small();
        r = run(&options, session_bus);
        return r == -ESTALE ? SERVICE_EXIT_STALE : r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
