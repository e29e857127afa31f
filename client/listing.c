/*
 * Listing directories.
 *
 * A directory of the tree the kernel lists; under /dev the type of an entry is mended, since device
 * nodes are plain files there. A merged directory (/sys/bus ...) lists the host's entries without
 * those that the platform serves, then the platform's.
 *
 * glob is libc's, told to list with our functions. scandir and ftw are written anew on top of them,
 * because libc's call its own functions inside.
 */
#include "client.h"

#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTINGS 64

struct listing {
	DIR *directory; /* NULL: free, or listed by getdents64 */
	int fd;         /* of getdents64; 0: none */
	bool is_merged;
	bool is_in_tree; /* the host's entries are through */
	int tree_fd;
	long filled;
	long used;
	char path[192];
	_Alignas(8) char entries[1024];
};

static struct listing listings[LISTINGS];
static uint32_t listing_count;

static struct listing *listing_of(DIR *directory)
{
	if (__atomic_load_n(&listing_count, __ATOMIC_ACQUIRE) == 0 || directory == NULL)
		return NULL;
	for (unsigned i = 0; i < LISTINGS; i++)
		if (__atomic_load_n(&listings[i].directory, __ATOMIC_ACQUIRE) == directory)
			return &listings[i];
	return NULL;
}

static void watch(DIR *directory, const char *path)
{
	bool merges = is_merged(path);
	bool is_dev = strncmp(path, "/dev", 4) == 0 && is_served(path);
	if (directory == NULL || (!merges && !is_dev) || strlen(path) >= sizeof listings[0].path)
		return;
	for (unsigned i = 0; i < LISTINGS; i++) {
		struct listing *listing = &listings[i];
		DIR *nobody = NULL;
		if (listing->fd != 0 ||
		    !__atomic_compare_exchange_n(&listing->directory, &nobody, directory, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		listing->is_merged = merges;
		listing->is_in_tree = false;
		listing->tree_fd = -1;
		listing->filled = listing->used = 0;
		memcpy(listing->path, path, strlen(path) + 1);
		__atomic_add_fetch(&listing_count, 1, __ATOMIC_RELEASE);
		return;
	}
}

static void rewind_listing(struct listing *listing)
{
	if (listing->tree_fd >= 0)
		SYS(SYS_close, listing->tree_fd);
	listing->tree_fd = -1;
	listing->is_in_tree = false;
	listing->filled = listing->used = 0;
}

/* ---- what is shown ---- */

static bool join(char out[PATH_BYTES], const char *directory, const char *name)
{
	size_t first = strlen(directory);
	size_t second = strlen(name);
	if (first + 1 + second + 1 > PATH_BYTES)
		return false;
	memcpy(out, directory, first);
	out[first] = '/';
	memcpy(out + first + 1, name, second + 1);
	return true;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool shows_host(const struct listing *listing, const char *name)
{
	char whole[PATH_BYTES];
	return !listing->is_merged || is_dots(name) || !join(whole, listing->path, name) ||
	       !is_served(whole);
}

static bool shows_tree(const struct listing *listing, const char *name)
{
	char whole[PATH_BYTES];
	if (is_dots(name) || !join(whole, listing->path, name))
		return false;
	return is_served(whole) || sys_failed(SYS(SYS_faccessat, AT_FDCWD, whole, F_OK));
}

static void mend_type(const struct listing *listing, struct dirent *entry)
{
	if (entry->d_type == DT_REG && strncmp(listing->path, "/dev", 4) == 0)
		entry->d_type = DT_CHR;
}

/* The next entry of the tree's part, in the listing's own memory. */
static struct dirent *next_in_tree(struct listing *listing)
{
	if (listing->tree_fd < 0) {
		char real[PATH_BYTES];
		memcpy(real, settings.root, settings.root_length);
		memcpy(real + settings.root_length, listing->path, strlen(listing->path) + 1);
		long fd = SYS(SYS_openat, AT_FDCWD, real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sys_failed(fd))
			return NULL;
		listing->tree_fd = hide_descriptor((int)fd);
		unhide_descriptor(listing->tree_fd);
	}
	for (;;) {
		if (listing->used >= listing->filled) {
			listing->used = 0;
			listing->filled = SYS(SYS_getdents64, listing->tree_fd, listing->entries,
					      sizeof listing->entries);
			if (listing->filled <= 0)
				return NULL;
		}
		struct dirent *entry =
			(struct dirent *)(void *)(listing->entries + listing->used);
		listing->used += entry->d_reclen;
		mend_type(listing, entry);
		if (shows_tree(listing, entry->d_name))
			return entry;
	}
}

/* ---- opendir and friends ---- */

EXPORT DIR *opendir(const char *path)
{
	struct where where;
	int directory = AT_FDCWD;
	const char *real = redirect(&directory, path, &where);
	if (real == NULL)
		return NULL;
	DIR *opened = REAL(opendir)(real);
	if (where.place == PLACE_MERGED || where.place == PLACE_TREE) {
		size_t length = strlen(where.path);
		if (length > 1 && where.path[length - 1] == '/')
			where.path[length - 1] = '\0';
		watch(opened, where.path);
	}
	return opened;
}

EXPORT DIR *fdopendir(int fd)
{
	char path[PATH_BYTES];
	DIR *opened = REAL(fdopendir)(fd);
	if (opened != NULL && directory_path(fd, path))
		watch(opened, path);
	return opened;
}

EXPORT struct dirent *readdir(DIR *directory)
{
	struct listing *listing = listing_of(directory);
	if (listing == NULL)
		return REAL(readdir)(directory);
	while (!listing->is_in_tree) {
		struct dirent *entry = REAL(readdir)(directory);
		if (entry == NULL) {
			if (!listing->is_merged)
				return NULL;
			listing->is_in_tree = true;
			break;
		}
		if (!shows_host(listing, entry->d_name))
			continue;
		if (!listing->is_merged)
			mend_type(listing, entry);
		return entry;
	}
	return next_in_tree(listing);
}

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "one layout");

EXPORT struct dirent64 *readdir64(DIR *directory) __attribute__((alias("readdir")));

EXPORT int readdir_r(DIR *directory, struct dirent *entry, struct dirent **result)
{
	int before = errno;
	errno = 0;
	struct dirent *next = readdir(directory);
	int failure = next == NULL ? errno : 0;
	errno = before;
	*result = next == NULL ? NULL : entry;
	if (next != NULL)
		memcpy(entry, next, next->d_reclen);
	return failure;
}

EXPORT int readdir64_r(DIR *directory, struct dirent64 *entry, struct dirent64 **result)
	__attribute__((alias("readdir_r")));

EXPORT void rewinddir(DIR *directory)
{
	struct listing *listing = listing_of(directory);
	if (listing != NULL)
		rewind_listing(listing);
	REAL(rewinddir)(directory);
}

EXPORT int closedir(DIR *directory)
{
	struct listing *listing = listing_of(directory);
	if (listing != NULL) {
		rewind_listing(listing);
		__atomic_store_n(&listing->directory, NULL, __ATOMIC_RELEASE);
		__atomic_sub_fetch(&listing_count, 1, __ATOMIC_RELEASE);
	}
	return REAL(closedir)(directory);
}

/* ---- getdents64 ---- */

/* The state of a merged directory that is listed by number; a new one when it begins. */
static struct listing *listing_of_number(int fd, const char *path)
{
	struct listing *free_place = NULL;
	for (unsigned i = 0; i < LISTINGS; i++) {
		struct listing *listing = &listings[i];
		if (listing->fd == fd + 1 && strcmp(listing->path, path) == 0)
			return listing;
		if (listing->fd == fd + 1)
			rewind_listing(listing);
		if (listing->fd == fd + 1 || (listing->fd == 0 && listing->directory == NULL))
			free_place = listing;
	}
	if (free_place == NULL || strlen(path) >= sizeof free_place->path)
		return NULL;
	free_place->fd = fd + 1;
	free_place->is_merged = is_merged(path);
	free_place->is_in_tree = false;
	free_place->tree_fd = -1;
	free_place->filled = free_place->used = 0;
	memcpy(free_place->path, path, strlen(path) + 1);
	return free_place;
}

static ssize_t fill_from_tree(struct listing *listing, char *out, size_t bytes)
{
	size_t used = 0;
	struct dirent *entry;
	while (bytes - used >= sizeof *entry && (entry = next_in_tree(listing)) != NULL) {
		memcpy(out + used, entry, entry->d_reclen);
		used += entry->d_reclen;
	}
	if (used == 0) {
		rewind_listing(listing);
		listing->fd = 0;
	}
	return (ssize_t)used;
}

EXPORT ssize_t getdents64(int fd, void *out, size_t bytes)
{
	char path[PATH_BYTES];
	struct listing *listing = NULL;
	if (is_on() && directory_path(fd, path) &&
	    (is_merged(path) || (strncmp(path, "/dev/", 5) == 0 && is_served(path))))
		listing = listing_of_number(fd, path);
	if (listing != NULL && listing->is_in_tree)
		return fill_from_tree(listing, out, bytes);
	for (;;) {
		long got = SYS(SYS_getdents64, fd, out, bytes);
		if (listing == NULL || sys_failed(got))
			return libc_result(got);
		if (got == 0) {
			if (listing->is_merged) {
				listing->is_in_tree = true;
				return fill_from_tree(listing, out, bytes);
			}
			listing->fd = 0;
			return 0;
		}
		long kept = 0;
		for (long at = 0; at < got;) {
			struct dirent *entry = (struct dirent *)(void *)((char *)out + at);
			long length = entry->d_reclen;
			at += length;
			if (!listing->is_merged)
				mend_type(listing, entry);
			if (!shows_host(listing, entry->d_name))
				continue;
			memmove((char *)out + kept, entry, (size_t)length);
			kept += length;
		}
		if (kept > 0)
			return kept;
	}
}

/* ---- scandir ---- */

static void free_entries(struct dirent **entries, int count)
{
	while (count > 0)
		free(entries[--count]);
	free(entries);
}

static int scan(DIR *directory, struct dirent ***out, int (*wants)(const struct dirent *),
		int (*order)(const struct dirent **, const struct dirent **))
{
	struct dirent **entries = NULL;
	struct dirent *entry;
	int count = 0;
	int room = 0;
	if (directory == NULL)
		return -1;
	int before = errno;
	while (errno = 0, (entry = readdir(directory)) != NULL) {
		if (wants != NULL && !wants(entry))
			continue;
		if (count == room) {
			room = room == 0 ? 32 : room * 2;
			struct dirent **more = realloc(entries, (size_t)room * sizeof *more);
			if (more == NULL)
				break;
			entries = more;
		}
		entries[count] = malloc(entry->d_reclen);
		if (entries[count] == NULL)
			break;
		memcpy(entries[count++], entry, entry->d_reclen);
	}
	int failure = errno;
	closedir(directory);
	if (failure != 0) {
		free_entries(entries, count);
		errno = failure;
		return -1;
	}
	errno = before;
	if (order != NULL && count > 1)
		qsort(entries, (size_t)count, sizeof *entries,
		      (int (*)(const void *, const void *))(void *)order);
	*out = entries != NULL ? entries : malloc(sizeof *entries);
	return count;
}

EXPORT int scandir(const char *path, struct dirent ***out, int (*wants)(const struct dirent *),
		   int (*order)(const struct dirent **, const struct dirent **))
{
	return scan(opendir(path), out, wants, order);
}

EXPORT int scandirat(int at, const char *path, struct dirent ***out,
		     int (*wants)(const struct dirent *),
		     int (*order)(const struct dirent **, const struct dirent **))
{
	int fd = open_any(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return fd < 0 ? -1 : scan(fdopendir(fd), out, wants, order);
}

EXPORT int scandir64(const char *path, struct dirent64 ***out,
		     int (*wants)(const struct dirent64 *),
		     int (*order)(const struct dirent64 **, const struct dirent64 **))
{
	return scandir(path, (struct dirent ***)out, (int (*)(const struct dirent *))(void *)wants,
		       (int (*)(const struct dirent **, const struct dirent **))(void *)order);
}

EXPORT int scandirat64(int at, const char *path, struct dirent64 ***out,
		       int (*wants)(const struct dirent64 *),
		       int (*order)(const struct dirent64 **, const struct dirent64 **))
{
	return scandirat(at, path, (struct dirent ***)out,
			 (int (*)(const struct dirent *))(void *)wants,
			 (int (*)(const struct dirent **, const struct dirent **))(void *)order);
}

/* ---- glob ---- */

static void *glob_open(const char *path)
{
	return opendir(path);
}

static struct dirent *glob_next(void *directory)
{
	return readdir(directory);
}

static void glob_close(void *directory)
{
	closedir(directory);
}

EXPORT int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *out)
{
	if (!is_on() || (flags & GLOB_ALTDIRFUNC) != 0)
		return REAL(glob)(pattern, flags, failed, out);
	out->gl_opendir = glob_open;
	out->gl_readdir = (void *)glob_next;
	out->gl_closedir = glob_close;
	out->gl_stat = (void *)stat;
	out->gl_lstat = (void *)lstat;
	int result = REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, failed, out);
	out->gl_flags &= ~GLOB_ALTDIRFUNC;
	return result;
}

EXPORT int glob64(const char *pattern, int flags, int (*failed)(const char *, int), glob64_t *out)
{
	return glob(pattern, flags, failed, (glob_t *)(void *)out);
}
