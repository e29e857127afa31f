/*
 * Lesson 9: one process opens, another uses.
 *
 * A manager binds and attaches a device, then hands the descriptors over a socket to a worker that
 * was started as a program of its own, and ends. The worker maps its own memory. A descriptor is
 * the right to use what it stands for, and lives as long as somebody holds it.
 *
 *   cc -o pass-iommufd pass-iommufd.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./pass-iommufd 0000:01:00.0
 */
#include "lesson.h"

#define DESCRIPTORS 2

/* The ancillary part of a message with two descriptors. */
union room {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
};

static struct msghdr message(struct iovec *data, union room *room)
{
	return (struct msghdr){
		.msg_iov = data,
		.msg_iovlen = 1,
		.msg_control = room->bytes,
		.msg_controllen = sizeof(room->bytes),
	};
}

static void send_files(int socket, const int *files, uint32_t space)
{
	union room room = { 0 };
	struct iovec data = { .iov_base = &space, .iov_len = sizeof(space) };
	struct msghdr out = message(&data, &room);

	room.header = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(DESCRIPTORS * sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&room.header), files, DESCRIPTORS * sizeof(int));
	must(sendmsg(socket, &out, 0), "sendmsg");
}

static uint32_t receive_files(int socket, int *files)
{
	union room room = { 0 };
	uint32_t space = 0;
	struct iovec data = { .iov_base = &space, .iov_len = sizeof(space) };
	struct msghdr in = message(&data, &room);

	must(recvmsg(socket, &in, 0), "recvmsg");
	expect(room.header.cmsg_type == SCM_RIGHTS, "descriptors came");
	memcpy(files, CMSG_DATA(&room.header), DESCRIPTORS * sizeof(int));
	return space;
}

static int worker(int socket)
{
	char *memory = pages(1), byte;
	int files[DESCRIPTORS];
	uint32_t space = receive_files(socket, files);
	int iommufd = files[0], device = files[1];

	/* The end of the stream: the manager is gone. */
	expect(read(socket, &byte, 1) == 0, "the manager has ended");
	must(map_at(iommufd, space, memory, PAGE, 0x10000), "the worker maps");
	struct order fill = { .opcode = ENGINE_FILL, .destination = 0x10000, .length = 8 };
	memcpy(&fill.pattern, "handed!", 8);
	expect(engine_run(device, fill) == 0, "the worker's fill works");
	printf("memory of the worker: %s\n", memory);
	expect(strcmp(memory, "handed!") == 0, "the device wrote to the worker's memory");
	return 0;
}

static void manager(const char *name, int socket)
{
	give_to_vfio(name);
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");

	must(bind_device(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");
	uint32_t space = new_space(iommufd);
	must(attach_device(device, space), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	switch_on(device);
	send_files(socket, (int[]){ iommufd, device }, space);
	printf("handed over\n");
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char number[16];
	int ends[2], status;

	if (count > 2 && strcmp(name, "worker") == 0)
		return worker(atoi(arguments[2]));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	pid_t first = must(fork(), "fork");
	if (first == 0) {
		manager(name, ends[0]);
		return 0;
	}
	close(ends[0]);
	must(waitpid(first, &status, 0), "waitpid");
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the manager did its part");
	snprintf(number, sizeof(number), "%d", ends[1]);
	execl("/proc/self/exe", arguments[0], "worker", number, (char *)NULL);
	must(-1, "exec");
	return 1;
}
