/*
 * The stat family: what the tree holds, as the program shall see it.
 *
 * Under /dev a file with the sticky bit stands for a character device; its size holds the device
 * number. Under /sys it stands for an attribute. Everything belongs to root, as on a real machine.
 */
#include "client.h"

#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* glibc has the name in <sys/stat.h> only for some feature sets. */
#define SYSFS 0x62656572
#define TMPFS 0x01021994

static bool is_under(const char *path, const char *directory)
{
	return strncmp(path, directory, strlen(directory)) == 0;
}

void stat_fix(const char *path, struct stat *out)
{
	out->st_uid = 0;
	out->st_gid = 0;
	out->st_blocks = 0;
	if (S_ISDIR(out->st_mode))
		out->st_size = 0;
	if (!S_ISREG(out->st_mode))
		return;
	if ((out->st_mode & S_ISVTX) == 0) {
		out->st_size = 4096; /* as sysfs gives for every text */
		return;
	}
	out->st_mode &= ~(mode_t)S_ISVTX;
	if (!is_under(path, "/dev/"))
		return;
	uint32_t number = (uint32_t)out->st_size;
	out->st_mode = (out->st_mode & 07777) | S_IFCHR;
	out->st_rdev = makedev(number >> 20, number & 0xfffff);
	out->st_size = 0;
}

/* Whether the tree lies on that file system; asked once. */
static bool is_of_tree(dev_t device)
{
	static struct stat root;
	static uint32_t known;
	if (__atomic_load_n(&known, __ATOMIC_ACQUIRE) == 0) {
		struct stat status;
		if (SYS(SYS_newfstatat, AT_FDCWD, settings.root, &status, 0) != 0)
			return false;
		root = status;
		__atomic_store_n(&known, 1, __ATOMIC_RELEASE);
	}
	return root.st_dev == device;
}

int stat_ours(const struct ours *what, struct stat *out)
{
	const char *path = path_of(what->path);
	if (path != NULL && (is_under(path, "/sys/") || is_under(path, "/dev/"))) {
		char real[PATH_BYTES];
		size_t length = strlen(path);
		if (settings.root_length + length < sizeof real) {
			memcpy(real, settings.root, settings.root_length);
			memcpy(real + settings.root_length, path, length + 1);
			if (SYS(SYS_newfstatat, AT_FDCWD, real, out, 0) == 0) {
				stat_fix(path, out);
				return 0;
			}
		}
	}
	memset(out, 0, sizeof *out);
	uint32_t number = rdev_of(what->path);
	out->st_ino = what->handle;
	out->st_nlink = 1;
	out->st_blksize = 4096;
	if (what->kind == KIND_ATTRIBUTE) {
		out->st_mode = S_IFREG | 0644;
		out->st_size = 4096;
	} else if (number != 0) {
		out->st_mode = S_IFCHR | 0600;
		out->st_rdev = makedev(number >> 20, number & 0xfffff);
	} else {
		out->st_mode = 0600; /* an anonymous inode has no type */
	}
	return 0;
}

/* 1: done, *result is what to return; 0: the program's own arguments are to be used. */
static bool stat_path(int directory, const char *path, struct stat *out, int flags, int *result)
{
	struct where where;
	struct ours what;
	if (!is_on())
		return false;
	if ((flags & AT_EMPTY_PATH) != 0 && (path == NULL || string_length(path, 1) == 0)) {
		if (!is_ours(directory, &what)) {
			char virtual[PATH_BYTES];
			if (!directory_path(directory, virtual) || !is_served(virtual))
				return false;
			*result = (int)libc_result(
				SYS(SYS_newfstatat, directory, "", out, AT_EMPTY_PATH));
			if (*result == 0)
				stat_fix(virtual, out);
			return true;
		}
		*result = stat_ours(&what, out);
		return true;
	}
	long located = locate(directory, path, &where);
	if (located < 0) {
		*result = (int)libc_result(located);
		return true;
	}
	enum place place = where.place;
	if (place == PLACE_UNTOUCHED || place == PLACE_STATUS || place == PLACE_DAEMON)
		return false;
	const char *real = redirect(&directory, path, &where);
	*result = (int)libc_result(SYS(SYS_newfstatat, directory, real, out, flags));
	if (*result == 0 && place == PLACE_TREE)
		stat_fix(where.path, out);
	return true;
}

EXPORT int stat(const char *path, struct stat *out)
{
	int result;
	if (stat_path(AT_FDCWD, path, out, 0, &result))
		return result;
	return (int)libc_result(SYS(SYS_newfstatat, AT_FDCWD, path, out, 0));
}

EXPORT int lstat(const char *path, struct stat *out)
{
	int result;
	if (stat_path(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW, &result))
		return result;
	return (int)libc_result(SYS(SYS_newfstatat, AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW));
}

EXPORT int fstatat(int directory, const char *path, struct stat *out, int flags)
{
	int result;
	if (stat_path(directory, path, out, flags, &result))
		return result;
	return (int)libc_result(SYS(SYS_newfstatat, directory, path, out, flags));
}

