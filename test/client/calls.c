/*
 * What a program may do with descriptors of the platform, against the test server.
 *
 * Prints one line per check, "ok NAME" or "not ok NAME", and exits with the number of the latter.
 * The server's ioctls are described in server.c.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <fts.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/sys/bus/pci/devices/0000:00:01.0"

static int failures;

static void check(const char *name, int good)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	if (!good)
		failures++;
	fflush(stdout);
}

struct argument {
	uint32_t size;
	uint32_t value;
	uint64_t pointer;
};

static int open_files(int fd)
{
	struct argument argument = { sizeof argument, 0, 0 };
	return ioctl(fd, 0x3b05, &argument);
}

static int mappings(int fd)
{
	struct argument argument = { sizeof argument, 0, 0 };
	return ioctl(fd, 0x3b06, &argument);
}

/* ---- ioctl ---- */

static void check_arguments(int fd)
{
	struct argument on_stack = { sizeof on_stack, 41, 0 };
	static struct argument in_data = { sizeof in_data, 41, 0 };
	check("argument on the stack", ioctl(fd, 0x3b01, &on_stack) == 0 && on_stack.value == 42);
	check("argument in data", ioctl(fd, 0x3b01, &in_data) == 0 && in_data.value == 42);
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + 4096, 4096);
	struct argument *at_end = (struct argument *)(void *)(pages + 4096 - 8);
	at_end->size = 8;
	at_end->value = 1;
	check("argument at the end of memory", ioctl(fd, 0x3b01, at_end) == 0 && at_end->value == 2);
	mprotect(pages, 4096, PROT_READ);
	check("read-only argument", ioctl(fd, 0x3b01, at_end) == -1 && errno == EFAULT);
	check("null argument", ioctl(fd, 0x3b01, NULL) == -1 && errno == EFAULT);
	check("wild argument", ioctl(fd, 0x3b01, (void *)0xdeadbeef000) == -1 && errno == EFAULT);
	check("kernel address",
	      ioctl(fd, 0x3b01, (void *)0xffffffffffff0000) == -1 && errno == EFAULT);
	check("unknown ioctl", ioctl(fd, 0x3bff, &on_stack) == -1 && errno == ENOTTY);
	uint8_t bytes[1000];
	memset(bytes, 3, sizeof bytes);
	struct argument sum = { sizeof sum, sizeof bytes, (uintptr_t)bytes };
	check("memory copied for the daemon", ioctl(fd, 0x3b04, &sum) == 3000);
	sum.pointer = 16;
	check("wild memory for the daemon", ioctl(fd, 0x3b04, &sum) == -1 && errno == EFAULT);
	munmap(pages, 4096);
}

static void check_new_descriptors(int fd)
{
	struct argument argument = { sizeof argument, 0, 0 };
	int before = open_files(fd);
	int made = ioctl(fd, 0x3b02, &argument);
	check("descriptor as result", made > 2 && open_files(made) == before + 1);
	check("close-on-exec", (fcntl(made, F_GETFD) & FD_CLOEXEC) != 0);
	check("descriptor in the argument",
	      ioctl(fd, 0x3b03, &argument) == 0 && argument.value > 2 &&
		      open_files((int)argument.value) == before + 2);
	close(made);
	check("close is synchronous", open_files(fd) == before + 1);
	close((int)argument.value);
	check("closed handles are gone", open_files(fd) == before);
	check("descriptor to a wild address",
	      ioctl(fd, 0x3b03, (void *)0xdeadbeef000) == -1 && errno == EFAULT &&
		      open_files(fd) == before);
	struct rlimit {
		unsigned long now, most;
	} limit, low;
	syscall(SYS_prlimit64, 0, 7, NULL, &limit);
	int next = dup(fd);
	close(next);
	low = limit;
	low.now = (unsigned long)next;
	syscall(SYS_prlimit64, 0, 7, &low, NULL);
	check("no number left", ioctl(fd, 0x3b02, &argument) == -1 && errno == EMFILE);
	syscall(SYS_prlimit64, 0, 7, &limit, NULL);
	check("nothing kept when no number is left", open_files(fd) == before);
}

static void check_passed(int fd)
{
	struct {
		uint32_t size, flags, id;
		int32_t fd;
		uint64_t rest[3];
	} map = { sizeof map, 0, 0, 0, { 0, 0, 0 } };
	map.fd = memfd_create("memory", 0);
	check("descriptor in the argument travels", ioctl(fd, 0x3b8f, &map) == 1);
	close(map.fd);
	check("a closed one does not", ioctl(fd, 0x3b8f, &map) == 0);
	map.fd = -1;
	check("minus one does not", ioctl(fd, 0x3b8f, &map) == 0);
}

