/*
 * Reading, writing, seeking.
 *
 * The bytes travel in the slot's payload, several calls for more than one payload. A file with a
 * queue (faults, events) puts one byte into its socket while it has something, so that poll, select
 * and epoll see the real descriptor readable; the byte is taken here before the daemon is asked.
 */
#include "client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static bool has_queue(uint8_t kind)
{
	return kind == KIND_FAULT_QUEUE || kind == KIND_EVENT_QUEUE || kind == KIND_MIGRATION;
}

static void take_readiness(int fd)
{
	char byte[16];
	SYS(SYS_recvfrom, fd, byte, sizeof byte, MSG_DONTWAIT, NULL, NULL);
}

static uint32_t nonblock_flag(int fd, uint8_t kind)
{
	if (kind != KIND_MIGRATION)
		return 0;
	long flags = SYS(SYS_fcntl, fd, F_GETFL);
	return !sys_failed(flags) && (flags & O_NONBLOCK) != 0 ? IOASIS_F_NONBLOCK : 0;
}

static ssize_t read_piece(int fd, const struct ours *what, char *buffer, size_t bytes,
			  int64_t offset)
{
	struct call call;
	long done = call_begin(&call, IOASIS_OP_READ);
	if (done != 0)
		return done;
	call.handle = what->handle;
	call.size = bytes;
	call.offset = (uint64_t)offset;
	call.flags = nonblock_flag(fd, what->kind);
	done = call_run(&call);
	if (done > 0) {
		size_t length = (size_t)done < call.reply_length ? (size_t)done : call.reply_length;
		if (length > bytes)
			length = bytes;
		size_t copied = copy_to_program(buffer, call.payload, length);
		done = copied < length ? -EFAULT : (long)length;
	}
	call_end(&call);
	return done;
}

static ssize_t write_piece(int fd, const struct ours *what, const char *buffer, size_t bytes,
			   int64_t offset)
{
	struct call call;
	long done = call_begin(&call, IOASIS_OP_WRITE);
	if (done != 0)
		return done;
	call.handle = what->handle;
	call.offset = (uint64_t)offset;
	call.size = bytes;
	call.length = (uint32_t)bytes;
	call.flags = nonblock_flag(fd, what->kind);
	if (copy_from_program(call.payload, buffer, bytes) < bytes)
		done = -EFAULT;
	else
		done = call_run(&call);
	call_end(&call);
	return done;
}

typedef ssize_t piece_t(int, const struct ours *, char *, size_t, int64_t);

static ssize_t write_as_piece(int fd, const struct ours *what, char *buffer, size_t bytes,
			      int64_t offset)
{
	return write_piece(fd, what, buffer, bytes, offset);
}

/* Piece by piece until one is short; an error counts when nothing was moved before it. */
static ssize_t in_pieces(piece_t *piece, int fd, const struct ours *what, char *buffer,
			 size_t bytes, int64_t offset)
{
	size_t moved = 0;
	do {
		size_t length = bytes - moved;
		if (length > IOASIS_PAYLOAD_BYTES)
			length = IOASIS_PAYLOAD_BYTES;
		int64_t at = offset < 0 ? -1 : offset + (int64_t)moved;
		ssize_t done = piece(fd, what, buffer + moved, length, at);
		if (done < 0)
			return moved > 0 ? (ssize_t)moved : done;
		moved += (size_t)done;
		if ((size_t)done < length)
			break;
	} while (moved < bytes);
	return (ssize_t)moved;
}

/* The position that counts for a call without an offset, see descriptors.c. */
static int64_t offset_for(int fd, const struct ours *what, int64_t offset)
{
	struct position *position = position_of(fd);
	if (offset < 0 && what->kind == KIND_ATTRIBUTE && position->own != 0)
		return position->own - 1;
	return offset;
}

static ssize_t moved_on(int fd, int64_t given, ssize_t done)
{
	struct position *position = position_of(fd);
	if (done > 0 && given < 0) {
		position->seen += done;
		if (position->own != 0)
			position->own += done;
	}
	return done;
}

ssize_t read_ours(int fd, const struct ours *what, void *buffer, size_t bytes, int64_t offset)
{
	int64_t at = offset_for(fd, what, offset);
	if (has_queue(what->kind))
		take_readiness(fd);
	for (;;) {
		ssize_t done = in_pieces(read_piece, fd, what, buffer, bytes, at);
		if (done != -EAGAIN || nonblock_flag(fd, what->kind) != 0 ||
		    what->kind != KIND_MIGRATION)
			return moved_on(fd, offset, done);
		struct pollfd wait = { fd, POLLIN, 0 };
		long ready = SYS(SYS_ppoll, &wait, 1, NULL, NULL, 0);
		if (sys_failed(ready))
			return ready;
		take_readiness(fd);
	}
}

ssize_t write_ours(int fd, const struct ours *what, const void *buffer, size_t bytes,
		   int64_t offset)
{
	int64_t at = offset_for(fd, what, offset);
	char *from = (char *)(uintptr_t)buffer;
	return moved_on(fd, offset, in_pieces(write_as_piece, fd, what, from, bytes, at));
}

/* ---- read and write ---- */

