/*
 * Lesson 1: one device, one address space.
 *
 * A program opens the device's own file, gives the device to an iommufd, maps memory for it, and
 * has it copy a page. An interrupt says when it is done. After the unmap the same copy fails.
 *
 *   cc -o map-and-dma map-and-dma.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./map-and-dma 0000:01:00.0
 */
#include "lesson.h"

/* Connects MSI-X vector 0 to an eventfd. */
static int interrupt(int device)
{
	int event = must(eventfd(0, EFD_CLOEXEC), "eventfd");
	char room[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *set = (void *)room;

	*set = (struct vfio_irq_set){
		.argsz = sizeof(room),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = 1,
	};
	memcpy(set->data, &event, sizeof(event));
	must(ioctl(device, VFIO_DEVICE_SET_IRQS, set), "VFIO_DEVICE_SET_IRQS");
	return event;
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char *memory = pages(2);
	uint64_t raised = 0;

	give_to_vfio(name);
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");

	must(bind_device(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");
	uint32_t space = new_space(iommufd);
	must(attach_device(device, space), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	must(map_at(iommufd, space, memory, 2 * PAGE, 0x100000), "IOMMU_IOAS_MAP");
	printf("mapped two pages at 0x100000\n");

	int event = interrupt(device);
	switch_on(device);
	strcpy(memory, "hello, device");
	struct order copy = {
		.opcode = ENGINE_COPY,
		.source = 0x100000,
		.destination = 0x100000 + PAGE,
		.length = PAGE,
		.vector = ENGINE_RAISE | 0,
	};
	engine_start(device, copy);
	must(read(event, &raised, sizeof(raised)), "the interrupt");
	printf("interrupts: %llu, the copy: %s\n", (unsigned long long)raised, memory + PAGE);
	expect(strcmp(memory + PAGE, "hello, device") == 0, "the page was copied");

	must(unmap(iommufd, space, 0x100000, 2 * PAGE), "IOMMU_IOAS_UNMAP");
	memset(memory + PAGE, 0, PAGE);
	copy.vector = 0;
	uint32_t error = engine_run(device, copy);
	printf("after the unmap: engine error %u, the copy: \"%s\"\n", error, memory + PAGE);
	expect(error != 0 && memory[PAGE] == 0, "nothing was copied");
	return 0;
}
