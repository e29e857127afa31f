/**
 * A container: one open /dev/vfio/vfio. One address space for every device of the groups that were
 * put in it. Linux container.c, vfio_iommu_type1.c.
 *
 * A group in a container is owned as a whole from then on. The container has no address space until
 * its type is set; then every device of its groups that a VFIO driver has is attached, opened or
 * not. It is empty again when the last group leaves. It stands on a context of its own, whose
 * objects nobody else can name: there is no way from here to a PASID.
 */
import { isRefusal, UapiError } from "../abi/index.js";
import type { GroupMembers } from "../driver/index.js";
import {
  type Ioas,
  Iommufd,
  type IommufdDevice,
  type UserProcess,
  VfioExtension,
  type VfioMapArgs,
  type VfioUnmapArgs,
} from "../iommufd/index.js";
import type { Bdf } from "../units/index.js";
import type { VfioSystem } from "./ports.js";
import { type1Map, type1Unmap } from "./type1-maps.js";

interface HeldGroup {
  readonly group: GroupMembers;
  readonly devices: Map<Bdf, IommufdDevice>;
}

interface Driver {
  readonly isFirstVersion: boolean;
  readonly ioas: Ioas;
}

const CITE_SET = { cite: "Linux vfio_ioctl_set_iommu()" };

/** See the head of the file. */
export class VfioContainer {
  readonly #system: VfioSystem;
  /** Carries the address space; for looking at. */
  readonly iommufd: Iommufd;
  readonly #groups = new Map<number, HeldGroup>();
  #driver: Driver | undefined;

  constructor(system: VfioSystem, process: UserProcess) {
    this.#system = system;
    this.iommufd = new Iommufd(system, process);
    // Locked memory of a container is the process's.
    this.iommufd.state.mmMode = true;
  }

  /** Its type was set. */
  get hasIommu(): boolean {
    return this.#driver !== undefined;
  }

