#pragma once

/* What PATH on the command line means. None of this touches the file system: a look into the mount
 * would wait for the daemon that is perhaps about to be asked why it does not answer. */

/* Resolves `arg` to a path relative to the mount, "" for its root:
 *
 *   - an absolute path is what it is;
 *   - "." and "..", and what begins with "./" or "../", is relative to `cwd`;
 *   - anything else is relative to `cwd` where that lies in the mount, else to the mount's root, so
 *     that "org/repo" works from everywhere.
 *
 * "." and ".." are resolved by name, as if nothing were a symbolic link. *ret is allocated. -EXDEV
 * outside of the mount, -ENOMEM. `cwd` may be NULL when it is not known: it lies nowhere then. */
int path_argument(const char *mount_point, const char *cwd, const char *arg, char **ret);

/* `arg` made absolute against `cwd`, by name. Allocated; NULL when out of memory. */
char *path_absolute(const char *cwd, const char *arg);
