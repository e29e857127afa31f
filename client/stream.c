/*
 * Streams of libc over our descriptors.
 *
 * A stream reads and writes with calls inside libc that nothing can wrap, so a stream over one of
 * our descriptors is made with fopencookie: its reads, writes, seeks and close come here. The same
 * holds for stdin, stdout and stderr when their numbers become ours: `echo x > .../bind` in a shell
 * puts our descriptor on number 1 and writes to stdout. The variable then points to such a stream,
 * and back to libc's own when the number becomes something else.
 */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAMS 64

extern void __chk_fail(void) __attribute__((noreturn));

/* Streams made here, and the number each stands for, plus one. */
static struct {
	FILE *stream;
	int fd;
} streams[STREAMS];
static uint32_t stream_count;

/* ---- cookies: the number itself, plus one ---- */

static int number_of(void *cookie)
{
	return (int)(intptr_t)cookie - 1;
}

static ssize_t cookie_read(void *cookie, char *buffer, size_t bytes)
{
	return read(number_of(cookie), buffer, bytes);
}

static ssize_t cookie_write(void *cookie, const char *buffer, size_t bytes)
{
	ssize_t done = write(number_of(cookie), buffer, bytes);
	return done < 0 ? 0 : done; /* 0 is how a cookie says error; errno stays */
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
	off_t moved = lseek(number_of(cookie), *offset, whence);
	if (moved < 0)
		return -1;
	*offset = moved;
	return 0;
}

static int cookie_close(void *cookie)
{
	return close(number_of(cookie));
}

static int cookie_leave(void *cookie)
{
	(void)cookie;
	return 0;
}

