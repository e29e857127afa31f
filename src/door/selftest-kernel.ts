/**
 * SelftestKernel: a platform for the kernel's own tests of iommufd: mock devices that the test
 * command makes, no PCI functions, and faults that tasks ask for.
 */
import type { Call, OpenFile, SharedMemoryMaker } from "../files/index.js";
import { BUFFER_MEMORY } from "../files/index.js";
import { IOMMUFD_ROWS, type IoctlRow, IommufdFile, type IommufdPorts } from "../iommufd/index.js";
import { SelftestSystem, testCommandRow } from "../iommufd/selftest/index.js";
import { PhysicalMemory } from "../memory/index.js";
import { debugNodes } from "./fail-nth-file.js";
import { FileKernel } from "./file-kernel.js";
import { IOMMU_MINOR, MISC_MAJOR, VFIO_CONTAINER_MINOR } from "./numbers.js";
import { SystemTree } from "./system-tree.js";
import { DIRECTORY, link, text } from "./tree-node.js";

export interface SelftestKernelOptions {
  /** Whose tests are to run; default 7.2. */
  readonly kernel?: "7.2" | "6.12" | undefined;
  readonly memory?: SharedMemoryMaker | undefined;
  readonly sentence?: IommufdPorts["sentence"];
}

/** See the head of the file. */
export class SelftestKernel extends FileKernel {
  readonly system: SelftestSystem;
  override readonly tree = new SystemTree();
  override readonly memory = new PhysicalMemory();
  readonly #ports: IommufdPorts;
  readonly #rows: readonly IoctlRow[];

  constructor(options: SelftestKernelOptions = {}) {
    super({ injectsFaults: true });
    this.memory.allocations = this.injection;
    this.system = new SelftestSystem({ kernel: options.kernel, allocations: this.injection });
    this.#ports = {
      memory: options.memory ?? BUFFER_MEMORY,
      sentence: options.sentence,
      refusals: this.refusals,
    };
    this.#rows = [...IOMMUFD_ROWS, testCommandRow(this.system)];
    this.#putNode("iommu", "/dev/iommu", IOMMU_MINOR, 0o660);
    this.#putNode("vfio", "/dev/vfio/vfio", VFIO_CONTAINER_MINOR, 0o666);
    this.tree.put("/sys/kernel/iommu_groups", DIRECTORY);
    this.tree.putAll(debugNodes());
  }

  /** The container is the one of /dev/iommu (Linux CONFIG_IOMMUFD_VFIO_CONTAINER). */
  #putNode(node: "iommu" | "vfio", path: string, minor: number, mode: number): void {
    const open = (call: Call): OpenFile => {
      const rdev = { major: MISC_MAJOR, minor };
      return new IommufdFile(this.system, this.#ports, call.process, {
        node,
        rdev,
        rows: this.#rows,
      });
    };
    this.tree.put(path, { kind: "character", mode, major: MISC_MAJOR, minor, open });
    const at = `/sys/devices/virtual/misc/${node}`;
    this.tree.put(`${at}/dev`, text(`${MISC_MAJOR}:${minor}\n`));
    this.tree.put(`/sys/class/misc/${node}`, link(`../../devices/virtual/misc/${node}`));
  }
}
