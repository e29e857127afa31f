/*
 * fts in the tree: libc's lists and looks with its own functions inside. A walk that begins in the
 * platform is done here with the structures of <fts.h>; any other is handed to libc whole.
 *
 * A walk keeps a stack of directories whose entries were read and sorted at once. Options that only
 * make libc's walk cheaper (FTS_NOCHDIR, FTS_NOSTAT) change nothing here: paths are absolute or as
 * given, and the working directory is never changed.
 */
#include "client.h"

#include <dirent.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int order_t(const FTSENT **, const FTSENT **);

/* Our walks; a handle that is not among them is libc's. */
#define WALKS 16

/* In fts_instr: no instruction, as libc has it. */
#define NOTHING_ASKED 3

struct walk {
	FTS face; /* what the program holds */
	order_t *order;
	FTSENT *level[128]; /* of each level, what has not been visited */
	int depth;
	FTSENT *current;
	FTSENT *listed; /* the children of the current directory, after fts_children */
	FTSENT root;	/* the parent of where it begins */
};

static FTS *walks[WALKS];

static struct walk *walk_of(FTS *face)
{
	for (unsigned i = 0; i < WALKS; i++)
		if (face != NULL && __atomic_load_n(&walks[i], __ATOMIC_ACQUIRE) == face)
			return (struct walk *)(void *)face;
	return NULL;
}

/* ---- entries ---- */

static void free_entry(FTSENT *entry)
{
	if (entry == NULL)
		return;
	free(entry->fts_statp);
	free(entry->fts_path);
	free(entry);
}

static void free_list(FTSENT *entry)
{
	while (entry != NULL) {
		FTSENT *next = entry->fts_link;
		free_entry(entry);
		entry = next;
	}
}

static bool is_ancestor(const FTSENT *entry)
{
	for (const FTSENT *up = entry->fts_parent; up != NULL && up->fts_level >= 0;
	     up = up->fts_parent)
		if (up->fts_ino == entry->fts_ino && up->fts_dev == entry->fts_dev)
			return true;
	return false;
}

static unsigned short kind_of(FTSENT *entry, bool follows)
{
	struct stat *status = entry->fts_statp;
	int failed = follows ? stat(entry->fts_path, status) : lstat(entry->fts_path, status);
	if (failed != 0 && follows && lstat(entry->fts_path, status) == 0)
		return FTS_SLNONE;
	if (failed != 0) {
		entry->fts_errno = errno;
		memset(status, 0, sizeof *status);
		return FTS_NS;
	}
	entry->fts_dev = status->st_dev;
	entry->fts_ino = status->st_ino;
	entry->fts_nlink = status->st_nlink;
	if (S_ISDIR(status->st_mode))
		return is_ancestor(entry) ? FTS_DC : FTS_D;
	if (S_ISLNK(status->st_mode))
		return FTS_SL;
	return S_ISREG(status->st_mode) ? FTS_F : FTS_DEFAULT;
}

/* An entry with the path `directory`/`name`, or `name` without directory. */
static FTSENT *make_entry(struct walk *walk, FTSENT *parent, const char *directory,
			  const char *name)
{
	size_t length = strlen(name);
	FTSENT *entry = calloc(1, sizeof *entry + length + 1);
	size_t before = directory == NULL ? 0 : strlen(directory);
	char *path = malloc(before + 1 + length + 1);
	struct stat *status = malloc(sizeof *status);
	if (entry == NULL || path == NULL || status == NULL) {
		free(entry);
		free(path);
		free(status);
		return NULL;
	}
	if (before > 0) {
		memcpy(path, directory, before);
		if (path[before - 1] != '/')
			path[before++] = '/';
	}
	memcpy(path + before, name, length + 1);
	memcpy(entry->fts_name, name, length + 1);
	entry->fts_namelen = (unsigned short)length;
	entry->fts_path = entry->fts_accpath = path;
	entry->fts_pathlen = (unsigned short)strlen(path);
	entry->fts_statp = status;
	entry->fts_parent = parent;
	entry->fts_level = (short)(parent->fts_level + 1);
	entry->fts_instr = NOTHING_ASKED;
	bool follows = (walk->face.fts_options & FTS_LOGICAL) != 0 ||
		       (parent->fts_level < 0 && (walk->face.fts_options & FTS_COMFOLLOW) != 0);
	entry->fts_info = kind_of(entry, follows);
	return entry;
}

