/*
 * A client of the transport, without the library: measures calls against whoever serves the socket.
 *
 * door-client SOCKET bare COUNT PAUSE    calls that do nothing, PAUSE microseconds apart; 0: at once
 * door-client SOCKET map COUNT 0         IOMMU_IOAS_MAP and UNMAP of 4 KiB of shared memory, in pairs
 * door-client SOCKET chosen COUNT 0      COUNT maps at addresses that the kernel chooses
 * Prints nanoseconds of one (median; of `chosen` those that one in ten keeps, in the first tenth of
 * the calls and in the last), a 0 and
 * how many.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
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

#include "../../client/frame.h"

static uint32_t *header, *slot;
static int connection, doorbell;
static unsigned spins;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void send_packet(struct ioasis_packet *head, size_t bytes, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { head, bytes };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	if (sendmsg(connection, &message, 0) < 0)
		fail("sendmsg");
}

static void receive_packet(int fds[2])
{
	struct ioasis_packet head;
	char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = { &head, sizeof head };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof control };
	if (recvmsg(connection, &message, 0) <= 0)
		fail("recvmsg");
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c != NULL)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

static void join(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(connection, (void *)&address, sizeof address) != 0)
		fail("connect");
	struct ioasis_packet hello = { IOASIS_P_HELLO, IOASIS_VERSION, (unsigned)getpid(), 0, 0 };
	send_packet(&hello, sizeof hello, -1);
	int fds[2] = { -1, -1 };
	receive_packet(fds);
	header = mmap(0, IOASIS_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (header == MAP_FAILED)
		fail("mmap");
	doorbell = fds[1];
	slot = header + IOASIS_HEADER_BYTES / 4;
}

static int call(unsigned op)
{
	uint32_t *state = &slot[IOASIS_S_STATE];
	slot[IOASIS_S_OP] = op;
	slot[IOASIS_S_TID] = (uint32_t)getpid();
	slot[IOASIS_S_ASLEEP] = 0;
	__atomic_store_n(state, IOASIS_STATE_REQUEST, __ATOMIC_RELEASE);
	__atomic_or_fetch(&header[IOASIS_H_PENDING_LO], 1u, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&header[IOASIS_H_ASLEEP], 0, __ATOMIC_SEQ_CST) == 1) {
		uint64_t one = 1;
		if (write(doorbell, &one, 8) != 8)
			fail("doorbell");
	}
	for (unsigned i = 0; i < spins; i++) {
		if (__atomic_load_n(state, __ATOMIC_ACQUIRE) == IOASIS_STATE_REPLY)
			return (int)slot[IOASIS_S_RESULT];
		__builtin_ia32_pause();
	}
	__atomic_store_n(&slot[IOASIS_S_ASLEEP], 1, __ATOMIC_SEQ_CST);
	uint32_t seen;
	while ((seen = __atomic_load_n(state, __ATOMIC_SEQ_CST)) != IOASIS_STATE_REPLY)
		syscall(SYS_futex, state, FUTEX_WAIT, seen, NULL, NULL, 0);
	return (int)slot[IOASIS_S_RESULT];
}

static void set64(unsigned word, uint64_t value)
{
	memcpy(&slot[word], &value, 8);
}

static unsigned handle;

static void ioctl_with(uint32_t command, void *argument, uint32_t bytes)
{
	uint8_t *payload = (uint8_t *)slot + IOASIS_PAYLOAD;
	slot[IOASIS_S_HANDLE] = handle;
	slot[IOASIS_S_COMMAND] = command;
	slot[IOASIS_S_FLAGS] = IOASIS_F_ARGUMENT_WRITABLE;
	slot[IOASIS_S_LENGTH] = bytes;
	slot[IOASIS_S_DESCRIPTORS] = 0;
	set64(IOASIS_S_ARGUMENT, (uintptr_t)argument);
	memcpy(payload, argument, bytes);
	int result = call(IOASIS_OP_IOCTL);
	if (result != 0) {
		fprintf(stderr, "ioctl %x: %d\n", command, result);
		exit(1);
	}
	if (slot[IOASIS_S_REPLY] & IOASIS_R_ARGUMENT)
		memcpy(argument, payload, slot[IOASIS_S_REPLY_LENGTH]);
}

static void open_iommu(void)
{
	const char *path = "/dev/iommu";
	memcpy((uint8_t *)slot + IOASIS_PAYLOAD, path, strlen(path));
	slot[IOASIS_S_LENGTH] = (uint32_t)strlen(path);
	slot[IOASIS_S_COMMAND] = O_RDWR;
	slot[IOASIS_S_DESCRIPTORS] = 0;
	if (call(IOASIS_OP_OPEN) != 0)
		fail("open");
	int fds[2];
	receive_packet(fds);
	handle = slot[IOASIS_S_NEW_HANDLE];
}

/* Shared memory that the server knows of. */
static void *share(size_t bytes)
{
	int fd = memfd_create("bench", 0);
	if (ftruncate(fd, (off_t)bytes) != 0)
		fail("ftruncate");
	void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	struct {
		struct ioasis_packet head;
		unsigned number;
	} packet = { { IOASIS_P_DESCRIPTORS, IOASIS_VERSION, (unsigned)getpid(), 0, 1 }, (unsigned)fd };
	send_packet(&packet.head, sizeof packet, fd);
	set64(IOASIS_S_ARGUMENT, (uintptr_t)memory);
	set64(IOASIS_S_SIZE, bytes);
	set64(IOASIS_S_OFFSET, 0);
	slot[IOASIS_S_DESCRIPTORS] = 1;
	if (call(IOASIS_OP_MAPPED) != 0)
		fail("mapped");
	return memory;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

struct ioas_alloc { uint32_t size, flags, id; };
struct ioas_map { uint32_t size, flags, ioas, reserved; uint64_t va, length, iova; };
struct ioas_unmap { uint32_t size, ioas; uint64_t iova, length; };

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	unsigned count = (unsigned)atoi(argv[3]);
	unsigned pause = (unsigned)atoi(argv[4]);
	spins = pause > 0 ? 0 : 2000;
	join(argv[1]);
	double *taken = malloc(count * sizeof *taken);
	struct ioas_alloc alloc = { sizeof alloc, 0, 0 };
	struct ioas_map map = { sizeof map, 6, 0, 0, 0, 4096, 0 };
	struct ioas_unmap unmap = { sizeof unmap, 0, 0, 4096 };
	if (strcmp(argv[2], "bare") != 0) {
		open_iommu();
		ioctl_with(0x3b81, &alloc, sizeof alloc);
		map.va = (uintptr_t)share(4096);
		map.ioas = unmap.ioas = alloc.id;
	}
	slot[IOASIS_S_DESCRIPTORS] = 0;
	set64(IOASIS_S_ARGUMENT, 0);
	set64(IOASIS_S_SIZE, 0);
	double begin = now();
	for (unsigned i = 0; i < count; i++) {
		if (pause > 0)
			usleep(pause);
		double began = now();
		if (strcmp(argv[2], "bare") == 0) {
			call(IOASIS_OP_UNMAPPED);
		} else {
			ioctl_with(0x3b85, &map, sizeof map);
			unmap.iova = map.iova;
			if (strcmp(argv[2], "map") == 0)
				ioctl_with(0x3b86, &unmap, sizeof unmap);
		}
		taken[i] = now() - began;
	}
	if (strcmp(argv[2], "chosen") == 0) {
		unsigned tenth = count / 10;
		qsort(taken, tenth, sizeof *taken, by_value);
		qsort(taken + count - tenth, tenth, sizeof *taken, by_value);
		printf("%.1f %.1f %.0f\n", taken[tenth / 10], taken[count - tenth + tenth / 10],
		       now() - begin);
		return 0;
	}
	qsort(taken, count, sizeof *taken, by_value);
	printf("%.1f 0 %u\n", taken[count / 2], count);
	return 0;
}
