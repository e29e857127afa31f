/*
 * Lesson 3: two address spaces for one device.
 *
 * A request with a PASID is looked up in a space of its own. The same address means one page
 * without a PASID, and another with PASID 5. With PASID 6, which nobody attached, it means nothing.
 *
 *   cc -o pasid pasid.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./pasid 0000:01:00.0
 */
#include "lesson.h"

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char *red = pages(1), *blue = pages(1);

	give_to_vfio(name);
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	uint32_t id = must(bind_device(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");

	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = id };
	must(ioctl(iommufd, IOMMU_GET_HW_INFO, &info), "IOMMU_GET_HW_INFO");
	printf("PASIDs of up to %u bits\n", info.out_max_pasid_log2);

	uint32_t plain = new_space(iommufd), tagged = new_space(iommufd);
	must(map_at(iommufd, plain, red, PAGE, 0x100000), "map red");
	must(map_at(iommufd, tagged, blue, PAGE, 0x100000), "map blue");

	/* Both tables must say that they are used beside PASIDs; a plain space cannot. */
	uint32_t first = must(new_table(iommufd, id, plain, IOMMU_HWPT_ALLOC_PASID), "table");
	uint32_t second = must(new_table(iommufd, id, tagged, IOMMU_HWPT_ALLOC_PASID), "table");
	must(attach_device(device, first), "attach the device");
	must(attach_pasid(device, second, 5), "attach PASID 5");
	switch_on(device);

	struct order fill = {
		.opcode = ENGINE_FILL, .destination = 0x100000, .length = 8,
		.pattern = 0x00646572206e6921, /* "!in red" */
	};
	expect(engine_run(device, fill) == 0, "a fill without a PASID works");
	fill.pattern = 0x0065756c62206e69; /* "in blue" */
	fill.flags = ENGINE_USE_PASID;
	fill.pasid = 5;
	expect(engine_run(device, fill) == 0, "a fill with PASID 5 works");
	printf("red: %s, blue: %s\n", red, blue);
	expect(strcmp(red, "!in red") == 0 && strcmp(blue, "in blue") == 0, "each has its own");

	fill.opcode = ENGINE_COPY;
	fill.source = 0x100000;
	fill.flags = ENGINE_USE_PASID | ENGINE_TO_LOCAL;
	fill.pasid = 6;
	fill.destination = 0;
	printf("a read with PASID 6: engine error %u\n", engine_run(device, fill));
	must(detach_pasid(device, 5), "detach PASID 5");
	fill.pasid = 5;
	printf("a read with PASID 5 after the detach: engine error %u\n", engine_run(device, fill));
	return 0;
}