static int compare(const void *a, const void *b, void *walk)
{
	return ((struct walk *)walk)->order((const FTSENT **)(uintptr_t)a,
					    (const FTSENT **)(uintptr_t)b);
}

/* Sorts a list as the program wants it. */
static FTSENT *sort(struct walk *walk, FTSENT *list, size_t count)
{
	if (walk->order == NULL || count < 2)
		return list;
	FTSENT **all = malloc(count * sizeof *all);
	if (all == NULL)
		return list;
	size_t used = 0;
	for (FTSENT *entry = list; entry != NULL; entry = entry->fts_link)
		all[used++] = entry;
	qsort_r(all, used, sizeof *all, compare, walk);
	for (size_t i = 0; i < used; i++)
		all[i]->fts_link = i + 1 < used ? all[i + 1] : NULL;
	list = all[0];
	free(all);
	return list;
}

/* What a directory holds; NULL and errno 0 when that is nothing. */
static FTSENT *list_directory(struct walk *walk, FTSENT *parent)
{
	FTSENT *first = NULL;
	FTSENT **end = &first;
	size_t count = 0;
	DIR *directory = opendir(parent->fts_path);
	struct dirent *found;
	if (directory == NULL)
		return NULL;
	while ((found = readdir(directory)) != NULL) {
		bool is_dots = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
		if (is_dots && (walk->face.fts_options & FTS_SEEDOT) == 0)
			continue;
		FTSENT *entry = make_entry(walk, parent, parent->fts_path, found->d_name);
		if (entry == NULL)
			break;
		if (is_dots)
			entry->fts_info = FTS_DOT;
		*end = entry;
		end = &entry->fts_link;
		count++;
	}
	closedir(directory);
	errno = 0;
	return sort(walk, first, count);
}

/* ---- the walk ---- */