/* ---- descriptors ---- */

static void check_copies(int fd)
{
	int before = open_files(fd);
	int first = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	int second = dup(first);
	int third = fcntl(first, F_DUPFD, 100);
	check("dup2 over itself", dup2(first, first) == first && open_files(first) == before + 1);
	check("dup3 onto", dup3(first, 150, O_CLOEXEC) == 150 && open_files(150) == before + 1);
	close(first);
	close(second);
	close(150);
	check("open while a copy is", third >= 100 && open_files(third) == before + 1);
	int memory = memfd_create("over", 0);
	dup2(memory, third);
	check("dup2 over the last closes", open_files(fd) == before);
	close(memory);
	close(third);
	first = open("/dev/iommu", O_RDWR);
	second = open("/dev/iommu", O_RDWR);
	check("close_range",
	      close_range((unsigned)first, (unsigned)second, 0) == 0 && open_files(fd) == before);
}

static void check_hidden(int fd)
{
	int hidden = 0;
	for (int i = 3; i < 1200; i++)
		if (i != fd && fcntl(i, F_GETFD) == -1 && close(i) == 0)
			hidden++;
	check("hidden descriptors do not exist", hidden == 0);
	for (int i = 890; i < 1000; i++)
		dup2(fd, i);
	check("they step aside", open_files(999) > 0 && open_files(900) > 0);
	closefrom(800);
	check("closefrom leaves them", open_files(fd) > 0);
	for (int i = fd + 1; i < 800; i++)
		close(i);
	check("closing everything leaves them", open_files(fd) > 0);
}

static void check_family(int fd)
{
	int before = open_files(fd);
	int first = open("/dev/iommu", O_RDWR);
	pid_t child = fork();
	if (child == 0) {
		int good = open_files(first) == before + 1 && open_files(fd) == before + 1;
		close(first);
		good = good && open_files(fd) == before + 1; /* the parent has it */
		int own = open("/dev/iommu", O_RDWR);
		good = good && open_files(own) == before + 2;
		_exit(good ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	check("a forked child has its own connection", status == 0);
	check("what it opened is closed when it is reaped", open_files(fd) == before + 1);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	close(first);
	check("open while a child has it", open_files(fd) == before + 1);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	check("closed by the death of a child", open_files(fd) == before);
}

static void check_exec(int fd, const char *self)
{
	char number[16];
	int status;
	snprintf(number, sizeof number, "%d", fd);
	fcntl(fd, F_SETFD, 0);
	pid_t child = vfork();
	if (child == 0) {
		char *arguments[] = { (char *)(uintptr_t)self, "inherited", number, NULL };
		char *nothing[] = { NULL };
		execve(self, arguments, nothing);
		_exit(9);
	}
	waitpid(child, &status, 0);
	check("inherited by exec with an empty environment", status == 0);
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 77, "/dev/iommu", O_RDWR, 0);
	char *arguments[] = { (char *)(uintptr_t)self, "inherited", "77", NULL };
	char *nothing[] = { NULL };
	int result = posix_spawn(&child, self, &actions, NULL, arguments, nothing);
	posix_spawn_file_actions_destroy(&actions);
	waitpid(child, &status, 0);
	check("opened by posix_spawn", result == 0 && status == 0);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	child = vfork();
	if (child == 0) {
		close(fd);
		dup2(1, fd);
		_exit(0);
	}
	waitpid(child, &status, 0);
	check("a child of vfork closes its own", open_files(fd) > 0);
}

static void check_sent(int fd)
{
	int pair[2];
	char byte = 'x';
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof control };
	int before = open_files(fd);
	int sent = open("/dev/iommu", O_RDWR);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &sent, sizeof sent);
	sendmsg(pair[0], &message, 0);
	close(sent);
	check("open while it is under way", open_files(fd) == before + 1);
	message.msg_controllen = sizeof control;
	recvmsg(pair[1], &message, 0);
	int received;
	memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
	check("received over a socket", open_files(received) == before + 1);
	check("plain sockets stay plain", write(pair[0], "abc", 3) == 3 && read(pair[1], control, 3) == 3);
	close(received);
	close(pair[0]);
	close(pair[1]);
	check("last close of a received one", open_files(fd) == before);
}

