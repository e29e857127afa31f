/*
 * kills SEED ROUNDS: programs killed at random points, beside one that goes on.
 *
 * The parent owns one device for the whole run, and checks after every round that its device still
 * reaches its memory. Each child owns other devices, maps memory, makes random calls and is killed
 * after a random time. After every round all devices of the children can be bound by the parent:
 * nothing of the dead is left.
 *
 * Prints one line with the number of rounds. Exit status 1: something did not hold.
 */
#include "random-calls.h"

#include <signal.h>
#include <time.h>

/* Devices of the children; the parent has the last of the platform. */
static const char *const theirs[] = { "0000:03:00.0", "0000:04:00.0", "0000:05:00.0" };
static const char *const own = "0000:06:00.0";

#define THEIRS (sizeof(theirs) / sizeof(theirs[0]))

static void victim(uint64_t seed)
{
	struct files files;
	struct random random = { .state = seed, .arena = new_arena(), .files = &files };
	int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	uint32_t space = new_space(iommufd);

	map_at(iommufd, space, random.arena, 16 * PAGE, 0x100000);
	for (unsigned int i = 0; i < THEIRS; i++) {
		int device = open_device(theirs[i]);

		if (bind_device(device, iommufd) >= 0)
			attach_device(device, space);
	}
	open_files(&files);
	for (;;)
		random_call(&random);
}

/* Binds what the dead had. It may take a moment until their last file is closed. */
static void all_free(void)
{
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");

	for (unsigned int i = 0; i < THEIRS; i++) {
		int device = open_device(theirs[i]);
		long bound = -1;

		for (int tries = 0; bound < 0 && tries < 500; tries++) {
			bound = bind_device(device, iommufd);
			if (bound < 0)
				usleep(10000);
		}
		must(bound, theirs[i]);
		close(device);
	}
	close(iommufd);
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	struct random random = { .state = strtoull(arguments[1], NULL, 0) };
	unsigned long rounds = strtoul(arguments[2], NULL, 0), round;
	char *memory = pages(1);
	int device = open_device(own);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");

	must(bind_device(device, iommufd), "bind");
	uint32_t space = new_space(iommufd);
	must(attach_device(device, space), "attach");
	must(map_at(iommufd, space, memory, PAGE, 0x100000), "map");
	switch_on(device);
	for (round = 0; round < rounds; round++) {
		uint64_t seed = next(&random);
		struct timespec time = { .tv_nsec = below(&random, 40000000) };
		pid_t child = must(fork(), "fork");

		if (child == 0)
			victim(seed);
		nanosleep(&time, NULL);
		kill(child, SIGKILL);
		must(waitpid(child, NULL, 0), "waitpid");
		struct order fill = {
			.opcode = ENGINE_FILL, .destination = 0x100000, .length = 8, .pattern = round,
		};
		expect(engine_run(device, fill) == 0, "the survivor's device works");
		if (*(uint64_t *)memory != round)
			fprintf(stderr, "round %lu: memory holds %llu\n", round,
				(unsigned long long)*(uint64_t *)memory);
		expect(*(uint64_t *)memory == round, "and reaches its memory");
		all_free();
	}
	printf("%lu killed\n", round);
	return 0;
}
