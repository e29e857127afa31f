/*
 * Lesson 4: two devices behind a switch without ACS, one of them with PASIDs.
 *
 * The IOMMU tells the two apart, so each has an address space of its own. The switch lets them
 * reach each other, so they have one owner. Both facts stand in a report that Linux does not give;
 * ioasis.h has the calls, and a program may always ask: elsewhere they fail with ENOTTY.
 *
 *   cc -o the-e-mail the-e-mail.c -I../../client
 *   ioasis run --platform ../platforms/the-e-mail.yaml -- ./the-e-mail 0000:03:00.0 0000:04:00.0
 */
#include "lesson.h"

#include "ioasis.h"

static void print_report(int iommufd, uint32_t id, const char *name)
{
	uint32_t group[16], alias[16];
	char share[2048] = "", pasid[2048] = "";
	struct ioasis_device_report report = {
		.size = sizeof(report),
		.dev_id = id,
		.num_alias = 16,
		.alias_uptr = (uintptr_t)alias,
		.num_group = 16,
		.group_uptr = (uintptr_t)group,
		.share_len = sizeof(share),
		.share_uptr = (uintptr_t)share,
		.pasid_len = sizeof(pasid),
		.pasid_uptr = (uintptr_t)pasid,
	};

	must(ioctl(iommufd, IOASIS_DEVICE_REPORT, &report), "IOASIS_DEVICE_REPORT");
	printf("%s: %s share; isolated together with %u other functions; PASIDs: %s\n", name,
	       report.out_flags & IOASIS_REPORT_MUST_SHARE ? "must" : "need not",
	       report.num_group - 1,
	       report.out_flags & IOASIS_REPORT_PASID_OK ? "yes" :
	       report.out_flags & IOASIS_REPORT_PASID_POLICY ? "with a policy" : "no");
	if (pasid[0] != 0)
		printf("%s\n", pasid);
}

static void print_why(int iommufd)
{
	char rule[512] = "", text[2048] = "";
	struct ioasis_why why = {
		.size = sizeof(why),
		.rule_len = sizeof(rule),
		.rule_uptr = (uintptr_t)rule,
		.text_len = sizeof(text),
		.text_uptr = (uintptr_t)text,
	};

	must(ioctl(iommufd, IOASIS_WHY, &why), "IOASIS_WHY");
	printf("  because: %s\n", rule);
}

static void set_policy(int iommufd, uint32_t policy)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOASIS_OPTION_PASID_POLICY,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = policy,
	};

	must(ioctl(iommufd, IOMMU_OPTION, &option), "IOMMU_OPTION");
}

static void fill(int device, uint64_t at, const char *text, uint32_t flags, uint32_t pasid)
{
	struct order order = {
		.opcode = ENGINE_FILL, .destination = at, .length = 8, .flags = flags, .pasid = pasid,
	};

	strncpy((char *)&order.pattern, text, 8);
	expect(engine_run(device, order) == 0, text);
}

int main(int count, char **arguments)
{
	const char *a_name = count > 2 ? arguments[1] : "0000:03:00.0";
	const char *b_name = count > 2 ? arguments[2] : "0000:04:00.0";
	char *red = pages(1), *blue = pages(1), *green = pages(1);

	give_to_vfio(a_name);
	give_to_vfio(b_name);
	int a = open_device(a_name), b = open_device(b_name);
	int iommufd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	uint32_t a_id = must(bind_device(a, iommufd), "bind a");
	must(bind_device(b, iommufd), "bind b");
	print_report(iommufd, a_id, "a");

	uint32_t for_a = new_space(iommufd), for_b = new_space(iommufd);
	uint32_t for_five = new_space(iommufd);
	must(map_at(iommufd, for_a, red, PAGE, 0x10000), "map red");
	must(map_at(iommufd, for_b, blue, PAGE, 0x10000), "map blue");
	must(map_at(iommufd, for_five, green, PAGE, 0x10000), "map green");
	uint32_t a_table = must(new_table(iommufd, a_id, for_a, IOMMU_HWPT_ALLOC_PASID), "table");
	must(attach_device(a, a_table), "attach a");
	must(attach_device(b, for_b), "attach b");
	switch_on(a);
	switch_on(b);
	fill(a, 0x10000, "from a", 0, 0);
	fill(b, 0x10000, "from b", 0, 0);
	printf("red: %s, blue: %s\n", red, blue);
	expect(strcmp(red, "from a") == 0 && strcmp(blue, "from b") == 0, "each has its own space");

	uint32_t table = must(new_table(iommufd, a_id, for_five, IOMMU_HWPT_ALLOC_PASID), "table");
	long done = attach_pasid(a, table, 5);
	printf("PASID 5 without a policy: %s\n", ending(done));
	expect(done < 0 && errno == EINVAL, "it is refused");
	print_why(iommufd);

	set_policy(iommufd, IOASIS_PASID_EXCLUDE_WINDOWS);
	must(attach_pasid(a, table, 5), "attach with the policy");
	fill(a, 0x10000, "five", ENGINE_USE_PASID, 5);
	printf("with exclude-windows: green: %s\n", green);
	expect(strcmp(green, "five") == 0, "the PASID has its own space");
	return 0;
}
