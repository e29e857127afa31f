/** A group below /sys/kernel/iommu_groups, and /dev/vfio/N while VFIO has a device of it. */
import type { Call, OpenFile } from "../files/index.js";
import type { HostSystem } from "../system/index.js";
import type { Bdf } from "../units/index.js";
import { hex } from "./bytes.js";
import { VFIO_GROUP_MAJOR } from "./numbers.js";
import { DIRECTORY, link, type Nodes, type TreeNode, text } from "./tree-node.js";

export interface GroupState {
  readonly id: number;
  /** VFIO has a device of it. */
  readonly vfio: boolean;
  readonly reserved: string;
  readonly type: string;
}

export function groupState(
  system: HostSystem,
  group: { readonly id: number; readonly members: readonly Bdf[] },
): GroupState {
  const vfio = group.members.some((bdf) => system.drivers.vfioNumberOf(bdf) !== undefined);
  const [first] = group.members;
  const identity = first !== undefined && system.driver.kernelDomain(first) === undefined;
  const type = identity ? "identity\n" : "DMA-FQ\n";
  return { id: group.id, vfio, reserved: reservedText(system, group.members), type };
}

export function sameGroup(a: GroupState, b: GroupState): boolean {
  return a.vfio === b.vfio && a.reserved === b.reserved && a.type === b.type;
}

/** By absolute path. @param open opens the group's file. */
export function groupNodes(state: GroupState, open: (call: Call) => OpenFile): Nodes {
  const out = new Map<string, TreeNode>();
  const at = `/sys/kernel/iommu_groups/${state.id}`;
  out.set(`${at}/devices`, DIRECTORY);
  out.set(`${at}/reserved_regions`, text(state.reserved));
  out.set(`${at}/type`, text(state.type));
  if (!state.vfio) return out;
  const { id } = state;
  const device = `/sys/devices/virtual/vfio/${id}`;
  out.set(`${device}/dev`, text(`${VFIO_GROUP_MAJOR}:${id}\n`));
  out.set(`${device}/uevent`, text(`MAJOR=${VFIO_GROUP_MAJOR}\nMINOR=${id}\nDEVNAME=vfio/${id}\n`));
  out.set(`${device}/subsystem`, link("../../../../class/vfio"));
  out.set(`/sys/class/vfio/${id}`, link(`../../devices/virtual/vfio/${id}`));
  out.set(`/sys/dev/char/${VFIO_GROUP_MAJOR}:${id}`, link(`../../devices/virtual/vfio/${id}`));
  out.set(`/dev/vfio/${id}`, {
    kind: "character",
    mode: 0o600,
    major: VFIO_GROUP_MAJOR,
    minor: id,
    open,
  });
  out.set(`/dev/char/${VFIO_GROUP_MAJOR}:${id}`, link(`../vfio/${id}`));
  return out;
}

/** Lines of a group's reserved regions, lowest first. Linux iommu_group_show_resv_regions(). */
function reservedText(system: HostSystem, members: readonly Bdf[]): string {
  const lines = new Map<string, bigint>();
  for (const bdf of members) {
    for (const { span, kind } of system.driver.reservedSpans(bdf)) {
      const type =
        kind === "direct" || kind === "direct-relaxable" || kind === "reserved" ? kind : "msi";
      lines.set(`${hex(span.first, 16)} ${hex(span.last, 16)} ${type}\n`, span.first);
    }
  }
  return [...lines]
    .sort(([a, x], [b, y]) => (x < y ? -1 : x > y ? 1 : a < b ? -1 : 1))
    .map(([line]) => line)
    .join("");
}
