/* As little as a FUSE server can do: a directory tree that is read into memory once and then served
 * from there, by one thread, with what gitfs tells the kernel (no open, everything believed for
 * ever, listings with attributes). What gitfs costs above this is its own; what this costs is FUSE.
 *
 *      floor TREE MOUNTPOINT [MICROSECONDS]
 *
 * After a request it looks for the next one for so long before it sleeps; not at all unless told.
 * Prints "ready" once it is mounted. For each line on standard input it prints how many requests it
 * has answered; with the end of standard input it unmounts and ends. What is called .git is left
 * out.
 *
 * Inode n is nodes[n - 1]. The children of a directory lie side by side, sorted by name. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "gitfs/macro.h"

#include "util/clock.h"

#define FOREVER 1e9
#define REPLY_MAX ((size_t) 64 << 10)

typedef struct FloorNode {
        char *name;
        mode_t mode;
        uint32_t parent;
        uint32_t first, n_children; /* directories */
        uint64_t offset, size;      /* in the content; files and symlinks */
        time_t mtime;
} FloorNode;

static FloorNode *nodes;
static uint32_t n_nodes, cap_nodes;
static char *content;
static uint64_t n_requests;
static char listing[REPLY_MAX];

static _Noreturn void die(const char *what) {
        (void) fprintf(stderr, "floor: %s: %s\n", what, strerrordesc_np(errno));
        exit(EXIT_FAILURE);
}

/* --- reading the tree --- */

static void add_node(uint32_t parent, const char *name) {
        if (n_nodes == cap_nodes) {
                cap_nodes = cap_nodes ? cap_nodes * 2 : 1024;
                FloorNode *grown = reallocarray(nodes, cap_nodes, sizeof(*nodes));
                if (!grown)
                        die("memory");
                nodes = grown;
        }
        char *copy = strdup(name);
        if (!copy)
                die("memory");
        nodes[n_nodes++] = (FloorNode){.name = copy, .parent = parent};
}

/* Relative to the root, which is the working directory. */
static void node_path(uint32_t i, char *path, size_t size) {
        size_t at = size - 1;

        path[at] = '\0';
        for (; i != 0; i = nodes[i].parent) {
                size_t len = strlen(nodes[i].name);
                if (at < len + 1)
                        die("a path is too long");
                at -= len;
                memcpy(path + at, nodes[i].name, len);
                path[--at] = '/';
        }
        path[--at] = '.';
        memmove(path, path + at, size - at);
}

static int wanted(const struct dirent *d) {
        return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
               strcmp(d->d_name, ".git") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_directory(uint32_t i, const char *path) {
        struct dirent **entries;
        int n = scandir(path, &entries, wanted, by_name);

        if (n < 0)
                die(path);
        nodes[i].first = n_nodes;
        nodes[i].n_children = (uint32_t) n;
        for (int k = 0; k < n; k++) {
                add_node(i, entries[k]->d_name);
                free(entries[k]);
        }
        free(entries);
}

/* Breadth first: the nodes that are there already are the queue. Returns the bytes of all. */
static uint64_t read_names(void) {
        uint64_t total = 0;

        add_node(0, "");
        for (uint32_t i = 0; i < n_nodes; i++) {
                char path[PATH_MAX];
                struct stat st;
                node_path(i, path, sizeof(path));
                if (lstat(path, &st) < 0)
                        die(path);
                nodes[i].mode = st.st_mode;
                nodes[i].mtime = st.st_mtime;
                if (S_ISDIR(st.st_mode)) {
                        read_directory(i, path);
                        continue;
                }
                nodes[i].offset = total;
                nodes[i].size = (uint64_t) st.st_size;
                total += nodes[i].size;
        }
        return total;
}

static void read_content(const FloorNode *node, const char *path) {
        char *to = content + node->offset;
        uint64_t done = 0;

        if (S_ISLNK(node->mode)) {
                if (readlink(path, to, node->size) != (ssize_t) node->size)
                        die(path);
                return;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                die(path);
        while (done < node->size) {
                ssize_t n = read(fd, to + done, node->size - done);
                if (n <= 0)
                        die(path);
                done += (uint64_t) n;
        }
        (void) close(fd); /* only read from */
}

static void read_tree(const char *root) {
        if (chdir(root) < 0)
                die(root);
        uint64_t total = read_names();
        content = mmap(NULL, total + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (content == MAP_FAILED)
                die("memory");
        for (uint32_t i = 0; i < n_nodes; i++) {
                char path[PATH_MAX];
                if (S_ISDIR(nodes[i].mode))
                        continue;
                node_path(i, path, sizeof(path));
                read_content(&nodes[i], path);
        }
}

/* --- serving it --- */

static void fill_stat(uint32_t i, struct stat *ret) {
        const FloorNode *node = &nodes[i];

        *ret = (struct stat){
                .st_ino = i + 1,
                .st_mode = node->mode,
                .st_nlink = 1,
                .st_uid = getuid(),
                .st_gid = getgid(),
                .st_size = (off_t) node->size,
                .st_blocks = (blkcnt_t) ((node->size + 511) / 512),
                .st_blksize = 4096,
                .st_mtim.tv_sec = node->mtime,
        };
}

static void fill_entry(uint32_t i, struct fuse_entry_param *ret) {
        *ret = (struct fuse_entry_param){
                .ino = i + 1, .attr_timeout = FOREVER, .entry_timeout = FOREVER};
        fill_stat(i, &ret->attr);
}

/* Where a reply is not taken the caller is gone: there is nobody to tell. */

static void floor_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
        const FloorNode *dir = &nodes[parent - 1];
        uint32_t lo = dir->first, hi = lo + dir->n_children;
        struct fuse_entry_param entry = {.entry_timeout = FOREVER};

        while (lo < hi) {
                uint32_t mid = lo + (hi - lo) / 2;
                int c = strcmp(nodes[mid].name, name);
                if (c == 0) {
                        fill_entry(mid, &entry);
                        break;
                }
                if (c < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        (void) fuse_reply_entry(req, &entry);
}

static void floor_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info) {
        struct stat st;

        fill_stat((uint32_t) id - 1, &st);
        (void) fuse_reply_attr(req, &st, FOREVER);
}

static void floor_readlink(fuse_req_t req, fuse_ino_t id) {
        const FloorNode *node = &nodes[id - 1];

        (void) fuse_reply_buf(req, content + node->offset, node->size);
}

static void floor_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info) {
        (void) fuse_reply_err(req, ENOSYS);
}

static void
floor_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        const FloorNode *node = &nodes[id - 1];
        uint64_t from = MIN((uint64_t) offset, node->size);

        (void) fuse_reply_buf(req, content + node->offset + from, MIN(size, node->size - from));
}

/* Entry 0 is ".", 1 is "..", the others follow; an offset is the number of the next. */
static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, bool plus) {
        const FloorNode *dir = &nodes[id - 1];
        size_t used = 0;

        size = MIN(size, sizeof(listing));
        for (uint32_t k = (uint32_t) offset; k < dir->n_children + 2; k++) {
                static const char *const dots[] = {".", ".."};
                const uint32_t at[] = {(uint32_t) id - 1, dir->parent};
                uint32_t i = k < 2 ? at[k] : dir->first + k - 2;
                const char *name = k < 2 ? dots[k] : nodes[i].name;
                struct fuse_entry_param entry;
                char *to = listing + used;
                size_t n, left = size - used;
                fill_entry(i, &entry);
                if (k < 2)
                        entry.ino = 0;
                n = plus ? fuse_add_direntry_plus(req, to, left, name, &entry, k + 1)
                         : fuse_add_direntry(req, to, left, name, &entry.attr, k + 1);
                if (n > left)
                        break;
                used += n;
        }
        (void) fuse_reply_buf(req, listing, used);
}

