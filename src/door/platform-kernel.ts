/**
 * PlatformKernel: a platform as programs meet it: the running system of a host, its PCI functions,
 * drivers and groups, and everything of them that shows as files.
 */
import type { IommufdPorts, IsolationPort } from "../iommufd/index.js";
import type { PhysicalMemory } from "../memory/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { type BindAtStart, HostSystem } from "../system/index.js";
import { type DeviceFilesOptions, SystemDeviceFiles } from "./device-files.js";
import { debugNodes } from "./fail-nth-file.js";
import { FileKernel } from "./file-kernel.js";
import type { SystemTree } from "./system-tree.js";
import { type DeviceFiles, TreeKeeper } from "./tree-keeper.js";

export interface PlatformKernelOptions {
  /** Default: what the platform asks for, else device-centric. */
  readonly rules?: IsolationPort["rules"] | undefined;
  /** Which functions VFIO has at the start; default `unclaimed`. */
  readonly bind?: BindAtStart | undefined;
  /** Tasks can have allocations fail; default: on platforms for the kernel's own tests. */
  readonly injectsFaults?: boolean | undefined;
  /** Makes the files of devices for this kernel. */
  readonly files: (kernel: PlatformKernel) => DeviceFiles;
}

/** What starting a platform takes besides. */
export interface PlatformPorts extends Omit<DeviceFilesOptions, "iommufd" | "sysfsPathOf"> {
  readonly rules?: IsolationPort["rules"] | undefined;
  readonly bind?: BindAtStart | undefined;
  readonly injectsFaults?: boolean | undefined;
  /** A sentence for a piece of evidence. */
  readonly sentence?: IommufdPorts["sentence"];
  /** Contexts start strict: `onTrap` is told of what Linux lets pass without a word. */
  readonly strict?: boolean | undefined;
  readonly onTrap?: IommufdPorts["onTrap"];
}

/** See the head of the file. */
export class PlatformKernel extends FileKernel {
  readonly system: HostSystem;
  override readonly tree: SystemTree;
  override readonly memory: PhysicalMemory;
  readonly #keeper: TreeKeeper;
  readonly #files: DeviceFiles;

  /** @throws UapiError ENOMEM, EOPNOTSUPP: the IOMMUs cannot be set up. */
  constructor(platform: BuiltPlatform, options: PlatformKernelOptions) {
    super({ injectsFaults: options.injectsFaults ?? platform.selftest !== undefined });
    const asked = platform.rules === "linux-7.2" ? "linux-7.2" : "device-centric";
    this.system = new HostSystem(platform, {
      rules: options.rules ?? asked,
      bind: options.bind,
      allocations: this.injection,
    });
    this.memory = this.system.machine.memory;
    const files = options.files(this);
    this.#files = files;
    this.system.drivers.isOpen = (bdf) => files.isOpen(bdf);
    this.system.drivers.askBack = (bdf) => files.askBack(bdf);
    this.system.aroundReset = (bdf, reset) => {
      if (files.aroundReset === undefined) reset();
      else files.aroundReset(bdf, reset);
    };
    this.system.drivers.onRelease = (bdf) => files.driverLeft?.(bdf);
    this.#keeper = new TreeKeeper(this.system, files);
    this.tree = this.#keeper.tree;
    if (this.injectsFaults) this.tree.putAll(debugNodes());
    this.system.onChange = () => this.#keeper.refresh();
    // A unit that has logged something is read at once: nobody waits for its interrupt.
    this.system.machine.onUnitEvent = () => this.system.driver.poll();
  }

  /** The tree made anew from the system as it is: equal to {@link tree}, and of no further use. */
  makeTree(): SystemTree {
    return new TreeKeeper(this.system, this.#files).tree;
  }

  /** Directory of a function below /sys/devices. */
  sysfsPathOf(bdf: Parameters<TreeKeeper["pathOf"]>[0]): string | undefined {
    return this.#keeper.pathOf(bdf);
  }
}

/**
 * Starts a platform whose device files are VFIO's and /dev/iommu.
 * @throws UapiError ENOMEM, EOPNOTSUPP: the IOMMUs cannot be set up.
 */
export function startPlatform(platform: BuiltPlatform, ports: PlatformPorts = {}): PlatformKernel {
  const { rules, bind, injectsFaults, sentence, strict, onTrap, ...files } = ports;
  return new PlatformKernel(platform, {
    rules,
    bind,
    injectsFaults,
    files: (kernel) => {
      const { refusals } = kernel;
      return new SystemDeviceFiles(kernel.system, {
        ...files,
        iommufd: { sentence, strict, onTrap, refusals },
        sysfsPathOf: (bdf) => kernel.sysfsPathOf(bdf),
      });
    },
  });
}
