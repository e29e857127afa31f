/**
 * Which kernels judge, and which of their test programs.
 *
 * A program is built from the kernel's sources as they are. Where they do not compile by
 * themselves, a header of `stand-ins` is included first; it defines only what is missing.
 */

export interface TestProgram {
  readonly name: string;
  /** Sources below the suite's folder, by name or by folder. */
  readonly sources: readonly string[];
  readonly libraries: readonly string[];
  /** Arguments after the program. */
  readonly arguments: readonly string[];
  /** Shipped platform, or a platform file below the repository. */
  readonly platform: string;
  /** Capabilities that the program needs on the platform, as `ioasis run --grant` names them. */
  readonly grant?: string;
}

export interface Suite {
  /** Folder below tools/testing/selftests. */
  readonly folder: string;
  readonly flags: readonly string[];
  /** Include folders below the kernel's sources. */
  readonly includes: readonly string[];
  /** File of `stand-ins`. */
  readonly standIn?: string;
  readonly programs: readonly TestProgram[];
}

export interface KernelJudge {
  /** As in `linux-7.2`. */
  readonly version: string;
  /** Debian suite that has its sources. */
  readonly suite: string;
  readonly suites: readonly Suite[];
  /** Instances that this kernel itself cannot pass, and why. */
  readonly impossible: ReadonlyMap<string, string>;
}

const SELFTESTS = "tools/testing/selftests";

/** What is unpacked of a kernel's sources. */
export const UNPACKED: readonly string[] = [
  "Makefile",
  "drivers/dma/idxd/*",
  "drivers/dma/ioat/*",
  "drivers/iommu/*",
  "drivers/vfio/*",
  "include/linux/pci_ids.h",
  "include/uapi/*",
  "tools/include/*",
  "tools/arch/x86/include/*",
  `${SELFTESTS}/iommu/*`,
  `${SELFTESTS}/vfio/*`,
  `${SELFTESTS}/*.h`,
  `${SELFTESTS}/lib.mk`,
];

function iommuSuite(platform: string, standIn: string | undefined): Suite {
  return {
    folder: "iommu",
    flags: ["-O2", "-Wno-unused-function", "-D_GNU_SOURCE="],
    includes: [SELFTESTS],
    ...(standIn === undefined ? {} : { standIn }),
    programs: ["iommufd", "iommufd_fail_nth"].map((name) => ({
      name,
      sources: [`${name}.c`],
      libraries: ["cap"],
      arguments: [],
      platform,
      grant: "sys_resource",
    })),
  };
}

/** Where the vfio programs find the device they are given. */
export const VFIO_PLATFORM = "examples/platforms/vfio-selftests.yaml";
const VFIO_DEVICE = "0000:01:00.0";

/** All but vfio_pci_driver_test, which drives a kind of hardware that is not simulated. */
const VFIO_PROGRAMS: readonly string[] = [
  "vfio_dma_mapping_test",
  "vfio_dma_mapping_mmio_test",
  "vfio_iommufd_setup_test",
  "vfio_pci_device_test",
  "vfio_pci_device_init_perf_test",
  "vfio_pci_sriov_uapi_test",
];

const VFIO_SUITE: Suite = {
  folder: "vfio",
  flags: ["-O2", "-D_GNU_SOURCE=", "-pthread"],
  includes: ["tools/include", SELFTESTS, `${SELFTESTS}/vfio/lib/include`],
  standIn: "vfio-7.2.h",
  programs: VFIO_PROGRAMS.map((name) => ({
    name,
    sources: [`${name}.c`, "lib", "lib/drivers/ioat", "lib/drivers/dsa"],
    libraries: ["uuid"],
    arguments: [VFIO_DEVICE],
    platform: VFIO_PLATFORM,
  })),
};

const NO_INPUT_TYPE =
  "the program asks for hardware information by type, which the headers and the driver of this " +
  "kernel do not have";

export const JUDGES: readonly KernelJudge[] = [
  {
    version: "7.2",
    suite: "forky",
    suites: [iommuSuite("selftest", undefined), VFIO_SUITE],
    impossible: new Map(),
  },
  {
    version: "6.12",
    suite: "bookworm-backports",
    suites: [iommuSuite("selftest-6.12", "iommu-6.12.h")],
    impossible: new Map(
      ["mock_domain", "two_mock_domain", "mock_domain_limit"].map((variant) => [
        `iommufd_ioas.${variant}.get_hw_info`,
        NO_INPUT_TYPE,
      ]),
    ),
  },
];

/** Instances that map memory from the pool of huge pages. */
export function needsHugePages(instance: string): boolean {
  return HUGE.some((pattern) => pattern.test(instance));
}

const HUGE: readonly RegExp[] = [
  /^iommufd_ioas\..*\.access_domain_destory$/,
  /^iommufd_mock_domain\..*_domains?_hugepage\.(basic|all_aligns|all_aligns_copy)$/,
  /^iommufd_dirty_tracking\..*_huge\./,
  /^vfio_compat_mock_domain\..*\.huge_map$/,
  /^vfio_dma_mapping(_mmio)?_test\..*hugetlb/,
];
