/*
 * A daemon for tests of the client, in one thread and without a platform.
 *
 * usage: server SOCKET ROOT. It listens on SOCKET and answers calls as the frame says; the tree
 * under ROOT is made by the test. Files remember what was written to them. The ioctls are for tests
 * of the transport only, see `ioctl_of`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../client/frame.h"

#define FILES 4096
#define SESSIONS 256
#define PASSED 256

struct file {
	int fd; /* our end; 0: free */
	ino_t inode;
	unsigned kind;
	unsigned rdev;
	char path[256];
	char bytes[4096];
	size_t length;
	size_t position;
	int is_device_memory;
};

struct session {
	int fd;
	int bell;
	unsigned pid;
	volatile uint32_t *words;
	int passed[IOASIS_SLOTS][PASSED];
	int passed_count[IOASIS_SLOTS];
	int mappings;
};

static struct file files[FILES];
static struct session sessions[SESSIONS];
static int epoll_fd;
static int device_memory;
static int open_files;
static int refusals;

static void futex_wake(volatile uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 64);
}

static void watch(int fd, uint64_t what)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLHUP, .data.u64 = what };
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void send_packet(int socket_fd, unsigned kind, unsigned slot, const int *fds, int count)
{
	struct ioasis_packet head = { kind, IOASIS_VERSION, (unsigned)getpid(), slot,
				      (unsigned)count };
	char bytes[sizeof head + 4 * 8] = { 0 };
	char control[CMSG_SPACE(sizeof(int) * 8)] = { 0 };
	memcpy(bytes, &head, sizeof head);
	struct iovec part = { bytes, sizeof head + 4 * (size_t)count };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count) };
	struct cmsghdr *first = CMSG_FIRSTHDR(&message);
	first->cmsg_level = SOL_SOCKET;
	first->cmsg_type = SCM_RIGHTS;
	first->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
	memcpy(CMSG_DATA(first), fds, sizeof(int) * (size_t)count);
	sendmsg(socket_fd, &message, MSG_NOSIGNAL);
}

/* ---- sessions ---- */

static void greet(struct session *session)
{
	int memory = memfd_create("channel", MFD_CLOEXEC);
	session->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ftruncate(memory, IOASIS_CHANNEL_BYTES) != 0)
		exit(1);
	session->words = mmap(NULL, IOASIS_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			      memory, 0);
	session->words[IOASIS_H_MAGIC] = IOASIS_MAGIC;
	session->words[IOASIS_H_VERSION] = IOASIS_VERSION;
	session->words[IOASIS_H_SPINS] = 200;
	session->words[IOASIS_H_ASLEEP] = 1;
	int fds[2] = { memory, session->bell };
	send_packet(session->fd, IOASIS_P_WELCOME, 0, fds, 2);
	close(memory);
	watch(session->bell, 1ull << 32 | (uint64_t)(session - sessions));
}

/* 0: the session is over. */
static int receive(struct session *session)
{
	struct {
		struct ioasis_packet head;
		uint32_t numbers[IOASIS_P_DESCRIPTORS_MAX];
	} packet;
	char control[CMSG_SPACE(sizeof(int) * IOASIS_P_DESCRIPTORS_MAX)];
	struct iovec part = { &packet, sizeof packet };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof control };
	ssize_t got = recvmsg(session->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && errno == EAGAIN)
		return 1;
	if (got < (ssize_t)sizeof packet.head)
		return 0;
	if (packet.head.kind == IOASIS_P_HELLO) {
		session->pid = packet.head.pid;
		greet(session);
		return 1;
	}
	struct cmsghdr *first = CMSG_FIRSTHDR(&message);
	unsigned slot = packet.head.slot;
	for (unsigned i = 0; first != NULL && i < packet.head.count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(first) + 4 * i, 4);
		if (session->passed_count[slot] < PASSED)
			session->passed[slot][session->passed_count[slot]++] = fd;
	}
	return 1;
}

static void end_session(struct session *session)
{
	close(session->fd);
	if (session->bell > 0)
		close(session->bell);
	if (session->words != NULL)
		munmap((void *)(uintptr_t)session->words, IOASIS_CHANNEL_BYTES);
	memset(session, 0, sizeof *session);
}

/* ---- files ---- */

static struct file *file_of(uint32_t handle)
{
	return handle > 0 && handle < FILES && files[handle].fd > 0 ? &files[handle] : NULL;
}

