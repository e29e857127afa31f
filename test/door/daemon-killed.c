/*
 * Kills the platform under itself: the next call fails with EIO, and does not hang.
 */
#include "lesson.h"

#include <signal.h>

int main(void)
{
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	new_space(iommufd);
	alarm(10);
	kill(getppid(), SIGKILL);
	while (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc) == 0)
		usleep(1000);
	printf("%s\n", ending(-1));
	return 0;
}
