#include <stdio.h>

#include "config/config.h"

/* Prints every option as "section<TAB>key<TAB>default" for documentation.py. */

static int print(const ConfigOption *options) {
        for (const ConfigOption *o = options; o->section; o++)
                if (printf("%s\t%s\t%s\n", o->section, o->key, o->default_text) < 0)
                        return -1;
        return 0;
}

int main(void) {
        return print(config_options) < 0 || print(org_options) < 0;
}
