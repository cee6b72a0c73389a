#pragma once

#include <stddef.h>

#include "gitfs/macro.h"

#include "config/config.h"

/* INI files as in systemd units: [Section] and Key=Value lines, lines that begin with # or ; are
 * comments, nothing continues on the next line. libinih is hidden here. */

/* Called for each assignment, with the row of the table. 0, or negative errno with *ret_error. */
typedef int (*IniApply)(size_t option, const char *value, void *userdata, ConfigError *ret_error);

/* Reads text against a table that ends with section == NULL. Stops at the first mistake: -EINVAL
 * with *ret_error, which says "origin:line: ". Sections and keys that are not in the table are
 * mistakes, and so are lines that are too long. */
int ini_text_parse(
        const char *text,
        size_t len,
        const char *origin,
        const ConfigOption *options,
        IniApply apply,
        void *userdata,
        ConfigError *ret_error);

/* Says what is wrong, without secrets; returns -EINVAL. */
int config_error_set(ConfigError *e, const char *fmt, ...) _printf_(2, 3);
