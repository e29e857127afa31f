/*
 * ioctl: the argument's first bytes travel with the call, and the descriptors it names travel over
 * the connection. Numbers collide between kinds of files, so the kind decides what a number means.
 */
#include "client.h"

#include <stdarg.h>
#include <sys/ioctl.h>

#define PREFETCH 512u
#define FDS_MAX 2048u

#define VFIO(number) (0x3b00u | (100u + (number)))
#define VFIO_CHECK_EXTENSION VFIO(1)
#define VFIO_SET_IOMMU VFIO(2)
#define VFIO_GROUP_SET_CONTAINER VFIO(4)
#define VFIO_DEVICE_SET_IRQS VFIO(10)
#define VFIO_DEVICE_PCI_HOT_RESET VFIO(13)
#define VFIO_DEVICE_IOEVENTFD VFIO(16)
#define VFIO_DEVICE_FEATURE VFIO(17)
#define VFIO_DEVICE_BIND_IOMMUFD VFIO(18)
#define IOMMU_IOAS_MAP_FILE 0x3b8fu
#define IOMMU_TEST_CMD 0x3ba0u

#define IRQ_DATA_EVENTFD 4u
#define FEATURE_LOW_POWER_WAKEUP 4u

/* The argument as the client knows it. */
struct argument {
	const uint8_t *bytes;
	uint32_t length; /* bytes that could be read, at most PREFETCH */
	uint64_t address;
};

static uint32_t word(const struct argument *argument, uint32_t at)
{
	uint32_t value = 0;
	if (at + 4 <= argument->length)
		memcpy(&value, argument->bytes + at, 4);
	return value;
}

/* Reads `count` numbers that lie behind the prefetched bytes too. */
static uint32_t numbers(const struct argument *argument, uint32_t at, uint32_t count, int *fds)
{
	if (count > FDS_MAX)
		count = FDS_MAX;
	const void *from = (const void *)(uintptr_t)(argument->address + at);
	return (uint32_t)(copy_from_program(fds, from, 4ul * count) / 4);
}

/* Where a test command names an access file or a dma-buf by descriptor; 0: nowhere. */
static uint32_t place_in_test(uint32_t op)
{
	switch (op) {
	case 6: /* DESTROY_ACCESS_PAGES */
	case 7: /* ACCESS_PAGES */
	case 8: /* ACCESS_RW */
	case 11: /* ACCESS_REPLACE_IOAS */
		return 8;
	case 23: /* DMABUF_REVOKE */
		return 16;
	}
	return 0;
}

/* The descriptors that an ioctl names; how many. */
static uint32_t named(uint8_t kind, uint32_t command, const struct argument *argument,
		      int fds[FDS_MAX])
{
	if (kind == KIND_DEVICE) {
		switch (command) {
		case VFIO_DEVICE_BIND_IOMMUFD:
			return numbers(argument, 8, 1, fds);
		case VFIO_DEVICE_SET_IRQS:
			if ((word(argument, 4) & IRQ_DATA_EVENTFD) == 0)
				return 0;
			return numbers(argument, 20, word(argument, 16), fds);
		case VFIO_DEVICE_PCI_HOT_RESET:
			return numbers(argument, 12, word(argument, 8), fds);
		case VFIO_DEVICE_IOEVENTFD:
			return numbers(argument, 24, 1, fds);
		case VFIO_DEVICE_FEATURE:
			if ((word(argument, 4) & 0xffff) != FEATURE_LOW_POWER_WAKEUP)
				return 0;
			return numbers(argument, 8, 1, fds);
		}
		return 0;
	}
	if (kind == KIND_GROUP && command == VFIO_GROUP_SET_CONTAINER)
		return numbers(argument, 0, 1, fds);
	if (kind == KIND_IOMMUFD && command == IOMMU_IOAS_MAP_FILE)
		return numbers(argument, 12, 1, fds);
	if (kind == KIND_IOMMUFD && command == IOMMU_TEST_CMD) {
		uint32_t at = place_in_test(word(argument, 4));
		return at == 0 ? 0 : numbers(argument, at, 1, fds);
	}
	return 0;
}

static bool is_value(uint8_t kind, uint32_t command)
{
	return (kind == KIND_CONTAINER || kind == KIND_IOMMUFD) &&
	       (command == VFIO_CHECK_EXTENSION || command == VFIO_SET_IOMMU);
}

