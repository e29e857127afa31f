/**
 * TreeKeeper: keeps the tree in step with the system.
 *
 * What of a function or a group shows in the tree is one small record; after anything that may have
 * changed records, all are made anew and what differs is replaced. So the tree is always the one
 * that would be made from the system as it is now.
 */
import type { Call, OpenFile } from "../files/index.js";
import type { PciFunction } from "../pcie/index.js";
import type { HostSystem } from "../system/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { busNodes, driverNodes, moduleOf } from "./driver-nodes.js";
import { type FunctionContext, functionLinks, functionNodes } from "./function-nodes.js";
import type { BarMemory } from "./function-resources.js";
import { FunctionSettings } from "./function-settings.js";
import { type FunctionState, functionState, sameState } from "./function-state.js";
import { type GroupState, groupNodes, groupState, sameGroup } from "./group-nodes.js";
import { allModules } from "./module-nodes.js";
import { IOMMU_MINOR, MISC_MAJOR, VFIO_CONTAINER_MINOR, VFIO_DEVICE_MAJOR } from "./numbers.js";
import { formatBus, functionPath } from "./paths.js";
import { SystemTree } from "./system-tree.js";
import {
  type CharacterNode,
  DIRECTORY,
  link,
  type Nodes,
  type TreeNode,
  text,
} from "./tree-node.js";
import { unitNodes } from "./unit-nodes.js";

/** Opens the devices of a platform. */
export interface DeviceFiles {
  /** /dev/iommu. @throws UapiError. */
  iommufd(call: Call): OpenFile;
  /** /dev/vfio/vfio. */
  container(call: Call): OpenFile;
  /** /dev/vfio/N. */
  group(call: Call, id: number): OpenFile;
  /** /dev/vfio/devices/vfioN. */
  device(call: Call, bdf: Bdf): OpenFile;
  /** Memory behind a BAR, for `resourceN`. Absent: it cannot be mapped. */
  readonly barMemory?: BarMemory | undefined;
  /** A user has the function open. */
  isOpen(bdf: Bdf): boolean;
  /** Asks the user of a function to let go of it: the REQ interrupt. */
  askBack(bdf: Bdf): void;
  /** Runs a reset of a function that a user may have open. Absent: nobody is told. */
  aroundReset?(bdf: Bdf, reset: () => void): void;
  /** A driver has let go of a function. */
  driverLeft?(bdf: Bdf): void;
}

/** There whatever is in them. */
const DIRECTORIES = [
  "/dev/char",
  "/dev/vfio/devices",
  "/sys/class/iommu",
  "/sys/class/vfio",
  "/sys/class/vfio-dev",
  "/sys/dev/char",
  "/sys/devices/virtual/vfio",
  "/sys/kernel/iommu_groups",
];

/** See the head of the file. */
export class TreeKeeper {
  readonly tree = new SystemTree();
  readonly settings = new FunctionSettings();
  readonly #system: HostSystem;
  readonly #files: DeviceFiles;
  readonly #functions = new Map<Bdf, FunctionState>();
  readonly #groups = new Map<number, GroupState>();
  readonly #drivers = new Set<string>();
  readonly #slots = new Map<Bdf, string>();
  readonly #context: FunctionContext;

