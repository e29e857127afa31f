/*
 * Which descriptors are ours.
 *
 * A descriptor of ours is one end of a socket pair; the daemon knows the other. The table notes for
 * each number: unknown, foreign, or ours with the daemon's handle. Every way in which a number can
 * *become* ours is wrapped (open, replies, dup, received over a socket, inherited), and sets the
 * entry or makes it unknown; so "foreign" may be kept without watching every close. An unknown
 * number is looked at once: an unnamed Unix socket is shown to the daemon by its inode number.
 *
 * A forked child keeps the table, but asks the daemon again at the first use of each (the epoch).
 * A child of vfork only reads it.
 *
 * File positions are kept by the daemon, so that they are shared as the kernel shares them. After
 * an lseek the position of that number counts here, and is no longer shared with another process.
 */
#include "client.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define TABLE 65536
#define PATHS 1024
#define KEPT_BYTES 184

enum { TAG_UNKNOWN, TAG_FOREIGN, TAG_OURS };

static uint64_t table[TABLE];
static struct position positions[TABLE];

static struct {
	char text[KEPT_BYTES];
	uint32_t rdev;
	uint32_t length;
} paths[PATHS];
static uint32_t path_count = 1;

static uint64_t pack(uint32_t handle, uint32_t kind, uint16_t path)
{
	return (uint64_t)handle << 32 | (uint64_t)path << 16 | (uint64_t)process_epoch << 8 |
	       (uint64_t)(kind & 63) << 2 | TAG_OURS;
}

static void unpack(uint64_t entry, struct ours *out)
{
	out->handle = (uint32_t)(entry >> 32);
	out->path = (uint16_t)(entry >> 16);
	out->kind = entry >> 2 & 63;
}

static uint8_t epoch_in(uint64_t entry)
{
	return (uint8_t)(entry >> 8);
}

/* ---- kept paths ---- */

uint16_t path_keep(const char *path, uint32_t rdev)
{
	lock_t *keeping = &process_here()->keeping;
	size_t length = strlen(path);
	if (length >= KEPT_BYTES)
		return 0;
	held_t held = lock_take(keeping);
	uint32_t found = 1;
	while (found < path_count &&
	       (paths[found].length != length || paths[found].rdev != rdev ||
		memcmp(paths[found].text, path, length) != 0))
		found++;
	if (found == path_count) {
		if (found == PATHS) {
			found = 0;
		} else {
			memcpy(paths[found].text, path, length + 1);
			paths[found].rdev = rdev;
			paths[found].length = (uint32_t)length;
			path_count++;
		}
	}
	lock_give(keeping, held);
	return (uint16_t)found;
}

const char *path_of(uint16_t kept)
{
	return kept == 0 ? NULL : paths[kept].text;
}

uint32_t rdev_of(uint16_t kept)
{
	return kept == 0 ? 0 : paths[kept].rdev;
}

const char *label_of(const struct ours *what)
{
	static const char *const labels[] = {
		[KIND_IOMMUFD] = "/dev/iommu",
		[KIND_FAULT_QUEUE] = "anon_inode:[iommufd-pgfault]",
		[KIND_EVENT_QUEUE] = "anon_inode:[iommufd-viommu-event]",
		[KIND_ACCESS] = "anon_inode:[iommufd_test_staccess]",
		[KIND_DMA_BUF] = "/dmabuf:",
		[KIND_CONTAINER] = "/dev/vfio/vfio",
		[KIND_GROUP] = "/dev/vfio/group",
		[KIND_DEVICE] = "anon_inode:[vfio-device]",
		[KIND_ATTRIBUTE] = "/sys",
		[KIND_MIGRATION] = "anon_inode:[vfio-migration]",
	};
	const char *path = path_of(what->path);
	if (path != NULL)
		return path;
	if (what->kind < sizeof labels / sizeof labels[0] && labels[what->kind] != NULL)
		return labels[what->kind];
	return "anon_inode:[ioasis]";
}

/* ---- the table ---- */

static void write_entry(int fd, uint64_t entry)
{
	if (fd >= 0 && fd < TABLE && !process_is_borrowed())
		__atomic_store_n(&table[fd], entry, __ATOMIC_RELEASE);
}

void ours_set(int fd, uint32_t handle, uint32_t kind, uint16_t path)
{
	if (fd >= 0 && fd < TABLE && !process_is_borrowed())
		positions[fd] = (struct position){ 0, 0 };
	write_entry(fd, pack(handle, kind, path));
}

