/**
 * Group numbers of a running system, under the rule set in force.
 *
 * A device keeps the group in which it was first seen, as in Linux: one that leaves and comes back
 * is in its old group. A device that appears later joins the group of a device it would have been
 * grouped with from the start, or opens a new group with the lowest number that is free. Members
 * that are away do not count.
 *
 * Linux puts all devices of an IOMMU that cannot match requester IDs into one group
 * (generic_single_device_group()).
 */
import type { GroupMembers, GroupPort } from "../driver/index.js";
import type { Analysis } from "../isolation/index.js";
import type { Machine } from "../machine/index.js";
import type { Bdf } from "../units/index.js";

/** See the head of the file. */
export class GroupNumbers implements GroupPort {
  readonly #machine: Machine;
  readonly #analysis: () => Analysis;
  readonly #groupOf = new Map<Bdf, number>();
  /** Every device that ever was in a group, in the order of joining. */
  readonly #members: Bdf[][] = [];
  /** What {@link groupOf} answered last for a group, until the topology changes. */
  readonly #present = new Map<number, GroupMembers>();
  #generation = -1;
  #known = 0;

  constructor(machine: Machine, analysis: () => Analysis) {
    this.#machine = machine;
    this.#analysis = analysis;
    this.#follow();
  }

  /** The group of a device, with the members that are there now; the device itself may be away. */
  groupOf(device: Bdf): GroupMembers | undefined {
    this.#follow();
    const id = this.#groupOf.get(device);
    return id === undefined ? undefined : this.#membersOf(id);
  }

  /** Groups with at least one member that is there, by number. */
  get groups(): readonly GroupMembers[] {
    this.#follow();
    const all = this.#members.map((_members, id) => this.#membersOf(id));
    return all.filter((group) => group.members.length > 0);
  }

  #membersOf(id: number): GroupMembers {
    const found = this.#present.get(id);
    if (found !== undefined) return found;
    const members = this.#members[id] ?? [];
    const isWhole = members.every((member) => this.#machine.isPresent(member));
    const there = isWhole ? members : members.filter((m) => this.#machine.isPresent(m));
    const made = { id, members: there };
    this.#present.set(id, made);
    return made;
  }

  #follow(): void {
    if (this.#generation === this.#machine.generation) return;
    this.#generation = this.#machine.generation;
    this.#present.clear();
    if (this.#known === this.#machine.functionCount) return;
    this.#known = this.#machine.functionCount;
    const { partition, facts } = this.#analysis();
    const one = facts.requesterMatching === false;
    const groups = one ? [partition.groups.flat()] : partition.groups;
    for (const group of groups) this.#place(group);
  }

  /** Devices that the partition puts together now; those never seen before get a number. */
  #place(group: readonly Bdf[]): void {
    let id: number | undefined;
    for (const device of group) {
      id = this.#groupOf.get(device);
      if (id !== undefined) break;
    }
    for (const device of group) {
      if (this.#groupOf.has(device)) continue;
      id ??= this.#members.length;
      this.#groupOf.set(device, id);
      const members = this.#members[id];
      // A new list each time: whoever kept the old one sees the old members.
      this.#members[id] = members === undefined ? [device] : [...members, device];
    }
  }
}
