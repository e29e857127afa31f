/*
 * Lesson 5: which pages did the device write to?
 *
 * Tracking is a property of a table. Each read of the bitmap tells and forgets, so two reads in a
 * row show what was written between them.
 *
 *   cc -o dirty dirty.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./dirty 0000:01:00.0
 */
#include "lesson.h"

#define PAGES 64u

static void print_dirty(int iommufd, uint32_t table, const char *when)
{
	uint64_t bitmap = 0;
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get),
		.hwpt_id = table,
		.iova = 0x100000,
		.length = PAGES * PAGE,
		.page_size = PAGE,
		.data = (uintptr_t)&bitmap,
	};

	must(ioctl(iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), "IOMMU_HWPT_GET_DIRTY_BITMAP");
	printf("%s:", when);
	for (unsigned int page = 0; page < PAGES; page++)
		if (bitmap >> page & 1)
			printf(" page %u", page);
	printf("%s\n", bitmap == 0 ? " none" : "");
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char *memory = pages(PAGES);

	give_to_vfio(name);
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	uint32_t id = must(bind_device(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");

	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = id };
	must(ioctl(iommufd, IOMMU_GET_HW_INFO, &info), "IOMMU_GET_HW_INFO");
	expect(info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING, "the IOMMU tracks writes");

	uint32_t space = new_space(iommufd);
	must(map_at(iommufd, space, memory, PAGES * PAGE, 0x100000), "IOMMU_IOAS_MAP");
	uint32_t table = must(new_table(iommufd, id, space, IOMMU_HWPT_ALLOC_DIRTY_TRACKING),
			      "IOMMU_HWPT_ALLOC");
	must(attach_device(device, table), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on),
		.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
		.hwpt_id = table,
	};
	must(ioctl(iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on), "IOMMU_HWPT_SET_DIRTY_TRACKING");
	switch_on(device);
	print_dirty(iommufd, table, "at first");

	struct order fill = {
		.opcode = ENGINE_FILL, .destination = 0x100000 + 3 * PAGE, .length = 2 * PAGE,
		.pattern = 7,
	};
	expect(engine_run(device, fill) == 0, "a fill of two pages works");
	fill.destination = 0x100000 + 40 * PAGE + 128;
	fill.length = 8;
	expect(engine_run(device, fill) == 0, "a fill of 8 bytes works");
	print_dirty(iommufd, table, "after two fills");
	print_dirty(iommufd, table, "asked again");
	return 0;
}
