/*
 * Shared mappings.
 *
 * A device of the platform reaches shared memory through its file, which survives the process as
 * pinned memory does. So shared anonymous memory becomes a memfd, and each shared mapping of a
 * memory file is remembered with a descriptor of that file. The daemon is told of all when the
 * process connects, and of each change from then on: of an end before it happens, of a beginning
 * after, so that it never believes in a mapping that is another's already.
 *
 * Mapping one of our descriptors maps the memory that the daemon sends for it.
 */
#include "client.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define REGIONS 1024
#define FILES 96
#define PAGE 4096ul
#define TMPFS 0x01021994
#define HUGETLBFS 0x958458f6u

struct file {
	dev_t device;
	ino_t inode;
	int fd;
	uint32_t regions; /* how many refer to it; 0: a free place */
};

struct region {
	uintptr_t first;
	uintptr_t end; /* first byte behind; 0: a free place */
	uint64_t offset;
	uint32_t file;
};

/* Changed under process->mapping. */
static struct file files[FILES];
static struct region regions[REGIONS];
static uint32_t region_count;

/* ---- the table ---- */

static void tell_mapped(const struct region *region)
{
	struct call call;
	if (!is_connected() || call_begin(&call, IOASIS_OP_MAPPED) != 0)
		return;
	call.argument = region->first;
	call.size = region->end - region->first;
	call.offset = region->offset;
	call.descriptors = &files[region->file].fd;
	call.descriptor_count = 1;
	call.sends_hidden = true;
	call_run(&call);
	call_end(&call);
}

static void tell_unmapped(uintptr_t first, uintptr_t end)
{
	if (is_connected())
		call_plain(IOASIS_OP_UNMAPPED, 0, first, end - first);
}

static void drop_file(uint32_t index)
{
	if (--files[index].regions > 0)
		return;
	unhide_descriptor(files[index].fd);
	SYS(SYS_close, files[index].fd);
}

/* The file's place in the table, with a descriptor of its own. -1: no room. */
static int keep_file(int fd)
{
	struct stat status;
	int free_place = -1;
	if (SYS(SYS_fstat, fd, &status) != 0)
		return -1;
	for (int i = 0; i < FILES; i++) {
		if (files[i].regions == 0) {
			if (free_place < 0)
				free_place = i;
		} else if (files[i].inode == status.st_ino && files[i].device == status.st_dev) {
			files[i].regions++;
			return i;
		}
	}
	if (free_place < 0)
		return -1;
	long copy = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
	if (sys_failed(copy))
		return -1;
	files[free_place] = (struct file){ status.st_dev, status.st_ino,
					   hide_descriptor((int)copy), 1 };
	return free_place;
}

