#pragma once

#include "fuse/lowlevel.h"

/* The operations, called by libfuse on a reader thread. */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void op_statfs(fuse_req_t req, fuse_ino_t id);
void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size);

void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void op_readdir(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void op_readdirplus(
        fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);

void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void op_readlink(fuse_req_t req, fuse_ino_t id);