void ours_forget(int fd)
{
	if (fd >= 0 && fd < TABLE && __atomic_load_n(&table[fd], __ATOMIC_RELAXED) != TAG_UNKNOWN)
		write_entry(fd, TAG_UNKNOWN);
}

void ours_not(int fd)
{
	if (fd >= 0 && fd < TABLE && __atomic_load_n(&table[fd], __ATOMIC_RELAXED) != TAG_FOREIGN)
		write_entry(fd, TAG_FOREIGN);
}

void ours_copied(int from, int to)
{
	if (from < 0 || from >= TABLE || to < 0 || to >= TABLE || from == to)
		return;
	uint64_t entry = __atomic_load_n(&table[from], __ATOMIC_ACQUIRE);
	if (entry != __atomic_load_n(&table[to], __ATOMIC_RELAXED))
		write_entry(to, entry);
	if ((entry & 3) == TAG_OURS && !process_is_borrowed())
		positions[to] = positions[from];
}

void received_unseen(void)
{
	for (int fd = 0; fd < TABLE; fd++)
		if (__atomic_load_n(&table[fd], __ATOMIC_RELAXED) == TAG_FOREIGN)
			write_entry(fd, TAG_UNKNOWN);
}

struct position *position_of(int fd)
{
	static struct position elsewhere;
	return fd >= 0 && fd < TABLE ? &positions[fd] : &elsewhere;
}

/* ---- unknown numbers ---- */

/* The inode of an unnamed, connected Unix socket; 0: something else. */
static uint64_t pair_inode(int fd)
{
	struct stat status;
	int domain = 0;
	socklen_t length = sizeof domain;
	struct sockaddr_un name;
	if (SYS(SYS_fstat, fd, &status) != 0 || !S_ISSOCK(status.st_mode))
		return 0;
	if (SYS(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
	    domain != AF_UNIX)
		return 0;
	length = sizeof name;
	long done = SYS(SYS_getpeername, fd, &name, &length);
	if (done != -ENOTCONN && (done != 0 || length > sizeof name.sun_family))
		return 0;
	return status.st_ino;
}

/* Asks the daemon. 1: ours; 0: not; -1: cannot be asked. */
static int ask_daemon(uint64_t inode, struct ours *out)
{
	struct call call;
	if (call_begin(&call, IOASIS_OP_RESOLVE) != 0)
		return -1;
	call.argument = inode;
	long done = call_run(&call);
	int answer = done >= 0 ? 1 : done == -ENOENT ? 0 : -1;
	if (answer == 1) {
		char label[KEPT_BYTES];
		size_t length = call.reply_length < sizeof label ? call.reply_length : 0;
		out->handle = call.new_handle;
		out->kind = (uint8_t)call.new_kind;
		out->path = 0;
		memcpy(label, call.payload, length);
		label[length] = '\0';
		if (length > 0 || call.new_rdev != 0)
			out->path = path_keep(length > 0 ? label : label_of(out), call.new_rdev);
	}
	call_end(&call);
	return answer;
}

static bool find_out(int fd, struct ours *out)
{
	uint64_t inode = is_hidden(fd) ? 0 : pair_inode(fd);
	int answer = inode == 0 ? 0 : ask_daemon(inode, out);
	if (answer == 1)
		write_entry(fd, pack(out->handle, out->kind, out->path));
	else if (answer == 0)
		write_entry(fd, TAG_FOREIGN);
	return answer == 1;
}

bool is_ours(int fd, struct ours *out)
{
	if (!is_on() || fd < 0)
		return false;
	if (fd >= TABLE)
		return find_out(fd, out);
	uint64_t entry = __atomic_load_n(&table[fd], __ATOMIC_ACQUIRE);
	if ((entry & 3) == TAG_FOREIGN)
		return false;
	if ((entry & 3) == TAG_OURS) {
		process_here();
		unpack(entry, out);
		if (epoch_in(entry) == process_epoch)
			return true;
		uint16_t path = out->path;
		if (!find_out(fd, out))
			return false;
		if (path != 0) {
			out->path = path;
			write_entry(fd, pack(out->handle, out->kind, path));
		}
		return true;
	}
	return find_out(fd, out);
}

bool is_ours_already(int fd)
{
	return is_on() && fd >= 0 && fd < TABLE &&
	       (__atomic_load_n(&table[fd], __ATOMIC_ACQUIRE) & 3) == TAG_OURS;
}

int close_ours(int fd, const struct ours *what)
{
	ours_forget(fd);
	long done = SYS(SYS_close, fd);
	if (is_connected())
		call_plain(IOASIS_OP_CLOSED, what->handle, 0, 0);
	return (int)libc_result(done);
}
