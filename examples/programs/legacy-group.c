/*
 * Lesson 2: the same by group and container, as programs did it before iommufd.
 *
 * The group is the unit: its number stands in sysfs, its file is /dev/vfio/NUMBER, and a container
 * is the address space of all groups in it. The device comes last.
 *
 *   cc -o legacy-group legacy-group.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./legacy-group 0000:01:00.0
 */
#include "lesson.h"

static int open_group(const char *name)
{
	char link[PATH_MAX], target[PATH_MAX], path[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", name);
	length = must(readlink(link, target, sizeof(target) - 1), link);
	target[length] = 0;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(target, '/'));
	return must(open(path, O_RDWR | O_CLOEXEC), path);
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char *memory = pages(2);

	give_to_vfio(name);
	int container = must(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "/dev/vfio/vfio");
	expect(ioctl(container, VFIO_GET_API_VERSION) == 0, "the interface has version 0");
	expect(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1, "type1v2 is there");

	int group = open_group(name);
	struct vfio_group_status status = { .argsz = sizeof(status) };
	must(ioctl(group, VFIO_GROUP_GET_STATUS, &status), "VFIO_GROUP_GET_STATUS");
	printf("viable: %s\n", status.flags & VFIO_GROUP_FLAGS_VIABLE ? "yes" : "no");
	must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	must(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");

	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = 0x100000,
		.size = 2 * PAGE,
	};
	must(ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "VFIO_IOMMU_MAP_DMA");

	int device = must(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name), "VFIO_GROUP_GET_DEVICE_FD");
	struct vfio_device_info info = { .argsz = sizeof(info) };
	must(ioctl(device, VFIO_DEVICE_GET_INFO, &info), "VFIO_DEVICE_GET_INFO");
	printf("regions: %u, interrupts: %u\n", info.num_regions, info.num_irqs);

	switch_on(device);
	strcpy(memory, "hello, group");
	struct order copy = {
		.opcode = ENGINE_COPY,
		.source = 0x100000,
		.destination = 0x100000 + PAGE,
		.length = PAGE,
	};
	uint32_t error = engine_run(device, copy);
	printf("engine error %u, the copy: %s\n", error, memory + PAGE);
	expect(strcmp(memory + PAGE, "hello, group") == 0, "the page was copied");

	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = 0x100000, .size = 2 * PAGE,
	};
	must(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap), "VFIO_IOMMU_UNMAP_DMA");
	printf("unmapped %llu bytes\n", (unsigned long long)unmap.size);
	return 0;
}
