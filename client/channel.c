/*
 * Calls over the connection to the daemon.
 *
 * A call claims one of 64 slots of shared memory, fills it, marks it pending, and waits on the
 * slot's state. Claiming is lock free, so a signal handler that interrupts a call makes its own.
 * Only taking descriptors off the socket needs a lock, with signals blocked (packets of several slots arrive on one socket, whoever takes one for another slot leaves
 * it in that slot's inbox).
 *
 * The daemon answers calls one after the other, and may ask for a copy of memory in the middle of
 * one. If a handler has interrupted that call, nobody would answer; so a call that finds others of
 * its own thread under way answers for them.
 *
 * Waiting: a bounded number of looks, which the daemon adapts, then futex sleep. Each 200 ms the
 * socket is looked at: a daemon that died hangs it up, and every call answers EIO from then on.
 */
#include "client.h"
#include "connection.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#define LOOK_NS 200000000l
#define NESTED_LOOK_NS 500000l
/* Slots for calls that interrupt no other; the rest is for handlers, which then always get on. */
#define FIRST_CALLS 48
#define SPINS_MAX 1000000u

bool is_connected(void)
{
	return is_on() && __atomic_load_n(&process_here()->link, __ATOMIC_ACQUIRE) == LINK_UP;
}

/* ---- slots ---- */

static volatile uint32_t *header_of(const struct process *process)
{
	return (volatile uint32_t *)(void *)process->channel;
}

static volatile uint32_t *slot_words(const struct process *process, unsigned index)
{
	uint8_t *slot = process->channel + IOASIS_HEADER_BYTES + index * IOASIS_SLOT_BYTES;
	return (volatile uint32_t *)(void *)slot;
}

static uint64_t get64(volatile uint32_t *words, unsigned at)
{
	return words[at] | (uint64_t)words[at + 1] << 32;
}

/*
 * Copies between the payload and the program for a daemon that may not do it itself. With signals
 * blocked: a handler's own call may do it for the call it interrupted, but not in the middle.
 */
static void serve_need(volatile uint32_t *words)
{
	held_t held = signals_block();
	volatile uint32_t *word = &words[IOASIS_S_STATE];
	uint32_t state = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	if (state == IOASIS_STATE_NEED_IN || state == IOASIS_STATE_NEED_OUT) {
		uint8_t *payload = (uint8_t *)(uintptr_t)words + IOASIS_PAYLOAD;
		void *address = (void *)(uintptr_t)get64(words, IOASIS_S_ADDRESS);
		uint32_t wanted = words[IOASIS_S_NEED_LENGTH];
		if (wanted > IOASIS_PAYLOAD_BYTES)
			wanted = IOASIS_PAYLOAD_BYTES;
		size_t done = state == IOASIS_STATE_NEED_IN ?
				      copy_from_program(payload, address, wanted) :
				      copy_to_program(address, payload, wanted);
		words[IOASIS_S_NEED_LENGTH] = (uint32_t)done;
		__atomic_store_n(word, IOASIS_STATE_NEED_DONE, __ATOMIC_SEQ_CST);
		SYS(SYS_futex, word, FUTEX_WAKE, 1);
	}
	signals_unblock(held);
}

/*
 * Serves calls of this thread that a signal handler interrupted to make another; `own` are the
 * slots of that one. Whether there are such.
 */
static bool serve_interrupted(struct process *process, uint64_t own)
{
	uintptr_t self = (uintptr_t)pthread_self();
	uint64_t others = __atomic_load_n(&process->slots_used, __ATOMIC_RELAXED) & ~own;
	bool is_nested = false;
	for (; others != 0; others &= others - 1) {
		unsigned index = (unsigned)__builtin_ctzll(others);
		if (process->owners[index] != self)
			continue;
		is_nested = true;
		serve_need(slot_words(process, index));
	}
	return is_nested;
}

