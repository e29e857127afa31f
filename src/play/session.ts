/** The state of a scenario as it plays: what its steps have made, by name. */
import { UapiError } from "../abi/index.js";
import { MediatedParent } from "../driver/index.js";
import type { Access, FaultQueue, Iommufd, IommufdDevice, Pin } from "../iommufd/index.js";
import type { PciFunction } from "../pcie/index.js";
import { type Bdf, formatBdf, parseBdf } from "../units/index.js";
import { type VfioContainer, type VfioGroupDevice, VfioGroups } from "../vfio/index.js";
import { SLICES } from "./declarations.js";
import type { World } from "./world.js";

/** Stands for no object, where a scenario wants to see that refused. */
const NOTHING = "nothing";
/** An id that no object has. */
const NO_ID = 0x7fff_ffff;

/** A scenario that asks for what is not there cannot be played. */
export class ScriptError extends Error {
  override readonly name = "ScriptError";
}

export interface BoundDevice {
  readonly fd: Iommufd;
  readonly object: IommufdDevice;
  /** It was opened by its group. */
  readonly file?: VfioGroupDevice | undefined;
}

/** An object with an id in one context. */
export interface NamedObject {
  readonly kind: "space" | "table" | "queue" | "access";
  readonly fd: Iommufd;
  readonly id: number;
  readonly queue?: FaultQueue | undefined;
  readonly access?: NamedAccess | undefined;
}

export interface NamedAccess {
  readonly object: Access;
  readonly pins: Pin[];
  /** Times it was told to let go. */
  told: number;
}

/** What one play has made so far. */
export class Session {
  readonly world: World;
  readonly contexts = new Map<string, Iommufd>();
  readonly objects = new Map<string, NamedObject>();
  /** Names of objects that were destroyed: their ids name nothing now. */
  readonly destroyed = new Set<string>();
  readonly bound = new Map<string, BoundDevice>();
  /** Drivers that make slices, by their function. */
  readonly parents = new Map<Bdf, MediatedParent>();
  /** Legacy groups of the machine. */
  readonly vfio: VfioGroups;
  readonly containers = new Map<string, VfioContainer>();
  readonly unplugged = new Map<string, readonly Bdf[]>();
  readonly guestTables = new Map<string, GuestTable>();
  /** Interrupts that software has set up, by device. */
  readonly messages = new Map<Bdf, { readonly address: number; readonly data: number }>();
  /** Cookies of faults that were read, oldest first. */
  readonly cookies: number[] = [];

  constructor(world: World) {
    this.world = world;
    this.vfio = new VfioGroups(world);
  }

  /** @throws ScriptError when something has the name already. */
  newName(name: string): string {
    const { contexts, objects, guestTables, world } = this;
    const taken = contexts.has(name) || objects.has(name) || guestTables.has(name);
    if (name === NOTHING) throw new ScriptError(`"${NOTHING}" stands for what is not there`);
    if (!taken && world.process.find(name) === undefined) return name;
    throw new ScriptError(`"${name}" names something already`);
  }

  context(name: string): Iommufd {
    return need(this.contexts.get(name), `no context is named "${name}"`);
  }

  object(name: string, ...kinds: readonly NamedObject["kind"][]): NamedObject {
    const found = need(this.objects.get(name), `nothing is named "${name}"`);
    if (kinds.length > 0 && !kinds.includes(found.kind)) {
      throw new ScriptError(`"${name}" is a ${found.kind}, not a ${kinds.join(" or ")}`);
    }
    return found;
  }

  /**
   * What an attach names: a space, a table, or an id that nothing has: `nothing`, or what was
   * destroyed.
   * @throws ScriptError that names what there is.
   */
  target(name: string): number {
    const found = this.objects.get(name);
    if (found !== undefined) return found.id;
    if (name === NOTHING || this.destroyed.has(name)) return NO_ID;
    const choices = [...this.objects].flatMap(([each, { kind }]) =>
      kind === "space" || kind === "table" ? [each] : [],
    );
    const known = choices.length === 0 ? "there is none yet" : `there are ${choices.join(", ")}`;
    throw new ScriptError(`no space or table is named "${name}": ${known}`);
  }

  /**
   * A device that is bound: before that its file serves nothing but binding.
   * @throws UapiError EINVAL.
   */
  device(name: string): BoundDevice {
    const found = this.bound.get(name);
    if (found !== undefined) return found;
    if (!this.world.machine.platform.mediated.has(name)) this.bdf(name);
    throw new UapiError("EINVAL", "the device is bound to no context", {
      cite: "Linux vfio_df_ioctl(): access_granted",
    });
  }

  /**
   * A bound device, for calls that one opened by its group does not have.
   * @throws UapiError EINVAL, ENOTTY.
   */
  ownDevice(name: string): BoundDevice {
    const found = this.device(name);
    found.file?.attach();
    return found;
  }

  /** A device's address, by name or as written. */
  bdf(name: string): Bdf {
    const { names } = this.world.machine;
    return need(names.get(name) ?? parseBdf(name), `no device is named "${name}"`);
  }

  function(name: string): PciFunction {
    const bdf = this.bdf(name);
    return need(this.world.machine.fabric.function(bdf), `device "${name}" is not there`);
  }

  /** What the scenario calls a function. */
  nameOf(bdf: Bdf): string {
    for (const [name, at] of this.world.machine.names) if (at === bdf) return name;
    return formatBdf(bdf);
  }

  /** The driver that makes slices of a function. @throws UapiError EOPNOTSUPP without PASIDs. */
  parent(bdf: Bdf): MediatedParent {
    let found = this.parents.get(bdf);
    if (found === undefined) {
      found = new MediatedParent(this.world.driver, bdf, SLICES);
      this.parents.set(bdf, found);
    }
    return found;
  }
}

/** A guest's first-stage table, in a buffer that holds the guest's memory from address 0 on. */
export interface GuestTable {
  readonly memory: string;
  readonly levels: number;
  readonly root: bigint;
  /** Guest address of the next free page for tables. */
  next: bigint;
}

/** The value, or a script error that says what is missing. */
export function need<T>(value: T | undefined, problem: string): T {
  if (value === undefined) throw new ScriptError(problem);
  return value;
}