EXPORT FTS *fts_open(char *const *paths, int options, order_t *order)
{
	struct where where;
	bool is_here = is_on() && paths[0] != NULL && locate(AT_FDCWD, paths[0], &where) == 0 &&
		       (where.place == PLACE_TREE || where.place == PLACE_MERGED);
	if (!is_here)
		return REAL(fts_open)(paths, options, order);
	struct walk *walk = calloc(1, sizeof *walk);
	if (walk == NULL)
		return NULL;
	walk->face.fts_options = options;
	walk->order = order;
	walk->root.fts_level = FTS_ROOTPARENTLEVEL;
	FTSENT **end = &walk->level[0];
	size_t count = 0;
	for (; *paths != NULL; paths++, count++) {
		*end = make_entry(walk, &walk->root, NULL, *paths);
		if (*end == NULL)
			break;
		end = &(*end)->fts_link;
	}
	walk->level[0] = sort(walk, walk->level[0], count);
	for (unsigned i = 0; i < WALKS; i++) {
		FTS *nobody = NULL;
		if (__atomic_compare_exchange_n(&walks[i], &nobody, &walk->face, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return &walk->face;
	}
	free_list(walk->level[0]);
	free(walk);
	errno = EMFILE;
	return NULL;
}

/* Goes into the current directory. Whether that could be done. */
static bool descend(struct walk *walk)
{
	FTSENT *directory = walk->current;
	int most = (int)(sizeof walk->level / sizeof walk->level[0]) - 1;
	if (walk->depth == most) {
		directory->fts_errno = ENAMETOOLONG;
		return false;
	}
	FTSENT *children = walk->listed;
	walk->listed = NULL;
	errno = 0;
	if (children == NULL)
		children = list_directory(walk, directory);
	if (children == NULL && errno != 0) {
		directory->fts_errno = errno;
		return false;
	}
	walk->level[++walk->depth] = children;
	return true;
}

static bool is_entered(const struct walk *walk, const FTSENT *entry)
{
	if (entry->fts_info != FTS_D || entry->fts_instr == FTS_SKIP)
		return false;
	bool is_elsewhere = entry->fts_level > 0 && entry->fts_dev != entry->fts_parent->fts_dev;
	return (walk->face.fts_options & FTS_XDEV) == 0 || !is_elsewhere;
}

EXPORT FTSENT *fts_read(FTS *face)
{
	struct walk *walk = walk_of(face);
	if (walk == NULL)
		return REAL(fts_read)(face);
	FTSENT *last = walk->current;
	FTSENT *parent = NULL;
	if (last != NULL) {
		if (last->fts_instr == FTS_AGAIN) {
			last->fts_instr = NOTHING_ASKED;
			last->fts_info = kind_of(last, (face->fts_options & FTS_LOGICAL) != 0);
			return last;
		}
		if (last->fts_instr == FTS_FOLLOW) {
			last->fts_instr = NOTHING_ASKED;
			last->fts_info = kind_of(last, true);
			return last;
		}
		if (is_entered(walk, last)) {
			if (!descend(walk)) {
				last->fts_info = FTS_DNR;
				return last;
			}
		} else if (last->fts_info == FTS_D) {
			/* Not entered: it is left at once. */
			last->fts_info = FTS_DP;
			free_list(walk->listed);
			walk->listed = NULL;
			return last;
		} else {
			parent = last->fts_parent;
			free_entry(last);
		}
	}
	walk->current = NULL;
	FTSENT *next = walk->level[walk->depth];
	if (next != NULL) {
		walk->level[walk->depth] = next->fts_link;
		walk->current = next;
		return next;
	}
	if (walk->depth == 0) {
		errno = 0;
		return NULL;
	}
	/* The directory above is through. */
	walk->depth--;
	FTSENT *above = parent != NULL ? parent : last;
	if (above == NULL)
		return NULL;
	above->fts_info = FTS_DP;
	walk->current = above;
	return above;
}

EXPORT FTSENT *fts_children(FTS *face, int options)
{
	struct walk *walk = walk_of(face);
	if (walk == NULL)
		return REAL(fts_children)(face, options);
	errno = 0;
	if (walk->current == NULL)
		return walk->level[0];
	if (walk->current->fts_info != FTS_D)
		return NULL;
	free_list(walk->listed);
	walk->listed = list_directory(walk, walk->current);
	return walk->listed;
}

EXPORT int fts_set(FTS *face, FTSENT *entry, int instruction)
{
	if (walk_of(face) == NULL)
		return REAL(fts_set)(face, entry, instruction);
	if (instruction < 0 || instruction > FTS_SKIP)
		return (int)libc_result(-EINVAL);
	entry->fts_instr = (unsigned short)(instruction == 0 ? NOTHING_ASKED : instruction);
	return 0;
}

EXPORT int fts_close(FTS *face)
{
	struct walk *walk = walk_of(face);
	if (walk == NULL)
		return REAL(fts_close)(face);
	for (unsigned i = 0; i < WALKS; i++)
		if (walks[i] == face)
			__atomic_store_n(&walks[i], NULL, __ATOMIC_RELEASE);
	FTSENT *up = walk->current;
	while (up != NULL && up->fts_level >= 0) {
		FTSENT *parent = up->fts_parent;
		free_entry(up);
		up = parent;
	}
	free_list(walk->listed);
	for (int i = 0; i <= walk->depth; i++)
		free_list(walk->level[i]);
	free(walk);
	return 0;
}

/* One layout on 64-bit machines. */
_Static_assert(sizeof(FTSENT) == sizeof(FTSENT64), "one layout");

EXPORT FTS64 *fts64_open(char *const *paths, int options,
			 int (*order)(const FTSENT64 **, const FTSENT64 **))
{
	return (FTS64 *)(void *)fts_open(paths, options, (order_t *)(void *)order);
}

EXPORT FTSENT64 *fts64_read(FTS64 *face)
{
	return (FTSENT64 *)(void *)fts_read((FTS *)(void *)face);
}

EXPORT FTSENT64 *fts64_children(FTS64 *face, int options)
{
	return (FTSENT64 *)(void *)fts_children((FTS *)(void *)face, options);
}

EXPORT int fts64_set(FTS64 *face, FTSENT64 *entry, int instruction)
{
	return fts_set((FTS *)(void *)face, (FTSENT *)(void *)entry, instruction);
}

EXPORT int fts64_close(FTS64 *face)
{
	return fts_close((FTS *)(void *)face);
}
