/*
 * Functions that change what a path names.
 *
 * What the tree holds stays: it is refused with the errno of sysfs, but for modes, owners and
 * times, which programs set on device nodes as a matter of course.
 */
#include "client.h"
#include "look-up.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

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