static void check_poll(int fd)
{
	struct argument argument = { sizeof argument, 0, 0 };
	ioctl(fd, 0x3b03, &argument);
	int queue = (int)argument.value;
	struct pollfd look = { queue, POLLIN, 0 };
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN };
	epoll_ctl(epoll, EPOLL_CTL_ADD, queue, &event);
	check("not readable at first", poll(&look, 1, 0) == 0);
	ioctl(queue, 0x3b07, &argument);
	check("poll sees it", poll(&look, 1, 1000) == 1 && look.revents == POLLIN);
	check("epoll sees it", epoll_wait(epoll, &event, 1, 0) == 1);
	char bytes[64];
	check("read takes it", read(queue, bytes, sizeof bytes) == 5 && memcmp(bytes, "anon", 4) == 0);
	check("readable no more", poll(&look, 1, 0) == 0);
	close(epoll);
	close(queue);
}

/* ---- files ---- */

static void check_files(void)
{
	struct stat by_path, by_fd;
	char bytes[256] = "";
	char path[256];
	int fd = open(DEVICE "/config", O_RDWR);
	check("fstat is stat", fstat(fd, &by_fd) == 0 && stat(DEVICE "/config", &by_path) == 0 &&
				       by_fd.st_ino == by_path.st_ino && by_fd.st_size == 256 &&
				       by_fd.st_mode == (S_IFREG | 0644));
	struct iovec parts[2] = { { bytes, 4 }, { bytes + 4, 4 } };
	check("readv", readv(fd, parts, 2) == 8 && memcmp(bytes, "/sys/dev", 8) == 0);
	check("position", lseek(fd, 0, SEEK_CUR) == 8 && read(fd, bytes, 3) == 3 &&
				  memcmp(bytes, "ice", 3) == 0);
	check("seek", lseek(fd, 1, SEEK_SET) == 1 && read(fd, bytes, 3) == 3 &&
			      memcmp(bytes, "sys", 3) == 0 && lseek(fd, 0, SEEK_CUR) == 4);
	check("read to a wild address", pread(fd, (void *)16, 8, 0) == -1 && errno == EFAULT);
	check("write from a wild address", pwrite(fd, (void *)16, 8, 0) == -1 && errno == EFAULT);
	check("negative offset", pread(fd, bytes, 1, -1) == -1 && errno == EINVAL);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, bytes, sizeof bytes - 1);
	bytes[length > 0 ? length : 0] = '\0';
	check("name of a descriptor", strcmp(bytes, "/sys/devices/pci0000:00/0000:00:01.0/config") == 0);
	close(fd);
	fd = open("/dev/iommu", O_RDWR);
	check("device number", fstat(fd, &by_fd) == 0 && S_ISCHR(by_fd.st_mode) &&
				       by_fd.st_rdev == makedev(10, 125));
	close(fd);
	check("no file is made", open(DEVICE "/new", O_CREAT | O_WRONLY, 0644) == -1 && errno == EACCES);
	check("texts are not written", open(DEVICE "/vendor", O_WRONLY) == -1 && errno == EACCES);
	check("nothing is removed", unlink(DEVICE "/vendor") == -1 && errno == EPERM);
	check("refusal of the daemon", open(DEVICE "/refused", O_RDONLY) == -1 && errno == ENOENT);
	check("no such file", open(DEVICE "/nothing", O_RDONLY) == -1 && errno == ENOENT);
	check("path from a wild address", open((char *)16, O_RDONLY) == -1 && errno == EFAULT);
	FILE *stream = fopen(DEVICE "/busy", "w");
	check("a stream reports what the write gave",
	      stream != NULL && fputs("x", stream) >= 0 && fclose(stream) == EOF && errno == EBUSY);
	stream = fopen(DEVICE "/config", "r");
	check("a stream has a number", stream != NULL && fstat(fileno(stream), &by_fd) == 0 &&
					       by_fd.st_size == 256);
	check("a stream reads", stream != NULL && fgets(bytes, sizeof bytes, stream) != NULL &&
					strncmp(bytes, "/sys/devices", 12) == 0);
	if (stream != NULL)
		fclose(stream);
	check("real path", realpath(DEVICE "/driver/../../devices", bytes) != NULL &&
				   strcmp(bytes, "/sys/bus/pci/devices") == 0);
	check("working directory", chdir(DEVICE) == 0 && getcwd(bytes, sizeof bytes) != NULL &&
					   strcmp(bytes, "/sys/devices/pci0000:00/0000:00:01.0") == 0);
	check("relative path", access("../0000:00:01.0/vendor", R_OK) == 0);
	check("out of the tree by ..", access("../../../../etc/passwd", R_OK) == 0 &&
					       access("../../../../sys/kernel/mm", R_OK) == 0);
	fd = open("/sys/kernel/iommu_groups", O_RDONLY | O_DIRECTORY);
	check("relative to a descriptor", faccessat(fd, "1/devices/0000:00:01.0/vendor", R_OK, 0) == 0);
	check("up from a descriptor", faccessat(fd, "../mm", R_OK, 0) == 0);
	close(fd);
	check("a file beside the platform is made",
	      (fd = open("../../../../tmp/ioasis-sys-dev-test", O_CREAT | O_RDWR | O_TRUNC, 0600)) >= 0 &&
		      fstat(fd, &by_fd) == 0 && by_fd.st_mode == (S_IFREG | 0600) &&
		      write(fd, "x", 1) == 1);
	close(fd);
	chdir("/usr");
	check("and by .. from elsewhere",
	      (fd = open("../tmp/ioasis-sys-dev-test", O_CREAT | O_RDWR | O_TRUNC, 0600)) >= 0 &&
		      unlink("../tmp/ioasis-sys-dev-test") == 0 && access("/tmp/ioasis-sys-dev-test", F_OK) != 0);
	close(fd);
	check("back", chdir("/") == 0 && access("dev/iommu", F_OK) == 0);
}