static void floor_readdir(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        list(req, id, size, offset, /* plus= */ false);
}

static void floor_readdirplus(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info) {
        list(req, id, size, offset, /* plus= */ true);
}

static void floor_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size) {
        (void) fuse_reply_err(req, EOPNOTSUPP);
}

static void floor_init(void *userdata, struct fuse_conn_info *conn) {
        conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
                                      FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
                                      FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT);
}

static const struct fuse_lowlevel_ops operations = {
        .init = floor_init,
        .lookup = floor_lookup,
        .getattr = floor_getattr,
        .readlink = floor_readlink,
        .open = floor_open,
        .read = floor_read,
        .opendir = floor_open,
        .readdir = floor_readdir,
        .readdirplus = floor_readdirplus,
        .getxattr = floor_getxattr,
};

/* False at the end of standard input. */
static bool answer_input(void) {
        char line[16];

        if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
                return false;
        printf("%" PRIu64 "\n", n_requests);
        (void) fflush(stdout);
        return true;
}

static void serve(struct fuse_session *se, uint64_t spin_usec) {
        struct pollfd fds[] = {
                {.fd = fuse_session_fd(se), .events = POLLIN},
                {.fd = STDIN_FILENO, .events = POLLIN},
        };
        struct fuse_buf buf = {0};
        uint64_t since = 0;

        if (fcntl(fds[0].fd, F_SETFL, O_NONBLOCK | fcntl(fds[0].fd, F_GETFL)) < 0)
                die("fcntl");
        for (;;) {
                int n = fuse_session_receive_buf(se, &buf);
                if (n > 0) {
                        fuse_session_process_buf(se, &buf);
                        n_requests++;
                        since = now_usec();
                } else if (n == -EAGAIN && now_usec() - since < spin_usec) {
                        (void) sched_yield();
                } else if (n == -EAGAIN) {
                        (void) poll(fds, ELEMENTSOF(fds), -1); /* EINTR shows as nothing to read */
                        if ((fds[1].revents & (POLLIN | POLLHUP)) && !answer_input())
                                break;
                } else if (n != -EINTR)
                        break;
        }
        free(buf.mem);
}

int main(int argc, char **argv) {
        char *options[] = {argv[0], (char *) "-o", (char *) "ro,fsname=floor", NULL};
        struct fuse_args args = FUSE_ARGS_INIT(3, options);
        _cleanup_free_ char *mount_point = NULL;

        if (argc != 3 && argc != 4) {
                (void) fprintf(stderr, "Usage: floor TREE MOUNTPOINT [MICROSECONDS]\n");
                return EXIT_FAILURE;
        }
        mount_point = realpath(argv[2], NULL);
        if (!mount_point)
                die(argv[2]);
        read_tree(argv[1]);
        struct fuse_session *se = fuse_session_new(&args, &operations, sizeof(operations), NULL);
        fuse_opt_free_args(&args);
        if (!se || fuse_session_mount(se, mount_point) != 0)
                die("cannot mount");
        puts("ready");
        (void) fflush(stdout);
        serve(se, argc == 4 ? strtoul(argv[3], NULL, 10) : 0);
        fuse_session_unmount(se);
        fuse_session_destroy(se);
        return EXIT_SUCCESS;
}
