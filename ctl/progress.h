#pragma once

#include <stdint.h>
#include <stdio.h>

/* One line that shows how far a job is: "[####....]  42/100  1.2 MiB". Drawn over itself; nothing
 * at all where the stream is no terminal. */
void progress_draw(FILE *f, uint64_t done, uint64_t total, uint64_t bytes);
/* Wipes the line. */
void progress_clear(FILE *f);

/* The text of the line, without the bar while `total` is 0. */
void progress_format(char *buf, size_t size, uint64_t done, uint64_t total, uint64_t bytes);
/* "0 B", "1.5 KiB", "12 MiB". */
void bytes_format(char *buf, size_t size, uint64_t bytes);