static bool insert(struct region region)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		if (regions[i].end != 0)
			continue;
		regions[i] = region;
		__atomic_add_fetch(&region_count, 1, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

static void remember(uintptr_t first, size_t length, int fd, uint64_t offset)
{
	int file = keep_file(fd);
	if (file < 0)
		return;
	length = (length + PAGE - 1) & ~(PAGE - 1);
	struct region region = { first, first + length, offset, (uint32_t)file };
	if (insert(region))
		tell_mapped(&region);
	else
		drop_file((uint32_t)file);
}

static bool overlaps(uintptr_t first, uintptr_t end)
{
	if (__atomic_load_n(&region_count, __ATOMIC_ACQUIRE) == 0)
		return false;
	for (unsigned i = 0; i < REGIONS; i++)
		if (regions[i].end != 0 && regions[i].first < end && first < regions[i].end)
			return true;
	return false;
}

/* Takes a range out; what sticks out on either side stays. */
static void forget(uintptr_t first, uintptr_t end)
{
	tell_unmapped(first, end);
	for (unsigned i = 0; i < REGIONS; i++) {
		struct region old = regions[i];
		if (old.end == 0 || old.first >= end || first >= old.end)
			continue;
		regions[i].end = 0;
		__atomic_sub_fetch(&region_count, 1, __ATOMIC_RELEASE);
		struct region left = { old.first, first, old.offset, old.file };
		struct region right = { end, old.end, old.offset + (end - old.first), old.file };
		if (old.first < first && insert(left))
			files[old.file].regions++;
		if (old.end > end && insert(right))
			files[old.file].regions++;
		drop_file(old.file);
	}
}

void memory_tell_all(struct process *process)
{
	held_t held = lock_take(&process->mapping);
	for (unsigned i = 0; i < REGIONS && region_count > 0; i++)
		if (regions[i].end != 0)
			tell_mapped(&regions[i]);
	lock_give(&process->mapping, held);
}

void memory_descriptor_moved(int from, int to)
{
	for (unsigned i = 0; i < FILES; i++)
		if (files[i].regions > 0 && files[i].fd == from)
			files[i].fd = to;
}

/* ---- mmap ---- */

/* A mapping that may lie over remembered ones; forgets those first. */
static long map_over(uintptr_t address, size_t length, int protection, int flags, int fd,
		     off_t offset)
{
	uintptr_t end = address + ((length + PAGE - 1) & ~(PAGE - 1));
	if ((flags & MAP_FIXED) == 0 || end < address || !overlaps(address, end))
		return SYS(SYS_mmap, address, length, protection, flags, fd, offset);
	struct process *process = process_here();
	held_t held = lock_take(&process->mapping);
	forget(address, end);
	long mapped = SYS(SYS_mmap, address, length, protection, flags, fd, offset);
	lock_give(&process->mapping, held);
	return mapped;
}

static long map_and_remember(uintptr_t address, size_t length, int protection, int flags, int fd,
			     off_t offset)
{
	long mapped = map_over(address, length, protection, flags, fd, offset);
	if (sys_failed(mapped))
		return mapped;
	struct process *process = process_here();
	held_t held = lock_take(&process->mapping);
	remember((uintptr_t)mapped, length, fd, (uint64_t)offset);
	lock_give(&process->mapping, held);
	return mapped;
}

static bool is_memory_file(int fd)
{
	struct statfs status;
	return SYS(SYS_fstatfs, fd, &status) == 0 &&
	       (status.f_type == TMPFS || (uint32_t)status.f_type == HUGETLBFS);
}

/* A memfd of that size; -1: the program's own call is as good. */
static int make_memory(size_t length, int flags)
{
	struct rlimit limit;
	if (SYS(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) != 0 || limit.rlim_cur < length)
		return -1;
	unsigned huge = 0;
	if ((flags & MAP_HUGETLB) != 0)
		huge = MFD_HUGETLB | ((unsigned)flags & 0xfc000000u);
	long fd = SYS(SYS_memfd_create, "dev/zero", MFD_CLOEXEC | huge);
	if (sys_failed(fd))
		return -1;
	if (SYS(SYS_ftruncate, fd, length) != 0) {
		SYS(SYS_close, fd);
		return -1;
	}
	return (int)fd;
}

static long map_anonymous(uintptr_t address, size_t length, int protection, int flags)
{
	size_t unit = PAGE;
	if ((flags & MAP_HUGETLB) != 0) {
		unsigned shift = (unsigned)flags >> 26;
		unit = 1ul << (shift == 0 ? 21 : shift);
	}
	size_t whole = (length + unit - 1) & ~(unit - 1);
	int fd = whole < length || length == 0 ? -1 : make_memory(whole, flags);
	if (fd < 0)
		return map_over(address, length, protection, flags, -1, 0);
	long mapped = map_and_remember(address, whole, protection, flags & ~MAP_ANONYMOUS, fd, 0);
	SYS(SYS_close, fd);
	/* Where memfds may not be executed, shared memory may. */
	if (mapped == -EPERM || mapped == -EACCES)
		return map_over(address, length, protection, flags, -1, 0);
	return mapped;
}

static long map_ours(const struct ours *what, uintptr_t address, size_t length, int protection,
		     int flags, off_t offset)
{
	struct call call;
	long done = call_begin(&call, IOASIS_OP_MMAP);
	if (done != 0)
		return done;
	call.handle = what->handle;
	call.command = (uint32_t)protection | (uint32_t)flags << 16;
	call.size = length;
	call.offset = (uint64_t)offset;
	done = call_run(&call);
	uint64_t inside = call.address;
	int fd = done < 0 ? -1 : call_descriptor(&call);
	call_end(&call);
	if (done < 0 || fd < 0)
		return done < 0 ? done : fd;
	done = map_and_remember(address, length, protection, flags, fd, (off_t)inside);
	SYS(SYS_close, fd);
	return done;
}

static long map_here(uintptr_t address, size_t length, int protection, int flags, int fd,
		     off_t offset)
{
	struct ours what;
	int type = flags & MAP_TYPE;
	bool is_shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
	if ((flags & MAP_ANONYMOUS) != 0)
		return is_shared ? map_anonymous(address, length, protection, flags) :
				   map_over(address, length, protection, flags, fd, offset);
	if (is_ours(fd, &what))
		return map_ours(&what, address, length, protection, flags, offset);
	if (is_shared && is_memory_file(fd))
		return map_and_remember(address, length, protection, flags, fd, offset);
	return map_over(address, length, protection, flags, fd, offset);
}

void *map_any(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	long mapped = is_on() ? map_here((uintptr_t)address, length, protection, flags, fd, offset) :
				SYS(SYS_mmap, address, length, protection, flags, fd, offset);
	return (void *)libc_result(mapped);
}

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return map_any(address, length, protection, flags, fd, offset);
}

