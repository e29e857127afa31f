/*
 * Functions that look a path up, or change what it names.
 *
 * Looking up goes to the tree. Changing what the tree holds is refused with the errno of sysfs,
 * but for modes, owners and times, which programs set on device nodes as a matter of course.
 */
#include "client.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

extern void __chk_fail(void) __attribute__((noreturn));

/* The path to use; returns `failure` from the wrapper when there is none. */
#define LOOK_UP(directory, path, failure)                          \
	struct where where;                                        \
	int at = directory;                                        \
	const char *real = redirect(&at, path, &where);            \
	if (real == NULL)                                          \
		return failure;

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

/* ---- changes that are refused in the tree ---- */

/* As LOOK_UP, but what lies in the tree cannot be changed. */
#define KEEP_OUT(directory, path)                                  \
	LOOK_UP(directory, path, -1)                               \
	if (where.place == PLACE_TREE)                             \
		return (int)libc_result(-EPERM);

EXPORT int unlink(const char *path)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_unlinkat, at, real, 0));
}

EXPORT int unlinkat(int directory, const char *path, int flags)
{
	KEEP_OUT(directory, path)
	return (int)libc_result(SYS(SYS_unlinkat, at, real, flags));
}

EXPORT int rmdir(const char *path)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_unlinkat, at, real, AT_REMOVEDIR));
}

EXPORT int remove(const char *path)
{
	KEEP_OUT(AT_FDCWD, path)
	return REAL(remove)(real);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_mkdirat, at, real, mode));
}

EXPORT int mkdirat(int directory, const char *path, mode_t mode)
{
	KEEP_OUT(directory, path)
	return (int)libc_result(SYS(SYS_mkdirat, at, real, mode));
}

EXPORT int mknod(const char *path, mode_t mode, dev_t device)
{
	KEEP_OUT(AT_FDCWD, path)
	return REAL(mknod)(real, mode, device);
}

EXPORT int mknodat(int directory, const char *path, mode_t mode, dev_t device)
{
	KEEP_OUT(directory, path)
	return REAL(mknodat)(at, real, mode, device);
}

/* Programs linked with an older glibc. */
EXPORT int __xmknod(int version, const char *path, mode_t mode, dev_t *device)
{
	(void)version;
	return mknod(path, mode, *device);
}

EXPORT int __xmknodat(int version, int directory, const char *path, mode_t mode, dev_t *device)
{
	(void)version;
	return mknodat(directory, path, mode, *device);
}

EXPORT int mkfifo(const char *path, mode_t mode)
{
	KEEP_OUT(AT_FDCWD, path)
	return REAL(mkfifo)(real, mode);
}

EXPORT int mkfifoat(int directory, const char *path, mode_t mode)
{
	KEEP_OUT(directory, path)
	return REAL(mkfifoat)(at, real, mode);
}

EXPORT int symlink(const char *text, const char *path)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_symlinkat, text, at, real));
}

EXPORT int symlinkat(const char *text, int directory, const char *path)
{
	KEEP_OUT(directory, path)
	return (int)libc_result(SYS(SYS_symlinkat, text, at, real));
}

/* Two paths; a file of the tree is on another file system than all else. */
static int two_paths(int from_at, const char *from, int to_at, const char *to, unsigned flags,
		     long number)
{
	struct where first;
	struct where second;
	const char *real_from = redirect(&from_at, from, &first);
	const char *real_to = real_from == NULL ? NULL : redirect(&to_at, to, &second);
	if (real_to == NULL)
		return -1;
	if (first.place == PLACE_TREE || second.place == PLACE_TREE)
		return (int)libc_result(first.place == second.place ? -EPERM : -EXDEV);
	return (int)libc_result(SYS(number, from_at, real_from, to_at, real_to, flags));
}

EXPORT int rename(const char *from, const char *to)
{
	return two_paths(AT_FDCWD, from, AT_FDCWD, to, 0, SYS_renameat2);
}

EXPORT int renameat(int from_at, const char *from, int to_at, const char *to)
{
	return two_paths(from_at, from, to_at, to, 0, SYS_renameat2);
}

