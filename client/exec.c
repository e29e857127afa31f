/*
 * Starting programs: exec, posix_spawn, system, popen.
 *
 * Every program started from here gets this library and the settings of the run, also when its
 * parent cleared the environment; a program that cannot be reached is refused with ENOEXEC and a
 * line on the standard error. A child of vfork may be the caller: everything new lies on the stack.
 */
#include "client.h"
#include "reachable.h"

#include <alloca.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

#define PRELOAD "LD_PRELOAD="
#define SOCKET "IOASIS_SOCKET="
#define ROOT "IOASIS_ROOT="
#define EXTRA 3

/* Texts that the environment lacks; on the stack of the caller. */
struct injection {
	char preload[PATH_BYTES * 2];
	char socket[sizeof settings.socket + sizeof SOCKET];
	char root[sizeof settings.root + sizeof ROOT];
};

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static size_t count_of(char *const list[])
{
	size_t count = 0;
	while (list != NULL && list[count] != NULL)
		count++;
	return count;
}

static void put(char *out, size_t room, const char *first, const char *second, const char *third)
{
	const char *parts[] = { first, second, third };
	size_t used = 0;
	for (unsigned i = 0; i < 3; i++) {
		size_t length = strlen(parts[i]);
		if (length > room - 1 - used)
			length = room - 1 - used;
		memcpy(out + used, parts[i], length);
		used += length;
	}
	out[used] = '\0';
}

/* Fills `out` (count_of(environment) + EXTRA + 1 places) with the environment and what it lacks. */
static void inject(char *const environment[], char **out, struct injection *added)
{
	size_t used = 0;
	bool has_socket = false;
	bool has_root = false;
	const char *preload = "";
	for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
		if (begins(environment[i], PRELOAD)) {
			preload = environment[i] + strlen(PRELOAD);
			continue;
		}
		has_socket = has_socket || begins(environment[i], SOCKET);
		has_root = has_root || begins(environment[i], ROOT);
		out[used++] = environment[i];
	}
	bool has_library = strstr(preload, settings.library) != NULL;
	char rest[PATH_BYTES] = "";
	if (preload[0] != '\0' && !has_library)
		put(rest, sizeof rest, ":", preload, "");
	put(added->preload, sizeof added->preload, PRELOAD,
	    has_library ? preload : settings.library, rest);
	out[used++] = added->preload;
	if (!has_socket) {
		put(added->socket, sizeof added->socket, SOCKET, settings.socket, "");
		out[used++] = added->socket;
	}
	if (!has_root) {
		put(added->root, sizeof added->root, ROOT, settings.root, "");
		out[used++] = added->root;
	}
	out[used] = NULL;
}

/* The environment of a new program, on the stack of the function that says it. */
#define WITH_SETTINGS(environment)                                                       \
	struct injection added;                                                          \
	char **full = alloca((count_of(environment) + EXTRA + 1) * sizeof(char *));       \
	inject(environment, full, &added);

/* Whether the program is refused, after saying so. */
static bool is_refused(int directory, const char *path, int flags)
{
	const char *reason = why_unreachable(directory, path, flags);
	if (reason == NULL)
		return false;
	char text[PATH_BYTES];
	put(text, sizeof text, path, " ", reason);
	say("refused: ", text, "; it would see this machine instead of the platform");
	struct call call;
	if (is_connected() && call_begin(&call, IOASIS_OP_REFUSED) == 0) {
		call.length = (uint32_t)strlen(text);
		memcpy(call.payload, text, call.length);
		call_run(&call);
		call_end(&call);
	}
	return true;
}

static int exec_at(int directory, const char *path, char *const arguments[],
		   char *const environment[], int flags)
{
	if (!is_on())
		return (int)libc_result(
			SYS(SYS_execveat, directory, path, arguments, environment, flags));
	struct where where;
	const char *real = redirect(&directory, path, &where);
	if (real == NULL)
		return -1;
	if (string_length(real, PATH_MAX) >= 0 && is_refused(directory, real, flags))
		return (int)libc_result(-ENOEXEC);
	WITH_SETTINGS(environment)
	if (directory == AT_FDCWD && flags == 0)
		return (int)libc_result(SYS(SYS_execve, real, arguments, full));
	return (int)libc_result(SYS(SYS_execveat, directory, real, arguments, full, flags));
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
	if (!is_on())
		return (int)libc_result(SYS(SYS_execve, path, arguments, environment));
	return exec_at(AT_FDCWD, path, arguments, environment, 0);
}