static unsigned claim_slot(struct process *process)
{
	for (;;) {
		bool is_nested = serve_interrupted(process, 0);
		uint64_t allowed = is_nested ? ~0ull : (1ull << FIRST_CALLS) - 1;
		uint64_t used = __atomic_load_n(&process->slots_used, __ATOMIC_RELAXED);
		while ((~used & allowed) != 0) {
			unsigned index = (unsigned)__builtin_ctzll(~used & allowed);
			if (!__atomic_compare_exchange_n(&process->slots_used, &used,
							 used | 1ull << index, false,
							 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				continue;
			process->owners[index] = (uintptr_t)pthread_self();
			return index;
		}
		struct timespec moment = { 0, 50000 };
		SYS(SYS_nanosleep, &moment, NULL);
	}
}

/* The thread's number, asked once in each process. */
static uint32_t thread_number(const struct process *process)
{
	static __thread uint32_t known __attribute__((tls_model("initial-exec")));
	static __thread uint32_t of_process __attribute__((tls_model("initial-exec")));
	if (of_process != process->pid) {
		known = (uint32_t)SYS(SYS_gettid);
		of_process = process->pid;
	}
	return known;
}

long call_begin(struct call *call, uint32_t op)
{
	memset(call, 0, sizeof *call);
	struct process *process = process_here();
	if (__atomic_load_n(&process->link, __ATOMIC_ACQUIRE) == LINK_NONE)
		connect_now(process);
	if (__atomic_load_n(&process->link, __ATOMIC_ACQUIRE) != LINK_UP)
		return -EIO;
	call->op = op;
	call->offset = ~0ull;
	call->index = claim_slot(process);
	call->words = slot_words(process, call->index);
	call->payload = (uint8_t *)(uintptr_t)call->words + IOASIS_PAYLOAD;
	return 0;
}

void call_end(struct call *call)
{
	__atomic_store_n(&call->words[IOASIS_S_STATE], IOASIS_STATE_FREE, __ATOMIC_RELEASE);
	__atomic_and_fetch(&process_here()->slots_used, ~(1ull << call->index), __ATOMIC_RELEASE);
}

static void put64(volatile uint32_t *words, unsigned at, uint64_t value)
{
	words[at] = (uint32_t)value;
	words[at + 1] = (uint32_t)(value >> 32);
}

/* ---- a call ---- */

/* Sends the descriptors of a call; how many arrived, or -errno. */
static long send_descriptors(struct process *process, const struct call *call)
{
	struct packet packet = { .head = { .kind = IOASIS_P_DESCRIPTORS,
					   .version = IOASIS_VERSION,
					   .pid = process->pid,
					   .slot = call->index } };
	uint32_t total = 0;
	uint32_t next = 0;
	while (next < call->descriptor_count) {
		int fds[IOASIS_P_DESCRIPTORS_MAX];
		uint32_t count = 0;
		while (next < call->descriptor_count && count < IOASIS_P_DESCRIPTORS_MAX) {
			int fd = call->descriptors[next++];
			if (fd < 0 || (is_hidden(fd) && !call->sends_hidden) ||
			    sys_failed(SYS(SYS_fcntl, fd, F_GETFD)))
				continue;
			packet.numbers[count] = (uint32_t)fd;
			fds[count++] = fd;
		}
		if (count == 0)
			break;
		packet.head.count = count;
		long done = send_packet(process->socket, &packet, fds, count);
		if (done != 0)
			return done;
		total += count;
	}
	return total;
}

static void ring(struct process *process)
{
	volatile uint32_t *header = header_of(process);
	if (__atomic_exchange_n(&header[IOASIS_H_ASLEEP], 0, __ATOMIC_SEQ_CST) == 1) {
		uint64_t one = 1;
		SYS(SYS_write, process->doorbell, &one, 8);
	}
}

static bool is_alive(struct process *process)
{
	if (__atomic_load_n(&header_of(process)[IOASIS_H_CLOSED], __ATOMIC_ACQUIRE) != 0)
		return false;
	struct pollfd look = { process->socket, 0, 0 };
	struct timespec now = { 0, 0 };
	long got = SYS(SYS_ppoll, &look, 1, &now, NULL, 0);
	return sys_failed(got) || (look.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

static bool is_answer(uint32_t state)
{
	return state == IOASIS_STATE_REPLY || state == IOASIS_STATE_NEED_IN ||
	       state == IOASIS_STATE_NEED_OUT;
}

/* Waits for the daemon's next word in the slot; the state, or 0 when the daemon is gone. */
static uint32_t wait_answer(struct process *process, struct call *call)
{
	volatile uint32_t *state = &call->words[IOASIS_S_STATE];
	uint32_t spins = header_of(process)[IOASIS_H_SPINS];
	uint32_t seen;
	for (uint32_t i = 0; i < spins && i < SPINS_MAX; i++) {
		seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
		if (is_answer(seen))
			return seen;
		pause_briefly();
	}
	__atomic_store_n(&call->words[IOASIS_S_ASLEEP], 1, __ATOMIC_SEQ_CST);
	while (!is_answer(seen = __atomic_load_n(state, __ATOMIC_SEQ_CST))) {
		bool is_nested = serve_interrupted(process, 1ull << call->index);
		struct timespec look = { 0, is_nested ? NESTED_LOOK_NS : LOOK_NS };
		long woken = SYS(SYS_futex, state, FUTEX_WAIT, seen, &look);
		if (woken == -ETIMEDOUT && !is_alive(process)) {
			seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
			return is_answer(seen) ? seen : 0;
		}
	}
	__atomic_store_n(&call->words[IOASIS_S_ASLEEP], 0, __ATOMIC_RELAXED);
	return seen;
}

static void write_request(struct process *process, const struct call *call, uint32_t descriptors)
{
	volatile uint32_t *words = call->words;
	words[IOASIS_S_ASLEEP] = 0;
	words[IOASIS_S_OP] = call->op;
	words[IOASIS_S_FLAGS] = call->flags;
	words[IOASIS_S_TID] = thread_number(process);
	words[IOASIS_S_HANDLE] = call->handle;
	words[IOASIS_S_COMMAND] = call->command;
	words[IOASIS_S_LENGTH] = call->length;
	put64(words, IOASIS_S_ARGUMENT, call->argument);
	put64(words, IOASIS_S_OFFSET, call->offset);
	put64(words, IOASIS_S_SIZE, call->size);
	words[IOASIS_S_DESCRIPTORS] = descriptors;
	__atomic_store_n(&words[IOASIS_S_STATE], IOASIS_STATE_REQUEST, __ATOMIC_RELEASE);
	volatile uint32_t *header = header_of(process);
	unsigned word = call->index < 32 ? IOASIS_H_PENDING_LO : IOASIS_H_PENDING_HI;
	__atomic_or_fetch(&header[word], 1u << call->index % 32, __ATOMIC_SEQ_CST);
}

static long read_reply(struct call *call)
{
	volatile uint32_t *words = call->words;
	call->reply = words[IOASIS_S_REPLY];
	call->reply_length = words[IOASIS_S_REPLY_LENGTH];
	if (call->reply_length > IOASIS_PAYLOAD_BYTES)
		call->reply_length = IOASIS_PAYLOAD_BYTES;
	call->new_handle = words[IOASIS_S_NEW_HANDLE];
	call->new_kind = words[IOASIS_S_NEW_KIND];
	call->new_rdev = words[IOASIS_S_NEW_RDEV];
	call->address = get64(words, IOASIS_S_ADDRESS);
	return (int32_t)words[IOASIS_S_RESULT];
}

long call_run(struct call *call)
{
	struct process *process = process_here();
	uint32_t descriptors = 0;
	if (call->descriptor_count > 0) {
		long sent = send_descriptors(process, call);
		if (sent < 0)
			return sent == -EPIPE || sent == -ECONNRESET ? -EIO : sent;
		descriptors = (uint32_t)sent;
	}
	write_request(process, call, descriptors);
	ring(process);
	for (;;) {
		uint32_t state = wait_answer(process, call);
		if (state == IOASIS_STATE_REPLY)
			return read_reply(call);
		if (state == 0) {
			__atomic_store_n(&process->link, LINK_DEAD, __ATOMIC_RELEASE);
			return -EIO;
		}
		serve_need(call->words);
	}
}

/* ---- descriptors that come back ---- */

int call_descriptor(struct call *call)
{
	struct process *process = process_here();
	held_t held = lock_take(&process->receiving);
	while (process->inbox[call->index] == -1) {
		struct packet packet;
		int fds[2];
		long done = receive_packet(process->socket, &packet, fds, MSG_DONTWAIT);
		if (done != 0 || packet.head.kind != IOASIS_P_DESCRIPTORS ||
		    packet.head.slot >= SLOTS) {
			lock_give(&process->receiving, held);
			return -EIO;
		}
		if (fds[0] == -1)
			fds[0] = -2;
		process->inbox[packet.head.slot] = fds[0];
	}
	int fd = process->inbox[call->index];
	process->inbox[call->index] = -1;
	lock_give(&process->receiving, held);
	return fd == -2 ? -EMFILE : fd;
}

/* ---- small ones ---- */

long call_plain(uint32_t op, uint32_t handle, uint64_t argument, uint64_t size)
{
	struct call call;
	long done = call_begin(&call, op);
	if (done != 0)
		return done;
	call.handle = handle;
	call.argument = argument;
	call.size = size;
	done = call_run(&call);
	call_end(&call);
	return done;
}

void call_credentials_changed(void)
{
	if (is_connected())
		__atomic_add_fetch(&header_of(process_here())[IOASIS_H_CREDENTIALS], 1,
				   __ATOMIC_SEQ_CST);
}
