/*
 * What travels between a program and its platform.
 *
 * Each process has one SOCK_SEQPACKET connection and one channel: shared memory with a header page
 * and slots. One slot carries one call of one thread. A call with descriptors sends them over the
 * connection first, in packets that name the slot. All numbers are little endian.
 *
 * The daemon has the same numbers in src/daemon/transport/frame.ts; a test compares the two.
 *
 * Two things the daemon may do, and the client makes use of when it does:
 * - create the empty file IOASIS_ROOT/.complete when the tree is laid out: a program that only reads
 *   plain files and links of the tree then needs no connection;
 * - put the path or label of the file, without terminating zero, into the reply of RESOLVE: what
 *   /proc/PID/fd shows of a descriptor that was inherited or received.
 */
#ifndef IOASIS_FRAME_H
#define IOASIS_FRAME_H

#define IOASIS_MAGIC 0x35454f49u
#define IOASIS_VERSION 1u

/* Channel: header page, then the slots. */
#define IOASIS_HEADER_BYTES 4096u
#define IOASIS_SLOTS 64u
#define IOASIS_SLOT_BYTES 16384u
#define IOASIS_CHANNEL_BYTES (IOASIS_HEADER_BYTES + IOASIS_SLOTS * IOASIS_SLOT_BYTES)

/* Header: index of 32-bit words. */
#define IOASIS_H_MAGIC 0
#define IOASIS_H_VERSION 1
/* 0 the daemon looks, 1 it sleeps: whoever changes 1 to 0 writes 1 to the doorbell eventfd. */
#define IOASIS_H_ASLEEP 2
/* Slots with a new request, one bit each; set after the slot's state. */
#define IOASIS_H_PENDING_LO 3
#define IOASIS_H_PENDING_HI 4
/* Counts changes of rights and limits by the program (capset, setrlimit, setuid ...). */
#define IOASIS_H_CREDENTIALS 5
/* 1: the daemon is gone, or has cut this connection; calls answer EIO. */
#define IOASIS_H_CLOSED 6
/* How often the client looks at a slot before it sleeps; the daemon adapts it. */
#define IOASIS_H_SPINS 7

/* Slot: index of 32-bit words. The state is the futex word. */
#define IOASIS_S_STATE 0
/* 1: the client sleeps on the state and must be woken. */
#define IOASIS_S_ASLEEP 1
#define IOASIS_S_OP 2
#define IOASIS_S_FLAGS 3
#define IOASIS_S_TID 4
/* Which open file; 0 for operations without one. */
#define IOASIS_S_HANDLE 5
/* ioctl command; open flags; mmap protection (low 16 bits) and flags (high 16 bits). */
#define IOASIS_S_COMMAND 6
/* Bytes in the payload that belong to the request. */
#define IOASIS_S_LENGTH 7
/* 64-bit: pointer or value of an ioctl. */
#define IOASIS_S_ARGUMENT 8
/* 64-bit: offset of read, write, mmap; all ones: none. */
#define IOASIS_S_OFFSET 10
/* 64-bit: bytes wanted by read and mmap. */
#define IOASIS_S_SIZE 12
/* Descriptors that came over the connection for this slot. */
#define IOASIS_S_DESCRIPTORS 14
#define IOASIS_S_RESULT 16      /* 0 or more, or -errno */
#define IOASIS_S_REPLY_LENGTH 17 /* bytes in the payload */
#define IOASIS_S_REPLY 18       /* IOASIS_R_* */
#define IOASIS_S_NEW_HANDLE 19
#define IOASIS_S_NEW_KIND 20
#define IOASIS_S_NEW_RDEV 21     /* major << 20 | minor; 0: none */
#define IOASIS_S_ADDRESS 22     /* 64-bit: IOASIS_R_NEW_AT, IOASIS_STATE_NEED_*; mmap: offset in the memory */
#define IOASIS_S_NEED_LENGTH 24
#define IOASIS_PAYLOAD 256u      /* bytes from the slot's start */
#define IOASIS_PAYLOAD_BYTES (IOASIS_SLOT_BYTES - IOASIS_PAYLOAD)