EXPORT int execv(const char *path, char *const arguments[])
{
	return execve(path, arguments, environ);
}

EXPORT int execveat(int directory, const char *path, char *const arguments[],
		    char *const environment[], int flags)
{
	return exec_at(directory, path, arguments, environment, flags);
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
	return exec_at(fd, "", arguments, environment, AT_EMPTY_PATH);
}

/* ---- search along PATH ---- */

/* A text without "#!" that the kernel does not take is run by the shell, as in libc. */
static void exec_as_script(const char *path, char *const arguments[], char *const environment[])
{
	size_t count = count_of(arguments);
	char **with_shell = alloca((count + 3) * sizeof(char *));
	with_shell[0] = (char *)(uintptr_t)"/bin/sh";
	with_shell[1] = (char *)(uintptr_t)path;
	for (size_t i = 1; i < count; i++)
		with_shell[i + 1] = arguments[i];
	with_shell[count < 1 ? 2 : count + 1] = NULL;
	execve("/bin/sh", with_shell, environment);
}

static int exec_or_script(const char *path, char *const arguments[], char *const environment[])
{
	execve(path, arguments, environment);
	if (errno == ENOEXEC && (!is_on() || why_unreachable(AT_FDCWD, path, 0) == NULL)) {
		exec_as_script(path, arguments, environment);
		errno = ENOEXEC;
	}
	return -1;
}

EXPORT int execvpe(const char *name, char *const arguments[], char *const environment[])
{
	if (name[0] == '\0')
		return (int)libc_result(-ENOENT);
	if (strchr(name, '/') != NULL)
		return exec_or_script(name, arguments, environment);
	const char *search = getenv("PATH");
	if (search == NULL)
		search = "/bin:/usr/bin";
	int failure = ENOENT;
	for (const char *at = search;; at++) {
		char path[PATH_MAX];
		size_t length = strcspn(at, ":");
		if (length + 1 + strlen(name) + 1 <= sizeof path) {
			memcpy(path, at, length);
			size_t used = length;
			if (length > 0)
				path[used++] = '/';
			memcpy(path + used, name, strlen(name) + 1);
			exec_or_script(path, arguments, environment);
			if (errno == EACCES)
				failure = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE &&
				 errno != ENODEV && errno != ETIMEDOUT)
				return -1;
		}
		at += length;
		if (*at == '\0')
			break;
	}
	errno = failure;
	return -1;
}

EXPORT int execvp(const char *name, char *const arguments[])
{
	return execvpe(name, arguments, environ);
}

/* ---- the forms with a list ---- */

#define COLLECT(first, list)                                              \
	size_t count = 1;                                                 \
	va_start(list, first);                                            \
	while (va_arg(list, char *) != NULL)                              \
		count++;                                                  \
	va_end(list);                                                     \
	char **arguments = alloca((count + 1) * sizeof(char *));          \
	va_start(list, first);                                            \
	arguments[0] = (char *)(uintptr_t)first;                          \
	for (size_t i = 1; i <= count; i++)                               \
		arguments[i] = va_arg(list, char *);

EXPORT int execl(const char *path, const char *first, ...)
{
	va_list list;
	if (first == NULL)
		return execve(path, (char *const[]){ NULL }, environ);
	COLLECT(first, list)
	va_end(list);
	return execve(path, arguments, environ);
}

