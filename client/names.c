/* Functions that look a path up or show one. */
#include "client.h"
#include "look-up.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

extern void __chk_fail(void) __attribute__((noreturn));

/* ---- access ---- */

EXPORT int access(const char *path, int mode)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return (int)libc_result(SYS(SYS_faccessat, at, real, mode));
}

EXPORT int faccessat(int directory, const char *path, int mode, int flags)
{
	struct ours what;
	if ((flags & AT_EMPTY_PATH) != 0 && is_ours(directory, &what))
		return 0;
	LOOK_UP(directory, path, -1)
	return REAL(faccessat)(at, real, mode, flags);
}

EXPORT int euidaccess(const char *path, int mode)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return REAL(euidaccess)(real, mode);
}

EXPORT int eaccess(const char *path, int mode) __attribute__((alias("euidaccess")));

/* ---- links and names ---- */

/* What /proc shows of a descriptor or of the working directory, as the program knows it. */
static ssize_t show_link(const char *text, char *out, size_t room)
{
	size_t length = strlen(text);
	if (length > room)
		length = room;
	if (copy_to_program(out, text, length) < length)
		return libc_result(-EFAULT);
	return (ssize_t)length;
}

EXPORT ssize_t readlinkat(int directory, const char *path, char *out, size_t room)
{
	char text[PATH_BYTES];
	struct ours what;
	LOOK_UP(directory, path, -1)
	if (!is_on() || where.path[0] == '\0' || room == 0)
		return libc_result(SYS(SYS_readlinkat, at, real, out, room));
	if (string_length(path, PATH_MAX) > 6 && strncmp(path, "/proc/", 6) == 0) {
		int fd = descriptor_link(path);
		if (fd >= 0 && is_ours(fd, &what))
			return show_link(label_of(&what), out, room);
		long length = SYS(SYS_readlinkat, directory, path, text, sizeof text - 1);
		if (sys_failed(length))
			return libc_result(length);
		text[length] = '\0';
		return show_link(strip_root(text), out, room);
	}
	return libc_result(SYS(SYS_readlinkat, at, real, out, room));
}

EXPORT ssize_t readlink(const char *path, char *out, size_t room)
{
	return readlinkat(AT_FDCWD, path, out, room);
}

EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t room, size_t size)
{
	if (room > size)
		__chk_fail();
	return readlinkat(AT_FDCWD, path, out, room);
}

EXPORT ssize_t __readlinkat_chk(int directory, const char *path, char *out, size_t room,
				size_t size)
{
	if (room > size)
		__chk_fail();
	return readlinkat(directory, path, out, room);
}

/* 0 and the canonical path; 1: not of interest; -errno. */
static long canonical(const char *path, char out[PATH_BYTES])
{
	struct stat status;
	if (!is_on() || path == NULL)
		return 1;
	long done = resolve_from(AT_FDCWD, path, true, out);
	if (done != 0)
		return done;
	return lstat(out, &status) == 0 ? 0 : -errno;
}

EXPORT char *realpath(const char *path, char *out)
{
	char text[PATH_BYTES];
	long done = canonical(path, text);
	if (done == 1)
		return REAL(realpath)(path, out);
	if (done < 0) {
		errno = (int)-done;
		return NULL;
	}
	if (out == NULL)
		return strdup(text);
	memcpy(out, text, strlen(text) + 1);
	return out;
}

EXPORT char *__realpath_chk(const char *path, char *out, size_t size)
{
	if (size < PATH_MAX)
		__chk_fail();
	return realpath(path, out);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

/* ---- the working directory ---- */

static int moved(long done)
{
	if (done == 0 && is_on() && !process_is_borrowed())
		paths_moved();
	return (int)libc_result(done);
}

EXPORT int chdir(const char *path)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return moved(SYS(SYS_chdir, real));
}

EXPORT int fchdir(int fd)
{
	return moved(SYS(SYS_fchdir, fd));
}

EXPORT char *getcwd(char *out, size_t size)
{
	char text[PATH_MAX];
	long length = is_on() ? SYS(SYS_getcwd, text, sizeof text) : -1;
	const char *shown = sys_failed(length) ? text : strip_root(text);
	if (sys_failed(length) || shown == text)
		return REAL(getcwd)(out, size);
	size_t needed = strlen(shown) + 1;
	if (out != NULL && size == 0) {
		errno = EINVAL;
		return NULL;
	}
	if (size != 0 && size < needed) {
		errno = ERANGE;
		return NULL;
	}
	if (out == NULL)
		out = malloc(size == 0 ? needed : size);
	if (out != NULL)
		memcpy(out, shown, needed);
	return out;
}

EXPORT char *__getcwd_chk(char *out, size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
	return getcwd(out, size);
}

EXPORT char *getwd(char *out)
{
	return getcwd(out, PATH_MAX);
}

EXPORT char *__getwd_chk(char *out, size_t room)
{
	(void)room;
	return getcwd(out, PATH_MAX);
}

EXPORT char *get_current_dir_name(void)
{
	return getcwd(NULL, 0);
}

/* ---- lookups of one kind or another ---- */

EXPORT long pathconf(const char *path, int name)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return REAL(pathconf)(real, name);
}

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return REAL(inotify_add_watch)(fd, real, mask);
}

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return libc_result(SYS(SYS_getxattr, real, name, value, size));
}

EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return libc_result(SYS(SYS_lgetxattr, real, name, value, size));
}

EXPORT ssize_t listxattr(const char *path, char *list, size_t size)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return libc_result(SYS(SYS_listxattr, real, list, size));
}

EXPORT ssize_t llistxattr(const char *path, char *list, size_t size)
{
	LOOK_UP(AT_FDCWD, path, -1)
	return libc_result(SYS(SYS_llistxattr, real, list, size));
}
