/*
 * What the lessons share: errors, the way from a PCI address to a device file, and the registers
 * of the DMA test engine (docs/devices/dma-engine.md).
 *
 * Nothing here knows of ioasis. With the Linux headers instead of abi.gen.h the lessons run
 * on a kernel, if it has such a device.
 */
#ifndef LESSON_H
#define LESSON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi.gen.h"

#define PAGE 4096u

/* Ends the lesson when a step that must work does not. */
static inline long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

/* Ends the lesson when something is not as the lesson says. */
static inline void expect(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "not so: %s\n", what);
		exit(1);
	}
}

/* Says how a step ended: "ok", or the name of the error. */
static inline const char *ending(long result)
{
	static char text[64];

	if (result >= 0)
		return "ok";
	snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	return text;
}

/* Text into a file of sysfs. Returns 0, or -1 with errno. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = write(fd, text, strlen(text));
	close(fd);
	return done < 0 ? -1 : 0;
}

/* Makes vfio-pci the driver of a device, whatever drives it now. */
static inline void give_to_vfio(const char *device)
{
	char path[PATH_MAX], driver[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", device);
	length = readlink(path, driver, sizeof(driver) - 1);
	if (length > 0) {
		driver[length] = 0;
		if (strcmp(strrchr(driver, '/'), "/vfio-pci") == 0)
			return;
		strcat(path, "/unbind");
		must(write_file(path, device), path);
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", device);
	must(write_file(path, "vfio-pci"), path);
	must(write_file("/sys/bus/pci/drivers/vfio-pci/bind", device), "vfio-pci/bind");
}

/* Opens the device's own file below /dev/vfio/devices. It can do nothing until it is bound. */
static inline int open_device(const char *device)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *folder;
	int fd = -1;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", device);
	folder = opendir(path);
	if (folder == NULL)
		must(-1, path);
	while ((entry = readdir(folder)) != NULL) {
		if (strncmp(entry->d_name, "vfio", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		fd = must(open(path, O_RDWR | O_CLOEXEC), path);
	}
	closedir(folder);
	expect(fd >= 0, "the device has a file");
	return fd;
}

/* Gives the device to an iommufd. Returns its id there, or -1 with errno. */
static inline long bind_device(int device, int iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };

	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0)
		return -1;
	return bind.out_devid;
}

/* Attaches the device's own requests to a space or a table. Returns the table's id, or -1. */
static inline long attach_device(int device, uint32_t to)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = to };

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0)
		return -1;
	return attach.pt_id;
}

/* Attaches requests with one PASID. */
static inline long attach_pasid(int device, uint32_t to, uint32_t pasid)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = to,
		.pasid = pasid,
	};

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0)
		return -1;
	return attach.pt_id;
}

static inline long detach_pasid(int device, uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
		.flags = VFIO_DEVICE_DETACH_PASID,
		.pasid = pasid,
	};

	return ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

static inline uint32_t new_space(int iommufd)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	must(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc), "IOMMU_IOAS_ALLOC");
	return alloc.out_ioas_id;
}

/* Maps memory at a fixed address, readable and writable for devices. */
static inline long map_at(int iommufd, uint32_t space, void *memory, uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = space,
		.user_va = (uintptr_t)memory,
		.length = length,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &map);
}

static inline long unmap(int iommufd, uint32_t space, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = space, .iova = iova, .length = length,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

/* A hardware page table of a space (or of a parent), chosen by hand. */
static inline long new_table(int iommufd, uint32_t device, uint32_t of, uint32_t flags)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = flags, .dev_id = device, .pt_id = of,
	};

	if (ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc) < 0)
		return -1;
	return alloc.out_hwpt_id;
}

/* Whole pages that other processes share, and that the platform can map too. */
static inline char *pages(unsigned int count)
{
	char *memory = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	expect(memory != MAP_FAILED, "there is memory");
	return memory;
}

/* Registers of the engine, in BAR 0. */
#define ENGINE 0x1000u
#define ENGINE_CONTROL 0x08u
#define ENGINE_STATUS 0x0cu
#define ENGINE_OPCODE 0x10u
#define ENGINE_FLAGS 0x14u
#define ENGINE_PASID 0x18u
#define ENGINE_SOURCE 0x20u
#define ENGINE_DESTINATION 0x28u
#define ENGINE_LENGTH 0x30u
#define ENGINE_PATTERN 0x38u
#define ENGINE_VECTOR 0x40u
#define ENGINE_ERROR 0x44u

#define ENGINE_START 1u
#define ENGINE_BUSY 1u
#define ENGINE_DONE 2u
#define ENGINE_COPY 1u
#define ENGINE_FILL 2u
#define ENGINE_USE_ATS 0x1u
#define ENGINE_USE_PASID 0x10u
#define ENGINE_ASK_FOR_PAGES 0x200u
#define ENGINE_FROM_LOCAL 0x400u
#define ENGINE_TO_LOCAL 0x800u
#define ENGINE_RAISE (1u << 31)

/* Where region `index` begins in the device's file. */
static inline uint64_t region_offset(int device, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	must(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "VFIO_DEVICE_GET_REGION_INFO");
	return info.offset;
}

static inline void engine_write32(int device, uint32_t at, uint32_t value)
{
	uint64_t bar = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX);

	expect(pwrite(device, &value, 4, bar + ENGINE + at) == 4, "a register takes 4 bytes");
}

static inline void engine_write64(int device, uint32_t at, uint64_t value)
{
	uint64_t bar = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX);

	expect(pwrite(device, &value, 8, bar + ENGINE + at) == 8, "a register takes 8 bytes");
}

static inline uint32_t engine_read32(int device, uint32_t at)
{
	uint64_t bar = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX);
	uint32_t value = 0;

	expect(pread(device, &value, 4, bar + ENGINE + at) == 4, "a register gives 4 bytes");
	return value;
}

/* Lets the device send requests at all: Memory Space and Bus Master in its Command register. */
static inline void switch_on(int device)
{
	uint64_t config = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX);
	uint16_t command = 0;

	expect(pread(device, &command, 2, config + 4) == 2, "the Command register can be read");
	command |= 0x6;
	expect(pwrite(device, &command, 2, config + 4) == 2, "and written");
}

/* One command of the engine. */
struct order {
	uint32_t opcode;
	uint32_t flags;
	uint32_t pasid;
	uint64_t source;
	uint64_t destination;
	uint32_t length;
	uint64_t pattern;
	uint32_t vector;
};

static inline void engine_start(int device, struct order order)
{
	engine_write32(device, ENGINE_STATUS, 0xe);
	engine_write32(device, ENGINE_OPCODE, order.opcode);
	engine_write32(device, ENGINE_FLAGS, order.flags);
	engine_write32(device, ENGINE_PASID, order.pasid);
	engine_write64(device, ENGINE_SOURCE, order.source);
	engine_write64(device, ENGINE_DESTINATION, order.destination);
	engine_write32(device, ENGINE_LENGTH, order.length);
	engine_write64(device, ENGINE_PATTERN, order.pattern);
	engine_write32(device, ENGINE_VECTOR, order.vector);
	engine_write32(device, ENGINE_CONTROL, ENGINE_START);
}

/* Returns the engine's error code, 0: it is done. */
static inline uint32_t engine_run(int device, struct order order)
{
	engine_start(device, order);
	while (engine_read32(device, ENGINE_STATUS) & ENGINE_BUSY)
		usleep(100);
	return engine_read32(device, ENGINE_ERROR);
}

#endif
