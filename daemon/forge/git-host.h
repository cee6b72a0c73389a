#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gitfs/macro.h"

#include "forge/git-capabilities.h"
#include "store/documents.h"
#include "work/flight.h"

/* What git servers were found to be able to do, by host: in memory, and for a day on disk. So the
 * second repository of a host costs no question. It is a good guess only, for a server may treat
 * one repository unlike another: who was answered badly asks again.
 *
 * Any number of threads. */
typedef struct GitHosts GitHosts;

/* documents: borrowed; NULL: nothing is kept on disk. */
int git_hosts_new(Pool *pool, Documents *documents, GitHosts **ret);
/* All flights must have landed. */
GitHosts *git_hosts_free(GitHosts *hosts);
DEFINE_CLEANUP(GitHosts *, git_hosts_free)

/* 1 and *ret, or 0: nothing is known of this origin ("scheme://host:port"). Reads the disk when
 * asked for a host for the first time: workers only. */
int git_hosts_get(GitHosts *hosts, const char *origin, GitCapabilities *ret);
/* A repository there told this. Writes the disk when it is news: workers only. */
void git_hosts_learn(GitHosts *hosts, const char *origin, const GitCapabilities *capabilities);

/* A request to there was answered after that long. Returns the least of the last minutes, as in
 * Source.rtt_usec; 0 instead of a sample just asks. */
uint64_t git_hosts_measure(GitHosts *hosts, const char *origin, uint64_t sample_usec);

/* A server does not say whether it filters by the type of objects; a repository there turned out
 * not to. For as long as this process runs. */
void git_hosts_refuse_types(GitHosts *hosts, const char *origin);
bool git_hosts_refuses_types(GitHosts *hosts, const char *origin);

/* One question at a time. The scope of a flight is the identity of a host, or that of a single
 * repository; never NULL. Otherwise as flight_join() and flight_land(). */
const void *git_hosts_scope(GitHosts *hosts, const char *origin);
int git_hosts_join(GitHosts *hosts, const void *scope, FlightWaiter *waiter);
void git_hosts_land(GitHosts *hosts, const void *scope, int result, const Failure *failure);