EXPORT int fstat(int fd, struct stat *out)
{
	struct ours what;
	if (is_ours(fd, &what))
		return stat_ours(&what, out);
	long done = SYS(SYS_fstat, fd, out);
	char path[PATH_BYTES];
	/* A file of the tree, opened by the kernel. */
	if (done == 0 && is_on() && is_of_tree(out->st_dev) && directory_path(fd, path) &&
	    is_served(path))
		stat_fix(path, out);
	return (int)libc_result(done);
}

/* On 64-bit machines both structures are one. */
_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout");

#define SAME(declaration, name) EXPORT declaration __attribute__((alias(name)))

SAME(int stat64(const char *path, struct stat64 *out), "stat");
SAME(int lstat64(const char *path, struct stat64 *out), "lstat");
SAME(int fstat64(int fd, struct stat64 *out), "fstat");
SAME(int __fstat64(int fd, struct stat64 *out), "fstat");
SAME(int fstatat64(int directory, const char *path, struct stat64 *out, int flags), "fstatat");

/* Programs linked with an older glibc. */
EXPORT int __xstat(int version, const char *path, struct stat *out)
{
	(void)version;
	return stat(path, out);
}

EXPORT int __lxstat(int version, const char *path, struct stat *out)
{
	(void)version;
	return lstat(path, out);
}

EXPORT int __fxstat(int version, int fd, struct stat *out)
{
	(void)version;
	return fstat(fd, out);
}

EXPORT int __fxstatat(int version, int directory, const char *path, struct stat *out, int flags)
{
	(void)version;
	return fstatat(directory, path, out, flags);
}

SAME(int __xstat64(int version, const char *path, struct stat64 *out), "__xstat");
SAME(int __lxstat64(int version, const char *path, struct stat64 *out), "__lxstat");
SAME(int __fxstat64(int version, int fd, struct stat64 *out), "__fxstat");
SAME(int __fxstatat64(int version, int directory, const char *path, struct stat64 *out,
		      int flags), "__fxstatat");

/* ---- statx ---- */

static void statx_from(const struct stat *from, struct statx *out)
{
	memset(out, 0, sizeof *out);
	out->stx_mask = STATX_BASIC_STATS;
	out->stx_blksize = (uint32_t)from->st_blksize;
	out->stx_nlink = (uint32_t)from->st_nlink;
	out->stx_uid = from->st_uid;
	out->stx_gid = from->st_gid;
	out->stx_mode = (uint16_t)from->st_mode;
	out->stx_ino = from->st_ino;
	out->stx_size = (uint64_t)from->st_size;
	out->stx_blocks = (uint64_t)from->st_blocks;
	out->stx_atime.tv_sec = from->st_atim.tv_sec;
	out->stx_atime.tv_nsec = (uint32_t)from->st_atim.tv_nsec;
	out->stx_mtime.tv_sec = from->st_mtim.tv_sec;
	out->stx_mtime.tv_nsec = (uint32_t)from->st_mtim.tv_nsec;
	out->stx_ctime.tv_sec = from->st_ctim.tv_sec;
	out->stx_ctime.tv_nsec = (uint32_t)from->st_ctim.tv_nsec;
	out->stx_rdev_major = major(from->st_rdev);
	out->stx_rdev_minor = minor(from->st_rdev);
	out->stx_dev_major = major(from->st_dev);
	out->stx_dev_minor = minor(from->st_dev);
}

EXPORT int statx(int directory, const char *path, int flags, unsigned mask, struct statx *out)
{
	struct stat status;
	int result;
	int known = flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
	if (!stat_path(directory, path, &status, known, &result))
		return (int)libc_result(SYS(SYS_statx, directory, path, flags, mask, out));
	if (result == 0)
		statx_from(&status, out);
	return result;
}

/* ---- file systems ---- */

EXPORT int statfs(const char *path, struct statfs *out)
{
	struct where where;
	int directory = AT_FDCWD;
	const char *real = redirect(&directory, path, &where);
	if (real == NULL)
		return -1;
	long done = SYS(SYS_statfs, real, out);
	if (done == 0 && where.place == PLACE_TREE)
		out->f_type = is_under(where.path, "/sys/") ? SYSFS : TMPFS;
	return (int)libc_result(done);
}

EXPORT int fstatfs(int fd, struct statfs *out)
{
	struct ours what;
	char path[PATH_BYTES];
	long done = SYS(SYS_fstatfs, fd, out);
	if (done != 0 || !is_on())
		return (int)libc_result(done);
	if (is_ours(fd, &what) && what.kind == KIND_ATTRIBUTE)
		out->f_type = SYSFS;
	else if (directory_path(fd, path) && is_served(path))
		out->f_type = is_under(path, "/sys/") ? SYSFS : TMPFS;
	return 0;
}

EXPORT int statvfs(const char *path, struct statvfs *out)
{
	struct where where;
	int directory = AT_FDCWD;
	const char *real = redirect(&directory, path, &where);
	return real == NULL ? -1 : REAL(statvfs)(real, out);
}

SAME(int statfs64(const char *path, struct statfs64 *out), "statfs");
SAME(int __statfs(const char *path, struct statfs *out), "statfs");
SAME(int fstatfs64(int fd, struct statfs64 *out), "fstatfs");
SAME(int statvfs64(const char *path, struct statvfs64 *out), "statvfs");
