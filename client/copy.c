/*
 * Memory of the program: reached so that a wild pointer is an error and never a crash.
 *
 * On the own stack above the wrapper a plain copy is safe. Elsewhere the kernel copies, with
 * process_vm_readv and process_vm_writev on this very process, which need no rights for that. A
 * filter of a container may forbid the calls all the same: then bytes go through a pipe.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#define STACK_REACH 65536u
#define PAGE 4096u

/* The top of the main thread's stack frames; of the dynamic loader. */
extern void *__libc_stack_end;

bool is_on_stack(const void *address, size_t bytes)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t first = (uintptr_t)address;
	if (first < here || bytes > STACK_REACH || first - here > STACK_REACH - bytes)
		return false;
	uintptr_t top = (uintptr_t)__libc_stack_end;
	if (here > top || top - here > (64ul << 20))
		top = (uintptr_t)pthread_self(); /* glibc keeps it at the top of a thread's stack */
	return top > here && first + bytes <= top;
}

/* Copies through a pipe, which answers EFAULT for memory that is not there. */
static size_t copy_by_pipe(void *to, const void *from, size_t bytes)
{
	int ends[2];
	size_t done = 0;
	if (sys_failed(SYS(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK)))
		return 0;
	while (done < bytes) {
		/* One page of the sender at a time: what is read can be written, or its part. */
		size_t length = PAGE - ((uintptr_t)from + done) % PAGE;
		if (length > bytes - done)
			length = bytes - done;
		long taken = SYS(SYS_write, ends[1], (const char *)from + done, length);
		if (sys_failed(taken) || taken == 0)
			break;
		long given = SYS(SYS_read, ends[0], (char *)to + done, (size_t)taken);
		if (sys_failed(given) || given == 0)
			break;
		done += (size_t)given;
		if (given < taken)
			break;
	}
	SYS(SYS_close, ends[0]);
	SYS(SYS_close, ends[1]);
	return done;
}

/* Copies by system call, in pieces that end at pages of the program. */
static size_t copy_by_kernel(long number, void *own, const void *remote, size_t bytes)
{
	uint32_t pid = (uint32_t)SYS(SYS_getpid);
	size_t done = 0;
	while (done < bytes) {
		struct iovec pieces[16];
		unsigned count = 0;
		size_t batch = 0;
		while (count < 16 && done + batch < bytes) {
			uintptr_t at = (uintptr_t)remote + done + batch;
			size_t length = PAGE - at % PAGE;
			if (length > bytes - done - batch)
				length = bytes - done - batch;
			pieces[count++] = (struct iovec){ (void *)at, length };
			batch += length;
		}
		struct iovec local = { (char *)own + done, batch };
		long moved = SYS(number, pid, &local, 1, pieces, count, 0);
		if (moved == -EPERM || moved == -ENOSYS) {
			const char *there = (const char *)remote + done;
			char *here = (char *)own + done;
			if (number == SYS_process_vm_readv)
				return done + copy_by_pipe(here, there, bytes - done);
			return done + copy_by_pipe((char *)(uintptr_t)there, here, bytes - done);
		}
		if (sys_failed(moved))
			return done;
		done += (size_t)moved;
		if ((size_t)moved < batch)
			return done;
	}
	return done;
}

/* One piece below this address space's end; wraps and huge sizes are faults. */
static bool is_plausible(const void *address, size_t bytes)
{
	return (uintptr_t)address >= PAGE && (uintptr_t)address + bytes >= (uintptr_t)address;
}

size_t copy_from_program(void *to, const void *from, size_t bytes)
{
	if (bytes == 0)
		return 0;
	if (is_on_stack(from, bytes)) {
		memcpy(to, from, bytes);
		return bytes;
	}
	if (!is_plausible(from, bytes))
		return 0;
	return copy_by_kernel(SYS_process_vm_readv, to, from, bytes);
}

size_t copy_to_program(void *to, const void *from, size_t bytes)
{
	if (bytes == 0)
		return 0;
	if (is_on_stack(to, bytes)) {
		memcpy(to, from, bytes);
		return bytes;
	}
	if (!is_plausible(to, bytes))
		return 0;
	return copy_by_kernel(SYS_process_vm_writev, (void *)(uintptr_t)from, to, bytes);
}

bool is_readable(const void *address)
{
	/* The kernel reads the set before it looks at the impossible first argument. */
	const void *aligned = (const void *)((uintptr_t)address & ~7ul);
	return SYS(SYS_rt_sigprocmask, -1, aligned, NULL, 8) == -EINVAL && address != NULL;
}

ssize_t string_length(const char *text, size_t limit)
{
	size_t length = 0;
	if (!is_readable(text))
		return -1;
	while (length < limit && text[length] != '\0') {
		length++;
		if (((uintptr_t)text + length) % PAGE == 0 && !is_readable(text + length))
			return -1;
	}
	return (ssize_t)length;
}
