/*
 * ftw and nftw in the tree: libc's list and look with its own functions inside, so for directories
 * of the platform they are done here, on top of our opendir and lstat. Elsewhere libc's are used.
 */
#include "client.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int old_visit_t(const char *, const struct stat *, int);
typedef int visit_t(const char *, const struct stat *, int, struct FTW *);

struct walk {
	visit_t *visit;
	old_visit_t *old_visit;
	int flags;
	dev_t device;
	char path[PATH_BYTES];
};

static int call_visit(struct walk *walk, const struct stat *status, int type, struct FTW *at)
{
	if (walk->old_visit == NULL)
		return walk->visit(walk->path, status, type, at);
	/* The old form knows fewer types. */
	int old = type == FTW_DP ? FTW_D : type == FTW_SL || type == FTW_SLN ? FTW_NS : type;
	return walk->old_visit(walk->path, status, old);
}

static int type_of(struct walk *walk, struct stat *status)
{
	if ((walk->flags & FTW_PHYS) != 0)
		return lstat(walk->path, status) != 0 ? FTW_NS :
		       S_ISLNK(status->st_mode)	      ? FTW_SL :
		       S_ISDIR(status->st_mode)	      ? FTW_D :
							FTW_F;
	if (stat(walk->path, status) != 0)
		return lstat(walk->path, status) == 0 ? FTW_SLN : FTW_NS;
	return S_ISDIR(status->st_mode) ? FTW_D : FTW_F;
}

static int walk_entry(struct walk *walk, size_t base, int level);

static int walk_children(struct walk *walk, DIR *directory, int level)
{
	size_t length = strlen(walk->path);
	struct dirent *entry;
	int result = 0;
	while (result == 0 && (entry = readdir(directory)) != NULL) {
		size_t name = strlen(entry->d_name);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    length + 1 + name >= sizeof walk->path)
			continue;
		walk->path[length] = '/';
		memcpy(walk->path + length + 1, entry->d_name, name + 1);
		result = walk_entry(walk, length + 1, level + 1);
		walk->path[length] = '\0';
		if ((walk->flags & FTW_ACTIONRETVAL) == 0)
			continue;
		if (result == FTW_SKIP_SUBTREE)
			result = 0;
		if (result == FTW_SKIP_SIBLINGS)
			return 0;
	}
	return result;
}

static int walk_entry(struct walk *walk, size_t base, int level)
{
	struct stat status;
	struct FTW at = { (int)base, level };
	int type = type_of(walk, &status);
	if (type != FTW_D)
		return call_visit(walk, &status, type, &at);
	if ((walk->flags & FTW_MOUNT) != 0 && status.st_dev != walk->device && level > 0)
		return 0;
	/* Links are followed without FTW_PHYS; a loop ends where the path is too long. */
	DIR *directory = opendir(walk->path);
	if (directory == NULL)
		return call_visit(walk, &status, FTW_DNR, &at);
	bool is_late = (walk->flags & FTW_DEPTH) != 0;
	int result = is_late ? 0 : call_visit(walk, &status, FTW_D, &at);
	if (result == 0 && (walk->flags & FTW_CHDIR) != 0)
		result = fchdir(dirfd(directory));
	if (result == 0)
		result = walk_children(walk, directory, level);
	closedir(directory);
	if (result == 0 && is_late)
		result = call_visit(walk, &status, FTW_DP, &at);
	return result;
}

static bool begins_in_platform(const char *path, struct where *where)
{
	return is_on() && locate(AT_FDCWD, path, where) == 0 &&
	       (where->place == PLACE_TREE || where->place == PLACE_MERGED);
}

static int walk_from(const struct where *where, visit_t *visit, old_visit_t *old_visit, int flags)
{
	struct walk walk = { .visit = visit, .old_visit = old_visit, .flags = flags };
	struct stat status;
	size_t length = strlen(where->path);
	memcpy(walk.path, where->path, length + 1);
	while (length > 1 && walk.path[length - 1] == '/')
		walk.path[--length] = '\0';
	if (lstat(walk.path, &status) != 0)
		return -1;
	walk.device = status.st_dev;
	const char *last = strrchr(walk.path, '/');
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = walk_entry(&walk, (size_t)(last - walk.path) + 1, 0);
	if (before >= 0) {
		if ((flags & FTW_CHDIR) != 0)
			result = fchdir(before) != 0 && result == 0 ? -1 : result;
		close(before);
	}
	return result;
}

EXPORT int ftw(const char *path, old_visit_t *visit, int descriptors)
{
	struct where where;
	if (!begins_in_platform(path, &where))
		return REAL(ftw)(path, visit, descriptors);
	return walk_from(&where, NULL, visit, 0);
}

EXPORT int nftw(const char *path, visit_t *visit, int descriptors, int flags)
{
	struct where where;
	if (!begins_in_platform(path, &where))
		return REAL(nftw)(path, visit, descriptors, flags);
	return walk_from(&where, visit, NULL, flags);
}

EXPORT int ftw64(const char *path, int (*visit)(const char *, const struct stat64 *, int),
		 int descriptors)
{
	return ftw(path, (old_visit_t *)(void *)visit, descriptors);
}

EXPORT int nftw64(const char *path,
		  int (*visit)(const char *, const struct stat64 *, int, struct FTW *),
		  int descriptors, int flags)
{
	return nftw(path, (visit_t *)(void *)visit, descriptors, flags);
}
