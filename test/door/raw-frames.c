/*
 * raw-frames MODE SEED COUNT: a program that speaks to the platform's socket itself, and wrongly.
 * Runs without the client library; IOASIS_SOCKET names the socket.
 *
 *   greet     COUNT connections that say hello wrongly, or nothing
 *   packets   COUNT wrong packets, each on a connection that was greeted
 *   slots     COUNT random slots and headers; numbers of open files are made up
 *   needs     COUNT calls whose memory is copied by this program, which answers wrongly
 *   shrink    cuts the shared memory of its channel short
 *   hoard     sends descriptors for a call that never comes
 *   connect   one connection; prints "welcome", "cut", or the error
 *
 * Exit status 1: the platform does not take connections any more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

#define MOST 253

static uint64_t state;

static uint64_t next(void)
{
	/* splitmix64 */
	uint64_t value = state += 0x9e3779b97f4a7c15;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

static uint64_t below(uint64_t limit)
{
	return next() % limit;
}

static uint64_t some(void)
{
	static const uint64_t edges[] = {
		0, 1, 63, 64, 4096, 16128, 16129, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
	};

	if (below(3) == 0)
		return next() >> below(64);
	return edges[below(sizeof(edges) / sizeof(edges[0]))];
}

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static int try_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("IOASIS_SOCKET");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		fail("IOASIS_SOCKET");
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Sends bytes and so many copies of a descriptor. */
static long send_with(int fd, const void *bytes, size_t length, int descriptor, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
	} control;
	struct iovec part = { (void *)(uintptr_t)bytes, length };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		for (unsigned int i = 0; i < count; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &descriptor, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

struct link {
	int fd, channel, bell;
	uint32_t *words;
};

/* Waits for one packet. Returns its bytes, 0 when the platform cut the connection. */
static long take(struct link *link, struct ioasis_packet *packet)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec part = { packet, sizeof(*packet) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	long length = recvmsg(link->fd, &message, MSG_CMSG_CLOEXEC);
	int fds[2] = { -1, -1 };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	if (length > 0 && head != NULL)
		memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
	link->channel = fds[0];
	link->bell = fds[1];
	return length;
}

static struct link greeted(void)
{
	struct ioasis_packet hello = { .kind = IOASIS_P_HELLO, .version = IOASIS_VERSION };
	struct ioasis_packet packet;
	struct link link = { .fd = try_connect() };

	if (link.fd < 0)
		fail("the platform takes no connection");
	if (send_with(link.fd, &hello, sizeof(hello), -1, 0) < 0 || take(&link, &packet) <= 0 ||
	    link.bell < 0)
		fail("the platform answers no hello");
	link.words = mmap(NULL, IOASIS_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			  link.channel, 0);
	if (link.words == MAP_FAILED)
		fail("the channel");
	return link;
}

static void leave(struct link *link)
{
	munmap(link->words, IOASIS_CHANNEL_BYTES);
	close(link->channel);
	close(link->bell);
	close(link->fd);
}

static uint32_t *slot_of(struct link *link, unsigned int slot)
{
	return link->words + (IOASIS_HEADER_BYTES + slot * IOASIS_SLOT_BYTES) / 4;
}

static void ring(struct link *link)
{
	uint64_t one = 1;

	__atomic_store_n(&link->words[IOASIS_H_ASLEEP], 0, __ATOMIC_SEQ_CST);
	if (write(link->bell, &one, 8) < 0 && errno != EAGAIN)
		fail("the bell");
}

static void post(struct link *link, unsigned int slot)
{
	unsigned int half = slot < 32 ? IOASIS_H_PENDING_LO : IOASIS_H_PENDING_HI;

	__atomic_store_n(&slot_of(link, slot)[IOASIS_S_STATE], IOASIS_STATE_REQUEST,
			 __ATOMIC_SEQ_CST);
	__atomic_or_fetch(&link->words[half], 1u << slot % 32, __ATOMIC_SEQ_CST);
	ring(link);
}

/* Until the slot has another state than `old`, or for a second. */
static uint32_t await(struct link *link, unsigned int slot, uint32_t old)
{
	uint32_t now = old;

	for (int i = 0; i < 20000 && now == old; i++) {
		now = __atomic_load_n(&slot_of(link, slot)[IOASIS_S_STATE], __ATOMIC_SEQ_CST);
		if (now == old)
			usleep(50);
	}
	return now;
}

static void greet(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		unsigned char bytes[4096];
		int fd = try_connect();
		unsigned int kind = below(4);

		if (fd < 0)
			fail("the platform takes no connection");
		for (unsigned int at = 0; at < sizeof(bytes); at++)
			bytes[at] = next();
		if (kind < 3)
			send_with(fd, bytes, kind == 0 ? 0 : below(sizeof(bytes)), fd,
				  kind == 1 ? below(MOST) : 0);
		struct ioasis_packet hello = {
			.kind = IOASIS_P_HELLO, .version = some(), .pid = some(), .count = some(),
		};
		if (kind == 3)
			send_with(fd, &hello, below(sizeof(hello) + 1), fd, below(3));
		close(fd);
	}
}