EXPORT ssize_t read(int fd, void *buffer, size_t bytes)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(read)(fd, buffer, bytes);
	return libc_result(read_ours(fd, &what, buffer, bytes, -1));
}

EXPORT ssize_t write(int fd, const void *buffer, size_t bytes)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(write)(fd, buffer, bytes);
	return libc_result(write_ours(fd, &what, buffer, bytes, -1));
}

EXPORT ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(pread)(fd, buffer, bytes, offset);
	if (offset < 0)
		return libc_result(-EINVAL);
	return libc_result(read_ours(fd, &what, buffer, bytes, offset));
}

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(pwrite)(fd, buffer, bytes, offset);
	if (offset < 0)
		return libc_result(-EINVAL);
	return libc_result(write_ours(fd, &what, buffer, bytes, offset));
}

/* Other names of the same four. */
EXPORT ssize_t __read(int fd, void *buffer, size_t bytes) __attribute__((alias("read")));
EXPORT ssize_t __write(int fd, const void *buffer, size_t bytes) __attribute__((alias("write")));
EXPORT ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset)
	__attribute__((alias("pread")));
EXPORT ssize_t __pread64(int fd, void *buffer, size_t bytes, off64_t offset)
	__attribute__((alias("pread")));
EXPORT ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset)
	__attribute__((alias("pwrite")));
EXPORT ssize_t __pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset)
	__attribute__((alias("pwrite")));

extern void __chk_fail(void) __attribute__((noreturn));

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room)
{
	if (bytes > room)
		__chk_fail();
	return read(fd, buffer, bytes);
}

EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t offset, size_t room)
{
	if (bytes > room)
		__chk_fail();
	return pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off64_t offset, size_t room)
	__attribute__((alias("__pread_chk")));

/* ---- vectors ---- */

#define PARTS_MAX 1024

/* Each part like a call of its own, until one is short. */
static ssize_t each_part(bool is_write, int fd, const struct ours *what, const struct iovec *parts,
			 int count, int64_t offset)
{
	ssize_t moved = 0;
	if (count < 0 || count > PARTS_MAX)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		struct iovec part;
		if (copy_from_program(&part, parts + i, sizeof part) < sizeof part)
			return moved > 0 ? moved : -EFAULT;
		if (part.iov_len == 0)
			continue;
		int64_t at = offset < 0 ? -1 : offset + moved;
		ssize_t done = is_write ? write_ours(fd, what, part.iov_base, part.iov_len, at) :
					  read_ours(fd, what, part.iov_base, part.iov_len, at);
		if (done < 0)
			return moved > 0 ? moved : done;
		moved += done;
		if ((size_t)done < part.iov_len)
			break;
	}
	return moved;
}

EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(readv)(fd, parts, count);
	return libc_result(each_part(false, fd, &what, parts, count, -1));
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(writev)(fd, parts, count);
	return libc_result(each_part(true, fd, &what, parts, count, -1));
}

EXPORT ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(preadv)(fd, parts, count, offset);
	if (offset < 0)
		return libc_result(-EINVAL);
	return libc_result(each_part(false, fd, &what, parts, count, offset));
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(pwritev)(fd, parts, count, offset);
	if (offset < 0)
		return libc_result(-EINVAL);
	return libc_result(each_part(true, fd, &what, parts, count, offset));
}

EXPORT ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(preadv2)(fd, parts, count, offset, flags);
	if (offset < -1 || flags != 0)
		return libc_result(flags != 0 ? -EOPNOTSUPP : -EINVAL);
	return libc_result(each_part(false, fd, &what, parts, count, offset));
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(pwritev2)(fd, parts, count, offset, flags);
	if (offset < -1 || flags != 0)
		return libc_result(flags != 0 ? -EOPNOTSUPP : -EINVAL);
	return libc_result(each_part(true, fd, &what, parts, count, offset));
}

EXPORT ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
	__attribute__((alias("preadv")));
EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
	__attribute__((alias("pwritev")));
EXPORT ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
	__attribute__((alias("preadv2")));
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
	__attribute__((alias("pwritev2")));

/* ---- seeking ---- */

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
	struct ours what;
	struct stat status;
	if (!is_ours(fd, &what))
		return REAL(lseek)(fd, offset, whence);
	if (what.kind != KIND_ATTRIBUTE)
		return libc_result(-ESPIPE);
	struct position *position = position_of(fd);
	int64_t now = position->own != 0 ? position->own - 1 : position->seen;
	int64_t next = offset;
	if (whence == SEEK_CUR)
		next += now;
	else if (whence == SEEK_END && stat_ours(&what, &status) == 0)
		next += status.st_size;
	else if (whence != SEEK_SET)
		return libc_result(-EINVAL);
	if (next < 0)
		return libc_result(-EINVAL);
	if (next != now)
		position->own = next + 1;
	return next;
}

EXPORT off64_t lseek64(int fd, off64_t offset, int whence) __attribute__((alias("lseek")));
EXPORT off64_t __lseek(int fd, off64_t offset, int whence) __attribute__((alias("lseek")));
EXPORT off64_t llseek(int fd, off64_t offset, int whence) __attribute__((alias("lseek")));
