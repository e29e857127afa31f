/**
 * One context as open files know it: the objects, who keeps it alive, what of it is mapped, and the
 * ports that only open files need.
 *
 * A context lives until its last holder is gone: the file of /dev/iommu, files of its queues and
 * accesses, devices bound to it, mappings of its memory. Each holds it once.
 */
import { BUFFER_MEMORY, type SharedMemoryMaker } from "../files/index.js";
import { Iommufd } from "./iommufd.js";
import { MmapRegions } from "./mmap-regions.js";
import type { IommufdSystem, UserProcess } from "./ports.js";
import type { RefusalLog } from "./refusal-log.js";
import type { Trap } from "./trap.js";

/** What open files need from whoever runs them; all of it may be absent. */
export interface IommufdPorts {
  /** Memory that programs map. Default: buffers that nobody else maps. */
  readonly memory?: SharedMemoryMaker | undefined;
  /** A sentence for a piece of evidence. Default: its kind. */
  readonly sentence?: ((evidence: object) => string) | undefined;
  /** Why calls were refused, by thread. */
  readonly refusals?: RefusalLog | undefined;
  /** Contexts start strict: `onTrap` is told. Default false. */
  readonly strict?: boolean | undefined;
  /** Told, by contexts that are strict, of what Linux lets pass without a word. */
  readonly onTrap?: ((trap: Trap) => void) | undefined;
}

/** See the head of the file. */
export class OpenContext {
  readonly iommufd: Iommufd;
  readonly ports: IommufdPorts;
  readonly memory: SharedMemoryMaker;
  /** Memory of drivers that can be mapped through the file. */
  readonly regions: MmapRegions;
  /** Traps are told. */
  strict: boolean;
  /** Told when the last holder is gone. */
  onClosed: (() => void) | undefined;
  #holders = 1;

  /** Held once, by whoever makes it. */
  constructor(system: IommufdSystem, ports: IommufdPorts, opener: UserProcess) {
    this.iommufd = new Iommufd(system, opener);
    this.ports = ports;
    this.memory = ports.memory ?? BUFFER_MEMORY;
    this.strict = ports.strict ?? false;
    this.regions = new MmapRegions();
  }

  get holders(): number {
    return this.#holders;
  }

  /**
   * Keeps the context alive.
   * @returns lets it go; only the first call counts.
   */
  hold(): () => void {
    if (this.#holders === 0) throw new Error("the context is closed");
    this.#holders++;
    let isHeld = true;
    return () => {
      if (isHeld) this.drop();
      isHeld = false;
    };
  }

  /** One holder less; the last one closes the context. */
  drop(): void {
    if (--this.#holders > 0) return;
    if (this.#holders < 0) throw new Error("the context was dropped more often than held");
    this.iommufd.close();
    this.regions.close();
    this.onClosed?.();
  }
}