/* Fills the payload with what can be read of the argument. */
static void prefetch(struct call *call, uint64_t argument)
{
	const void *from = (const void *)(uintptr_t)argument;
	uint32_t size = 0;
	if (copy_from_program(&size, from, 4) < 4) {
		call->flags |= IOASIS_F_ARGUMENT_FAULT;
		return;
	}
	/* Almost all begin with their size. Others are short; more than they have does no harm. */
	uint32_t wanted = size >= 4 && size <= PREFETCH ? size : size > PREFETCH ? PREFETCH : 64;
	if (wanted < 64 && is_on_stack(from, 64))
		wanted = 64;
	call->length = (uint32_t)copy_from_program(call->payload, from, wanted);
	if (is_on_stack(from, call->length))
		call->flags |= IOASIS_F_ARGUMENT_WRITABLE;
}

/* Where the number of a new descriptor goes; the result of the ioctl. */
static long hand_out(struct call *call, long result)
{
	int fd = call_descriptor(call);
	if (fd < 0)
		return fd;
	ours_set(fd, call->new_handle, call->new_kind, 0);
	if ((call->reply & IOASIS_R_KEEP_EXEC) != 0)
		SYS(SYS_fcntl, fd, F_SETFD, 0);
	if ((call->reply & IOASIS_R_NEW_AT) == 0)
		return fd;
	if (copy_to_program((void *)(uintptr_t)call->address, &fd, 4) == 4)
		return result;
	struct ours what = { call->new_handle, (uint8_t)call->new_kind, 0 };
	close_ours(fd, &what);
	return -EFAULT;
}

long ioctl_ours(int fd, const struct ours *what, uint32_t command, uint64_t argument)
{
	(void)fd;
	int fds[FDS_MAX];
	struct call call;
	long done = call_begin(&call, IOASIS_OP_IOCTL);
	if (done != 0)
		return done;
	call.handle = what->handle;
	call.command = command;
	call.argument = argument;
	if (is_value(what->kind, command)) {
		call.flags = IOASIS_F_ARGUMENT_VALUE;
	} else {
		prefetch(&call, argument);
		struct argument known = { call.payload, call.length, argument };
		call.descriptor_count = named(what->kind, command, &known, fds);
		call.descriptors = fds;
	}
	done = call_run(&call);
	/* Some calls that fail tell how far they came. */
	if ((call.reply & IOASIS_R_ARGUMENT) != 0) {
		void *to = (void *)(uintptr_t)argument;
		size_t copied = copy_to_program(to, call.payload, call.reply_length);
		if (copied < call.reply_length && done >= 0)
			done = -EFAULT;
	}
	if ((call.reply & IOASIS_R_NEW) != 0)
		done = done < 0 ? done : hand_out(&call, done);
	call_end(&call);
	return done;
}

/* ---- KVM ---- */

#define KVM_SET_DEVICE_ATTR 0x4018aee1u

struct kvm_device_attr_bytes {
	uint32_t flags;
	uint32_t group;
	uint64_t attr;
	uint64_t addr;
};

/* KVM's VFIO device is told of our files: it cannot know them, and needs nothing of them. */
static bool is_told_to_kvm(uint32_t command, uint64_t argument)
{
	struct kvm_device_attr_bytes bytes;
	struct ours what;
	int fd;
	if (command != KVM_SET_DEVICE_ATTR)
		return false;
	if (copy_from_program(&bytes, (const void *)(uintptr_t)argument, sizeof bytes) <
	    sizeof bytes)
		return false;
	if (bytes.group != 1 || (bytes.attr != 1 && bytes.attr != 2))
		return false;
	if (copy_from_program(&fd, (const void *)(uintptr_t)bytes.addr, 4) < 4)
		return false;
	return is_ours(fd, &what);
}

EXPORT int ioctl(int fd, unsigned long command, ...)
{
	va_list list;
	va_start(list, command);
	uint64_t argument = va_arg(list, uint64_t);
	va_end(list);
	struct ours what;
	if (is_ours(fd, &what))
		return (int)libc_result(ioctl_ours(fd, &what, (uint32_t)command, argument));
	if (is_on() && is_told_to_kvm((uint32_t)command, argument))
		return 0;
	return REAL(ioctl)(fd, command, argument);
}
