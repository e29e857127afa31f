/*
 * Who we are: settings of the run, the page of this process, locks, hidden descriptors.
 *
 * A forked child inherits memory and descriptors of its parent, but must not speak on its parent's
 * connection. The kernel wipes `struct process` in the child (MADV_WIPEONFORK), however the fork
 * was made, so pid 0 there means: a new process, connect anew when needed. The descriptors of the
 * parent's connection are noted in ordinary memory, so that the child can close its copies.
 */
#include "connection.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define HIDDEN_FROM 900
#define HIDDEN_MAX 256

struct settings settings;
uint8_t process_epoch;

static struct process *page;
/*
 * Numbers, 0 for a free place, -1 for one being filled; valid in a forked child too, where all of
 * them are copies.
 */
static int hidden[HIDDEN_MAX];
/* None is below; never raised, since it only saves looking. */
static int hidden_lowest = INT_MAX;
/* The connection of this process or, before it is adopted, of its parent. */
static int inherited_socket = -1;
static int inherited_doorbell = -1;

static bool copy_text(char *to, size_t room, const char *from)
{
	size_t length = strlen(from);
	if (length >= room)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

void settings_read(void)
{
	static lock_t reading;
	held_t held = lock_take(&reading);
	uint32_t state = settings.state;
	if (state == 0) {
		const char *socket_path = getenv("IOASIS_SOCKET");
		const char *root = getenv("IOASIS_ROOT");
		Dl_info info;
		bool on = socket_path != NULL && root != NULL && root[0] == '/' &&
			  copy_text(settings.socket, sizeof settings.socket, socket_path) &&
			  copy_text(settings.root, sizeof settings.root, root);
		if (on) {
			settings.root_length = strlen(settings.root);
			while (settings.root_length > 1 &&
			       settings.root[settings.root_length - 1] == '/')
				settings.root[--settings.root_length] = '\0';
			if (dladdr((void *)settings_read, &info) != 0 && info.dli_fname != NULL)
				copy_text(settings.library, sizeof settings.library, info.dli_fname);
			long memory = SYS(SYS_mmap, 0, (sizeof(struct process) + 4095) & ~4095ul,
					  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			on = !sys_failed(memory);
			if (on) {
				page = (struct process *)memory;
				SYS(SYS_madvise, memory, (sizeof(struct process) + 4095) & ~4095ul,
				    MADV_WIPEONFORK);
			}
		}
		__atomic_store_n(&settings.state, on ? 2u : 1u, __ATOMIC_RELEASE);
	}
	lock_give(&reading, held);
	if (state == 0 && settings.state == 2)
		paths_moved();
}

/* ---- locks ---- */

held_t signals_block(void)
{
	held_t held = { 0 };
	uint64_t all = ~0ull;
	SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &held.signals, 8);
	return held;
}

void signals_unblock(held_t held)
{
	SYS(SYS_rt_sigprocmask, SIG_SETMASK, &held.signals, NULL, 8);
}

held_t lock_take(lock_t *lock)
{
	held_t held = signals_block();
	uint32_t seen = 0;
	if (__atomic_compare_exchange_n(&lock->word, &seen, 1, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED))
		return held;
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
		SYS(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL);
	return held;
}

void lock_give(lock_t *lock, held_t held)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		SYS(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1);
	signals_unblock(held);
}

/* ---- the process ---- */

static void adopt(struct process *process)
{
	held_t held = lock_take(&process->adopting);
	if (process->pid == 0) {
		if (inherited_socket >= 0) {
			int socket_fd = inherited_socket;
			int doorbell = inherited_doorbell;
			inherited_socket = inherited_doorbell = -1;
			unhide_descriptor(socket_fd);
			unhide_descriptor(doorbell);
			SYS(SYS_close, socket_fd);
			SYS(SYS_close, doorbell);
		}
		process_epoch++;
		process->socket = process->doorbell = -1;
		for (unsigned i = 0; i < SLOTS; i++)
			process->inbox[i] = -1;
		uint32_t pid = (uint32_t)SYS(SYS_getpid);
		__atomic_store_n(&process->pid, pid, __ATOMIC_RELEASE);
	}
	lock_give(&process->adopting, held);
}

struct process *process_here(void)
{
	if (__builtin_expect(__atomic_load_n(&page->pid, __ATOMIC_ACQUIRE) == 0, 0))
		adopt(page);
	return page;
}

bool process_is_borrowed(void)
{
	return process_here()->pid != (uint32_t)SYS(SYS_getpid);
}

/* Called by channel.c with the connection's descriptors, for a child to close. */
void process_note_link(int socket_fd, int doorbell)
{
	inherited_socket = socket_fd;
	inherited_doorbell = doorbell;
}

/* ---- hidden descriptors ---- */

int hide_descriptor(int fd)
{
	if (fd < 0)
		return fd;
	uint32_t place = 0;
	for (int nobody = 0; place < HIDDEN_MAX; place++, nobody = 0)
		if (__atomic_compare_exchange_n(&hidden[place], &nobody, -1, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			break;
	if (place == HIDDEN_MAX)
		return fd;
	struct rlimit limit = { 1024, 1024 };
	SYS(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	long from = limit.rlim_cur > HIDDEN_FROM + 64 ? HIDDEN_FROM : (long)limit.rlim_cur - 64;
	if (from < 3)
		from = 3;
	long moved = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, from);
	if (!sys_failed(moved)) {
		SYS(SYS_close, fd);
		fd = (int)moved;
	}
	__atomic_store_n(&hidden[place], fd, __ATOMIC_RELEASE);
	if (fd < __atomic_load_n(&hidden_lowest, __ATOMIC_RELAXED))
		__atomic_store_n(&hidden_lowest, fd, __ATOMIC_RELEASE);
	return fd;
}

bool is_hidden(int fd)
{
	if (fd <= 0 || fd < __atomic_load_n(&hidden_lowest, __ATOMIC_ACQUIRE))
		return false;
	for (unsigned i = 0; i < HIDDEN_MAX; i++)
		if (hidden[i] == fd)
			return true;
	return false;
}

void unhide_descriptor(int fd)
{
	for (unsigned i = 0; fd > 0 && i < HIDDEN_MAX; i++) {
		if (hidden[i] == fd)
			hidden[i] = 0;
	}
}

int hidden_within(unsigned first, unsigned last)
{
	int lowest = -1;
	for (unsigned i = 0; i < HIDDEN_MAX; i++) {
		if (hidden[i] <= 0 || (unsigned)hidden[i] < first || (unsigned)hidden[i] > last)
			continue;
		if (lowest < 0 || hidden[i] < lowest)
			lowest = hidden[i];
	}
	return lowest;
}

/* ---- words to the person ---- */

void say(const char *text, const char *detail, const char *more)
{
	char line[512] = "ioasis: ";
	size_t used = strlen(line);
	const char *parts[] = { text, detail, more };
	for (unsigned i = 0; i < 3; i++) {
		size_t length = parts[i] == NULL ? 0 : strlen(parts[i]);
		if (length > sizeof line - 1 - used)
			length = sizeof line - 1 - used;
		if (length > 0)
			memcpy(line + used, parts[i], length);
		used += length;
	}
	line[used++] = '\n';
	SYS(SYS_write, 2, line, used);
}

__attribute__((constructor)) static void begin(void)
{
	is_on();
}
