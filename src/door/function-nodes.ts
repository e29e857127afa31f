/**
 * Everything that stands in the directory of a function, made from its state when it is asked for;
 * and the links to it from elsewhere.
 */

import type { HostSystem } from "../system/index.js";
import { formatBdf } from "../units/index.js";
import { putControls, putSriov } from "./function-controls.js";
import { type BarMemory, putResources } from "./function-resources.js";
import type { FunctionSettings } from "./function-settings.js";
import type { FunctionState } from "./function-state.js";
import { putTexts, ueventOf } from "./function-text.js";
import { VFIO_DEVICE_MAJOR } from "./numbers.js";
import { relative } from "./paths.js";
import { attribute, DIRECTORY, link, type Nodes, type TreeNode, text } from "./tree-node.js";

/** What the nodes of functions are made with. */
export interface FunctionContext {
  readonly system: HostSystem;
  readonly settings: FunctionSettings;
  readonly bars: BarMemory;
}

/** Nodes in the directory of a function, by relative path. */
export function functionNodes(state: FunctionState, context: FunctionContext): Nodes {
  const { fn, path } = state;
  const out = new Map<string, TreeNode>();
  const put = (name: string, node: TreeNode): void => void out.set(name, node);
  const to = (name: string, target: string): void =>
    put(name, link(relative(`${path}/${name}`, target)));
  putTexts(fn, put);
  putResources(fn, context.system.machine, context.settings, context.bars, put);
  putControls(state, context.system, context.settings, put);
  putSriov(state, context.system, put);
  putPower("power", put);
  put("uevent", attribute(0o644, { show: () => ueventOf(fn, state.driver), store: () => {} }));
  to("subsystem", "/sys/bus/pci");
  if (state.driver !== undefined) to("driver", `/sys/bus/pci/drivers/${state.driver}`);
  if (state.group !== undefined) to("iommu_group", `/sys/kernel/iommu_groups/${state.group}`);
  if (state.unit !== undefined) to("iommu", `/sys/devices/virtual/iommu/${state.unit}`);
  if (state.physical !== undefined) to("physfn", state.physical);
  state.virtual.forEach((target, i) => {
    to(`virtfn${i}`, target);
  });
  if (state.vfio !== undefined) putVfioDevice(state, state.vfio, put, to);
  return out;
}

/** Links to a function, and what else stands outside of its directory, by absolute path. */
export function functionLinks(state: FunctionState): Nodes {
  const out = new Map<string, TreeNode>();
  const name = formatBdf(state.fn.bdf);
  const to = (at: string, target: string): void => void out.set(at, link(relative(at, target)));
  to(`/sys/bus/pci/devices/${name}`, state.path);
  if (state.driver !== undefined) to(`/sys/bus/pci/drivers/${state.driver}/${name}`, state.path);
  if (state.group !== undefined) {
    to(`/sys/kernel/iommu_groups/${state.group}/devices/${name}`, state.path);
  }
  if (state.unit !== undefined) {
    to(`/sys/devices/virtual/iommu/${state.unit}/devices/${name}`, state.path);
  }
  if (state.vfio !== undefined) {
    const device = `vfio${state.vfio}`;
    to(`/sys/class/vfio-dev/${device}`, `${state.path}/vfio-dev/${device}`);
    to(`/sys/dev/char/${VFIO_DEVICE_MAJOR}:${state.vfio}`, `${state.path}/vfio-dev/${device}`);
  }
  return out;
}

function putVfioDevice(
  { path }: FunctionState,
  number: number,
  put: (name: string, node: TreeNode) => void,
  to: (name: string, target: string) => void,
): void {
  const name = `vfio-dev/vfio${number}`;
  put("vfio-dev", DIRECTORY);
  put(name, DIRECTORY);
  put(`${name}/dev`, text(`${VFIO_DEVICE_MAJOR}:${number}\n`));
  put(
    `${name}/uevent`,
    text(`MAJOR=${VFIO_DEVICE_MAJOR}\nMINOR=${number}\nDEVNAME=vfio/devices/vfio${number}\n`),
  );
  to(`${name}/device`, path);
  to(`${name}/subsystem`, "/sys/class/vfio-dev");
  putPower(`${name}/power`, put);
}

function putPower(at: string, put: (name: string, node: TreeNode) => void): void {
  put(at, DIRECTORY);
  put(`${at}/control`, text("on\n", 0o644));
  put(`${at}/runtime_status`, text("active\n"));
  put(`${at}/runtime_suspended_time`, text("0\n"));
  put(`${at}/runtime_active_time`, text("0\n"));
}