/* ---- walks ---- */

static int walked_files, walked_links, walked_directories;

static int count_walked(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status;
	walked_files += type == FTW_F;
	walked_links += type == FTW_SL;
	walked_directories += type == FTW_D || type == FTW_DP;
	return strncmp(path, "/sys/", 5) != 0 || at->base < 5;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void check_walks(void)
{
	glob_t found = { 0 };
	struct dirent **entries;
	check("glob", glob("/sys/bus/pci/dev*/*/vend[o]r", 0, NULL, &found) == 0 &&
			      found.gl_pathc == 1 && strcmp(found.gl_pathv[0], DEVICE "/vendor") == 0);
	globfree(&found);
	int count = scandir("/dev/vfio", &entries, NULL, alphasort);
	check("scandir", count == 4 && strcmp(entries[2]->d_name, "devices") == 0 &&
				 entries[3]->d_type == DT_CHR);
	check("nftw", nftw("/sys/kernel/iommu_groups", count_walked, 8, FTW_PHYS) == 0 &&
			      walked_links == 1 && walked_directories == 3 && walked_files == 0);
	char *paths[] = { (char *)(uintptr_t) "/sys/devices/pci0000:00", NULL };
	char order[1024] = "";
	FTS *walk = fts_open(paths, FTS_PHYSICAL, by_name);
	FTSENT *entry;
	while (walk != NULL && (entry = fts_read(walk)) != NULL)
		snprintf(order + strlen(order), sizeof order - strlen(order), "%d%s ",
			 entry->fts_info, entry->fts_level < 2 ? "" : entry->fts_name);
	check("fts", strcmp(order, "1 1 8busy 8config 8device 12driver 8driver_override "
				   "12iommu_group 12subsystem 8vendor 6 6 ") == 0);
	if (walk != NULL)
		fts_close(walk);
	walk = fts_open(paths, FTS_PHYSICAL, NULL);
	entry = fts_read(walk);
	FTSENT *children = fts_children(walk, 0);
	check("children of fts", children != NULL && children->fts_link == NULL &&
					 strcmp(children->fts_name, "0000:00:01.0") == 0);
	entry = fts_read(walk);
	fts_set(walk, entry, FTS_SKIP);
	check("skipping in fts", fts_read(walk)->fts_info == FTS_DP && fts_read(walk)->fts_level == 0 &&
					 fts_read(walk) == NULL);
	fts_close(walk);
	DIR *merged = opendir("/sys/module");
	int seen = 0;
	struct dirent *one;
	while ((one = readdir(merged)) != NULL)
		seen += strcmp(one->d_name, "vfio_pci") == 0;
	rewinddir(merged);
	while ((one = readdir(merged)) != NULL)
		seen += 10 * (strcmp(one->d_name, "vfio_pci") == 0);
	closedir(merged);
	check("a merged directory, twice", seen == 11);
}

static int count_lines(const char *path, const char *key, unsigned long *value)
{
	char line[512];
	int lines = 0;
	FILE *stream = fopen(path, "r");
	while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
		lines++;
		if (strncmp(line, key, strlen(key)) == 0)
			*value = strtoul(line + strlen(key), NULL, 10);
	}
	if (stream != NULL)
		fclose(stream);
	return lines;
}

