/*
 * Random calls on every file of a platform: numbers of real commands with arguments that are
 * sometimes right, often nearly right, and sometimes wild.
 *
 * Every choice comes from a seed, so one thread alone makes the same calls again. What a call may
 * read and write is the arena; memory outside of it is checked by the caller.
 */
#ifndef RANDOM_CALLS_H
#define RANDOM_CALLS_H

#include "lesson.h"

#define ARENA_PAGES 64u
#define FILES_MAX 48

struct command {
	uint32_t number, files, form;
};

static const struct command commands[] = IOASIS_ARGUMENTS;

/* Files that threads share. */
struct files {
	int fd[FILES_MAX];
	unsigned int count;
};

struct random {
	uint64_t state;
	char *arena;
	struct files *files;
	/* How calls ended: index 0 success, else errno. */
	unsigned long endings[256];
};

static inline uint64_t next(struct random *random)
{
	/* splitmix64 */
	uint64_t value = random->state += 0x9e3779b97f4a7c15;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

static inline uint64_t below(struct random *random, uint64_t limit)
{
	return next(random) % limit;
}

/* An address: mostly in the arena, else none, odd, unmapped, or the kernel's. */
static inline uint64_t some_address(struct random *random)
{
	uint64_t inside = (uintptr_t)random->arena + below(random, ARENA_PAGES) * PAGE;

	switch (below(random, 12)) {
	case 0: return 0;
	case 1: return inside + below(random, PAGE);
	case 2: return (uintptr_t)random->arena + ARENA_PAGES * PAGE; /* the guard */
	case 3: return 0xffff800000000000 + below(random, 1 << 20);
	case 4: return next(random) | 1ull << 63;
	default: return inside;
	}
}

static inline uint64_t some_number(struct random *random)
{
	static const uint64_t edges[] = {
		0, 1, 2, 3, 4, 8, 16, 4095, 4096, 8192, 0x10000, 0x100000, 0x7fffffff, 0x80000000,
		0xffffffff, 0x100000000, 0xfee00000, 0xfeefffff, 0x7fffffffffffffff,
		0x8000000000000000, 0xfffffffffffff000, 0xfffffffffffffffe, 0xffffffffffffffff,
	};

	switch (below(random, 8)) {
	case 0: return edges[below(random, sizeof(edges) / sizeof(edges[0]))];
	case 1: return next(random);
	case 2: return some_address(random);
	case 3: return 0x100000 + below(random, 64) * PAGE;
	case 4: return (1 + below(random, 8)) * PAGE;
	case 5: return random->files->fd[below(random, random->files->count)];
	default: return below(random, 10);
	}
}

/* Where the argument lies: in the arena, sometimes against the guard page. */
static inline uint32_t *some_room(struct random *random, unsigned int bytes)
{
	char *end = random->arena + ARENA_PAGES * PAGE;

	if (below(random, 8) == 0)
		return (uint32_t *)(end - (bytes & ~3u));
	return (uint32_t *)(random->arena + below(random, ARENA_PAGES - 1) * PAGE);
}

static inline long random_ioctl(struct random *random, int fd)
{
	const struct command *command = &commands[below(random, sizeof(commands) / sizeof(commands[0]))];
	static const uint32_t sizes[] = { 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 72, 112 };
	uint32_t size = sizes[below(random, sizeof(sizes) / sizeof(sizes[0]))];
	uint32_t number = command->number;

	if (below(random, 64) == 0)
		number = next(random);
	if (command->form == IOASIS_ARGUMENT_VALUE || command->form == IOASIS_ARGUMENT_NONE)
		return ioctl(fd, number, below(random, 12));
	if (below(random, 24) == 0)
		return ioctl(fd, number, (void *)some_address(random));

	uint32_t *argument = some_room(random, size);
	for (unsigned int at = 1; at < size / 4; at += 2) {
		uint64_t value = below(random, 3) == 0 ? 0 : some_number(random);

		argument[at] = value;
		if (at + 1 < size / 4)
			argument[at + 1] = below(random, 2) ? value >> 32 : some_number(random);
	}
	argument[0] = size;
	if (below(random, 32) == 0)
		argument[0] = some_number(random);
	return ioctl(fd, number, argument);
}

/* One call of any kind; threads may meet on one file. */
static inline void random_call(struct random *random)
{
	int fd = random->files->fd[below(random, random->files->count)];
	char *room = random->arena + below(random, ARENA_PAGES - 1) * PAGE;
	long result;

	errno = 0;
	switch (below(random, 16)) {
	case 0: result = pread(fd, room, below(random, 64), some_number(random)); break;
	case 1: result = pwrite(fd, room, below(random, 64), some_number(random)); break;
	case 2: {
		/* Configuration space and BAR 0: both take real offsets. */
		uint64_t region = below(random, 10) << 40;

		result = pread(fd, room, 1u << below(random, 4), region + below(random, 4096));
		break;
	}
	case 3: {
		void *at = mmap(NULL, (1 + below(random, 8)) * PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED, fd, below(random, 10) << 40);

		result = at == MAP_FAILED ? -1 : munmap(at, PAGE);
		break;
	}
	case 4: {
		struct pollfd ready = { .fd = fd, .events = POLLIN | POLLOUT };

		result = poll(&ready, 1, 0);
		break;
	}
	default: result = random_ioctl(random, fd); break;
	}
	random->endings[result >= 0 ? 0 : errno < 256 ? errno : 255]++;
}

/* Opens one file of each kind and whatever devices there are. */
static inline void open_files(struct files *files)
{
	static const char *const paths[] = {
		"/dev/iommu", "/dev/iommu", "/dev/vfio/vfio", "/dev/vfio/devices/vfio0",
		"/dev/vfio/devices/vfio1", "/dev/vfio/devices/vfio2", "/dev/vfio/devices/vfio3",
		"/dev/vfio/0", "/dev/vfio/1", "/dev/vfio/2", "/dev/vfio/3", "/dev/vfio/4",
	};

	files->count = 0;
	for (unsigned int i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		/* Whoever writes the bridges of a host may break everything on it. */
		int mode = strncmp(paths[i], "/sys", 4) == 0 ? O_RDONLY : O_RDWR;
		int fd = open(paths[i], mode | O_CLOEXEC);

		if (fd >= 0)
			files->fd[files->count++] = fd;
	}
	files->fd[files->count++] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	files->fd[files->count++] = memfd_create("campaign", MFD_CLOEXEC);
	if (ftruncate(files->fd[files->count - 1], 16 * PAGE) < 0)
		exit(1);
	expect(files->count > 3, "there are files");
}

/* Memory for arguments and maps, between guard pages. */
static inline char *new_arena(void)
{
	char *whole = mmap(NULL, (ARENA_PAGES + 2) * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(whole != MAP_FAILED, "there is memory");
	must((long)mmap(whole + PAGE, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "the arena");
	return whole + PAGE;
}

#endif
