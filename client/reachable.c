/*
 * Which programs this library can reach.
 *
 * It is loaded by the dynamic loader of a program. A static program has none, a program of another
 * machine has another, a program that gains rights ignores LD_PRELOAD, and Go makes its own system
 * calls. Such a program would see the host behind the platform's back, so it is refused at exec.
 * The file is read with system calls only: a child of vfork may be the one that asks.
 */
#include "client.h"
#include "reachable.h"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPTS_MAX 5
#define HEADERS_MAX 64
#define NOTES_MAX 1024u

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#else
#define OUR_MACHINE EM_AARCH64
#endif

static bool read_at(int fd, void *out, size_t bytes, uint64_t offset)
{
	return SYS(SYS_pread64, fd, out, bytes, offset) == (long)bytes;
}

/* A note named Go: its build id. */
static bool has_go_note(int fd, uint64_t offset, uint64_t bytes)
{
	unsigned char notes[NOTES_MAX];
	size_t length = bytes < sizeof notes ? bytes : sizeof notes;
	if (!read_at(fd, notes, length, offset))
		return false;
	for (size_t at = 0; at + 12 <= length;) {
		uint32_t name, text;
		memcpy(&name, notes + at, 4);
		memcpy(&text, notes + at + 4, 4);
		if (name == 4 && at + 16 <= length && memcmp(notes + at + 12, "Go\0", 4) == 0)
			return true;
		if (name > NOTES_MAX || text > NOTES_MAX)
			return false;
		at += 12 + ((name + 3) & ~3u) + ((text + 3) & ~3u);
	}
	return false;
}

/* Sections of Go's linker; a stripped note still leaves them. */
static bool has_go_section(int fd, const Elf64_Ehdr *head)
{
	Elf64_Shdr names, section;
	if (head->e_shoff == 0 || head->e_shentsize != sizeof section ||
	    !read_at(fd, &names, sizeof names,
		     head->e_shoff + (uint64_t)head->e_shstrndx * sizeof section))
		return false;
	for (unsigned i = 0; i < head->e_shnum && i < 256; i++) {
		char name[16] = "";
		if (!read_at(fd, &section, sizeof section, head->e_shoff + i * sizeof section))
			return false;
		SYS(SYS_pread64, fd, name, sizeof name - 1, names.sh_offset + section.sh_name);
		if (strcmp(name, ".go.buildinfo") == 0)
			return true;
	}
	return false;
}

/* The dynamic loader itself has no interpreter either, and loads this library. */
static bool is_loader(const char *path)
{
	const char *name = strrchr(path, '/');
	name = name == NULL ? path : name + 1;
	return strncmp(name, "ld-linux", 8) == 0 || strncmp(name, "ld.so", 5) == 0 ||
	       strncmp(name, "ld-2.", 5) == 0;
}

static const char *judge_elf(int fd, const char *path)
{
	Elf64_Ehdr head;
	if (!read_at(fd, &head, sizeof head, 0))
		return NULL;
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != OUR_MACHINE)
		return "is a program for another kind of machine";
	if (head.e_phentsize != sizeof(Elf64_Phdr))
		return NULL;
	bool has_interpreter = false;
	bool is_go = false;
	for (unsigned i = 0; i < head.e_phnum && i < HEADERS_MAX; i++) {
		Elf64_Phdr part;
		if (!read_at(fd, &part, sizeof part, head.e_phoff + i * sizeof part))
			return NULL;
		has_interpreter = has_interpreter || part.p_type == PT_INTERP;
		is_go = is_go || (part.p_type == PT_NOTE &&
				  has_go_note(fd, part.p_offset, part.p_filesz));
	}
	if (is_go || has_go_section(fd, &head))
		return "is a Go program, which makes system calls without libc";
	if (!has_interpreter && !is_loader(path))
		return "is statically linked";
	return NULL;
}

static const char *judge_rights(int fd)
{
	struct stat status;
	if (SYS(SYS_fstat, fd, &status) != 0)
		return NULL;
	if ((status.st_mode & S_ISUID) != 0 && status.st_uid != (uid_t)SYS(SYS_getuid))
		return "changes the user (setuid), so the loader ignores LD_PRELOAD";
	if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	    status.st_gid != (gid_t)SYS(SYS_getgid))
		return "changes the group (setgid), so the loader ignores LD_PRELOAD";
	char capabilities[32];
	if (SYS(SYS_getuid) != 0 && SYS(SYS_fgetxattr, fd, "security.capability", capabilities,
					sizeof capabilities) > 0)
		return "has file capabilities, so the loader ignores LD_PRELOAD";
	return NULL;
}

/* The interpreter of a script: copied to `out`. */
static bool script_interpreter(int fd, char *out, size_t room)
{
	long length = SYS(SYS_pread64, fd, out, room - 1, 0);
	if (length < 3 || out[0] != '#' || out[1] != '!')
		return false;
	out[length] = '\0';
	size_t skip = 2 + strspn(out + 2, " \t");
	size_t name = strcspn(out + skip, " \t\n");
	if (name == 0)
		return false;
	memmove(out, out + skip, name);
	out[name] = '\0';
	return true;
}

const char *why_unreachable(int directory, const char *path, int flags)
{
	char interpreter[256];
	const char *reason = NULL;
	for (unsigned depth = 0; depth < SCRIPTS_MAX && reason == NULL; depth++) {
		bool is_number = (flags & AT_EMPTY_PATH) != 0 && path[0] == '\0';
		long fd = is_number ? directory :
				      SYS(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (sys_failed(fd)) /* the kernel says what is wrong, or it cannot be read */
			return NULL;
		char magic[4] = "";
		read_at((int)fd, magic, sizeof magic, 0);
		bool is_script = magic[0] == '#' && magic[1] == '!';
		if (memcmp(magic, ELFMAG, SELFMAG) == 0) {
			reason = judge_rights((int)fd);
			if (reason == NULL)
				reason = judge_elf((int)fd, path);
		} else if (is_script) {
			is_script = script_interpreter((int)fd, interpreter, sizeof interpreter);
		}
		if (!is_number)
			SYS(SYS_close, fd);
		if (!is_script)
			return reason;
		directory = AT_FDCWD;
		path = interpreter;
		flags = 0;
	}
	return reason;
}
