/*
 * Lesson 6: a device that asks for pages which are not there yet.
 *
 * The table of a PASID has a queue of faults. The device meets a hole, sends a page request and
 * waits; the program reads the request, maps the page and answers; the device tries again. An
 * answer "invalid" ends the command instead.
 *
 *   cc -o faults faults.c -I../../client
 *   ioasis run --platform ../platforms/t1.yaml -- ./faults 0000:01:00.0
 */
#include "lesson.h"

static uint32_t table_with_queue(int iommufd, uint32_t device, uint32_t space, uint32_t queue)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = device,
		.pt_id = space,
		.fault_id = queue,
	};

	must(ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc), "IOMMU_HWPT_ALLOC with a fault queue");
	return alloc.out_hwpt_id;
}

/* Waits for a fault, and prints it. */
static struct iommu_hwpt_pgfault next_fault(int queue)
{
	struct pollfd ready = { .fd = queue, .events = POLLIN };
	struct iommu_hwpt_pgfault fault;

	expect(poll(&ready, 1, 10000) == 1, "a fault comes");
	expect(read(queue, &fault, sizeof(fault)) == sizeof(fault), "it can be read");
	printf("fault: PASID %u, address 0x%llx, %s\n", fault.pasid,
	       (unsigned long long)fault.addr,
	       fault.perm & IOMMU_PGFAULT_PERM_WRITE ? "write" : "read");
	return fault;
}

static void answer(int queue, uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	must(write(queue, &response, sizeof(response)), "the answer");
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "0000:01:00.0";
	char *memory = pages(1);

	give_to_vfio(name);
	int device = open_device(name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	uint32_t id = must(bind_device(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");

	struct iommu_fault_alloc queue = { .size = sizeof(queue) };
	must(ioctl(iommufd, IOMMU_FAULT_QUEUE_ALLOC, &queue), "IOMMU_FAULT_QUEUE_ALLOC");
	int faults = queue.out_fault_fd;

	uint32_t plain = new_space(iommufd), tagged = new_space(iommufd);
	uint32_t first = must(new_table(iommufd, id, plain, IOMMU_HWPT_ALLOC_PASID), "table");
	uint32_t second = table_with_queue(iommufd, id, tagged, queue.out_fault_id);
	must(attach_device(device, first), "attach the device");
	must(attach_pasid(device, second, 5), "attach PASID 5");
	switch_on(device);

	struct order fill = {
		.opcode = ENGINE_FILL,
		.flags = ENGINE_USE_PASID | ENGINE_USE_ATS | ENGINE_ASK_FOR_PAGES,
		.pasid = 5,
		.destination = 0x10000,
		.length = 8,
	};
	memcpy(&fill.pattern, "at last", 8);
	engine_start(device, fill);
	struct iommu_hwpt_pgfault fault = next_fault(faults);
	expect(engine_read32(device, ENGINE_STATUS) & ENGINE_BUSY, "the device waits");
	must(map_at(iommufd, tagged, memory, PAGE, 0x10000), "map what was asked for");
	answer(faults, fault.cookie, IOMMUFD_PAGE_RESP_SUCCESS);
	while (engine_read32(device, ENGINE_STATUS) & ENGINE_BUSY)
		usleep(100);
	printf("answered with success: %s\n", memory);
	expect(strcmp(memory, "at last") == 0, "the device has tried again");

	fill.destination = 0x20000;
	engine_start(device, fill);
	fault = next_fault(faults);
	answer(faults, fault.cookie, IOMMUFD_PAGE_RESP_INVALID);
	while (engine_read32(device, ENGINE_STATUS) & ENGINE_BUSY)
		usleep(100);
	printf("answered with invalid: engine error %u\n", engine_read32(device, ENGINE_ERROR));
	return 0;
}
