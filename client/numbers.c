/*
 * Operations on descriptors that mean something else for ours, and syscall().
 *
 * To the kernel a descriptor of ours is a socket. What would work on a socket but not on the file
 * it stands for, or the other way round, is answered here.
 */
#include "client.h"

#include <aio.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

extern int pidfd_getfd(int pidfd, int target, unsigned flags); /* <sys/pidfd.h> of newer glibc */

/* ---- files, as sysfs answers ---- */

/* Attributes take these and do nothing; other files of ours do not have them. */
static int attribute_only(const struct ours *what, int failure)
{
	return (int)libc_result(what->kind == KIND_ATTRIBUTE ? 0 : -failure);
}

#define IF_OURS(fd, answer)              \
	struct ours what;                \
	if (is_ours(fd, &what))          \
		return answer;

EXPORT int fsync(int fd)
{
	IF_OURS(fd, attribute_only(&what, EINVAL))
	return REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
	IF_OURS(fd, attribute_only(&what, EINVAL))
	return REAL(fdatasync)(fd);
}

EXPORT int ftruncate(int fd, off_t length)
{
	IF_OURS(fd, attribute_only(&what, EINVAL))
	return (int)libc_result(SYS(SYS_ftruncate, fd, length));
}

EXPORT int ftruncate64(int fd, off64_t length) __attribute__((alias("ftruncate")));

EXPORT int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
	IF_OURS(fd, what.kind == KIND_ATTRIBUTE ? 0 : ESPIPE)
	return REAL(posix_fadvise)(fd, offset, length, advice);
}

EXPORT int posix_fadvise64(int fd, off64_t offset, off64_t length, int advice)
	__attribute__((alias("posix_fadvise")));

EXPORT int fchmod(int fd, mode_t mode)
{
	struct ours what;
	struct stat status;
	char path[PATH_BYTES];
	if (is_ours(fd, &what))
		return path_of(what.path) == NULL ? 0 : chmod(path_of(what.path), mode);
	if (is_on() && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) &&
	    directory_path(fd, path) && is_served(path))
		return 0;
	return (int)libc_result(SYS(SYS_fchmod, fd, mode));
}

EXPORT int fchown(int fd, uid_t owner, gid_t group)
{
	IF_OURS(fd, 0)
	return (int)libc_result(SYS(SYS_fchown, fd, owner, group));
}

EXPORT int futimens(int fd, const struct timespec times[2])
{
	IF_OURS(fd, 0)
	return (int)libc_result(SYS(SYS_utimensat, fd, NULL, times, 0));
}

EXPORT ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	IF_OURS(fd, libc_result(-ENODATA))
	return libc_result(SYS(SYS_fgetxattr, fd, name, value, size));
}

EXPORT ssize_t flistxattr(int fd, char *list, size_t size)
{
	IF_OURS(fd, 0)
	return libc_result(SYS(SYS_flistxattr, fd, list, size));
}

EXPORT long fpathconf(int fd, int name)
{
	IF_OURS(fd, pathconf("/sys", name))
	return REAL(fpathconf)(fd, name);
}

/* ---- copies inside the kernel would see the socket ---- */

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes,
		      unsigned flags)
{
	struct ours what;
	if (is_ours(in, &what) || is_ours(out, &what))
		return libc_result(-EINVAL);
	return REAL(splice)(in, in_at, out, out_at, bytes, flags);
}

EXPORT ssize_t sendfile(int out, int in, off_t *at, size_t bytes)
{
	struct ours what;
	if (is_ours(in, &what) || is_ours(out, &what))
		return libc_result(-EINVAL);
	return REAL(sendfile)(out, in, at, bytes);
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *at, size_t bytes)
	__attribute__((alias("sendfile")));

EXPORT ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes,
			       unsigned flags)
{
	struct ours what;
	if (is_ours(in, &what) || is_ours(out, &what))
		return libc_result(-EINVAL);
	return REAL(copy_file_range)(in, in_at, out, out_at, bytes, flags);
}

/* libc's threads for aio call libc inside. */
#define NO_AIO(name, request)                                               \
	EXPORT int name(struct request *block)                              \
	{                                                                   \
		IF_OURS(block->aio_fildes, (int)libc_result(-EOPNOTSUPP))   \
		return REAL(name)(block);                                   \
	}

NO_AIO(aio_read, aiocb)
NO_AIO(aio_write, aiocb)
NO_AIO(aio_read64, aiocb64)
NO_AIO(aio_write64, aiocb64)

/* ---- io_uring ---- */

#define REGISTER_FILES 2
#define REGISTER_FILES_UPDATE 6

