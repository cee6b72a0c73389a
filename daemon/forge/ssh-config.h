#pragma once

#include <stdbool.h>

/* The configuration of all users, as ssh reads it behind the user's own. */
#define SSH_SYSTEM_CONFIG "/etc/ssh/ssh_config"

/* True where root's files do not look like root's, as in a user name space: then ssh refuses those
 * that this one includes. */
bool ssh_config_is_foreign(const char *system_config);

/* Copies it with all that it includes into a directory (made if missing), where ssh takes them for
 * the user's own, and makes one file there that stands for the user's configuration and the
 * system's: to be given with -F. Its path, owned by the caller. 0 or a negative errno. Reads and
 * writes files. Whoever does it at the same time writes the same. */
int ssh_config_copy(const char *system_config, const char *directory, char **ret);
