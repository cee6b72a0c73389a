#pragma once

#include <stdbool.h>

/* True when this process was told to end because the service manager, which keeps descriptors for
 * it, is about to start it again: then what is mounted stays. False where nobody knows. Blocks for
 * a moment; asks the manager itself, which needs no bus. */
bool service_restarts(void);
