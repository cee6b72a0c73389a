/* Fills a cache directory: fill-store DIR OBJECTS SIZE DOCUMENTS. The objects are blobs of SIZE
 * bytes, the documents of a kilobyte. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object/object.h"
#include "store/documents.h"
#include "store/store.h"
#include "util/path.h"

static int put_objects(const char *directory, uint64_t n, size_t size) {
        const StoreConfig config = {.directory = directory, .disk_limit = UINT64_C(10) << 30};
        _cleanup_(store_closep) Store *store = NULL;
        _cleanup_free_ uint8_t *data = calloc(1, size + sizeof(n));
        Oid oid;

        if (!data)
                return -ENOMEM;
        int r = store_open(&config, &store);
        for (uint64_t i = 0; r >= 0 && i < n; i++) {
                memcpy(data, &i, sizeof(i));
                r = object_hash(OID_SHA1, OBJECT_BLOB, data, size, &oid);
                if (r >= 0)
                        r = store_put(
                                store, STORE_DISK, STORE_OBJECT, &oid, OBJECT_BLOB, data, size);
        }
        return r;
}

static int put_documents(const char *directory, unsigned n) {
        _cleanup_(documents_closep) Documents *documents = NULL;
        _cleanup_free_ char *path = path_join(directory, "documents", NULL);
        char key[32], content[1024] = {0};

        if (!path)
                return -ENOMEM;
        int r = documents_open(path, UINT64_C(256) << 20, &documents);
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                (void) snprintf(key, sizeof(key), "bench %u", i);
                r = documents_put(documents, key, content, sizeof(content));
        }
        return r;
}

int main(int argc, char **argv) {
        if (argc != 5) {
                (void) fprintf(stderr, "Usage: fill-store DIR OBJECTS SIZE DOCUMENTS\n");
                return 2;
        }
        int r = object_library_init();
        if (r >= 0)
                r = put_objects(argv[1], strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
        if (r >= 0)
                r = put_documents(argv[1], (unsigned) strtoul(argv[4], NULL, 10));
        object_library_done();
        if (r < 0)
                (void) fprintf(stderr, "fill-store: %s\n", strerror(-r)); // NOLINT: one thread
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