/* The caller's end, to be sent and closed. */
static int make_file(const char *path, unsigned kind, unsigned rdev, volatile uint32_t *slot)
{
	int pair[2];
	struct stat status;
	int index = 1;
	while (index < FILES && files[index].fd > 0)
		index++;
	if (index == FILES || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	fstat(pair[1], &status);
	struct file *file = &files[index];
	memset(file, 0, sizeof *file);
	file->fd = pair[0];
	file->inode = status.st_ino;
	file->kind = kind;
	file->rdev = rdev;
	snprintf(file->path, sizeof file->path, "%s", path);
	file->length = (size_t)snprintf(file->bytes, sizeof file->bytes, "%s\n", path);
	watch(file->fd, 2ull << 32 | (uint64_t)index);
	open_files++;
	slot[IOASIS_S_NEW_HANDLE] = (uint32_t)index;
	slot[IOASIS_S_NEW_KIND] = kind;
	slot[IOASIS_S_NEW_RDEV] = rdev;
	return pair[1];
}

static void drain(void)
{
	for (int i = 1; i < FILES; i++) {
		char byte;
		if (files[i].fd <= 0 || recv(files[i].fd, &byte, 1, MSG_DONTWAIT) != 0)
			continue;
		close(files[i].fd);
		files[i].fd = 0;
		open_files--;
	}
}

static void give(struct session *session, unsigned slot, volatile uint32_t *words, int fd)
{
	send_packet(session->fd, IOASIS_P_DESCRIPTORS, slot, &fd, 1);
	close(fd);
	words[IOASIS_S_REPLY] |= IOASIS_R_NEW;
}

static uint64_t long_of(volatile uint32_t *words, unsigned at)
{
	return words[at] | (uint64_t)words[at + 1] << 32;
}

/* Asks the client to copy; how many bytes it did. */
static uint32_t need(volatile uint32_t *words, uint32_t state, uint64_t address, uint32_t length)
{
	words[IOASIS_S_ADDRESS] = (uint32_t)address;
	words[IOASIS_S_ADDRESS + 1] = (uint32_t)(address >> 32);
	words[IOASIS_S_NEED_LENGTH] = length;
	__atomic_store_n(&words[IOASIS_S_STATE], state, __ATOMIC_SEQ_CST);
	futex_wake(&words[IOASIS_S_STATE]);
	for (;;) {
		uint32_t now = __atomic_load_n(&words[IOASIS_S_STATE], __ATOMIC_SEQ_CST);
		if (now == IOASIS_STATE_NEED_DONE)
			return words[IOASIS_S_NEED_LENGTH];
		syscall(SYS_futex, &words[IOASIS_S_STATE], FUTEX_WAIT, now, NULL);
	}
}

/*
 * 0x3b01 adds one to the second word. 2: a new file as result. 3: a new file, its number in the
 * second word. 4: sums `second word` bytes at the 64-bit address behind it, by asking the client.
 * 5: open files. 6: mappings of the process. 7: makes the file readable. 8: refusals. 9: ends.
 */
static int ioctl_of(struct session *session, unsigned slot, volatile uint32_t *words)
{
	uint8_t *payload = (uint8_t *)(uintptr_t)words + IOASIS_PAYLOAD;
	uint64_t argument = long_of(words, IOASIS_S_ARGUMENT);
	struct file *file = file_of(words[IOASIS_S_HANDLE]);
	uint32_t first[4] = { 0 };
	if (file == NULL)
		return -EBADF;
	memcpy(first, payload, sizeof first);
	switch (words[IOASIS_S_COMMAND]) {
	case 0x3b01:
		if ((words[IOASIS_S_FLAGS] & IOASIS_F_ARGUMENT_FAULT) != 0)
			return -EFAULT;
		first[1]++;
		if ((words[IOASIS_S_FLAGS] & IOASIS_F_ARGUMENT_WRITABLE) != 0) {
			memcpy(payload, first, 8);
			words[IOASIS_S_REPLY] = IOASIS_R_ARGUMENT;
			words[IOASIS_S_REPLY_LENGTH] = 8;
			return 0;
		}
		memcpy(payload, first, 8);
		return need(words, IOASIS_STATE_NEED_OUT, argument, 8) == 8 ? 0 : -EFAULT;
	case 0x3b02:
		give(session, slot, words, make_file("anon", 5, 0, words));
		return 0;
	case 0x3b03:
		give(session, slot, words, make_file("anon", 2, 0, words));
		words[IOASIS_S_REPLY] |= IOASIS_R_NEW_AT;
		words[IOASIS_S_ADDRESS] = (uint32_t)(argument + 4);
		words[IOASIS_S_ADDRESS + 1] = (uint32_t)((argument + 4) >> 32);
		return 0;
	case 0x3b04: {
		uint64_t address;
		uint32_t sum = 0;
		memcpy(&address, &first[2], 8);
		if (need(words, IOASIS_STATE_NEED_IN, address, first[1]) != first[1])
			return -EFAULT;
		for (uint32_t i = 0; i < first[1]; i++)
			sum += payload[i];
		return (int)(sum & 0x7fffffff);
	}
	case 0x3b05:
		return open_files;
	case 0x3b06:
		return session->mappings;
	case 0x3b07:
		return send(file->fd, "x", 1, MSG_NOSIGNAL) == 1 ? 0 : -EIO;
	case 0x3b08:
		return refusals;
	case 0x3b09:
		exit(0);
	case 0x3b8f:
		return session->passed_count[slot];
	}
	return -ENOTTY;
}

static int open_path(struct session *session, unsigned slot, volatile uint32_t *words)
{
	char path[256] = "";
	uint32_t length = words[IOASIS_S_LENGTH];
	memcpy(path, (uint8_t *)(uintptr_t)words + IOASIS_PAYLOAD, length < 255 ? length : 255);
	unsigned kind = strcmp(path, "/dev/iommu") == 0	      ? 1 :
			strcmp(path, "/dev/vfio/vfio") == 0   ? 6 :
			strncmp(path, "/dev/vfio/", 10) == 0 ? 7 :
								9;
	unsigned rdev = kind == 1 ? 10u << 20 | 125 : kind == 6 ? 10u << 20 | 196 : 0;
	if (strstr(path, "refused") != NULL)
		return -EBUSY;
	give(session, slot, words, make_file(path, kind, rdev, words));
	return 0;
}

static int transfer(volatile uint32_t *words, int is_write)
{
	uint8_t *payload = (uint8_t *)(uintptr_t)words + IOASIS_PAYLOAD;
	struct file *file = file_of(words[IOASIS_S_HANDLE]);
	if (file == NULL)
		return -EBADF;
	uint64_t offset = long_of(words, IOASIS_S_OFFSET);
	int has_offset = offset != ~0ull;
	if (is_write && strstr(file->path, "busy") != NULL)
		return -EBUSY;
	size_t at = has_offset ? (size_t)offset : file->position;
	size_t bytes = is_write ? words[IOASIS_S_LENGTH] : (size_t)long_of(words, IOASIS_S_SIZE);
	if (is_write) {
		if (at + bytes > sizeof file->bytes)
			return -EFBIG;
		memcpy(file->bytes + at, payload, bytes);
		file->length = at + bytes;
	} else {
		bytes = at >= file->length ? 0 : bytes > file->length - at ? file->length - at : bytes;
		memcpy(payload, file->bytes + at, bytes);
		words[IOASIS_S_REPLY_LENGTH] = (uint32_t)bytes;
	}
	if (!has_offset)
		file->position = at + bytes;
	return (int)bytes;
}

static int answer(struct session *session, unsigned slot, volatile uint32_t *words)
{
	words[IOASIS_S_REPLY] = 0;
	words[IOASIS_S_REPLY_LENGTH] = 0;
	switch (words[IOASIS_S_OP]) {
	case IOASIS_OP_OPEN:
		return open_path(session, slot, words);
	case IOASIS_OP_IOCTL:
		return ioctl_of(session, slot, words);
	case IOASIS_OP_READ:
		return transfer(words, 0);
	case IOASIS_OP_WRITE:
		return transfer(words, 1);
	case IOASIS_OP_MMAP:
		words[IOASIS_S_ADDRESS] = 4096;
		words[IOASIS_S_ADDRESS + 1] = 0;
		give(session, slot, words, dup(device_memory));
		return 0;
	case IOASIS_OP_CLOSED:
	case IOASIS_OP_BARRIER:
		drain();
		return 0;
	case IOASIS_OP_RESOLVE:
		for (int i = 1; i < FILES; i++) {
			if (files[i].fd <= 0 || files[i].inode != long_of(words, IOASIS_S_ARGUMENT))
				continue;
			words[IOASIS_S_NEW_HANDLE] = (uint32_t)i;
			words[IOASIS_S_NEW_KIND] = files[i].kind;
			words[IOASIS_S_NEW_RDEV] = files[i].rdev;
			return 0;
		}
		return -ENOENT;
	case IOASIS_OP_MAPPED:
		session->mappings += session->passed_count[slot];
		return 0;
	case IOASIS_OP_UNMAPPED:
		session->mappings--;
		return 0;
	case IOASIS_OP_STATUS: {
		uint64_t amounts[2] = { 12, 34 };
		memcpy((uint8_t *)(uintptr_t)words + IOASIS_PAYLOAD, amounts, 16);
		words[IOASIS_S_REPLY_LENGTH] = 16;
		return 0;
	}
	case IOASIS_OP_REFUSED:
		refusals++;
		return 0;
	}
	return 0;
}

static void serve(struct session *session)
{
	for (unsigned half = 0; half < 2 && session->words != NULL; half++) {
		volatile uint32_t *pending = &session->words[IOASIS_H_PENDING_LO + half];
		uint32_t bits = __atomic_exchange_n(pending, 0, __ATOMIC_SEQ_CST);
		while (bits != 0) {
			unsigned slot = (unsigned)__builtin_ctz(bits) + half * 32;
			bits &= bits - 1;
			while (receive(session) && session->passed_count[slot] <
			       (int)session->words[(IOASIS_HEADER_BYTES + slot * IOASIS_SLOT_BYTES) / 4 +
						   IOASIS_S_DESCRIPTORS])
				;
			volatile uint32_t *words = session->words +
						   (IOASIS_HEADER_BYTES + slot * IOASIS_SLOT_BYTES) / 4;
			int result = answer(session, slot, words);
			words[IOASIS_S_RESULT] = (uint32_t)result;
			for (int i = 0; i < session->passed_count[slot]; i++)
				close(session->passed[slot][i]);
			session->passed_count[slot] = 0;
			__atomic_store_n(&words[IOASIS_S_STATE], IOASIS_STATE_REPLY,
					 __ATOMIC_SEQ_CST);
			if (__atomic_load_n(&words[IOASIS_S_ASLEEP], __ATOMIC_SEQ_CST) != 0)
				futex_wake(&words[IOASIS_S_STATE]);
		}
	}
}

static int has_work(void)
{
	int found = 0;
	for (int i = 0; i < SESSIONS; i++) {
		struct session *session = &sessions[i];
		if (session->words == NULL)
			continue;
		__atomic_store_n(&session->words[IOASIS_H_ASLEEP], 1, __ATOMIC_SEQ_CST);
		found = found || session->words[IOASIS_H_PENDING_LO] != 0 ||
			session->words[IOASIS_H_PENDING_HI] != 0;
	}
	return found;
}

static void accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; fd >= 0 && i < SESSIONS; i++) {
		if (sessions[i].fd != 0)
			continue;
		sessions[i].fd = fd;
		watch(fd, 3ull << 32 | (uint64_t)i);
		return;
	}
	close(fd);
}

int main(int count, char **arguments)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (count < 2)
		return 2;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", arguments[1]);
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 64) != 0)
		return 1;
	device_memory = memfd_create("bar", MFD_CLOEXEC);
	if (ftruncate(device_memory, 65536) != 0 ||
	    pwrite(device_memory, "device memory", 13, 4096) != 13)
		return 1;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(listener, 0);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[32];
		int got = epoll_wait(epoll_fd, events, 32, has_work() ? 0 : -1);
		for (int i = 0; i < got; i++) {
			uint32_t index = (uint32_t)events[i].data.u64;
			uint64_t value;
			switch (events[i].data.u64 >> 32) {
			case 0:
				accept_one(listener);
				break;
			case 1:
				if (read(sessions[index].bell, &value, 8) != 8)
					break;
				break;
			case 2:
				drain();
				break;
			case 3:
				if (sessions[index].fd > 0 && !receive(&sessions[index]))
					end_session(&sessions[index]);
				break;
			}
		}
		for (int i = 0; i < SESSIONS; i++)
			serve(&sessions[i]);
	}
}
