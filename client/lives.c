/*
 * Lives of processes: fork, the end of children, changes of rights and limits.
 *
 * A child's descriptors are closed when it dies; whoever has reaped it may rely on that, so the
 * daemon is asked to finish what hangs before the reaper goes on.
 */
#include "client.h"

#include <grp.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

/* ---- fork ---- */

/* The child does not keep its parent's connection open. libc's own forks come here too. */
static void after_fork(void)
{
	if (is_on())
		process_here();
}

__attribute__((constructor)) static void watch_forks(void)
{
	if (is_on())
		pthread_atfork(NULL, NULL, after_fork);
}

EXPORT pid_t _Fork(void)
{
	pid_t child = REAL(_Fork)();
	if (child == 0)
		after_fork();
	return child;
}

/* Changes the working directory inside libc. */
EXPORT int daemon(int stays, int keeps_streams)
{
	int result = REAL(daemon)(stays, keeps_streams);
	if (result == 0 && is_on())
		paths_moved();
	return result;
}

/* Puts a terminal on the standard numbers inside libc. */
EXPORT int login_tty(int fd)
{
	int result = REAL(login_tty)(fd);
	for (int number = 0; number < 3 && is_on(); number++)
		ours_forget(number);
	return result;
}

/* ---- the end of a child ---- */

static pid_t reaped(pid_t child)
{
	if (child > 0 && is_connected()) {
		int before = errno;
		call_plain(IOASIS_OP_BARRIER, 0, 0, 0);
		errno = before;
	}
	return child;
}

EXPORT pid_t wait(int *status)
{
	return reaped(REAL(wait)(status));
}

EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
	return reaped(REAL(waitpid)(pid, status, options));
}

EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
	return reaped(REAL(wait3)(status, options, usage));
}

EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	return reaped(REAL(wait4)(pid, status, options, usage));
}

EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	int result = REAL(waitid)(type, id, info, options);
	if (result == 0)
		reaped(1);
	return result;
}

EXPORT pid_t __wait(int *status) __attribute__((alias("wait")));
EXPORT pid_t __waitpid(pid_t pid, int *status, int options) __attribute__((alias("waitpid")));

/* ---- rights and limits ---- */

/* The daemon reads them anew at the next call that asks. */
static int changed(int result)
{
	if (result >= 0)
		call_credentials_changed();
	return result;
}

#define CHANGES(name, parameters, arguments)              \
	EXPORT int name parameters                        \
	{                                                 \
		return changed(REAL(name) arguments);     \
	}

CHANGES(setuid, (uid_t user), (user))
CHANGES(seteuid, (uid_t user), (user))
CHANGES(setreuid, (uid_t real, uid_t effective), (real, effective))
CHANGES(setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
CHANGES(setgid, (gid_t group), (group))
CHANGES(setegid, (gid_t group), (group))
CHANGES(setregid, (gid_t real, gid_t effective), (real, effective))
CHANGES(setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
CHANGES(setfsuid, (uid_t user), (user))
CHANGES(setfsgid, (gid_t group), (group))
CHANGES(setrlimit, (__rlimit_resource_t which, const struct rlimit *limit), (which, limit))
CHANGES(setrlimit64, (__rlimit_resource_t which, const struct rlimit64 *limit), (which, limit))
CHANGES(prlimit,
	(pid_t pid, enum __rlimit_resource which, const struct rlimit *next, struct rlimit *before),
	(pid, which, next, before))
CHANGES(prlimit64,
	(pid_t pid, enum __rlimit_resource which, const struct rlimit64 *next,
	 struct rlimit64 *before),
	(pid, which, next, before))

extern int capset(void *head, const void *data);
CHANGES(capset, (void *head, const void *data), (head, data))

EXPORT int prctl(int option, ...)
{
	va_list list;
	va_start(list, option);
	unsigned long a = va_arg(list, unsigned long);
	unsigned long b = va_arg(list, unsigned long);
	unsigned long c = va_arg(list, unsigned long);
	unsigned long d = va_arg(list, unsigned long);
	va_end(list);
	int result = REAL(prctl)(option, a, b, c, d);
	return option == PR_SET_NAME || option == PR_GET_NAME ? result : changed(result);
}