  /** Groups that are in it, by their members. */
  get groups(): readonly GroupMembers[] {
    return [...this.#groups.values()].map(({ group }) => group);
  }

  /** VFIO_CHECK_EXTENSION. Never fails. */
  checkExtension(extension: number): boolean {
    switch (extension) {
      case VfioExtension.type1:
      case VfioExtension.type1v2:
      case VfioExtension.unmapAll:
        return true;
      case VfioExtension.dmaCacheCoherent:
        return this.#driver?.ioas.hwpts.every(({ domain }) => domain.enforcesCoherency) ?? false;
      default:
        return false;
    }
  }

  /**
   * VFIO_SET_IOMMU.
   * @throws UapiError EINVAL (no group, or set already), ENODEV (another type), EPERM (interrupts
   * that are not isolated), or what attaching throws: then no group is attached.
   */
  setIommu(type: number): void {
    if (this.#groups.size === 0) {
      throw new UapiError("EINVAL", "no group is in the container", CITE_SET);
    }
    if (this.#driver !== undefined) {
      throw new UapiError("EINVAL", "the type of the container is set already", CITE_SET);
    }
    if (type !== VfioExtension.type1 && type !== VfioExtension.type1v2) {
      throw new UapiError("ENODEV", "no driver offers this type of container", CITE_SET);
    }
    const ioas = this.iommufd.ioas(this.iommufd.ioasAlloc());
    const driver = { isFirstVersion: type === VfioExtension.type1, ioas };
    try {
      for (const held of this.#groups.values()) this.#attachAll(held, ioas);
    } catch (error) {
      for (const held of this.#groups.values()) this.#detachAll(held);
      this.iommufd.destroy(ioas.id);
      throw error;
    }
    this.#driver = driver;
  }

  /**
   * Its address space. @throws UapiError EINVAL (no type). The first version has other rules for
   * unmapping, and no dirty pages.
   */
  get type1(): { readonly ioas: Ioas; readonly isFirstVersion: boolean } {
    return this.#need();
  }

  /** VFIO_IOMMU_MAP_DMA. @throws UapiError EINVAL (no type), or as {@link type1Map}. */
  mapDma(args: VfioMapArgs, process?: UserProcess): void {
    type1Map(this.iommufd, this.#need().ioas, args, process);
  }

  /**
   * VFIO_IOMMU_UNMAP_DMA.
   * @returns bytes removed.
   * @throws UapiError EINVAL (no type), or as {@link type1Unmap}.
   */
  unmapDma(args: VfioUnmapArgs): bigint {
    const { ioas, isFirstVersion } = this.#need();
    return type1Unmap(this.iommufd, ioas, args, isFirstVersion);
  }

  /**
   * A group comes in: it is owned, and attached when the type is set.
   * @throws UapiError EPERM, EBUSY, EINVAL (ownership), or what attaching throws: then it is out.
   */
  addGroup(group: GroupMembers): void {
    const { ownership } = this.#system;
    const { owner } = this.iommufd.state;
    const first = firstOf(group);
    ownership.claimGroupForUser(first, owner);
    const held: HeldGroup = { group, devices: new Map() };
    try {
      if (this.#driver !== undefined) this.#attachAll(held, this.#driver.ioas);
    } catch (error) {
      this.#detachAll(held);
      ownership.releaseGroupForUser(first, owner);
      throw error;
    }
    this.#groups.set(group.id, held);
  }

  /** A group leaves; with the last one the address space goes. Never fails. */
  removeGroup(group: GroupMembers): void {
    const held = this.#groups.get(group.id);
    if (held === undefined) return;
    this.#detachAll(held);
    this.#groups.delete(group.id);
    this.#system.ownership.releaseGroupForUser(firstOf(group), this.iommufd.state.owner);
    if (this.#groups.size > 0 || this.#driver === undefined) return;
    this.iommufd.destroy(this.#driver.ioas.id);
    this.#driver = undefined;
  }

  /**
   * A device of one of its groups, attached.
   * @throws UapiError EINVAL (no type), ENODEV, or what attaching throws.
   */
  device(bdf: Bdf): IommufdDevice {
    const { ioas } = this.#need();
    for (const held of this.#groups.values()) {
      if (!held.group.members.includes(bdf)) continue;
      // One that came after the others is attached now.
      return held.devices.get(bdf) ?? this.#attach(held, bdf, ioas) ?? noDevice(bdf);
    }
    return noDevice(bdf);
  }

  /** The device is gone from the machine. */
  forgetDevice(bdf: Bdf): void {
    for (const { devices } of this.#groups.values()) {
      const found = devices.get(bdf);
      if (found === undefined) continue;
      this.iommufd.unbind(found);
      devices.delete(bdf);
    }
  }

  #need(): Driver {
    if (this.#driver !== undefined) return this.#driver;
    throw new UapiError("EINVAL", "the type of the container is not set", {
      cite: "Linux vfio_fops_unl_ioctl()",
    });
  }

  #attachAll(held: HeldGroup, ioas: Ioas): void {
    for (const member of held.group.members) this.#attach(held, member, ioas);
  }

  #attach(held: HeldGroup, bdf: Bdf, ioas: Ioas): IommufdDevice | undefined {
    const dma = this.#system.vfioDevice(bdf);
    if (dma === undefined) return undefined;
    const device = this.iommufd.bind({ dma });
    try {
      this.iommufd.attach({ device, ptId: ioas.id });
    } catch (error) {
      this.iommufd.unbind(device);
      throw typed(error);
    }
    held.devices.set(bdf, device);
    return device;
  }

  #detachAll({ devices }: HeldGroup): void {
    for (const device of devices.values()) this.iommufd.unbind(device);
    devices.clear();
  }
}

/** Where a context says that addresses are in use, type1 says that they are invalid. */
function typed(error: unknown): unknown {
  if (!isRefusal(error, "EADDRINUSE")) return error;
  const { rule, evidence } = error;
  return new UapiError("EINVAL", rule, {
    evidence,
    cite: "Linux vfio_iommu_type1_attach_group()",
  });
}

function noDevice(bdf: Bdf): never {
  throw new UapiError("ENODEV", "no VFIO driver has the device", {
    evidence: [{ kind: "no-vfio-driver", at: bdf }],
    cite: "Linux vfio_device_get_from_name()",
  });
}

function firstOf({ members }: GroupMembers): Bdf {
  const [first] = members;
  if (first === undefined) throw new RangeError("a group has members");
  return first;
}
