#pragma once

#include <systemd/sd-bus.h>

#include "util/failure.h"

/* The one place that turns an errno and a Failure into a D-Bus error. */

/* The error name for a negative errno `r` and the Failure beside it (which may be NULL). An errno
 * that speaks about the caller's arguments wins over the failure's class; for the rest the class is
 * the better source, as several share an errno. */
const char *bus_error_name(int r, const Failure *f);
/* Fills `ret` and returns a negative errno, for a method handler to return. The message is the
 * failure's text, else the errno's, made fit for D-Bus. */
int bus_error_set(sd_bus_error *ret, int r, const Failure *f);
