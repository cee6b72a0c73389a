/* A document is a file: a header, the key, the content. Its name is a hash of the key, so any key
 * will do. A file becomes visible by a rename, so a reader sees one version or the other; what a
 * crash or the disk did to it shows in the checksum, which is why nothing is synced.
 *
 * No lock is needed. `total` counts what was written since the directory was last looked through,
 * never less than what is there; when it is over the limit the directory is looked through again,
 * by one thread, and the oldest files go. Everything but that number is on disk. */

#include "store/documents.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "object/hex.h"
#include "util/fd.h"
#include "util/htable.h"
#include "util/path.h"

#define FILE_MAGIC UINT64_C(0x31636f4473667467) /* "gtfsDoc1" */
#define KEY_MAX_SIZE 4096
#define NAME_LENGTH 32
#define TEMPORARY_SUFFIX ".new-"
/* What a file takes at least. Also bounds how many there are. */
#define BLOCK_SIZE UINT64_C(4096)

typedef struct DocumentHeader {
        uint64_t magic;
        uint64_t len;
        uint32_t key_len;
        uint32_t crc; /* of the above, the key and the content */
} DocumentHeader;

struct Documents {
        char *directory;
        uint64_t max_bytes;
        atomic_uint_least64_t total;
        atomic_flag trimming;
};

