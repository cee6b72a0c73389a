#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "gitfs/macro.h"

#include "bus/bus.h"
#include "manager/manager.h"

/* Shared by the files of this layer, and by nobody else. */

/* What a client can make the daemon hold. */
#define BUS_MAX_CLIENTS 64u          /* of the private socket */
#define BUS_MAX_REQUESTS 256u        /* calls that wait for the manager */
#define BUS_MAX_QUEUED_MESSAGES 4096 /* to a private client that does not read */
#define BUS_MAX_ORG_NAMES 10000u     /* of a list in one AddOrg() */

typedef struct BusClient BusClient;
typedef struct BusChange BusChange;
typedef struct Request Request;

typedef TAILQ_HEAD(BusClientList, BusClient) BusClientList;
typedef TAILQ_HEAD(BusChangeList, BusChange) BusChangeList;
typedef TAILQ_HEAD(RequestList, Request) RequestList;

struct Bus {
        sd_event *event;
        Manager *manager; /* not owned */

        /* bus-session.c */
        sd_bus *session;                /* NULL while there is none */
        sd_event_source *session_retry; /* armed while a lost session bus is to be found again */
        bool session_wanted;

        /* bus-server.c */
        char *socket_path; /* NULL until it is ours to remove */
        dev_t socket_dev;
        ino_t socket_ino;
        sd_event_source *listen_source; /* owns the listening descriptor */
        BusClientList clients;
        unsigned n_clients;

        /* bus-notify.c */
        ManagerObserver observer;
        BusChangeList changes;
        sd_event_source *changes_source; /* runs once when changes is not empty */

        /* bus-request.c */
        RequestList requests;
        unsigned n_requests;
};

/* bus.c: registers the object tree on a connection. */
int bus_export(Bus *b, sd_bus *bus);

/* bus-session.c: 0 also where there is no session bus. */
int bus_session_start(Bus *b);
void bus_session_stop(Bus *b);

/* bus-server.c */
int bus_server_start(Bus *b);
void bus_server_stop(Bus *b);
/* Calls fn on every connection, the session bus included, and drops private clients that do not
 * read what they are sent. Failures are logged by it at debug: a signal has no one to answer to. */
void bus_each_connection(Bus *b, int (*fn)(sd_bus *bus, void *userdata), void *userdata);

/* bus-notify.c: turns what the manager tells into signals. Announcements go out at once; changed
 * properties are collected and go out when the main loop has nothing more urgent to do, each
 * object once. */
int bus_notify_start(Bus *b);
void bus_notify_stop(Bus *b);

/* bus-manager.c, bus-token.c, bus-pin.c, bus-org.c, bus-job.c: register one kind of object, or a
 * part of it. */
int bus_manager_export(Bus *b, sd_bus *bus);
int bus_token_export(Bus *b, sd_bus *bus);
int bus_pin_export(Bus *b, sd_bus *bus);
int bus_org_export(Bus *b, sd_bus *bus);
int bus_job_export(Bus *b, sd_bus *bus);

/* Object path of an org or a job: allocated, NULL when out of memory. */
char *bus_org_path(const char *name);
char *bus_job_path(uint32_t id);

/* Appends one array element a{sv} with every property of the org or the job, under the names they
 * have on their object. */
int bus_org_append(sd_bus_message *m, const OrgInfo *info);
int bus_job_append(sd_bus_message *m, const JobInfo *info);

/* Appends bytes as a D-Bus string in their reversible spelling; "" for NULL. */
int bus_append_bytes(sd_bus_message *m, const char *bytes);
/* Appends the name and the message of the error that this stands for, or "" for r >= 0. */
int bus_append_error_name(sd_bus_message *m, int r, const Failure *f);
int bus_append_error_message(sd_bus_message *m, int r, const Failure *f);
/* Appends a sentence, with what D-Bus would refuse replaced. */
int bus_append_sentence(sd_bus_message *m, const char *text);

/* Reads the next string, in its reversible spelling; *ret is allocated. */
int bus_read_bytes(sd_bus_message *m, char **ret, sd_bus_error *error);
/* Reads the next string as a path: allocated in *ret, relative to the mount. */
int bus_read_path(Bus *b, sd_bus_message *m, char **ret, sd_bus_error *error);
/* Reads the next number as flags, of which these are known. */
int bus_read_flags(sd_bus_message *m, uint64_t known, uint64_t *ret, sd_bus_error *error);
/* The caller's arguments make no sense, and why. Returns what a handler returns then. */
int bus_refuse(sd_bus_error *error, const char *fmt, ...) _printf_(2, 3);
/* Reads the arguments of AddOrg(); not checked beyond their types and numbers. */
int bus_read_org_config(sd_bus_message *m, OrgConfig **ret, sd_bus_error *error);
/* bus-host.c: appends one array element a{sv} for each of what is known of the servers. */
int bus_hosts_append(sd_bus_message *reply, Manager *manager);

/* Answers with an array aa{sv}, whose elements fill() appends. */
int bus_reply_list(
        Bus *b, sd_bus_message *call, int (*fill)(sd_bus_message *reply, Manager *manager));
/* Answers with a job: its id and its object. */
int bus_reply_job(sd_bus_message *call, uint32_t id);
