/**
 * Who may do DMA in an isolation group: the kernel's drivers, or one user.
 *
 * Rules: a group has one user owner or any number of kernel drivers, never both. With the first
 * claim by a user every member goes to the blocked domain, with the last release every member goes
 * back to the kernel's default domain; never in between. A refused claim changes nothing.
 *
 * What a group is comes from the rule set in force. Linux iommu_device_claim_dma_owner(),
 * iommu_device_use_default_domain().
 */
import { UapiError } from "../abi/index.js";
import type { Bdf } from "../units/index.js";
import type { IommuDriver } from "./driver-port.js";

export interface GroupMembers {
  readonly id: number;
  readonly members: readonly Bdf[];
}

/** The partition in force. */
export interface GroupPort {
  /** Undefined for a device without a group. */
  groupOf(device: Bdf): GroupMembers | undefined;
}

/** Compared by identity; the label is for messages. */
export interface DmaOwner {
  readonly label: string;
}

interface GroupState {
  readonly group: GroupMembers;
  owner: DmaOwner | undefined;
  /** The owner has claimed the group as such. */
  held: boolean;
  /** Devices that the owner has claimed. */
  readonly claimed: Set<Bdf>;
  /** Members with a kernel driver that does DMA. */
  readonly kernel: Set<Bdf>;
}

const CITE_CLAIM = "Linux iommu_device_claim_dma_owner()";
const CITE_USE = "Linux iommu_device_use_default_domain()";
const CITE_DIRECT = "Linux __iommu_device_set_domain(): require_direct";

/** Who owns the groups of one machine. */
export class DmaOwnership {
  readonly #groups: GroupPort;
  readonly #driver: IommuDriver;
  readonly #states = new Map<number, GroupState>();

  constructor(groups: GroupPort, driver: IommuDriver) {
    this.#groups = groups;
    this.#driver = driver;
  }

  /** The user that owns the device's group. */
  ownerOf(device: Bdf): DmaOwner | undefined {
    return this.#find(device)?.owner;
  }

  /** Devices of the group that its user owner has claimed. */
  claimedIn(device: Bdf): ReadonlySet<Bdf> {
    return this.#find(device)?.claimed ?? NONE;
  }

  /** Members of the group that a kernel driver does DMA with. */
  kernelUsersOf(device: Bdf): ReadonlySet<Bdf> {
    return this.#find(device)?.kernel ?? NONE;
  }

  /**
   * A kernel driver that does DMA takes the device.
   * @throws UapiError EBUSY when a user owns the group.
   */
  claimForKernel(device: Bdf): void {
    const group = this.#groups.groupOf(device);
    if (group === undefined) return;
    const state = this.#stateOf(group);
    if (state.owner !== undefined) {
      throw new UapiError("EBUSY", "a user owns the isolation group of this device", {
        evidence: [{ kind: "group-owned-by-user", at: device, with: [...state.claimed] }],
        cite: CITE_USE,
      });
    }
    state.kernel.add(device);
  }

  releaseForKernel(device: Bdf): void {
    const state = this.#find(device);
    state?.kernel.delete(device);
    this.#forget(state);
  }

  /**
   * The user `owner` takes the device, and with it the group.
   * @throws UapiError ENODEV without a group, EPERM when the group is in other hands, EBUSY when
   * this device is claimed already, EINVAL when firmware needs memory of a member mapped, or what
   * the driver throws.
   */
  claimForUser(device: Bdf, owner: DmaOwner): void {
    const group = this.#groups.groupOf(device);
    if (group === undefined) {
      throw new UapiError("ENODEV", "the device is in no isolation group: no IOMMU covers it", {
        evidence: [{ kind: "no-group", at: device }],
        cite: CITE_CLAIM,
      });
    }
    const state = this.#stateOf(group);
    try {
      this.#checkClaim(state, device, owner);
      if (state.owner === undefined) this.#block(group);
      state.owner = owner;
      state.claimed.add(device);
    } finally {
      this.#forget(state);
    }
  }

  /** The device's slots are blocked before this; the last release of a group lets it go. */
  releaseForUser(device: Bdf, owner: DmaOwner): void {
    const state = this.#find(device);
    if (state?.owner !== owner || !state.claimed.delete(device)) return;
    this.#release(state);
  }