static bool note(FILE *stream, int fd)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		FILE *nobody = NULL;
		if (!__atomic_compare_exchange_n(&streams[i].stream, &nobody, stream, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		streams[i].fd = fd;
		__atomic_add_fetch(&stream_count, 1, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

static int noted(FILE *stream)
{
	for (unsigned i = 0; i < STREAMS && stream_count > 0; i++)
		if (streams[i].stream == stream)
			return (int)i;
	return -1;
}

static FILE *make_stream(int fd, const char *mode, bool closes)
{
	cookie_io_functions_t functions = { cookie_read, cookie_write, cookie_seek,
					    closes ? cookie_close : cookie_leave };
	FILE *stream = fopencookie((void *)(intptr_t)(fd + 1), mode, functions);
	if (stream != NULL)
		note(stream, fd);
	return stream;
}

/* ---- opening ---- */

/* Flags of open for a mode of fopen; -1: none. */
static int flags_of(const char *mode)
{
	int flags;
	switch (mode[0]) {
	case 'r':
		flags = O_RDONLY;
		break;
	case 'w':
		flags = O_WRONLY | O_CREAT | O_TRUNC;
		break;
	case 'a':
		flags = O_WRONLY | O_CREAT | O_APPEND;
		break;
	default:
		return -1;
	}
	for (const char *at = mode + 1; *at != '\0' && *at != ','; at++) {
		if (*at == '+')
			flags = (flags & ~O_ACCMODE) | O_RDWR;
		else if (*at == 'x')
			flags |= O_EXCL;
		else if (*at == 'e')
			flags |= O_CLOEXEC;
	}
	return flags;
}

/* Of our path: a stream or NULL with errno; *is_done false: libc's own. */
static FILE *open_stream(const char *path, const char *mode, bool *is_done)
{
	struct ours what;
	*is_done = false;
	if (!is_on() || path == NULL || mode == NULL)
		return NULL;
	int flags = flags_of(mode);
	if (flags == -1)
		return NULL;
	long fd = open_ours(AT_FDCWD, path, flags, 0666, is_done);
	if (!*is_done)
		return NULL;
	if (fd < 0) {
		errno = (int)-fd;
		return NULL;
	}
	FILE *stream = is_ours((int)fd, &what) ? make_stream((int)fd, mode, true) :
						 REAL(fdopen)((int)fd, mode);
	if (stream == NULL)
		close((int)fd);
	return stream;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	bool is_done;
	FILE *stream = open_stream(path, mode, &is_done);
	return is_done ? stream : REAL(fopen)(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	bool is_done;
	FILE *stream = open_stream(path, mode, &is_done);
	return is_done ? stream : REAL(fopen64)(path, mode);
}

EXPORT FILE *_IO_fopen(const char *path, const char *mode) __attribute__((alias("fopen")));

EXPORT FILE *fdopen(int fd, const char *mode)
{
	struct ours what;
	if (is_ours(fd, &what) && flags_of(mode) != -1)
		return make_stream(fd, mode, true);
	return REAL(fdopen)(fd, mode);
}

EXPORT FILE *_IO_fdopen(int fd, const char *mode) __attribute__((alias("fdopen")));

/* What can be read is copied to a memfd, which libc's own stream takes over. */
static FILE *reopen(const char *path, const char *mode, FILE *stream,
		    FILE *(*real)(const char *, const char *, FILE *))
{
	struct ours what;
	char name[32];
	bool is_done = false;
	int flags = path == NULL ? -1 : flags_of(mode);
	long fd = flags == -1 || !is_on() ? -1 : open_ours(AT_FDCWD, path, flags, 0666, &is_done);
	if (!is_done)
		return real(path, mode, stream);
	if (fd < 0) {
		errno = (int)-fd;
		return NULL;
	}
	if (is_ours((int)fd, &what)) {
		char text[4096];
		ssize_t length = (flags & O_ACCMODE) == O_RDONLY ?
					 read((int)fd, text, sizeof text) :
					 libc_result(-EOPNOTSUPP);
		int failure = errno;
		close((int)fd);
		errno = failure;
		if (length < 0)
			return NULL;
		fd = SYS(SYS_memfd_create, "attribute", 1);
		SYS(SYS_pwrite64, fd, text, length, 0);
	}
	snprintf(name, sizeof name, "/proc/self/fd/%ld", fd);
	FILE *opened = real(name, mode, stream);
	SYS(SYS_close, fd);
	return opened;
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
	return reopen(path, mode, stream, REAL(freopen));
}

EXPORT FILE *freopen64(const char *path, const char *mode, FILE *stream)
{
	return reopen(path, mode, stream, REAL(freopen64));
}

/* ---- numbers and ends ---- */

EXPORT int fileno(FILE *stream)
{
	int place = noted(stream);
	return place < 0 ? REAL(fileno)(stream) : streams[place].fd;
}

EXPORT int fileno_unlocked(FILE *stream) __attribute__((alias("fileno")));

EXPORT int fclose(FILE *stream)
{
	struct ours what;
	int place = noted(stream);
	if (place >= 0) {
		streams[place].stream = NULL;
		__atomic_sub_fetch(&stream_count, 1, __ATOMIC_RELEASE);
	} else if (is_on() && stream != NULL) {
		/* A stream that libc made over a number that became ours since. */
		int fd = REAL(fileno)(stream);
		if (fd >= 0 && is_ours_already(fd) && is_ours(fd, &what)) {
			ours_forget(fd);
			int result = REAL(fclose)(stream);
			call_plain(IOASIS_OP_CLOSED, what.handle, 0, 0);
			return result;
		}
	}
	return REAL(fclose)(stream);
}

EXPORT int _IO_fclose(FILE *stream) __attribute__((alias("fclose")));

/* ---- the three standard streams ---- */

static FILE *originals[3];
static FILE *replacements[3];

static FILE **variable_of(int fd)
{
	return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr;
}

void stream_follow(int fd)
{
	struct ours what;
	if (fd < 0 || fd > 2 || process_is_borrowed())
		return;
	FILE **variable = variable_of(fd);
	bool is_replaced = replacements[fd] != NULL && *variable == replacements[fd];
	bool becomes_ours = is_ours(fd, &what);
	if (becomes_ours && !is_replaced) {
		/* What waits in it belongs to the file it wrote to; the caller has flushed or not. */
		if (replacements[fd] == NULL)
			replacements[fd] = make_stream(fd, fd == 0 ? "r" : "w", false);
		if (replacements[fd] == NULL)
			return;
		if (fd == 2)
			setvbuf(replacements[fd], NULL, _IONBF, 0);
		originals[fd] = *variable;
		*variable = replacements[fd];
	} else if (!becomes_ours && is_replaced) {
		fflush(replacements[fd]);
		clearerr(replacements[fd]);
		*variable = originals[fd];
	}
}

/* A program that starts with one of ours as standard input or output. */
__attribute__((constructor)) static void follow_inherited(void)
{
	for (int fd = 0; fd < 3 && is_on(); fd++) {
		struct ours what;
		if (is_ours(fd, &what))
			stream_follow(fd);
	}
}

/* ---- dprintf: writes inside libc ---- */

EXPORT int vdprintf(int fd, const char *format, va_list list)
{
	struct ours what;
	if (!is_ours(fd, &what))
		return REAL(vdprintf)(fd, format, list);
	char *text;
	int length = vasprintf(&text, format, list);
	if (length < 0)
		return -1;
	ssize_t done = write(fd, text, (size_t)length);
	free(text);
	return done < 0 ? -1 : (int)done;
}

EXPORT int dprintf(int fd, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int length = vdprintf(fd, format, list);
	va_end(list);
	return length;
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list list;
	(void)flag;
	va_start(list, format);
	int length = vdprintf(fd, format, list);
	va_end(list);
	return length;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list list)
{
	(void)flag;
	return vdprintf(fd, format, list);
}
