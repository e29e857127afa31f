/* Packets on the connection to the daemon, and its beginning. */
#ifndef IOASIS_CONNECTION_H
#define IOASIS_CONNECTION_H

#include "client.h"

struct packet {
	struct ioasis_packet head;
	uint32_t numbers[IOASIS_P_DESCRIPTORS_MAX];
};

/* 0 or -errno. */
long send_packet(int socket_fd, const struct packet *packet, const int *fds, uint32_t count);
/*
 * Takes one packet; the daemon sends at most two descriptors at once. -1: none; fds[0] -2: one was
 * sent, and this process has no number left. 0 or -errno.
 */
long receive_packet(int socket_fd, struct packet *packet, int fds[2], int flags);
/* Connects, if that was not tried yet; process->link says how it went. */
void connect_now(struct process *process);
/* Notes descriptors that a forked child is to close. */
void process_note_link(int socket_fd, int doorbell);

#endif
