/*
 * orphans: threads in calls of every kind when the daemon stops, and then is killed. It is the
 * parent of this program (`ioasis run`).
 *
 * Prints how each call ended, one line each, and whether one hung.
 */
#include "lesson.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

static int iommufd, config, device;
static uint32_t space;

static long call_open(void) { return open("/dev/iommu", O_RDWR | O_CLOEXEC); }
static long call_read(void)
{
	uint32_t value;
	return pread(config, &value, 4, 0);
}
static long call_write(void)
{
	uint16_t value = 0;
	return pwrite(device, &value, 2, region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX) + 4);
}
static long call_ioctl(void)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	return ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);
}
static long call_map(void)
{
	static char memory[2 * PAGE] __attribute__((aligned(4096)));
	return map_at(iommufd, space, memory, 2 * PAGE, 0x100000);
}
static long call_mmap(void)
{
	return mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0) == MAP_FAILED ? -1 : 0;
}
static long call_sysfs(void)
{
	return write_file("/sys/bus/pci/devices/0000:06:00.0/driver_override", "vfio-pci");
}

static const struct kind {
	const char *name;
	long (*call)(void);
} kinds[] = {
	{ "open", call_open }, { "read", call_read }, { "ioctl", call_ioctl },
	{ "map", call_map }, { "mmap", call_mmap }, { "sysfs", call_sysfs },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const char *endings[KINDS];
static int ended;

static void *one(void *argument)
{
	const struct kind *kind = argument;
	long result = kind->call();

	endings[kind - kinds] = result >= 0 ? "ok" : strerrorname_np(errno);
	__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Every thread of the process is stopped: state T in its stat, behind the name in brackets. */
static int stands_still(pid_t process)
{
	char path[64], line[512];
	int all = 1;

	snprintf(path, sizeof(path), "/proc/%d/task", process);
	DIR *tasks = opendir(path);
	expect(tasks != NULL, path);
	for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", process, task->d_name);
		FILE *file = fopen(path, "r");
		if (file == NULL)
			continue;
		const char *state = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
		all &= state != NULL && state[2] == 'T';
		fclose(file);
	}
	closedir(tasks);
	return all;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(void)
{
	pthread_t threads[KINDS];
	pid_t daemon = getppid();

	iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	config = must(open("/sys/bus/pci/devices/0000:06:00.0/config", O_RDONLY), "config");
	device = open_device("0000:06:00.0");
	space = new_space(iommufd);
	must(bind_device(device, iommufd), "bind");
	must(call_write(), "a write");
	must(kill(daemon, SIGSTOP), "SIGSTOP");
	/* Its threads stop one after the other: until then calls may still be answered. */
	while (!stands_still(daemon))
		usleep(1000);
	for (unsigned int i = 0; i < KINDS; i++)
		expect(pthread_create(&threads[i], NULL, one, (void *)&kinds[i]) == 0, "a thread");
	usleep(200000);
	printf("%d ended while the daemon stood still\n", ended);
	double killed = now();
	must(kill(daemon, SIGKILL), "SIGKILL");
	for (unsigned int i = 0; i < KINDS; i++)
		pthread_join(threads[i], NULL);
	double took = now() - killed;
	for (unsigned int i = 0; i < KINDS; i++)
		printf("%s: %s\n", kinds[i].name, endings[i]);
	/* Later calls fail as well, and at once; closing works. */
	printf("later: %s\n", call_open() < 0 ? strerrorname_np(errno) : "ok");
	printf("write: %s\n", pwrite(device, &killed, 2, 0) < 0 ? strerrorname_np(errno) : "ok");
	close(config);
	close(device);
	close(iommufd);
	printf("%s\n", took < 5 && now() - killed < 10 ? "none hangs" : "late");
	return 0;
}
