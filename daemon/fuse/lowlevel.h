#pragma once

/* The one place that chooses libfuse's API version. Included by daemon/fuse only. */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