  /**
   * The user `owner` takes a whole group by one of its members; devices may be claimed afterwards.
   * @throws UapiError ENODEV without a group, EPERM when the group is in anybody's hands, or as
   * {@link claimForUser}.
   */
  claimGroupForUser(device: Bdf, owner: DmaOwner): void {
    const cite = "Linux iommu_group_claim_dma_owner()";
    const group = this.#groups.groupOf(device);
    if (group === undefined) {
      throw new UapiError("ENODEV", "the device is in no isolation group: no IOMMU covers it", {
        evidence: [{ kind: "no-group", at: device }],
        cite,
      });
    }
    const state = this.#stateOf(group);
    try {
      if (state.owner !== undefined) {
        throw new UapiError("EPERM", "the isolation group is owned already", {
          evidence: [{ kind: "group-owned-by-other", at: device, with: [...state.claimed] }],
          cite,
        });
      }
      this.#checkHolder(state, device, owner);
      this.#block(group);
      state.owner = owner;
      state.held = true;
    } finally {
      this.#forget(state);
    }
  }

  /** The group goes back to the kernel when no device of it is claimed. */
  releaseGroupForUser(device: Bdf, owner: DmaOwner): void {
    const state = this.#find(device);
    if (state?.owner !== owner || !state.held) return;
    state.held = false;
    this.#release(state);
  }

  #release(state: GroupState): void {
    if (state.held || state.claimed.size > 0) return;
    // Members may have come or left since the claim.
    const [any] = state.group.members;
    const now = any === undefined ? undefined : this.#groups.groupOf(any);
    for (const member of (now ?? state.group).members) this.#driver.attachDefault(member);
    state.owner = undefined;
    this.#forget(state);
  }

  #checkClaim(state: GroupState, device: Bdf, owner: DmaOwner): void {
    if (state.claimed.has(device)) {
      throw new UapiError("EBUSY", "the device is claimed already", {
        evidence: [{ kind: "device-claimed", at: device }],
        cite: CITE_CLAIM,
      });
    }
    this.#checkHolder(state, device, owner);
  }

  #checkHolder(state: GroupState, device: Bdf, owner: DmaOwner): void {
    if (state.owner !== undefined && state.owner !== owner) {
      throw new UapiError("EPERM", "another owner holds a device of this isolation group", {
        evidence: [{ kind: "group-owned-by-other", at: device, with: [...state.claimed] }],
        cite: CITE_CLAIM,
      });
    }
    if (state.kernel.size > 0) {
      throw new UapiError("EPERM", "a kernel driver does DMA in this isolation group", {
        evidence: [...state.kernel].map((at) => ({ kind: "driver-blocks", at, cite: CITE_CLAIM })),
        cite: CITE_CLAIM,
      });
    }
  }

  #block(group: GroupMembers): void {
    for (const member of group.members) {
      const direct = this.#driver.reservedSpans(member).find((r) => r.kind === "direct");
      if (direct === undefined) continue;
      throw new UapiError("EINVAL", "firmware needs memory of a member of the group mapped", {
        evidence: [{ kind: "reserved-by-firmware", at: member, windows: [direct.span] }],
        cite: CITE_DIRECT,
      });
    }
    const done: Bdf[] = [];
    try {
      for (const member of group.members) {
        this.#driver.attach(member, undefined, this.#driver.blocked(member));
        done.push(member);
      }
    } catch (error) {
      for (const member of done) this.#driver.attachDefault(member);
      throw error;
    }
  }

  #find(device: Bdf): GroupState | undefined {
    const group = this.#groups.groupOf(device);
    return group === undefined ? undefined : this.#states.get(group.id);
  }

  #stateOf(group: GroupMembers): GroupState {
    const found = this.#states.get(group.id);
    if (found !== undefined) return found;
    const made: GroupState = {
      group,
      owner: undefined,
      held: false,
      claimed: new Set<Bdf>(),
      kernel: new Set<Bdf>(),
    };
    this.#states.set(group.id, made);
    return made;
  }

  #forget(state: GroupState | undefined): void {
    if (state === undefined || state.owner !== undefined || state.kernel.size > 0) return;
    this.#states.delete(state.group.id);
  }
}

const NONE: ReadonlySet<Bdf> = new Set();