/* A ring works on the socket, in the kernel: our descriptors are not let in. */
static bool registers_ours(unsigned command, const int *fds, unsigned count)
{
	if (command != REGISTER_FILES)
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct ours what;
		int fd;
		if (copy_from_program(&fd, fds + i, sizeof fd) < sizeof fd)
			return false;
		if (is_ours(fd, &what)) {
			say("refused: io_uring cannot carry a file of the platform", NULL, NULL);
			return true;
		}
	}
	return false;
}

/* ---- syscall() ---- */

EXPORT long syscall(long number, ...)
{
	va_list list;
	long a[6];
	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	struct ours what;
	const char *path0 = (const char *)(uintptr_t)a[0];
	const char *path1 = (const char *)(uintptr_t)a[1];
	if (!is_on())
		return libc_result(sys6(number, a[0], a[1], a[2], a[3], a[4], a[5]));
	switch (number) {
#ifdef SYS_open
	case SYS_open:
		return open_any(AT_FDCWD, path0, (int)a[1], (mode_t)a[2]);
	case SYS_stat:
		return stat(path0, (struct stat *)a[1]);
	case SYS_lstat:
		return lstat(path0, (struct stat *)a[1]);
	case SYS_access:
		return access(path0, (int)a[1]);
	case SYS_readlink:
		return readlink(path0, (char *)a[1], (size_t)a[2]);
	case SYS_dup2:
		return dup2((int)a[0], (int)a[1]);
#endif
	case SYS_openat:
		return open_any((int)a[0], path1, (int)a[2], (mode_t)a[3]);
	case SYS_newfstatat:
		return fstatat((int)a[0], path1, (struct stat *)a[2], (int)a[3]);
	case SYS_statx:
		return statx((int)a[0], path1, (int)a[2], (unsigned)a[3], (struct statx *)a[4]);
	case SYS_fstat:
		return fstat((int)a[0], (struct stat *)a[1]);
	case SYS_faccessat:
		return faccessat((int)a[0], path1, (int)a[2], 0);
	case SYS_readlinkat:
		return readlinkat((int)a[0], path1, (char *)a[2], (size_t)a[3]);
	case SYS_chdir:
		return chdir(path0);
	case SYS_getdents64:
		return getdents64((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_close:
		return close((int)a[0]);
	case SYS_close_range:
		return close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
	case SYS_dup:
		return dup((int)a[0]);
	case SYS_dup3:
		return dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_fcntl:
		return fcntl((int)a[0], (int)a[1], a[2]);
	case SYS_ioctl:
		return ioctl((int)a[0], (unsigned long)a[1], a[2]);
	case SYS_read:
		return read((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_write:
		return write((int)a[0], (const void *)a[1], (size_t)a[2]);
	case SYS_pread64:
		return pread((int)a[0], (void *)a[1], (size_t)a[2], a[3]);
	case SYS_pwrite64:
		return pwrite((int)a[0], (const void *)a[1], (size_t)a[2], a[3]);
	case SYS_mmap:
		return (long)map_any((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4],
				     a[5]);
	case SYS_munmap:
		return munmap((void *)a[0], (size_t)a[1]);
	case SYS_mremap:
		return (long)mremap((void *)a[0], (size_t)a[1], (size_t)a[2], (int)a[3],
				    (void *)a[4]);
	case SYS_execve:
		return execve(path0, (char *const *)a[1], (char *const *)a[2]);
	case SYS_execveat:
		return execveat((int)a[0], path1, (char *const *)a[2], (char *const *)a[3],
				(int)a[4]);
	case SYS_pidfd_getfd:
		return pidfd_getfd((int)a[0], (int)a[1], (unsigned)a[2]);
	case SYS_io_uring_register:
		if (registers_ours((unsigned)a[1], (const int *)a[2], (unsigned)a[3]))
			return libc_result(-EOPNOTSUPP);
		break;
	case SYS_openat2:
		/* Only the flags and the mode of struct open_how matter for ours. */
		if (a[3] >= 16 && is_readable((const void *)a[2])) {
			uint64_t how[2];
			bool is_done;
			if (copy_from_program(how, (const void *)a[2], 16) < 16)
				break;
			long fd = open_ours((int)a[0], path1, (int)how[0], (mode_t)how[1], &is_done);
			if (is_done)
				return libc_result(fd);
		}
		break;
	case SYS_sendfile:
		if (is_ours((int)a[0], &what) || is_ours((int)a[1], &what))
			return libc_result(-EINVAL);
		break;
	}
	long done = sys6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_recvmsg || number == SYS_recvmmsg)
		received_unseen();
	if (number == SYS_capset || number == SYS_setuid || number == SYS_setresuid ||
	    number == SYS_prlimit64)
		call_credentials_changed();
	return libc_result(done);
}
