/*
 * A server of the transport in C, for one client: answers every call with 0 and does nothing.
 *
 * door-server SOCKET SPINS: looks that often for the next call, then sleeps.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../client/frame.h"

static uint32_t *header;

static int serve(void)
{
	uint32_t bits = __atomic_load_n(&header[IOASIS_H_PENDING_LO], __ATOMIC_SEQ_CST);
	if (bits == 0)
		return 0;
	bits = __atomic_exchange_n(&header[IOASIS_H_PENDING_LO], 0, __ATOMIC_SEQ_CST);
	for (; bits != 0; bits &= bits - 1) {
		uint32_t *slot = header + IOASIS_HEADER_BYTES / 4 +
				 (unsigned)__builtin_ctz(bits) * IOASIS_SLOT_BYTES / 4;
		uint32_t *state = &slot[IOASIS_S_STATE];
		uint32_t request = IOASIS_STATE_REQUEST;
		if (!__atomic_compare_exchange_n(state, &request, IOASIS_STATE_TAKEN, 0,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		slot[IOASIS_S_RESULT] = 0;
		slot[IOASIS_S_REPLY] = 0;
		__atomic_store_n(state, IOASIS_STATE_REPLY, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slot[IOASIS_S_ASLEEP], __ATOMIC_SEQ_CST) != 0)
			syscall(SYS_futex, state, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int spins = atoi(argv[2]);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
	int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 1) != 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	int connection = accept(listener, NULL, NULL);
	struct ioasis_packet packet;
	if (recv(connection, &packet, sizeof packet, 0) <= 0)
		return 1;
	int memory = memfd_create("channel", 0);
	int doorbell = eventfd(0, EFD_NONBLOCK);
	if (ftruncate(memory, IOASIS_CHANNEL_BYTES) != 0)
		return 1;
	header = mmap(0, IOASIS_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	header[IOASIS_H_MAGIC] = IOASIS_MAGIC;
	packet = (struct ioasis_packet){ IOASIS_P_WELCOME, IOASIS_VERSION, (unsigned)getpid(), 0, 0 };
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec part = { &packet, sizeof packet };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(c), (int[]){ memory, doorbell }, 2 * sizeof(int));
	sendmsg(connection, &message, 0);
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = doorbell };
	epoll_ctl(epoll, EPOLL_CTL_ADD, doorbell, &event);
	event = (struct epoll_event){ .events = EPOLLIN | EPOLLRDHUP, .data.fd = connection };
	epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
	for (;;) {
		int found = serve();
		for (int i = 0; !found && i < spins; i++) {
			found = serve();
			__builtin_ia32_pause();
		}
		if (found)
			continue;
		__atomic_store_n(&header[IOASIS_H_ASLEEP], 1, __ATOMIC_SEQ_CST);
		int pending = __atomic_load_n(&header[IOASIS_H_PENDING_LO], __ATOMIC_SEQ_CST) != 0;
		struct epoll_event happened[2];
		int count = epoll_wait(epoll, happened, 2, pending ? 0 : -1);
		__atomic_store_n(&header[IOASIS_H_ASLEEP], 0, __ATOMIC_SEQ_CST);
		for (int i = 0; i < count; i++) {
			uint64_t rung;
			if (happened[i].data.fd == connection)
				return 0;
			if (read(doorbell, &rung, 8) < 0)
				continue;
		}
	}
}
