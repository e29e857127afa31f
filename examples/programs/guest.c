/*
 * Lesson 7: a virtual machine that owns a whole group.
 *
 * Two devices behind a switch without ACS are one isolation group, so they have one owner: the
 * machine. Its guest programs page tables in guest memory, one for each device and one more for a
 * PASID. The host's table, the parent, translates what they hold: an address goes through the
 * guest's table first and the host's second. A second machine cannot have one of the two.
 *
 * A PASID behind a switch without ACS is the owner's decision. Addresses of a guest's table cannot
 * be excluded, so the only policy for it is "raw": the guest may misroute requests among its own
 * devices.
 *
 *   cc -o guest guest.c -I../../client
 *   ioasis run --platform ../platforms/t2m.yaml -- ./guest 0000:03:00.0 0000:04:00.0
 */
#include "lesson.h"

#include "ioasis.h"

#define RAM_PAGES 64u

/* The guest's memory; its address 0 is the first byte. */
static char *ram;

/* Enters `page` for `address` in the guest's table whose root is page `root`; the three pages after
 * the root hold the lower levels. */
static void guest_map(unsigned int root, uint64_t address, unsigned int page)
{
	for (unsigned int level = 0; level < 4; level++) {
		uint64_t *table = (uint64_t *)(ram + (root + level) * PAGE);
		unsigned int index = address >> (39 - 9 * level) & 511;
		uint64_t next = level == 3 ? page : root + level + 1;

		table[index] = next * PAGE | 0x67; /* present, writable, user, accessed, dirty */
	}
}

/* A table that translates through the guest's table at page `root`, then through the parent. */
static uint32_t nested_table(int iommufd, uint32_t device, uint32_t parent, unsigned int root)
{
	struct iommu_hwpt_vtd_s1 guest = { .pgtbl_addr = root * PAGE, .addr_width = 48 };
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_PASID,
		.dev_id = device,
		.pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(guest),
		.data_uptr = (uintptr_t)&guest,
	};

	must(ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc), "a nested table");
	return alloc.out_hwpt_id;
}

static void fill(int device, const char *text, uint32_t flags, uint32_t pasid)
{
	struct order order = {
		.opcode = ENGINE_FILL,
		.destination = 0x20000,
		.length = 8,
		.flags = flags,
		.pasid = pasid,
	};

	strncpy((char *)&order.pattern, text, 8);
	expect(engine_run(device, order) == 0, text);
}

int main(int count, char **arguments)
{
	const char *a_name = count > 2 ? arguments[1] : "0000:03:00.0";
	const char *b_name = count > 2 ? arguments[2] : "0000:04:00.0";

	ram = pages(RAM_PAGES);
	give_to_vfio(a_name);
	give_to_vfio(b_name);
	int a = open_device(a_name), b = open_device(b_name);
	int machine = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	int other = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	uint32_t a_id = must(bind_device(a, machine), "bind a");
	long split = bind_device(b, other);
	printf("b for another machine: %s\n", ending(split));
	expect(split < 0 && errno == EPERM, "a group is not split");
	uint32_t b_id = must(bind_device(b, machine), "bind b");

	uint32_t space = new_space(machine);
	must(map_at(machine, space, ram, RAM_PAGES * PAGE, 0), "guest memory");
	uint32_t parent = must(new_table(machine, a_id, space, IOMMU_HWPT_ALLOC_NEST_PARENT),
			       "the parent");

	guest_map(1, 0x20000, 32);
	guest_map(5, 0x20000, 33);
	guest_map(9, 0x20000, 34);
	uint32_t for_a = nested_table(machine, a_id, parent, 1);
	uint32_t for_b = nested_table(machine, b_id, parent, 5);
	uint32_t for_seven = nested_table(machine, a_id, parent, 9);
	must(attach_device(a, for_a), "attach a");
	must(attach_device(b, for_b), "attach b");
	long refused = attach_pasid(a, for_seven, 7);
	printf("PASID 7 without a policy: %s\n", ending(refused));

	struct iommu_option raw = {
		.size = sizeof(raw),
		.option_id = IOASIS_OPTION_PASID_POLICY,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = IOASIS_PASID_RAW,
	};
	must(ioctl(machine, IOMMU_OPTION, &raw), "IOMMU_OPTION");
	must(attach_pasid(a, for_seven, 7), "attach PASID 7");

	switch_on(a);
	switch_on(b);
	fill(a, "from a", 0, 0);
	fill(b, "from b", 0, 0);
	fill(a, "seven", ENGINE_USE_PASID, 7);
	printf("guest page 32: %s, 33: %s, 34: %s\n", ram + 32 * PAGE, ram + 33 * PAGE,
	       ram + 34 * PAGE);
	expect(strcmp(ram + 32 * PAGE, "from a") == 0, "a uses its table");
	expect(strcmp(ram + 33 * PAGE, "from b") == 0, "b uses its table");
	expect(strcmp(ram + 34 * PAGE, "seven") == 0, "PASID 7 uses its table");

	/* The guest moves a page and says so; the IOMMU may remember the old one until then. */
	guest_map(1, 0x20000, 40);
	struct iommu_hwpt_vtd_s1_invalidate entry = { .addr = 0x20000, .npages = 1 };
	struct iommu_hwpt_invalidate invalidate = {
		.size = sizeof(invalidate),
		.hwpt_id = for_a,
		.data_uptr = (uintptr_t)&entry,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = sizeof(entry),
		.entry_num = 1,
	};
	must(ioctl(machine, IOMMU_HWPT_INVALIDATE, &invalidate), "IOMMU_HWPT_INVALIDATE");
	fill(a, "moved", 0, 0);
	printf("after the move, guest page 40: %s\n", ram + 40 * PAGE);
	expect(strcmp(ram + 40 * PAGE, "moved") == 0, "the new page is used");
	return 0;
}
