/** What the guest does between boot and capture: modules to insert, lines of its `/plan`. */
import type { GuestActions } from "./topology.js";

/** Modules to insert: those asked for, and the stub driver when it is to be bound. */
export function modulesOf(actions: GuestActions): readonly string[] {
  const wanted = actions.modules ?? [];
  return actions.stub === true ? [...wanted, "pci-stub"] : wanted;
}

/** Lines of `/plan`, one action each, in the order they are carried out. */
export function planOf(actions: GuestActions): string {
  const lines = [
    ...(actions.sriov ?? []).map((one) => `sriov ${one}`),
    ...(actions.hotplug ?? []).map((one) => one.replace(":", " ")),
    ...(actions.stub === true ? ["stub"] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}