static void check_status(void)
{
	unsigned long pinned = 0;
	unsigned long locked = 0;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/status", getpid());
	int lines = count_lines(path, "VmPin:", &pinned);
	check("pinned memory of a process", pinned == 12);
	check("every line is there", lines > 40 && count_lines("/proc/self/status", "VmLck:", &locked) == lines &&
					     locked == 34);
}

/* ---- memory ---- */

static void check_memory(int fd)
{
	int before = mappings(fd);
	char *shared = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check("shared memory is told", mappings(fd) == before + 1);
	pid_t child = fork();
	if (child == 0) {
		shared[5] = 7;
		_exit(mappings(fd) == before + 1 ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	check("shared with a child, which tells it too", status == 0 && shared[5] == 7);
	check("a hole is told", munmap(shared + 4096, 4096) == 0 && mappings(fd) == before);
	mmap(shared, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check("a mapping over it is told", mappings(fd) == before - 1);
	munmap(shared, 65536);
	char *device = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x100000000);
	check("memory of a device", device != MAP_FAILED && strcmp(device, "device memory") == 0);
	char *again = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(device, "written");
	check("is one memory", strcmp(again, "written") == 0);
	check("mremap", (device = mremap(device, 4096, 8192, MREMAP_MAYMOVE)) != MAP_FAILED &&
				strcmp(device, "written") == 0);
	munmap(device, 8192);
	munmap(again, 4096);
	check("errors of mmap are the kernel's",
	      mmap(NULL, 0, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
		      errno == EINVAL && munmap((void *)1, 4096) == -1 && errno == EINVAL);
}

/* ---- many at once ---- */

static int shared_fd;
static volatile sig_atomic_t handled;

static void *calls_of_a_thread(void *unused)
{
	(void)unused;
	for (int i = 0; i < 200; i++) {
		struct argument argument = { sizeof argument, (uint32_t)i, 0 };
		if (ioctl(shared_fd, 0x3b01, &argument) != 0 || argument.value != (uint32_t)i + 1)
			return "wrong answer";
		if (i % 20 == 0) {
			int made = ioctl(shared_fd, 0x3b02, &argument);
			if (made < 0 || fcntl(made, F_GETFD) < 0 || close(made) != 0)
				return "lost descriptor";
		}
	}
	return NULL;
}

static void call_in_handler(int number)
{
	struct argument argument = { sizeof argument, 5, 0 };
	(void)number;
	if (ioctl(shared_fd, 0x3b01, &argument) == 0 && argument.value == 6)
		handled++;
}

static void check_many(int fd)
{
	pthread_t threads[80];
	int wrong = 0;
	shared_fd = fd;
	int before = open_files(fd);
	struct sigaction action = { .sa_handler = call_in_handler, .sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 80; i++)
		pthread_create(&threads[i], NULL, calls_of_a_thread, NULL);
	for (int i = 0; i < 80; i++)
		pthread_kill(threads[i], SIGUSR1);
	for (int i = 0; i < 80; i++) {
		void *result;
		pthread_join(threads[i], &result);
		wrong += result != NULL;
	}
	check("eighty threads over sixty-four slots", wrong == 0);
	check("calls in signal handlers", handled > 0);
	check("nothing is left", open_files(fd) == before);
}

static void check_death(int fd)
{
	struct argument argument = { sizeof argument, 0, 0 };
	check("the daemon dies in a call", ioctl(fd, 0x3b09, &argument) == -1 && errno == EIO);
	check("calls fail from then on", ioctl(fd, 0x3b01, &argument) == -1 && errno == EIO);
	check("opens too", open("/dev/iommu", O_RDWR) == -1 && errno == EIO);
	check("close still works", close(fd) == 0);
}

int main(int count, char **arguments)
{
	if (count > 2)
		return open_files(atoi(arguments[2])) > 0 ? 0 : 1;
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	check("open", fd >= 0 && fd < 10);
	check_arguments(fd);
	check_new_descriptors(fd);
	check_passed(fd);
	check_copies(fd);
	check_family(fd);
	check_exec(fd, arguments[0]);
	check_sent(fd);
	check_poll(fd);
	check_files();
	check_walks();
	check_status();
	check_memory(fd);
	check_many(fd);
	check_hidden(fd);
	check_death(fd);
	return failures;
}