/* States. */
#define IOASIS_STATE_FREE 0u
#define IOASIS_STATE_REQUEST 1u  /* client to daemon */
#define IOASIS_STATE_TAKEN 2u    /* the daemon works on it */
#define IOASIS_STATE_REPLY 3u    /* daemon to client */
/*
 * The daemon asks the client to copy IOASIS_S_NEED_LENGTH bytes between the payload and
 * IOASIS_S_ADDRESS of its memory; used where the daemon may not reach it itself. The client
 * answers with NEED_DONE, and in IOASIS_S_NEED_LENGTH the bytes copied before a fault.
 */
#define IOASIS_STATE_NEED_IN 4u  /* caller's memory to payload */
#define IOASIS_STATE_NEED_OUT 5u /* payload to caller's memory */
#define IOASIS_STATE_NEED_DONE 6u

/* Operations. Paths are absolute, as the program sees them, without terminating zero. */
#define IOASIS_OP_OPEN 1u    /* payload: path; descriptor back */
#define IOASIS_OP_IOCTL 2u   /* payload: first bytes of the argument, see IOASIS_F_* */
#define IOASIS_OP_READ 3u
#define IOASIS_OP_WRITE 4u   /* payload: bytes (more than one payload: several calls) */
#define IOASIS_OP_MMAP 5u    /* descriptor back; IOASIS_S_ADDRESS: where in it */
#define IOASIS_OP_CLOSED 6u  /* after close: answers when the last close, if it was, is done */
#define IOASIS_OP_BARRIER 7u /* answers when everything closed so far is done */
#define IOASIS_OP_RESOLVE 8u /* IOASIS_S_ARGUMENT: st_ino of a socket; handle and kind back, or ENOENT */
#define IOASIS_OP_TREE 9u    /* answers when the file tree under IOASIS_ROOT is there */
#define IOASIS_OP_POLL 10u   /* poll bits now, after the client took the readiness byte */
#define IOASIS_OP_MAPPED 11u /* a shared mapping began: ARGUMENT address, SIZE, OFFSET in the file; one descriptor */
#define IOASIS_OP_UNMAPPED 12u /* ARGUMENT address, SIZE: mappings there are gone */
#define IOASIS_OP_STATUS 13u /* payload: pid as text; back: VmPin and VmLck in KiB, two u64 */
#define IOASIS_OP_REFUSED 14u /* payload: text for the log: a program or call that cannot be served */

/* Request flags. */
#define IOASIS_F_ARGUMENT_FAULT 1u    /* the argument cannot be read: EFAULT where it is read */
#define IOASIS_F_ARGUMENT_WRITABLE 2u /* the client writes the argument back itself, and it cannot fail */
#define IOASIS_F_ARGUMENT_VALUE 4u    /* the argument is no pointer */
#define IOASIS_F_NONBLOCK 8u

/* Reply bits. */
#define IOASIS_R_ARGUMENT 1u  /* copy REPLY_LENGTH bytes of the payload to the argument */
#define IOASIS_R_NEW 2u       /* one descriptor was sent for this slot; it is the result */
#define IOASIS_R_NEW_AT 4u    /* ... its number is written to ADDRESS instead */
#define IOASIS_R_KEEP_EXEC 8u /* the new descriptor has no close-on-exec */

/* Packets on the connection: a header, descriptors as SCM_RIGHTS, their numbers in the sender. */
#define IOASIS_P_HELLO 1u      /* client: version, pid; first packet */
#define IOASIS_P_WELCOME 2u    /* daemon: version, its pid; descriptors: channel memfd, doorbell eventfd */
#define IOASIS_P_DESCRIPTORS 3u /* both ways, for a slot */
#define IOASIS_P_DESCRIPTORS_MAX 250u

struct ioasis_packet {
	unsigned int kind;
	unsigned int version;
	unsigned int pid;
	unsigned int slot;
	unsigned int count;
	/* count numbers follow */
};

#endif
