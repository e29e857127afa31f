/*
 * cycles COUNT: everything that can be opened, bound, mapped and closed, again and again.
 */
#include "lesson.h"

int main(int count, char **arguments)
{
	unsigned long cycles = count > 1 ? strtoul(arguments[1], NULL, 0) : 1;
	char *memory = pages(4);

	for (unsigned long i = 0; i < cycles; i++) {
		int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
		int container = must(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "/dev/vfio/vfio");
		int device = open_device("0000:06:00.0");
		int event = must(eventfd(0, EFD_CLOEXEC), "eventfd");
		struct { struct vfio_irq_set head; int event; } irq = {
			.head = {
				.argsz = sizeof(irq),
				.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				.index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 1,
			},
			.event = event,
		};
		uint32_t space = new_space(iommufd);

		must(bind_device(device, iommufd), "bind");
		must(attach_device(device, space), "attach");
		must(map_at(iommufd, space, memory, 4 * PAGE, 0x100000), "map");
		must(ioctl(device, VFIO_DEVICE_SET_IRQS, &irq), "VFIO_DEVICE_SET_IRQS");
		expect(fcntl(iommufd, F_GETFD) == FD_CLOEXEC, "the descriptor is one");
		close(container);
		close(event);
		if (i % 2 == 0)
			close(iommufd);
		close(device);
		if (i % 2 != 0)
			close(iommufd);
	}
	printf("%lu cycles\n", cycles);
	return 0;
}