EXPORT int execlp(const char *name, const char *first, ...)
{
	va_list list;
	if (first == NULL)
		return execvpe(name, (char *const[]){ NULL }, environ);
	COLLECT(first, list)
	va_end(list);
	return execvpe(name, arguments, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	va_list list;
	COLLECT(first, list)
	char *const *environment = va_arg(list, char *const *);
	va_end(list);
	return execve(path, arguments, environment);
}

/* ---- posix_spawn ---- */

static bool find_on_path(const char *name, char out[PATH_MAX])
{
	const char *search = getenv("PATH");
	for (const char *at = search == NULL ? "/bin:/usr/bin" : search;; at++) {
		size_t length = strcspn(at, ":");
		size_t used = 0;
		if (length + 2 + strlen(name) <= PATH_MAX) {
			memcpy(out, at, length);
			used = length;
			if (length > 0)
				out[used++] = '/';
			memcpy(out + used, name, strlen(name) + 1);
			if (SYS(SYS_faccessat, AT_FDCWD, out, X_OK) == 0)
				return true;
		}
		at += length;
		if (*at == '\0')
			return false;
	}
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const arguments[],
		       char *const environment[])
{
	if (!is_on())
		return REAL(posix_spawn)(pid, path, actions, attributes, arguments, environment);
	if (is_refused(AT_FDCWD, path, 0))
		return ENOEXEC;
	WITH_SETTINGS(environment)
	return REAL(posix_spawn)(pid, path, actions, attributes, arguments, full);
}

EXPORT int posix_spawnp(pid_t *pid, const char *name, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const arguments[],
			char *const environment[])
{
	char path[PATH_MAX];
	if (!is_on())
		return REAL(posix_spawnp)(pid, name, actions, attributes, arguments, environment);
	const char *found = strchr(name, '/') != NULL ? name : find_on_path(name, path) ? path : NULL;
	if (found != NULL && is_refused(AT_FDCWD, found, 0))
		return ENOEXEC;
	WITH_SETTINGS(environment)
	return REAL(posix_spawnp)(pid, name, actions, attributes, arguments, full);
}

/*
 * An action that opens is done inside libc, in the child. A plain file of the tree is opened there
 * by its real path; what the daemon opens is opened here, now, and the child gets a copy.
 */
#define OPENED_MAX 64

static struct {
	const posix_spawn_file_actions_t *actions;
	int fd;
} opened[OPENED_MAX];

static int open_early(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags)
{
	int early = open_any(AT_FDCWD, path, flags | O_CLOEXEC, 0);
	if (early < 0)
		return errno;
	long high = SYS(SYS_fcntl, early, F_DUPFD_CLOEXEC, 300);
	if (!sys_failed(high)) {
		ours_copied(early, (int)high);
		close(early);
		early = (int)high;
	}
	for (unsigned i = 0; i < OPENED_MAX; i++) {
		if (opened[i].actions != NULL)
			continue;
		opened[i].actions = actions;
		opened[i].fd = early;
		return REAL(posix_spawn_file_actions_adddup2)(actions, early, fd);
	}
	close(early);
	return ENOMEM;
}

EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd,
					    const char *path, int flags, mode_t mode)
{
	struct where where;
	long done = is_on() ? locate(AT_FDCWD, path, &where) : 0;
	if (done < 0)
		return (int)-done;
	if (is_on() && (where.place == PLACE_TREE || where.place == PLACE_DAEMON))
		return open_early(actions, fd, path, flags);
	return REAL(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
}

EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
{
	for (unsigned i = 0; i < OPENED_MAX; i++) {
		if (opened[i].actions != actions)
			continue;
		close(opened[i].fd);
		opened[i].actions = NULL;
	}
	return REAL(posix_spawn_file_actions_destroy)(actions);
}

EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions,
						const char *path)
{
	struct where where;
	int directory = AT_FDCWD;
	const char *real = redirect(&directory, path, &where);
	return real == NULL ? errno : REAL(posix_spawn_file_actions_addchdir_np)(actions, real);
}

/* ---- through a shell ---- */

/* libc passes the environment of this process on. */
static void keep_settings(void)
{
	if (!is_on())
		return;
	const char *preload = getenv("LD_PRELOAD");
	if (preload == NULL || strstr(preload, settings.library) == NULL) {
		char text[PATH_BYTES * 2];
		put(text, sizeof text, settings.library, preload == NULL ? "" : ":",
		    preload == NULL ? "" : preload);
		setenv("LD_PRELOAD", text, 1);
	}
	setenv("IOASIS_SOCKET", settings.socket, 0);
	setenv("IOASIS_ROOT", settings.root, 0);
}

EXPORT int system(const char *command)
{
	keep_settings();
	int status = REAL(system)(command);
	if (is_connected())
		call_plain(IOASIS_OP_BARRIER, 0, 0, 0);
	return status;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	keep_settings();
	return REAL(popen)(command, mode);
}

EXPORT int pclose(FILE *stream)
{
	int status = REAL(pclose)(stream);
	if (is_connected())
		call_plain(IOASIS_OP_BARRIER, 0, 0, 0);
	return status;
}