EXPORT void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
	__attribute__((alias("mmap")));
EXPORT void *__mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

/* ---- munmap, mremap ---- */

EXPORT int munmap(void *address, size_t length)
{
	uintptr_t first = (uintptr_t)address;
	uintptr_t end = first + ((length + PAGE - 1) & ~(PAGE - 1));
	bool is_sound = first % PAGE == 0 && length > 0 && end > first;
	if (!is_on() || !is_sound || !overlaps(first, end))
		return (int)libc_result(SYS(SYS_munmap, address, length));
	struct process *process = process_here();
	held_t held = lock_take(&process->mapping);
	forget(first, end);
	long done = SYS(SYS_munmap, address, length);
	lock_give(&process->mapping, held);
	return (int)libc_result(done);
}

EXPORT int __munmap(void *address, size_t length) __attribute__((alias("munmap")));

/* Moves or resizes the remembered region that begins the old range. */
static long remap_known(uintptr_t old, size_t length, size_t wanted, int flags, void *place)
{
	struct region before = { 0, 0, 0, 0 };
	for (unsigned i = 0; i < REGIONS; i++)
		if (regions[i].end != 0 && regions[i].first <= old && old < regions[i].end)
			before = regions[i];
	uint64_t offset = before.offset + (old - before.first);
	int fd = -1;
	if (before.end != 0)
		fd = (int)SYS(SYS_fcntl, files[before.file].fd, F_DUPFD_CLOEXEC, 3);
	uintptr_t target = (uintptr_t)place;
	if ((flags & MREMAP_FIXED) != 0)
		forget(target, target + ((wanted + PAGE - 1) & ~(PAGE - 1)));
	if (length > 0)
		forget(old, old + ((length + PAGE - 1) & ~(PAGE - 1)));
	long moved = SYS(SYS_mremap, old, length, wanted, flags, place);
	if (fd >= 0) {
		if (sys_failed(moved) && length > 0)
			remember(old, length, fd, offset);
		else if (!sys_failed(moved))
			remember((uintptr_t)moved, wanted, fd, offset);
		SYS(SYS_close, fd);
	}
	return moved;
}

EXPORT void *mremap(void *old, size_t length, size_t wanted, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	void *place = (flags & (MREMAP_FIXED | 4)) != 0 ? va_arg(list, void *) : NULL;
	va_end(list);
	uintptr_t first = (uintptr_t)old;
	uintptr_t target = (uintptr_t)place;
	bool is_known = is_on() && (overlaps(first, first + length + 1) ||
				    ((flags & MREMAP_FIXED) != 0 && overlaps(target, target + wanted)));
	if (!is_known)
		return (void *)libc_result(SYS(SYS_mremap, old, length, wanted, flags, place));
	struct process *process = process_here();
	held_t held = lock_take(&process->mapping);
	long moved = remap_known(first, length, wanted, flags, place);
	lock_give(&process->mapping, held);
	return (void *)libc_result(moved);
}
