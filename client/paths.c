/*
 * Where a path of the program leads.
 *
 * Most paths have nothing to do with the platform and are left alone after a look at their first
 * letters. A path below a served prefix goes to the same place under the tree's root; links in the
 * tree are relative, so the kernel resolves the rest. Only ".." needs care: after a link it means
 * the parent of where the link leads, and it may leave the tree for the host's part of /sys. Such
 * paths are resolved here, part by part, over tree and host together.
 */
#include "client.h"

#include <ctype.h>
#include <limits.h>
#include <sys/stat.h>

#define LINKS_MAX 40

/* Whole directories, or files, of the platform. */
static const char *const SERVED[] = {
	"/dev/iommu",
	"/dev/vfio",
	"/sys/bus/pci",
	"/sys/class/iommu",
	"/sys/class/vfio",
	"/sys/class/vfio-dev",
	"/sys/devices/virtual/iommu",
	"/sys/devices/virtual/vfio",
	"/sys/devices/virtual/vfio-dev",
	"/sys/kernel/iommu_groups",
	"/sys/module/iommufd",
};

/* Names that only have to begin like this. */
static const char *const SERVED_BEGINNINGS[] = {
	"/sys/module/vfio",
	"/sys/kernel/debug/fail",
	"/sys/devices/platform/arm-smmu",
	"/sys/devices/platform/riscv-iommu",
};

