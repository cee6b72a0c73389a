#include "config/string-list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t string_list_length(char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

int string_list_add(char ***list, const char *s) {
        size_t n = string_list_length(*list);
        _cleanup_free_ char *copy = strdup(s);

        if (!copy)
                return -ENOMEM;
        char **grown = reallocarray(*list, n + 2, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        grown[n] = TAKE_PTR(copy);
        grown[n + 1] = NULL;
        *list = grown;
        return 0;
}

int string_list_copy(char *const *list, char ***ret) {
        _cleanup_(string_list_freep) char **copy = NULL;

        if (list) {
                copy = calloc(string_list_length(list) + 1, sizeof(*copy));
                if (!copy)
                        return -ENOMEM;
                for (size_t i = 0; list[i]; i++) {
                        copy[i] = strdup(list[i]);
                        if (!copy[i])
                                return -ENOMEM;
                }
        }
        *ret = TAKE_PTR(copy);
        return 0;
}

char **string_list_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
        return NULL;
}
