/*
 * Opening: the open family, and /proc/PID/status.
 *
 * What the tree holds as a plain file or directory the kernel opens there. What carries the sticky
 * bit the daemon opens. Nothing is ever created in the tree or written to a plain file of it, with
 * the errno that sysfs gives.
 */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- what the daemon opens ---- */

long open_served(const struct where *where, int flags)
{
	char whole[PATH_BYTES];
	const char *path = where->path;
	if (where->place == PLACE_TREE && resolve(where->path, true, whole) == 0)
		path = whole;
	struct call call;
	long done = call_begin(&call, IOASIS_OP_OPEN);
	if (done != 0)
		return done;
	call.length = (uint32_t)strlen(path);
	call.command = (uint32_t)flags;
	memcpy(call.payload, path, call.length);
	done = call_run(&call);
	if (done >= 0 && (call.reply & IOASIS_R_NEW) != 0) {
		done = call_descriptor(&call);
		if (done >= 0) {
			uint16_t kept = path_keep(path, call.new_rdev);
			ours_set((int)done, call.new_handle, call.new_kind, kept);
			if ((flags & O_CLOEXEC) == 0)
				SYS(SYS_fcntl, done, F_SETFD, 0);
			if ((flags & O_NONBLOCK) != 0)
				SYS(SYS_fcntl, done, F_SETFL, O_RDWR | O_NONBLOCK);
		}
	}
	call_end(&call);
	return done;
}

/* ---- /proc/PID/status ---- */

static bool status_amounts(const char *path, uint64_t amounts[2])
{
	char text[16];
	size_t length = strcspn(path + 6, "/");
	if (length >= sizeof text)
		return false;
	memcpy(text, path + 6, length);
	text[length] = '\0';
	if (strcmp(text, "self") == 0 || strcmp(text, "thread-self") == 0)
		snprintf(text, sizeof text, "%ld", SYS(SYS_getpid));
	struct call call;
	if (call_begin(&call, IOASIS_OP_STATUS) != 0)
		return false;
	call.length = (uint32_t)strlen(text);
	memcpy(call.payload, text, call.length);
	bool good = call_run(&call) >= 0 && call.reply_length >= 16;
	if (good)
		memcpy(amounts, call.payload, 16);
	call_end(&call);
	return good;
}

/* Adds an amount to the number in the line that begins with `key`; the line keeps its place. */
static size_t raise_line(char *text, size_t length, size_t room, const char *key, uint64_t kib)
{
	char *line = memmem(text, length, key, strlen(key));
	if (line == NULL || kib == 0)
		return length;
	char *number = line + strlen(key);
	char *end;
	uint64_t sum = strtoull(number, &end, 10) + kib;
	char fresh[40];
	size_t width = (size_t)snprintf(fresh, sizeof fresh, "\t%8llu", (unsigned long long)sum);
	size_t old = (size_t)(end - number);
	if (length - old + width > room)
		return length;
	memmove(number + width, end, length - (size_t)(end - text));
	memcpy(number, fresh, width);
	return length - old + width;
}

long open_status(const struct where *where, int flags)
{
	char text[8192];
	size_t length = 0;
	uint64_t amounts[2];
	long fd = SYS(SYS_openat, AT_FDCWD, where->path, O_RDONLY | O_CLOEXEC);
	if (sys_failed(fd))
		return fd;
	long got;
	while (length < sizeof text - 1 &&
	       (got = SYS(SYS_read, fd, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	SYS(SYS_close, fd);
	text[length] = '\0';
	if (status_amounts(where->path, amounts)) {
		length = raise_line(text, length, sizeof text - 1, "\nVmPin:", amounts[0]);
		text[length] = '\0';
		length = raise_line(text, length, sizeof text - 1, "\nVmLck:", amounts[1]);
	}
	fd = SYS(SYS_memfd_create, "status", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	if (sys_failed(fd))
		return fd;
	SYS(SYS_pwrite64, fd, text, length, 0);
	ours_not((int)fd);
	return fd;
}

/* ---- what the kernel opens in the tree ---- */

#define MAKING (O_CREAT | O_EXCL | O_TRUNC)

static long open_plain(int directory, const char *real, int flags)
{
	long fd = SYS(SYS_openat, directory, real, flags & ~MAKING, 0);
	ours_not((int)fd);
	return fd;
}

static long open_in_tree(const struct where *where, int flags)
{
	struct stat status;
	int look = (flags & O_NOFOLLOW) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
	long done = SYS(SYS_newfstatat, AT_FDCWD, where->real, &status, look);
	if (done == -ENOENT && (flags & O_CREAT) != 0)
		return -EACCES;
	if (done != 0)
		return done;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	if (S_ISREG(status.st_mode) && (flags & O_PATH) == 0) {
		if ((flags & O_DIRECTORY) != 0)
			return -ENOTDIR;
		if ((status.st_mode & S_ISVTX) != 0)
			return open_served(where, flags);
		if ((flags & O_ACCMODE) != O_RDONLY)
			return -EACCES;
	}
	return open_plain(AT_FDCWD, where->real, flags);
}

long open_ours(int directory, const char *path, int flags, mode_t mode, bool *is_done)
{
	struct where where;
	*is_done = true;
	const char *real;
	long done = locate(directory, path, &where);
	if (done < 0)
		return done;
	switch (where.place) {
	case PLACE_TREE:
		return open_in_tree(&where, flags);
	case PLACE_HOST:
		done = SYS(SYS_openat, AT_FDCWD, where.real, flags, mode);
		ours_not((int)done);
		return done;
	case PLACE_MERGED:
		real = redirect(&directory, path, &where);
		return open_plain(directory, real, flags);
	case PLACE_STATUS:
		if ((flags & O_ACCMODE) == O_RDONLY)
			return open_status(&where, flags);
		break;
	case PLACE_DAEMON:
		done = open_served(&where, flags);
		if (done != -ENOENT)
			return done;
		break;
	case PLACE_UNTOUCHED:
		break;
	}
	*is_done = false;
	return 0;
}

int open_any(int directory, const char *path, int flags, mode_t mode)
{
	bool is_done;
	long done = open_ours(directory, path, flags, mode, &is_done);
	if (is_done)
		return (int)libc_result(done);
	int fd = REAL(openat)(directory, path, flags, mode);
	if (is_on())
		ours_not(fd);
	return fd;
}

/* ---- the family ---- */

#define NEEDS_MODE(flags) (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE)
#define TAKE_MODE(flags, mode)                          \
	do {                                            \
		va_list list;                           \
		va_start(list, flags);                  \
		if (NEEDS_MODE(flags))                  \
			mode = (mode_t)va_arg(list, int); \
		va_end(list);                           \
	} while (0)

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORT int __open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int __open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORT int openat(int directory, const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(directory, path, flags, mode);
}

EXPORT int openat64(int directory, const char *path, int flags, ...)
{
	mode_t mode = 0;
	TAKE_MODE(flags, mode);
	return open_any(directory, path, flags | O_LARGEFILE, mode);
}

/* The fortified forms: no mode, since nothing may be created. */
EXPORT int __open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

EXPORT int __openat_2(int directory, const char *path, int flags)
{
	return open_any(directory, path, flags, 0);
}

EXPORT int __openat64_2(int directory, const char *path, int flags)
{
	return open_any(directory, path, flags | O_LARGEFILE, 0);
}

EXPORT int creat(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode);
}