static uint64_t space_of(uint64_t file_size) {
        return (file_size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static uint32_t
document_crc(const DocumentHeader *h, const char *key, const void *data, size_t len) {
        uLong crc = crc32_z(0, (const Bytef *) h, offsetof(DocumentHeader, crc));

        crc = crc32_z(crc, (const Bytef *) key, strlen(key));
        return (uint32_t) (len > 0 ? crc32_z(crc, data, len) : crc);
}

static char *document_path(const Documents *d, const char *key) {
        size_t len = strlen(key);
        char *path;

        if (asprintf(
                    &path,
                    "%s/%016" PRIx64 "%016" PRIx64,
                    d->directory,
                    hash_bytes_stable(key, len, 1),
                    hash_bytes_stable(key, len, 2)) < 0)
                return NULL;
        return path;
}

/* True for the files that are made here; what else is in the directory is left alone. */
static bool is_document(const char *name, bool *ret_temporary) {
        for (size_t i = 0; i < NAME_LENGTH; i++)
                if (hex_digit_value(name[i]) < 0)
                        return false;
        *ret_temporary =
                strncmp(name + NAME_LENGTH, TEMPORARY_SUFFIX, strlen(TEMPORARY_SUFFIX)) == 0;
        return *ret_temporary || name[NAME_LENGTH] == '\0';
}

/* --- the directory --- */

typedef struct DocumentFile {
        struct timespec written;
        uint64_t space;
        char name[NAME_LENGTH + 1];
} DocumentFile;

typedef struct DocumentFiles {
        Buf array; /* DocumentFile */
        uint64_t space;
} DocumentFiles;

static void closedirp(DIR **dir) {
        if (*dir)
                (void) closedir(*dir); /* it was only read */
}

static int add_file(DocumentFiles *files, const char *name, const struct stat *st) {
        DocumentFile file = {.written = st->st_mtim, .space = space_of((uint64_t) st->st_size)};

        memcpy(file.name, name, NAME_LENGTH);
        files->space += file.space;
        return buf_append(&files->array, &file, sizeof(file));
}

/* Which documents there are; unfinished ones, of which a running put() may be one, are removed on
 * request only. 0 also where the directory is missing. */
static int scan(const Documents *d, bool remove_temporary, DocumentFiles *files) {
        _cleanup_(closedirp) DIR *dir = opendir(d->directory);
        bool temporary;

        if (!dir)
                return errno == ENOENT ? 0 : -errno;
        for (;;) {
                struct stat st;
                errno = 0;
                /* Safe on a stream of one's own. */
                const struct dirent *entry = readdir(dir); // NOLINT(concurrency-mt-unsafe)
                if (!entry)
                        return -errno;
                if (!is_document(entry->d_name, &temporary))
                        continue;
                if (temporary) {
                        if (remove_temporary)
                                (void) unlinkat(
                                        dirfd(dir), entry->d_name, 0); /* or the next time */
                        continue;
                }
                if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue; /* removed meanwhile */
                int r = add_file(files, entry->d_name, &st);
                if (r < 0)
                        return r;
        }
}

static int compare_age(const void *pa, const void *pb) {
        const DocumentFile *a = pa, *b = pb;

        if (a->written.tv_sec != b->written.tv_sec)
                return a->written.tv_sec < b->written.tv_sec ? -1 : 1;
        if (a->written.tv_nsec != b->written.tv_nsec)
                return a->written.tv_nsec < b->written.tv_nsec ? -1 : 1;
        return strcmp(a->name, b->name);
}

/* True if the file is gone. */
static bool remove_file(const Documents *d, const char *name) {
        _cleanup_free_ char *path = path_join(d->directory, name, NULL);

        return path && (unlink(path) == 0 || errno == ENOENT);
}

/* Removes the oldest until `limit` bytes are left. Tells how many are. */
static int remove_oldest(const Documents *d, uint64_t limit, uint64_t *ret_space) {
        DocumentFiles files = {0};

        int r = scan(d, false, &files);
        if (r >= 0) {
                DocumentFile *file = (DocumentFile *) (void *) files.array.data;
                size_t n = files.array.len / sizeof(*file);
                if (n > 0)
                        qsort(file, n, sizeof(*file), compare_age);
                for (size_t i = 0; i < n && files.space > limit; i++)
                        if (remove_file(d, file[i].name))
                                files.space -= file[i].space;
                *ret_space = files.space;
        }
        buf_done(&files.array);
        return r;
}

/* For so many bytes more. */
static void make_room(Documents *d, uint64_t more) {
        uint64_t before = atomic_load(&d->total), space;

        if (before + more <= d->max_bytes || atomic_flag_test_and_set(&d->trimming))
                return;
        /* More than it must, lest the next document looks through the directory again, and for
         * those that are written meanwhile. */
        if (remove_oldest(d, d->max_bytes - d->max_bytes / 8, &space) >= 0)
                /* What was written meanwhile is perhaps counted twice, but never left out. */
                (void) atomic_fetch_add(&d->total, space - before);
        atomic_flag_clear(&d->trimming);
}

int documents_open(const char *directory, uint64_t max_bytes, Documents **ret) {
        DocumentFiles files = {0};
        _cleanup_(documents_closep) Documents *d = calloc(1, sizeof(*d));

        if (!d)
                return -ENOMEM;
        d->max_bytes = max_bytes;
        atomic_flag_clear(&d->trimming);
        d->directory = strdup(directory);
        if (!d->directory)
                return -ENOMEM;
        int r = mkdir_parents(directory, 0700);
        if (r >= 0)
                r = scan(d, true, &files);
        buf_done(&files.array);
        if (r < 0)
                return r;
        atomic_store(&d->total, files.space);
        make_room(d, 0);
        *ret = TAKE_PTR(d);
        return 0;
}

Documents *documents_close(Documents *d) {
        if (d)
                free(d->directory);
        free(d);
        return NULL;
}

/* --- one document --- */

/* -ENODATA where the file ends early. */
static int read_exactly(int fd, void *data, size_t len) {
        for (uint8_t *p = data; len > 0;) {
                ssize_t n = read(fd, p, len);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return -ENODATA;
                if (n > 0) {
                        p += n;
                        len -= (size_t) n;
                }
        }
        return 0;
}

/* What is in front of the content. */
typedef struct DocumentHead {
        DocumentHeader header;
        char key[KEY_MAX_SIZE + 1];
} DocumentHead;

/* 0 if what follows is a document, and as long as the file says. */
static int read_head(int fd, DocumentHead *ret) {
        DocumentHeader *h = &ret->header;
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        int r = read_exactly(fd, h, sizeof(*h));
        if (r < 0)
                return r;
        uint32_t key_len = le32toh(h->key_len);
        uint64_t len = le64toh(h->len);
        if (le64toh(h->magic) != FILE_MAGIC || key_len > KEY_MAX_SIZE || len > DOCUMENT_MAX_SIZE ||
            (uint64_t) st.st_size != sizeof(*h) + key_len + len)
                return -ENODATA;
        ret->key[key_len] = '\0';
        r = read_exactly(fd, ret->key, key_len);
        if (r < 0)
                return r;
        return strlen(ret->key) == key_len ? 0 : -ENODATA;
}

static int read_content(int fd, const DocumentHead *head, Buf *ret) {
        const DocumentHeader *h = &head->header;
        size_t len = (size_t) le64toh(h->len);

        int r = buf_reserve(ret, MAX(len, (size_t) 1));
        if (r < 0)
                return r;
        uint8_t *content = ret->data + ret->len;
        r = read_exactly(fd, content, len);
        if (r < 0)
                return r;
        if (le32toh(h->crc) != document_crc(h, head->key, content, len))
                return -ENODATA;
        ret->len += len;
        return 0;
}

/* -ENODATA where it is another key's, of which the hash is the same. */
static int read_document(int fd, const char *key, Buf *ret) {
        DocumentHead head = {0};

        int r = read_head(fd, &head);
        if (r >= 0 && strcmp(head.key, key) != 0)
                r = -ENODATA;
        return r < 0 ? r : read_content(fd, &head, ret);
}

int documents_get(Documents *d, const char *key, Buf *ret) {
        if (strlen(key) > KEY_MAX_SIZE)
                return 0;
        _cleanup_free_ char *path = document_path(d, key);
        if (!path)
                return -ENOMEM;
        /* Not blocking, where it is a FIFO. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ENOENT || errno == ELOOP ? 0 : -errno;
        int r = read_document(fd, key, ret);
        if (r == -ENODATA || r == -EISDIR)
                return 0;
        return r < 0 ? r : 1;
}

/* 0 if the file is intact and named as its key demands. */
static int verify_document(const char *path, const Documents *d) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_buf_ Buf content = {0};
        DocumentHead head = {0};

        if (fd < 0)
                return -errno;
        int r = read_head(fd, &head);
        if (r < 0)
                return r;
        _cleanup_free_ char *right = document_path(d, head.key);
        if (!right)
                return -ENOMEM;
        return strcmp(path, right) == 0 ? read_content(fd, &head, &content) : -ENODATA;
}

static bool is_damage(int r) {
        return r == -ENODATA || r == -EIO || r == -ELOOP;
}

int documents_verify(Documents *d, uint64_t *ret_checked, uint64_t *ret_damaged) {
        DocumentFiles files = {0};
        uint64_t checked = 0, damaged = 0;

        int r = scan(d, false, &files);
        const DocumentFile *file = (const DocumentFile *) (const void *) files.array.data;
        for (size_t n = files.array.len / sizeof(*file); n > 0 && r >= 0; n--, file++) {
                _cleanup_free_ char *path = path_join(d->directory, file->name, NULL);
                int good = path ? verify_document(path, d) : -ENOMEM;
                if (good == -ENOMEM)
                        r = good;
                /* Gone meanwhile, or nobody can tell now, as without descriptors. */
                if (good < 0 && !is_damage(good))
                        continue;
                checked++;
                if (good < 0) {
                        damaged++;
                        (void) unlink(path); /* or it stays what it is: not there */
                }
        }
        buf_done(&files.array);
        if (r < 0)
                return r;
        *ret_checked = checked;
        *ret_damaged = damaged;
        return 0;
}

static int
write_document(int fd, const DocumentHeader *h, const char *key, const void *data, size_t len) {
        int r = write_all(fd, h, sizeof(*h));
        if (r >= 0)
                r = write_all(fd, key, strlen(key));
        if (r >= 0)
                r = write_all(fd, data, len);
        return r;
}

static int
replace(const char *path, const DocumentHeader *h, const char *key, const void *data, size_t len) {
        _cleanup_free_ char *temporary = NULL;

        if (asprintf(&temporary, "%s" TEMPORARY_SUFFIX "XXXXXX", path) < 0) {
                temporary = NULL; /* undefined after a failure */
                return -ENOMEM;
        }
        _cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC); /* of mode 0600 */
        if (fd < 0)
                return -errno;
        int r = write_document(fd, h, key, data, len);
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(temporary); /* or the next documents_open() does */
        return r;
}

int documents_put(Documents *d, const char *key, const void *data, size_t len) {
        DocumentHeader h = {
                .magic = htole64(FILE_MAGIC),
                .len = htole64(len),
                .key_len = htole32((uint32_t) strlen(key)),
        };
        uint64_t space = space_of(sizeof(h) + strlen(key) + len);

        if (strlen(key) > KEY_MAX_SIZE)
                return -ENAMETOOLONG;
        if (len > DOCUMENT_MAX_SIZE || space > d->max_bytes)
                return -EFBIG;
        h.crc = htole32(document_crc(&h, key, data, len));
        _cleanup_free_ char *path = document_path(d, key);
        if (!path)
                return -ENOMEM;
        /* Before it is written: the limit holds at every moment. */
        make_room(d, space);
        (void) atomic_fetch_add(&d->total, space);
        int r = replace(path, &h, key, data, len);
        if (r == -ENOENT) {
                /* Somebody has removed the directory. */
                r = mkdir_parents(d->directory, 0700);
                if (r >= 0)
                        r = replace(path, &h, key, data, len);
        }
        if (r == -EISDIR && rmdir(path) == 0) /* somebody's, and empty */
                r = replace(path, &h, key, data, len);
        if (r < 0)
                (void) atomic_fetch_sub(&d->total, space);
        return r;
}

void documents_touch(Documents *d, const char *key) {
        _cleanup_free_ char *path = document_path(d, key);

        if (path)
                /* Or it is as old as it is. */
                (void) utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

void documents_remove(Documents *d, const char *key) {
        _cleanup_free_ char *path = document_path(d, key);

        if (path)
                (void) unlink(path); /* if it cannot be removed, it cannot be replaced either */
}

void documents_clear(Documents *d) {
        uint64_t unused;

        /* The count is put right when it matters. */
        (void) remove_oldest(d, 0, &unused); /* what cannot be read cannot be used either */
}