static void packets(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		struct link link = greeted();
		unsigned char bytes[4096];
		struct ioasis_packet head = {
			.kind = below(5), .version = below(2) ? IOASIS_VERSION : some(),
			.pid = some(), .slot = some(), .count = some(),
		};

		for (unsigned int at = 0; at < sizeof(bytes); at++)
			bytes[at] = next();
		if (below(4) != 0)
			memcpy(bytes, &head, sizeof(head));
		send_with(link.fd, bytes, below(sizeof(bytes)), link.fd, below(MOST + 1));
		leave(&link);
	}
}

/* A path, a number of a file or what else a slot may hold. */
static void fill_slot(uint32_t *words)
{
	static const char *const paths[] = {
		"/dev/iommu", "/dev/vfio/vfio", "/dev/vfio/devices/vfio0", "/dev/vfio/1", "/dev/../x",
		"/sys/bus/pci/devices/0000:00:01.0/config", "/proc/self/fault-inject", "\xff\xfe", "",
	};
	const char *path = paths[below(sizeof(paths) / sizeof(paths[0]))];

	for (unsigned int at = 1; at < IOASIS_PAYLOAD / 4; at++)
		words[at] = some();
	for (unsigned int at = 0; at < 64; at++)
		words[IOASIS_PAYLOAD / 4 + at] = some();
	words[IOASIS_S_OP] = below(8) == 0 ? some() : below(16);
	/* Files of others are the same user's: they are not guessed at. */
	words[IOASIS_S_HANDLE] = 0x80000000 | next();
	if (below(2) == 0) {
		words[IOASIS_S_OP] = IOASIS_OP_OPEN;
		strcpy((char *)&words[IOASIS_PAYLOAD / 4], path);
		words[IOASIS_S_LENGTH] = strlen(path);
	}
}

static void slots(unsigned long count)
{
	struct link link = greeted();

	for (unsigned long i = 0; i < count; i++) {
		unsigned int slot = below(64);

		if (below(50) == 0) {
			leave(&link);
			link = greeted();
		}
		fill_slot(slot_of(&link, slot));
		switch (below(8)) {
		case 0:
			link.words[IOASIS_H_PENDING_LO] = link.words[IOASIS_H_PENDING_HI] = ~0u;
			slot_of(&link, slot)[IOASIS_S_STATE] = some();
			ring(&link);
			break;
		case 1:
			link.words[below(16)] = some();
			break;
		default:
			post(&link, slot);
			if (below(2) == 0)
				await(&link, slot, IOASIS_STATE_REQUEST);
			/* Sometimes the slot changes under the platform's hands. */
			if (below(4) == 0)
				fill_slot(slot_of(&link, slot));
		}
	}
	leave(&link);
}

/* Opens a file as the client library does. Returns its handle, 0: refused. */
static uint32_t open_file(struct link *link, const char *path)
{
	uint32_t *words = slot_of(link, 0);
	struct ioasis_packet packet;
	struct link got = { .fd = link->fd };

	memset(words, 0, IOASIS_PAYLOAD);
	words[IOASIS_S_OP] = IOASIS_OP_OPEN;
	words[IOASIS_S_COMMAND] = O_RDWR;
	words[IOASIS_S_LENGTH] = strlen(path);
	strcpy((char *)&words[IOASIS_PAYLOAD / 4], path);
	post(link, 0);
	if (await(link, 0, IOASIS_STATE_REQUEST) == IOASIS_STATE_TAKEN)
		await(link, 0, IOASIS_STATE_TAKEN);
	if ((int)words[IOASIS_S_RESULT] < 0 || (words[IOASIS_S_REPLY] & IOASIS_R_NEW) == 0)
		return 0;
	take(&got, &packet);
	return words[IOASIS_S_NEW_HANDLE];
}