/* Directories of the host in which the platform has entries. */
static const char *const MERGED[] = {
	"/dev",
	"/dev/char",
	"/sys",
	"/sys/bus",
	"/sys/class",
	"/sys/devices",
	"/sys/devices/platform",
	"/sys/devices/virtual",
	"/sys/kernel",
	"/sys/kernel/debug",
	"/sys/module",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint32_t cwd_matters;
static uint32_t tree_is_there;

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static bool is_host_bridge(const char *path)
{
	const char *const stem = "/sys/devices/pci";
	if (!begins(path, stem))
		return false;
	path += strlen(stem);
	for (unsigned i = 0; i < 7; i++)
		if (i == 4 ? path[i] != ':' : !isxdigit((unsigned char)path[i]))
			return false;
	return path[7] == '/' || path[7] == '\0';
}

static bool is_in_tree(const char *path)
{
	char real[PATH_BYTES + 256];
	struct stat status;
	memcpy(real, settings.root, settings.root_length);
	memcpy(real + settings.root_length, path, strlen(path) + 1);
	return SYS(SYS_newfstatat, AT_FDCWD, real, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_served(const char *path)
{
	if (!begins(path, "/sys/") && !begins(path, "/dev/"))
		return false;
	for (unsigned i = 0; i < COUNT(SERVED); i++)
		if (is_below(path, SERVED[i]))
			return true;
	for (unsigned i = 0; i < COUNT(SERVED_BEGINNINGS); i++)
		if (begins(path, SERVED_BEGINNINGS[i]))
			return true;
	if (begins(path, "/dev/char/"))
		return is_in_tree(path);
	return is_host_bridge(path);
}

bool is_merged(const char *path)
{
	for (unsigned i = 0; i < COUNT(MERGED); i++)
		if (strcmp(path, MERGED[i]) == 0)
			return true;
	return false;
}

/* Makes the daemon lay out the tree, unless it has. */
static void want_tree(void)
{
	if (__atomic_load_n(&tree_is_there, __ATOMIC_ACQUIRE) != 0)
		return;
	char mark[sizeof settings.root + 16];
	struct stat status;
	memcpy(mark, settings.root, settings.root_length);
	memcpy(mark + settings.root_length, "/.complete", 11);
	if (SYS(SYS_newfstatat, AT_FDCWD, mark, &status, 0) == 0 ||
	    call_plain(IOASIS_OP_TREE, 0, 0, 0) >= 0)
		__atomic_store_n(&tree_is_there, 1, __ATOMIC_RELEASE);
}

const char *strip_root(const char *real)
{
	if (!is_below(real, settings.root))
		return real;
	real += settings.root_length;
	return real[0] == '\0' ? "/" : real;
}

static bool matters(const char *directory)
{
	return strcmp(directory, "/") == 0 || is_below(directory, "/sys") ||
	       is_below(directory, "/dev") || is_below(directory, "/proc") ||
	       is_below(directory, settings.root);
}

void paths_moved(void)
{
	char cwd[PATH_BYTES];
	long length = SYS(SYS_getcwd, cwd, sizeof cwd);
	__atomic_store_n(&cwd_matters, !sys_failed(length) && matters(cwd), __ATOMIC_RELEASE);
}

/* The kernel's path of an open directory. */
static bool real_directory(int fd, char out[PATH_BYTES])
{
	char link[32] = "/proc/self/fd/";
	char digits[12];
	unsigned count = 0;
	size_t used = strlen(link);
	for (unsigned rest = (unsigned)fd; count == 0 || rest > 0; rest /= 10)
		digits[count++] = (char)('0' + rest % 10);
	while (count > 0)
		link[used++] = digits[--count];
	link[used] = '\0';
	long length = SYS(SYS_readlinkat, AT_FDCWD, link, out, PATH_BYTES - 1);
	if (sys_failed(length) || out[0] != '/')
		return false;
	out[length] = '\0';
	return true;
}

bool directory_path(int fd, char out[PATH_BYTES])
{
	if (!is_on() || fd < 0 || !real_directory(fd, out) || !matters(out))
		return false;
	const char *virtual = strip_root(out);
	memmove(out, virtual, strlen(virtual) + 1);
	return true;
}

/* ---- putting a path together ---- */

/* Appends without doubled slashes and "."; ".." stays. 0 or -ENAMETOOLONG. */
static long append(char out[PATH_BYTES], const char *path, bool *has_up)
{
	size_t used = strlen(out);
	if (used == 1)
		used = 0;
	while (*path != '\0') {
		size_t length = strcspn(path, "/");
		bool is_dot = length == 1 && path[0] == '.';
		if (length == 2 && path[0] == '.' && path[1] == '.')
			*has_up = true;
		if (length > 0 && !is_dot) {
			if (used + 1 + length + 2 > PATH_BYTES)
				return -ENAMETOOLONG;
			out[used++] = '/';
			memcpy(out + used, path, length);
			used += length;
		}
		path += length;
		/* A slash at the end makes the kernel follow a link there. */
		if (path[0] == '/' && path[1] == '\0' && used > 0 && length > 0)
			out[used++] = '/';
		while (*path == '/')
			path++;
	}
	if (used == 0)
		out[used++] = '/';
	out[used] = '\0';
	return 0;
}

static bool mentions_ours(const char *path)
{
	return strstr(path, "sys") != NULL || strstr(path, "dev") != NULL;
}

/*
 * Absolute virtual path of the program's path. 1: done; 0: of no interest; -errno.
 */
static long absolute(int directory, const char *path, char out[PATH_BYTES], bool *has_up)
{
	ssize_t length = string_length(path, PATH_MAX);
	if (length <= 0)
		return 0;
	bool up = strstr(path, "..") != NULL && mentions_ours(path);
	char base[PATH_BYTES] = "/";
	if (path[0] == '/') {
		char first = path[1 + strspn(path + 1, "/.")];
		if (first != 's' && first != 'd' && first != 'p' && !up &&
		    !is_below(path, settings.root))
			return 0;
		path = strip_root(path);
	} else if (directory == AT_FDCWD) {
		if (__atomic_load_n(&cwd_matters, __ATOMIC_ACQUIRE) == 0 && !up)
			return 0;
		if (sys_failed(SYS(SYS_getcwd, base, sizeof base)))
			return 0;
	} else {
		if (!real_directory(directory, base) || (!matters(base) && !up))
			return 0;
	}
	const char *from = strip_root(base);
	memmove(out, from, strlen(from) + 1);
	if (out[0] != '/')
		return 0;
	long done = append(out, path, has_up);
	if (done != 0)
		return path[0] == '/' && !is_served(path) ? 0 : done;
	return 1;
}

/* ---- links and ".." ---- */

/* Where one resolved prefix lies for the kernel. */
static void place_prefix(const char *path, char real[PATH_BYTES + 256])
{
	size_t root = is_served(path) ? settings.root_length : 0;
	memcpy(real, settings.root, root);
	memcpy(real + root, path, strlen(path) + 1);
}

/* Puts a link's text before what is left. */
static long substitute(char rest[PATH_BYTES], const char *after, const char *link)
{
	char joined[PATH_BYTES];
	size_t first = strlen(link);
	size_t second = strlen(after);
	if (first + 1 + second + 1 > sizeof joined)
		return -ENAMETOOLONG;
	memcpy(joined, link, first);
	joined[first] = '/';
	memcpy(joined + first + 1, after, second + 1);
	memcpy(rest, joined, first + second + 2);
	return 0;
}

/* As resolve; *crossed: the way led through the tree, so the kernel cannot go it by itself. */
static long walk_path(const char *path, bool follow, char out[PATH_BYTES], bool *crossed)
{
	char rest[PATH_BYTES];
	char real[PATH_BYTES + 256];
	char link[PATH_BYTES];
	unsigned links = 0;
	size_t used = 0;
	memcpy(rest, path, strlen(path) + 1);
	char *at = rest;
	out[0] = '\0';
	while (at[strspn(at, "/")] != '\0') {
		at += strspn(at, "/");
		size_t length = strcspn(at, "/");
		const char *after = at + length;
		bool is_last = after[strspn(after, "/")] == '\0';
		if (length == 1 && at[0] == '.') {
			at += length;
			continue;
		}
		if (length == 2 && at[0] == '.' && at[1] == '.') {
			while (used > 0 && out[--used] != '/')
				;
			out[used] = '\0';
			at += length;
			continue;
		}
		if (used + 1 + length >= PATH_BYTES)
			return -ENAMETOOLONG;
		out[used] = '/';
		memcpy(out + used + 1, at, length);
		out[used + 1 + length] = '\0';
		long got = -EINVAL;
		if (!is_last || follow || *after == '/') {
			*crossed = *crossed || is_served(out);
			place_prefix(out, real);
			got = SYS(SYS_readlinkat, AT_FDCWD, real, link, sizeof link - 1);
		}
		if (sys_failed(got) && got != -EINVAL && !(is_last && got == -ENOENT && !follow))
			return got;
		if (sys_failed(got)) {
			used += 1 + length;
			at += length;
			continue;
		}
		link[got] = '\0';
		if (++links > LINKS_MAX)
			return -ELOOP;
		const char *virtual = link[0] == '/' ? strip_root(link) : link;
		if (link[0] == '/')
			used = 0;
		out[used] = '\0';
		long done = substitute(rest, after, virtual);
		if (done != 0)
			return done;
		at = rest;
	}
	if (used == 0)
		memcpy(out, "/", 2);
	return 0;
}

long resolve(const char *path, bool follow, char out[PATH_BYTES])
{
	bool crossed = false;
	return walk_path(path, follow, out, &crossed);
}

long resolve_from(int directory, const char *path, bool follow, char out[PATH_BYTES])
{
	char whole[PATH_BYTES];
	bool has_up = false;
	long done = absolute(directory, path, whole, &has_up);
	if (done <= 0)
		return done < 0 ? done : 1;
	done = resolve(whole, follow, out);
	return done < 0 ? done : 0;
}

/* ---- the answer ---- */

int descriptor_link(const char *path)
{
	static const char *const stems[] = { "/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/" };
	if (strcmp(path, "/dev/stdin") == 0)
		return 0;
	if (strcmp(path, "/dev/stdout") == 0)
		return 1;
	if (strcmp(path, "/dev/stderr") == 0)
		return 2;
	for (unsigned i = 0; i < COUNT(stems); i++) {
		if (!begins(path, stems[i]))
			continue;
		const char *digit = path + strlen(stems[i]);
		int number = 0;
		if (*digit == '\0')
			return -1;
		for (; *digit != '\0'; digit++) {
			if (!isdigit((unsigned char)*digit) || number > 1000000)
				return -1;
			number = number * 10 + (*digit - '0');
		}
		return number;
	}
	return -1;
}

static bool ends(const char *path, const char *with)
{
	size_t length = strlen(path);
	size_t tail = strlen(with);
	return length >= tail && strcmp(path + length - tail, with) == 0;
}

static enum place place_of(const char *path)
{
	if (begins(path, "/proc/")) {
		if (ends(path, "/fail-nth") || ends(path, "/make-it-fail"))
			return PLACE_DAEMON;
		const char *tail = strchr(path + 6, '/');
		return tail != NULL && strcmp(tail, "/status") == 0 ? PLACE_STATUS : PLACE_UNTOUCHED;
	}
	if (is_served(path))
		return PLACE_TREE;
	size_t length = strlen(path);
	char bare[PATH_BYTES];
	memcpy(bare, path, length + 1);
	if (length > 1 && bare[length - 1] == '/')
		bare[length - 1] = '\0';
	return is_merged(bare) ? PLACE_MERGED : PLACE_UNTOUCHED;
}

static void set_real(struct where *where, bool in_tree)
{
	size_t root = in_tree ? settings.root_length : 0;
	memcpy(where->real, settings.root, root);
	memcpy(where->real + root, where->path, strlen(where->path) + 1);
}

long locate(int directory, const char *path, struct where *where)
{
	bool has_up = false;
	where->place = PLACE_UNTOUCHED;
	where->path[0] = '\0';
	if (!is_on())
		return 0;
	long done = absolute(directory, path, where->path, &has_up);
	if (done <= 0)
		return done;
	bool crossed = false;
	if (has_up) {
		char resolved[PATH_BYTES];
		done = walk_path(where->path, false, resolved, &crossed);
		if (done != 0)
			return crossed ? done : 0;
		memcpy(where->path, resolved, strlen(resolved) + 1);
	}
	struct ours what;
	int linked = descriptor_link(where->path);
	if (linked >= 0 && is_ours(linked, &what) && path_of(what.path) != NULL)
		memcpy(where->path, path_of(what.path), strlen(path_of(what.path)) + 1);
	where->place = place_of(where->path);
	if (where->place == PLACE_TREE || where->place == PLACE_MERGED)
		want_tree();
	if (where->place == PLACE_UNTOUCHED && crossed)
		where->place = PLACE_HOST;
	set_real(where, where->place == PLACE_TREE);
	return 0;
}

const char *redirect(int *directory, const char *path, struct where *where)
{
	long done = locate(*directory, path, where);
	if (done < 0) {
		errno = (int)-done;
		return NULL;
	}
	switch (where->place) {
	case PLACE_MERGED:
		/* The host's own, unless it is not there or closed to us. */
		if (sys_failed(SYS(SYS_faccessat, AT_FDCWD, where->path, 5)))
			set_real(where, true);
		break;
	case PLACE_TREE:
	case PLACE_HOST:
		break;
	case PLACE_UNTOUCHED:
	case PLACE_STATUS:
	case PLACE_DAEMON:
		return path;
	}
	*directory = AT_FDCWD;
	return where->real;
}
