/*
 * Keeps a daemon alive when a program truncates a file that the daemon has mapped.
 *
 * Touching a page beyond the end of a file is SIGBUS. For addresses in guarded ranges the page is
 * replaced by an empty one of the daemon's own, and counted; anywhere else the signal does what it
 * did before. Ranges come and go in one thread; the handler may run in any.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define RANGES 65536
#define PAGE 4096ul

static struct {
	volatile uintptr_t first, end;
} ranges[RANGES];
static volatile int used;
static volatile long replaced;
static struct sigaction before;

static int is_guarded(uintptr_t address)
{
	for (int i = 0; i < used; i++)
		if (address >= ranges[i].first && address < ranges[i].end)
			return 1;
	return 0;
}

static void on_bus(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number;
	(void)context;
	uintptr_t page = (uintptr_t)info->si_addr & ~(PAGE - 1);
	if (info->si_code == BUS_ADRERR && is_guarded(page)) {
		void *made = mmap((void *)page, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (made != MAP_FAILED) {
			__atomic_add_fetch(&replaced, 1, __ATOMIC_RELAXED);
			return;
		}
	}
	/* The access is repeated on return, and ends the process. */
	sigaction(SIGBUS, &before, NULL);
}

__attribute__((visibility("default"))) int ioasis_guard_install(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, &before);
}

/* 0, or -1 when there are too many. */
__attribute__((visibility("default"))) int ioasis_guard_add(intptr_t first, long bytes)
{
	int i = 0;
	while (i < used && ranges[i].end != 0)
		i++;
	if (i == RANGES)
		return -1;
	ranges[i].first = (uintptr_t)first;
	ranges[i].end = (uintptr_t)first + (uintptr_t)bytes;
	if (i == used)
		used = i + 1;
	return 0;
}

__attribute__((visibility("default"))) void ioasis_guard_remove(intptr_t first)
{
	for (int i = 0; i < used; i++) {
		if (ranges[i].first != (uintptr_t)first)
			continue;
		ranges[i].end = 0;
		ranges[i].first = 0;
		return;
	}
}

/* Pages replaced so far. */
__attribute__((visibility("default"))) long ioasis_guard_replaced(void)
{
	return replaced;
}