EXPORT int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
	return two_paths(from_at, from, to_at, to, flags, SYS_renameat2);
}

EXPORT int link(const char *from, const char *to)
{
	return two_paths(AT_FDCWD, from, AT_FDCWD, to, 0, SYS_linkat);
}

EXPORT int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
	return two_paths(from_at, from, to_at, to, (unsigned)flags, SYS_linkat);
}

EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_setxattr, real, name, value, size, flags));
}

EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_lsetxattr, real, name, value, size, flags));
}

EXPORT int removexattr(const char *path, const char *name)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_removexattr, real, name));
}

EXPORT int lremovexattr(const char *path, const char *name)
{
	KEEP_OUT(AT_FDCWD, path)
	return (int)libc_result(SYS(SYS_lremovexattr, real, name));
}

EXPORT int truncate(const char *path, off_t length)
{
	LOOK_UP(AT_FDCWD, path, -1)
	/* sysfs takes a new length and ignores it. */
	if (where.place == PLACE_TREE)
		return access(path, W_OK);
	return (int)libc_result(SYS(SYS_truncate, real, length));
}

EXPORT int truncate64(const char *path, off64_t length) __attribute__((alias("truncate")));

/* ---- modes, owners, times ---- */

EXPORT int fchmodat(int directory, const char *path, mode_t mode, int flags)
{
	LOOK_UP(directory, path, -1)
	struct stat status;
	if (where.place != PLACE_TREE)
		return REAL(fchmodat)(at, real, mode, flags);
	long done = SYS(SYS_newfstatat, at, real, &status, 0);
	if (done == 0)
		done = SYS(SYS_fchmodat, at, real, mode | (status.st_mode & S_ISVTX));
	return (int)libc_result(done);
}

EXPORT int chmod(const char *path, mode_t mode)
{
	return fchmodat(AT_FDCWD, path, mode, 0);
}

EXPORT int lchmod(const char *path, mode_t mode)
{
	return fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fchownat(int directory, const char *path, uid_t owner, gid_t group, int flags)
{
	LOOK_UP(directory, path, -1)
	if (where.place == PLACE_TREE)
		return (int)libc_result(SYS(SYS_faccessat, at, real, F_OK));
	return (int)libc_result(SYS(SYS_fchownat, at, real, owner, group, flags));
}

EXPORT int chown(const char *path, uid_t owner, gid_t group)
{
	return fchownat(AT_FDCWD, path, owner, group, 0);
}

EXPORT int lchown(const char *path, uid_t owner, gid_t group)
{
	return fchownat(AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

EXPORT int utimensat(int directory, const char *path, const struct timespec times[2], int flags)
{
	if (path == NULL)
		return (int)libc_result(SYS(SYS_utimensat, directory, NULL, times, flags));
	LOOK_UP(directory, path, -1)
	return (int)libc_result(SYS(SYS_utimensat, at, real, times, flags));
}

/* Microseconds to nanoseconds; NULL stays NULL. */
static int set_times(int directory, const char *path, const struct timeval times[2], int flags)
{
	struct timespec exact[2];
	for (unsigned i = 0; i < 2 && times != NULL; i++) {
		if (times[i].tv_usec < 0 || times[i].tv_usec >= 1000000)
			return (int)libc_result(-EINVAL);
		exact[i] = (struct timespec){ times[i].tv_sec, times[i].tv_usec * 1000 };
	}
	return utimensat(directory, path, times == NULL ? NULL : exact, flags);
}

EXPORT int utimes(const char *path, const struct timeval times[2])
{
	return set_times(AT_FDCWD, path, times, 0);
}

EXPORT int lutimes(const char *path, const struct timeval times[2])
{
	return set_times(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

EXPORT int futimesat(int directory, const char *path, const struct timeval times[2])
{
	return set_times(directory, path, times, 0);
}

EXPORT int utime(const char *path, const struct utimbuf *times)
{
	struct timeval both[2] = { { 0, 0 }, { 0, 0 } };
	if (times != NULL) {
		both[0].tv_sec = times->actime;
		both[1].tv_sec = times->modtime;
	}
	return set_times(AT_FDCWD, path, times == NULL ? NULL : both, 0);
}
