/*
 * The connection to the daemon: one socket for each process, greeted once.
 *
 * The daemon answers the greeting with the memory of the channel and an eventfd that wakes it.
 * Whether it worked is decided once: a process whose daemon is gone gets EIO from then on.
 */
#include "connection.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- packets ---- */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * IOASIS_P_DESCRIPTORS_MAX)];
};

long send_packet(int socket_fd, const struct packet *packet, const int *fds, uint32_t count)
{
	union control control;
	struct iovec part = { (void *)(uintptr_t)packet, sizeof packet->head + 4 * count };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (count > 0) {
		memset(&control, 0, CMSG_SPACE(sizeof(int) * count));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *head = &control.align;
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
	}
	long sent;
	do
		sent = SYS(SYS_sendmsg, socket_fd, &message, MSG_NOSIGNAL);
	while (sent == -EINTR);
	return sys_failed(sent) ? sent : 0;
}

long receive_packet(int socket_fd, struct packet *packet, int fds[2], int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
	} control;
	struct iovec part = { packet, sizeof *packet };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof control.bytes };
	fds[0] = fds[1] = -1;
	long got;
	do
		got = SYS(SYS_recvmsg, socket_fd, &message, flags | MSG_CMSG_CLOEXEC);
	while (got == -EINTR);
	if (sys_failed(got))
		return got;
	if ((size_t)got < sizeof packet->head)
		return -EIO;
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
		size_t bytes = head->cmsg_len - CMSG_LEN(0);
		memcpy(fds, CMSG_DATA(head), bytes < 8 ? bytes : 8);
	}
	if (fds[0] < 0 && (message.msg_flags & MSG_CTRUNC) != 0)
		fds[0] = -2; /* it was sent, and this process has no number left */
	return 0;
}

/* ---- connecting ---- */

static long open_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, settings.socket, sizeof address.sun_path);
	long fd = SYS(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sys_failed(fd))
		return fd;
	fd = hide_descriptor((int)fd);
	long done;
	do
		done = SYS(SYS_connect, fd, &address, sizeof address);
	while (done == -EINTR);
	if (sys_failed(done)) {
		unhide_descriptor((int)fd);
		SYS(SYS_close, fd);
		return done;
	}
	return fd;
}

/* Greets and takes what the daemon answers; 0 or -errno. */
static long greet(struct process *process, int socket_fd)
{
	struct packet packet = { .head = { .kind = IOASIS_P_HELLO,
					   .version = IOASIS_VERSION,
					   .pid = process->pid } };
	int fds[2];
	long done = send_packet(socket_fd, &packet, NULL, 0);
	if (done == 0)
		done = receive_packet(socket_fd, &packet, fds, 0);
	if (done != 0)
		return done;
	if (packet.head.kind != IOASIS_P_WELCOME || packet.head.version != IOASIS_VERSION) {
		say("the daemon speaks another version of the protocol than this library", NULL, NULL);
		return -EPROTO;
	}
	if (fds[0] < 0 || fds[1] < 0)
		return -EMFILE;
	long channel = SYS(SYS_mmap, 0, IOASIS_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fds[0], 0);
	SYS(SYS_close, fds[0]);
	if (sys_failed(channel)) {
		say("the shared memory of the daemon cannot be mapped", NULL, NULL);
		SYS(SYS_close, fds[1]);
		return channel;
	}
	SYS(SYS_madvise, channel, IOASIS_CHANNEL_BYTES, MADV_DONTFORK);
	if (*(uint32_t *)channel != IOASIS_MAGIC) {
		SYS(SYS_munmap, channel, IOASIS_CHANNEL_BYTES);
		SYS(SYS_close, fds[1]);
		return -EPROTO;
	}
	process->daemon_pid = packet.head.pid;
	process->channel = (uint8_t *)channel;
	process->socket = socket_fd;
	process->doorbell = hide_descriptor(fds[1]);
	return 0;
}

void connect_now(struct process *process)
{
	held_t held = lock_take(&process->connecting);
	bool came_up = false;
	if (process->link == LINK_NONE) {
		long fd = open_socket();
		long done = fd < 0 ? fd : greet(process, (int)fd);
		if (done != 0 && fd >= 0) {
			unhide_descriptor((int)fd);
			SYS(SYS_close, fd);
		}
		came_up = done >= 0 && fd >= 0;
		if (came_up) {
			process_note_link(process->socket, process->doorbell);
			SYS(SYS_prctl, PR_SET_PTRACER, process->daemon_pid, 0, 0, 0);
		}
		__atomic_store_n(&process->link, came_up ? LINK_UP : LINK_DEAD, __ATOMIC_RELEASE);
	}
	lock_give(&process->connecting, held);
	if (came_up)
		memory_tell_all(process);
}
