/*
 * Lesson 8: two processes and the two devices of one isolation group.
 *
 * While one process owns a device, no other gets a device of the same group. When the owner ends,
 * whatever way, the group is free again; nothing has to be cleaned up.
 *
 *   cc -o two-processes two-processes.c -I../../client
 *   ioasis run --platform ../platforms/t2m.yaml -- ./two-processes 0000:03:00.0 0000:04:00.0
 */
#include "lesson.h"

#include <signal.h>

/* Binds the device, tells `ready`, and lives until it is killed. */
static void own(const char *name, int ready)
{
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");

	must(bind_device(device, iommufd), "the first process binds");
	must(write(ready, "x", 1), "tell the other");
	for (;;)
		pause();
}

int main(int count, char **arguments)
{
	const char *a = count > 2 ? arguments[1] : "0000:03:00.0";
	const char *b = count > 2 ? arguments[2] : "0000:04:00.0";
	int ready[2];
	char byte;

	give_to_vfio(a);
	give_to_vfio(b);
	must(pipe(ready), "pipe");
	pid_t owner = must(fork(), "fork");
	if (owner == 0)
		own(a, ready[1]);
	must(read(ready[0], &byte, 1), "wait for the owner");

	int device = open_device(b);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	long done = bind_device(device, iommufd);
	printf("b while another process owns a: %s\n", ending(done));
	fflush(stdout);
	expect(done < 0 && errno == EPERM, "the group has an owner");

	kill(owner, SIGKILL);
	must(waitpid(owner, NULL, 0), "waitpid");
	/* The owner's files close as it ends; give the last of them a moment. */
	for (int tries = 0; done < 0 && tries < 100; tries++) {
		usleep(10000);
		done = bind_device(device, iommufd);
	}
	printf("b after the owner was killed: %s\n", ending(done));
	fflush(stdout);
	expect(done >= 0, "the group is free");

	/* A child shares the files it inherits: what it maps is its own memory. */
	uint32_t space = new_space(iommufd);
	must(attach_device(device, space), "attach b");
	switch_on(device);
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		char *memory = pages(1);
		struct order fill = {
			.opcode = ENGINE_FILL, .destination = 0x10000, .length = 8,
		};

		memcpy(&fill.pattern, "a child", 8);
		must(map_at(iommufd, space, memory, PAGE, 0x10000), "the child maps");
		expect(engine_run(device, fill) == 0, "the child's fill works");
		printf("memory of the child: %s\n", memory);
		expect(strcmp(memory, "a child") == 0, "it is in the child's memory");
		exit(0);
	}
	int status;
	must(waitpid(child, &status, 0), "waitpid");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