  constructor(system: HostSystem, files: DeviceFiles) {
    this.#system = system;
    this.#files = files;
    this.#context = {
      system,
      settings: this.settings,
      bars: files.barMemory ?? (() => undefined),
    };
    this.#putFixed();
    this.refresh();
  }

  /** Makes the tree what the system is now. */
  refresh(): void {
    const { tree } = this;
    const { fabric } = this.#system.machine;
    for (const name of this.#system.drivers.names) {
      if (this.#drivers.has(name)) continue;
      this.#drivers.add(name);
      tree.putAll(driverNodes(this.#system, name));
    }
    for (const bdf of [...this.#functions.keys()]) {
      if (fabric.function(bdf) === undefined) this.#removeFunction(bdf);
    }
    this.#refreshGroups();
    const came: FunctionState[] = [];
    const changed: [FunctionState, FunctionState][] = [];
    for (const fn of fabric.functions) {
      const known = this.#functions.get(fn.bdf);
      const now = functionState(this.#system, fn, (each) => this.#pathOf(each));
      if (known !== undefined && sameState(known, now)) continue;
      this.#functions.set(fn.bdf, now);
      if (known === undefined) came.push(now);
      else changed.push([known, now]);
    }
    // Links between functions need the paths of both.
    for (const [before, now] of changed) this.#changeFunction(before, now);
    for (const state of came) this.#addFunction(state);
  }

  /** Directory of a function; undefined when it is not there. */
  pathOf(bdf: Bdf): string | undefined {
    return this.#functions.get(bdf)?.path;
  }

  #pathOf(fn: PciFunction): string {
    return functionPath(fn, (bdf) => {
      const known = this.#functions.get(bdf);
      if (known !== undefined) return known.path;
      const other = this.#system.machine.fabric.function(bdf);
      return other === undefined ? undefined : this.#pathOf(other);
    });
  }

  #addFunction(state: FunctionState): void {
    const { tree } = this;
    tree.mount(state.path, () => functionNodes(state, this.#context));
    tree.putAll(functionLinks(state));
    tree.putAll(this.#deviceNodes(state));
    const { slot } = state.fn.description;
    if (slot === undefined || slot.includes("/")) return;
    const bdf = formatBdf(state.fn.bdf);
    tree.put(`/sys/bus/pci/slots/${slot}/address`, text(`${bdf.slice(0, -2)}\n`));
    this.#slots.set(state.fn.bdf, slot);
  }

  #changeFunction(before: FunctionState, now: FunctionState): void {
    const { tree } = this;
    this.#replace(this.#outside(before), this.#outside(now));
    const nodes = functionNodes(before, this.#context);
    tree.remount(now.path, nodes, () => functionNodes(now, this.#context));
  }

  #removeFunction(bdf: Bdf): void {
    const state = this.#functions.get(bdf);
    if (state === undefined) return;
    this.#functions.delete(bdf);
    this.settings.forget(bdf);
    this.#replace(this.#outside(state), new Map());
    this.tree.remove(state.path);
    const slot = this.#slots.get(bdf);
    this.#slots.delete(bdf);
    if (slot !== undefined && ![...this.#slots.values()].includes(slot)) {
      this.tree.remove(`/sys/bus/pci/slots/${slot}`);
    }
  }

  #outside(state: FunctionState): Nodes {
    return new Map([...functionLinks(state), ...this.#deviceNodes(state)]);
  }

  #replace(before: Nodes, now: Nodes): void {
    for (const path of before.keys()) if (!now.has(path)) this.tree.remove(path);
    this.tree.putAll(now);
  }

  #refreshGroups(): void {
    const there = new Map(this.#system.groups.groups.map((group) => [group.id, group]));
    for (const id of [...this.#groups.keys()]) {
      if (there.has(id)) continue;
      const state = this.#groups.get(id);
      this.#groups.delete(id);
      if (state !== undefined) this.#removeGroup(state);
    }
    for (const group of there.values()) {
      const known = this.#groups.get(group.id);
      const now = groupState(this.#system, group);
      if (known !== undefined && sameGroup(known, now)) continue;
      this.#groups.set(group.id, now);
      const nodes = this.#groupNodes(now);
      if (known?.vfio === true && !now.vfio) this.#removeGroupNode(now.id);
      this.tree.putAll(nodes);
    }
  }

  #removeGroup(state: GroupState): void {
    if (state.vfio) this.#removeGroupNode(state.id);
    this.tree.remove(`/sys/kernel/iommu_groups/${state.id}`);
  }

  #removeGroupNode(id: number): void {
    const nodes = this.#groupNodes({ id, vfio: true, reserved: "", type: "" });
    const kept = `/sys/kernel/iommu_groups/${id}`;
    for (const path of nodes.keys()) if (!path.startsWith(`${kept}/`)) this.tree.remove(path);
    this.tree.remove(`/sys/devices/virtual/vfio/${id}`);
  }

  #groupNodes(state: GroupState): Nodes {
    return groupNodes(state, (call) => this.#files.group(call, state.id));
  }

  /** Of a function that VFIO has. */
  #deviceNodes({ fn, vfio }: FunctionState): Nodes {
    const out = new Map<string, TreeNode>();
    if (vfio === undefined) return out;
    const open = (call: Call): OpenFile => this.#files.device(call, fn.bdf);
    out.set(`/dev/vfio/devices/vfio${vfio}`, character(VFIO_DEVICE_MAJOR, vfio, 0o600, open));
    out.set(`/dev/char/${VFIO_DEVICE_MAJOR}:${vfio}`, link(`../vfio/devices/vfio${vfio}`));
    return out;
  }

  #putFixed(): void {
    const { tree } = this;
    const { machine, driver, drivers } = this.#system;
    for (const unit of machine.units) tree.putAll(unitNodes(unit, driver));
    for (const at of DIRECTORIES) tree.put(at, DIRECTORY);
    tree.putAll(busNodes(this.#system, { autoprobe: true }));
    for (const nodes of allModules(this.#system, drivers.names.map(moduleOf))) tree.putAll(nodes);
    for (const { segment, number } of machine.fabric.rootBuses) {
      const behind = machine.fabric.functions.find((fn) => fn.segment === segment);
      if (behind?.description.behindVmd !== undefined) continue;
      tree.put(`/sys/devices/pci${formatBus(segment, number)}`, DIRECTORY);
    }
    this.#putMisc("iommu", "/dev/iommu", IOMMU_MINOR, 0o660, (call) => this.#files.iommufd(call));
    this.#putMisc("vfio", "/dev/vfio/vfio", VFIO_CONTAINER_MINOR, 0o666, (call) =>
      this.#files.container(call),
    );
  }

  #putMisc(
    name: string,
    path: string,
    minor: number,
    mode: number,
    open: (call: Call) => OpenFile,
  ): void {
    const { tree } = this;
    const at = `/sys/devices/virtual/misc/${name}`;
    tree.put(`${at}/dev`, text(`${MISC_MAJOR}:${minor}\n`));
    tree.put(`${at}/subsystem`, link("../../../../class/misc"));
    tree.put(`/sys/class/misc/${name}`, link(`../../devices/virtual/misc/${name}`));
    tree.put(path, character(MISC_MAJOR, minor, mode, open));
    tree.put(`/dev/char/${MISC_MAJOR}:${minor}`, link(path.replace("/dev", "..")));
  }
}

function character(
  major: number,
  minor: number,
  mode: number,
  open: (call: Call) => OpenFile,
): CharacterNode {
  return { kind: "character", mode, major, minor, open };
}
