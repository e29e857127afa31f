/*
 * The client: what its files share.
 *
 * Vocabulary. *Ours*: a descriptor or path that the platform serves. *Foreign*: any other.
 * *Virtual path*: as the program sees it (/sys/bus/pci). *Tree*: the directory IOASIS_ROOT, in which
 * the daemon lays out files and links at their virtual paths. *Hidden*: a descriptor of the client
 * itself, which the program must not see, close or overwrite.
 *
 * Rules that hold in every file:
 * - wrappers never call malloc unless the libc function they stand for does;
 * - memory of the program is touched only by copy.c, so a wild pointer is EFAULT and no crash;
 * - what is per process lies in one page that the kernel wipes in a forked child (struct process);
 * - a child of vfork shares all memory with its parent: tables of descriptors are left alone there.
 */
#ifndef IOASIS_CLIENT_H
#define IOASIS_CLIENT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* The fortified headers define some of the functions that are wrapped here. */
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "frame.h"
#include "sys.h"

#define EXPORT __attribute__((visibility("default")))

/* The function of that name that the program would have got without us. */
#define REAL(name)                                                                   \
	({                                                                           \
		static void *cached_##name;                                          \
		void *found_##name = __atomic_load_n(&cached_##name, __ATOMIC_RELAXED); \
		if (found_##name == NULL) {                                          \
			found_##name = dlsym(RTLD_NEXT, #name);                      \
			__atomic_store_n(&cached_##name, found_##name, __ATOMIC_RELAXED); \
		}                                                                    \
		(__typeof__(&name))found_##name;                                     \
	})

/* As libc returns: -1 and errno for -errno. */
static inline long libc_result(long result)
{
	if (!sys_failed(result))
		return result;
	errno = (int)-result;
	return -1;
}

/* ---- process.c ---- */

#define SLOTS IOASIS_SLOTS
#define PATH_BYTES 1024u

enum { LINK_NONE, LINK_UP, LINK_DEAD };

/* One lock: 0 free, 1 held, 2 held and somebody waits. */
typedef struct {
	uint32_t word;
} lock_t;

/* Per process; all zero in a forked child until it is adopted. */
struct process {
	uint32_t pid; /* 0: not adopted yet */
	lock_t adopting;
	lock_t connecting;
	lock_t receiving;
	lock_t mapping;
	lock_t keeping;
	uint32_t link; /* LINK_* */
	int socket;
	int doorbell;
	uint32_t daemon_pid;
	uint8_t *channel;
	uint64_t slots_used; /* one bit each */
	uintptr_t owners[SLOTS]; /* the thread in a slot, as pthread_self says */
	int inbox[SLOTS];    /* descriptors received for a slot that waits; -1: none */
};

/* Settings of the run, copied once. */
struct settings {
	uint32_t state; /* 0 not looked yet, 1 off, 2 on */
	char socket[108];
	char root[256];
	size_t root_length;
	char library[PATH_BYTES]; /* this library, for LD_PRELOAD of children */
};
extern struct settings settings;

void settings_read(void);
/* Whether this process runs in a platform. */
static inline bool is_on(void)
{
	uint32_t state = __atomic_load_n(&settings.state, __ATOMIC_ACQUIRE);
	if (__builtin_expect(state == 0, 0)) {
		settings_read();
		state = __atomic_load_n(&settings.state, __ATOMIC_ACQUIRE);
	}
	return state == 2;
}

/* The page of this process, adopted. */
struct process *process_here(void);
/* A child of vfork: its memory is its parent's. */
bool process_is_borrowed(void);
/* Counts forks on the way to this process: descriptors known before are to be resolved anew. */
extern uint8_t process_epoch;

/* Signals are blocked while a lock is held, so that a handler never waits for its own thread. */
typedef struct {
	uint64_t signals;
} held_t;
held_t signals_block(void);
void signals_unblock(held_t held);
held_t lock_take(lock_t *lock);
void lock_give(lock_t *lock, held_t held);

/* Moves a descriptor out of the way of the program's numbers; closes the old number. */
int hide_descriptor(int fd);
bool is_hidden(int fd);
void unhide_descriptor(int fd);
/* Makes number `fd` free when it is a hidden one, by moving that. */
void hidden_step_aside(int fd);
/* The lowest hidden number in a range, or -1. */
int hidden_within(unsigned first, unsigned last);

/* One line on the standard error, beginning "ioasis: ". */
void say(const char *text, const char *detail, const char *more);

/* ---- channel.c ---- */

struct call {
	/* Filled before call_run. */
	uint32_t op;
	uint32_t flags;
	uint32_t handle;
	uint32_t command;
	uint32_t length; /* bytes of the payload used */
	uint64_t argument;
	uint64_t offset;
	uint64_t size;
	const int *descriptors;
	uint32_t descriptor_count;
	bool sends_hidden; /* the descriptors are the client's own */
	/* Valid between call_begin and call_end. */
	uint8_t *payload;
	volatile uint32_t *words;
	unsigned index;
	/* Filled by call_run. */
	uint32_t reply;
	uint32_t reply_length;
	uint32_t new_handle;
	uint32_t new_kind;
	uint32_t new_rdev;
	uint64_t address;
};

bool is_connected(void);
/* Connects when needed and claims a slot. 0 or -errno; call_end only after 0. */
long call_begin(struct call *call, uint32_t op);
/* 0 or more, or -errno. */
long call_run(struct call *call);
/* The descriptor that came with the reply (IOASIS_R_NEW), close-on-exec, or -errno. */
int call_descriptor(struct call *call);
void call_end(struct call *call);
/* An operation without payload, 0 or more or -errno. */
long call_plain(uint32_t op, uint32_t handle, uint64_t argument, uint64_t size);
void call_credentials_changed(void);

/* ---- copy.c ---- */

/* Bytes copied before the first that cannot be reached. */
size_t copy_from_program(void *to, const void *from, size_t bytes);
size_t copy_to_program(void *to, const void *from, size_t bytes);
/* Whether the address lies on the stack of this thread, above the caller of the wrapper. */
bool is_on_stack(const void *address, size_t bytes);
/* Whether the byte there can be read now. */
bool is_readable(const void *address);
/* Length of a string of the program: at most `limit`, or -1 when it cannot be read. */
ssize_t string_length(const char *text, size_t limit);

/* ---- descriptors.c ---- */

enum {
	KIND_IOMMUFD = 1,
	KIND_FAULT_QUEUE,
	KIND_EVENT_QUEUE,
	KIND_ACCESS,
	KIND_DMA_BUF,
	KIND_CONTAINER,
	KIND_GROUP,
	KIND_DEVICE,
	KIND_ATTRIBUTE,
	KIND_MIGRATION,
};

struct ours {
	uint32_t handle;
	uint8_t kind;
	uint16_t path; /* see path_of; 0: none */
};

/* Whether the descriptor is ours; fills `out`. */
bool is_ours(int fd, struct ours *out);
/* Whether it is known to be ours already: no system call. */
bool is_ours_already(int fd);
void ours_set(int fd, uint32_t handle, uint32_t kind, uint16_t path);
/* Nothing is known about the number any longer. */
void ours_forget(int fd);
/* The number was opened just now and is foreign. */
void ours_not(int fd);
/* `to` refers to what `from` refers to. */
void ours_copied(int from, int to);
/* The descriptor is closed, table and daemon know; 0 or -1. */
int close_ours(int fd, const struct ours *what);

/* Descriptors may have come without our seeing which: foreign numbers are to be looked at anew. */
void received_unseen(void);

/* Remembers the virtual path or label of an open file, and its device number; 0: no room. */
uint16_t path_keep(const char *path, uint32_t rdev);
/* NULL: none. */
const char *path_of(uint16_t kept);
uint32_t rdev_of(uint16_t kept);
/* What /proc/PID/fd shows for it; never NULL. */
const char *label_of(const struct ours *what);

/* File positions, see descriptors.c. */
struct position {
	int64_t seen; /* bytes read and written at the position through this number */
	int64_t own;  /* 1 + the position after an lseek; 0: the daemon's position counts */
};
struct position *position_of(int fd);

/* ---- paths.c ---- */

enum place {
	PLACE_UNTOUCHED, /* use the program's own arguments */
	PLACE_HOST,      /* outside, but `real` must be used instead of the program's path */
	PLACE_MERGED,    /* a directory of the host whose listing has entries of ours too */
	PLACE_TREE,      /* in the tree: use `real` */
	PLACE_STATUS,    /* /proc/PID/status */
	PLACE_DAEMON,    /* no file in the tree; the daemon opens it by its virtual path */
};

struct where {
	enum place place;
	char path[PATH_BYTES];       /* virtual, absolute, no "." or ".." */
	char real[PATH_BYTES + 256]; /* what to give to the kernel */
};

/* 0, or -errno when the path cannot be resolved. */
long locate(int directory, const char *path, struct where *where);
/*
 * For functions that only look a path up: the path to use, with *directory set to AT_FDCWD when it
 * is not the program's. NULL and errno on failure.
 */
const char *redirect(int *directory, const char *path, struct where *where);
/* The virtual path of a path of the kernel: the tree's root taken off. Returns its argument's tail. */
const char *strip_root(const char *real);
/* Physical resolution of an absolute virtual path, final link too when `follow`. 0 or -errno. */
long resolve(const char *path, bool follow, char out[PATH_BYTES]);
/* As resolve, for a path in the program's words. */
long resolve_from(int directory, const char *path, bool follow, char out[PATH_BYTES]);
bool is_served(const char *path);
bool is_merged(const char *path);
/* The working directory changed. */
void paths_moved(void);
/* The N of /proc/self/fd/N and its other names; -1: another path. */
int descriptor_link(const char *path);
/* The virtual path of an open directory; false: unknown or not of interest. */
bool directory_path(int fd, char out[PATH_BYTES]);

/* ---- open.c, memory.c, ioctl.c ---- */

/* Opens what is ours; -errno, or the descriptor. */
long open_served(const struct where *where, int flags);
long open_status(const struct where *where, int flags);
/* -errno or the descriptor; *is_done false: the program's own arguments are to be used. */
long open_ours(int directory, const char *path, int flags, mode_t mode, bool *is_done);
int open_any(int directory, const char *path, int flags, mode_t mode);
/* Reads or writes ours; offset -1: at the position. */
ssize_t read_ours(int fd, const struct ours *what, void *buffer, size_t bytes, int64_t offset);
ssize_t write_ours(int fd, const struct ours *what, const void *buffer, size_t bytes,
		   int64_t offset);
long ioctl_ours(int fd, const struct ours *what, uint32_t command, uint64_t argument);
/* Fills in what the program shall see of a descriptor of ours. */
struct stat;
int stat_ours(const struct ours *what, struct stat *out);
/* As the program shall see what lies at a virtual path of the tree. */
void stat_fix(const char *path, struct stat *out);
void *map_any(void *address, size_t length, int protection, int flags, int fd, off_t offset);
/* Tells the daemon of every remembered mapping; called once the connection is up. */
void memory_tell_all(struct process *process);
/* A hidden descriptor got another number. */
void memory_descriptor_moved(int from, int to);

/* ---- stream.c ---- */

/* Standard input, output or error got another file: the stream of that name follows. */
void stream_follow(int fd);

#endif