/* Calls on an own file with wild arguments; answers to requests for memory are wrong. */
static void needs(unsigned long count)
{
	struct link link = greeted();
	uint32_t handle = open_file(&link, "/dev/iommu");

	if (handle == 0)
		fail("/dev/iommu");
	for (unsigned long i = 0; i < count; i++) {
		uint32_t *words = slot_of(&link, 1), now;
		uint64_t address = some();

		for (unsigned int at = 1; at < IOASIS_PAYLOAD / 4; at++)
			words[at] = some();
		words[IOASIS_S_OP] = 2 + below(4);
		words[IOASIS_S_FLAGS] = below(16);
		words[IOASIS_S_HANDLE] = handle;
		words[IOASIS_S_COMMAND] = 0x3b80 + below(0x16);
		words[IOASIS_S_LENGTH] = below(3) ? below(64) : some();
		words[IOASIS_S_DESCRIPTORS] = below(2);
		memcpy(&words[IOASIS_S_ARGUMENT], &address, 8);
		for (unsigned int at = 0; at < 32; at++)
			words[IOASIS_PAYLOAD / 4 + at] = below(3) ? below(128) : some();
		post(&link, 1);
		for (;;) {
			now = await(&link, 1, IOASIS_STATE_REQUEST);
			if (now == IOASIS_STATE_TAKEN)
				now = await(&link, 1, IOASIS_STATE_TAKEN);
			if (now != IOASIS_STATE_NEED_IN && now != IOASIS_STATE_NEED_OUT)
				break;
			if (below(16) == 0)
				words[IOASIS_S_NEED_LENGTH] = some();
			__atomic_store_n(&words[IOASIS_S_STATE],
					 below(16) ? IOASIS_STATE_NEED_DONE : some(), __ATOMIC_SEQ_CST);
		}
	}
	leave(&link);
}

static void shrink(void)
{
	struct link link = greeted();
	int done = ftruncate(link.channel, 0);

	printf("%s\n", done == 0 ? "shrunk" : strerrorname_np(errno));
	if (done < 0)
		post(&link, 0);
	else
		write(link.bell, &(uint64_t){ 1 }, 8);
	usleep(100000);
	close(link.fd);
}

static void hoard(unsigned long count)
{
	struct link link = greeted();
	struct {
		struct ioasis_packet head;
		uint32_t numbers[250];
	} packet = { .head = { .kind = IOASIS_P_DESCRIPTORS, .version = IOASIS_VERSION, .count = 250 } };
	unsigned long sent = 0;

	for (; sent < count; sent++) {
		struct pollfd room = { .fd = link.fd, .events = POLLOUT };

		packet.head.slot = sent % 64;
		for (unsigned int i = 0; i < 250; i++)
			packet.numbers[i] = sent * 250 + i;
		poll(&room, 1, 1000);
		if (send_with(link.fd, &packet, sizeof(packet), link.fd, 250) < 0)
			break;
		usleep(1000);
	}
	struct pollfd gone = { .fd = link.fd, .events = POLLIN };
	poll(&gone, 1, 2000);
	printf("%s\n", (gone.revents & (POLLHUP | POLLIN)) != 0 ? "cut" : "held");
	leave(&link);
}

static void connect_once(void)
{
	struct ioasis_packet packet = { .kind = IOASIS_P_HELLO, .version = IOASIS_VERSION };
	struct link link = { .fd = try_connect() };
	long length;

	if (link.fd < 0) {
		printf("%s\n", strerrorname_np(errno));
		return;
	}
	send_with(link.fd, &packet, sizeof(packet), -1, 0);
	length = take(&link, &packet);
	printf("%s\n", length > 0 ? "welcome" : "cut");
}

int main(int count, char **arguments)
{
	if (count < 4)
		return 2;
	const char *mode = arguments[1];
	unsigned long times = strtoul(arguments[3], NULL, 0);
	state = strtoull(arguments[2], NULL, 0);
	if (strcmp(mode, "greet") == 0)
		greet(times);
	else if (strcmp(mode, "packets") == 0)
		packets(times);
	else if (strcmp(mode, "slots") == 0)
		slots(times);
	else if (strcmp(mode, "needs") == 0)
		needs(times);
	else if (strcmp(mode, "shrink") == 0)
		shrink();
	else if (strcmp(mode, "hoard") == 0)
		hoard(times);
	else
		connect_once();
	if (strcmp(mode, "connect") != 0) {
		struct link link = greeted();

		leave(&link);
	}
	return 0;
}
