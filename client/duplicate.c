/*
 * Descriptors come and go: close, dup, fcntl, and sockets that carry them.
 *
 * Numbers of the client itself do not exist for the program: closing one is EBADF, and it moves
 * aside when the program wants its number.
 */
#include "connection.h"

#include <linux/close_range.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

void hidden_step_aside(int fd)
{
	if (!is_hidden(fd) || process_is_borrowed())
		return;
	struct process *process = process_here();
	unhide_descriptor(fd);
	/* The copy made here is the new hidden one; the number itself is about to be overwritten. */
	long copy = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1);
	if (sys_failed(copy))
		copy = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
	if (sys_failed(copy))
		return;
	int moved = hide_descriptor((int)copy);
	if (process->socket == fd)
		process->socket = moved;
	if (process->doorbell == fd)
		process->doorbell = moved;
	process_note_link(process->socket, process->doorbell);
	memory_descriptor_moved(fd, moved);
}

/* ---- close ---- */

EXPORT int close(int fd)
{
	struct ours what;
	if (!is_on())
		return REAL(close)(fd);
	if (is_hidden(fd))
		return (int)libc_result(-EBADF);
	/* Unknown ones too (inherited, never used): the daemon shall know before we return. */
	if ((is_connected() || is_ours_already(fd)) && is_ours(fd, &what))
		return close_ours(fd, &what);
	return REAL(close)(fd);
}

EXPORT int __close(int fd) __attribute__((alias("close")));

/* Closes or marks what lies between hidden numbers. */
static long close_pieces(unsigned first, unsigned last, unsigned flags)
{
	while (first <= last) {
		int guarded = hidden_within(first, last);
		unsigned until = guarded < 0 ? last : (unsigned)guarded - 1;
		if (guarded < 0 || (unsigned)guarded > first) {
			long done = SYS(SYS_close_range, first, until, flags);
			if (done != 0)
				return done;
		}
		if (guarded < 0)
			return 0;
		first = (unsigned)guarded + 1;
	}
	return 0;
}

#define TABLE_LAST 65535u

/* As close_range; the daemon is told of the descriptors of ours that the range held. */
static long close_span(unsigned first, unsigned last, unsigned flags)
{
	struct ours what;
	bool closes = (flags & CLOSE_RANGE_CLOEXEC) == 0;
	unsigned end = last < TABLE_LAST ? last : TABLE_LAST;
	uint32_t gone[64];
	unsigned count = 0;
	for (unsigned fd = first; closes && fd <= end; fd++) {
		if (!is_ours_already((int)fd) || !is_ours((int)fd, &what))
			continue;
		ours_forget((int)fd);
		if (count < 64)
			gone[count++] = what.handle;
	}
	long done = close_pieces(first, last, flags);
	for (unsigned i = 0; i < count && is_connected(); i++)
		call_plain(IOASIS_OP_CLOSED, gone[i], 0, 0);
	if (count == 64)
		call_plain(IOASIS_OP_BARRIER, 0, 0, 0);
	return done;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	if (!is_on() || first > last)
		return (int)libc_result(SYS(SYS_close_range, first, last, flags));
	return (int)libc_result(close_span(first, last, (unsigned)flags));
}

EXPORT void closefrom(int first)
{
	if (!is_on()) {
		REAL(closefrom)(first);
		return;
	}
	close_span(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}

/* ---- copies ---- */

EXPORT int dup(int fd)
{
	if (is_on() && is_hidden(fd))
		return (int)libc_result(-EBADF);
	long made = SYS(SYS_dup, fd);
	if (!sys_failed(made) && is_on())
		ours_copied(fd, (int)made);
	return (int)libc_result(made);
}

/* A number that is overwritten is closed, which the daemon must know before we return. */
static long dup_over(int from, int to, int flags)
{
	struct ours before;
	if (is_hidden(from))
		return -EBADF;
	if (from == to)
		return flags == -1 ? SYS(SYS_fcntl, from, F_GETFD) < 0 ? -EBADF : to : -EINVAL;
	bool was_ours = is_ours_already(to) && is_ours(to, &before);
	hidden_step_aside(to);
	if (was_ours)
		ours_forget(to);
	long made = SYS(SYS_dup3, from, to, flags == -1 ? 0 : flags);
	if (sys_failed(made))
		return made;
	ours_copied(from, to);
	if (was_ours && is_connected())
		call_plain(IOASIS_OP_CLOSED, before.handle, 0, 0);
	stream_follow(to);
	return made;
}

EXPORT int dup2(int from, int to)
{
	return is_on() ? (int)libc_result(dup_over(from, to, -1)) : REAL(dup2)(from, to);
}

EXPORT int __dup2(int from, int to) __attribute__((alias("dup2")));

EXPORT int dup3(int from, int to, int flags)
{
	return is_on() ? (int)libc_result(dup_over(from, to, flags)) : REAL(dup3)(from, to, flags);
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list list;
	va_start(list, command);
	void *argument = va_arg(list, void *);
	va_end(list);
	if (is_on() && is_hidden(fd))
		return (int)libc_result(-EBADF);
	int result = REAL(fcntl)(fd, command, argument);
	if (is_on() && result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))
		ours_copied(fd, result);
	return result;
}

EXPORT int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));
EXPORT int __fcntl(int fd, int command, ...) __attribute__((alias("fcntl")));

/* ---- descriptors over sockets, and from other processes ---- */

static void forget_received(const struct msghdr *message)
{
	if (message->msg_control == NULL)
		return;
	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL;
	     head = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
			ours_forget(fd);
		}
	}
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t got = REAL(recvmsg)(fd, message, flags);
	if (got >= 0 && is_on())
		forget_received(message);
	return got;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
		    struct timespec *timeout)
{
	int got = REAL(recvmmsg)(fd, messages, count, flags, timeout);
	for (int i = 0; i < got && is_on(); i++)
		forget_received(&messages[i].msg_hdr);
	return got;
}

EXPORT int pidfd_getfd(int pidfd, int target, unsigned flags)
{
	long made = SYS(SYS_pidfd_getfd, pidfd, target, flags);
	if (!sys_failed(made) && is_on())
		ours_forget((int)made);
	return (int)libc_result(made);
}
