/** The VFIO groups of one machine, as the rule set in force makes them. */
import { UapiError } from "../abi/index.js";
import type { Bdf } from "../units/index.js";
import { VfioGroup } from "./group.js";
import type { VfioSystem } from "./ports.js";

/** Finds groups by their devices; each is one object while anybody uses it. */
export class VfioGroups {
  readonly #system: VfioSystem;
  readonly #groups = new Map<number, VfioGroup>();

  constructor(system: VfioSystem) {
    this.#system = system;
  }

  /** The group of a device; undefined when no IOMMU covers it. */
  find(bdf: Bdf): VfioGroup | undefined {
    const found = this.#system.isolation.groupOf(bdf);
    if (found === undefined) return undefined;
    const known = this.#groups.get(found.id);
    // Devices come and go: a group that nobody uses is looked up anew.
    if (known !== undefined && (!known.isIdle || known.members === found.members)) return known;
    const made = new VfioGroup(this.#system, found);
    this.#groups.set(found.id, made);
    return made;
  }

  /** The group of a device. @throws UapiError ENODEV when it has none. */
  of(bdf: Bdf): VfioGroup {
    const found = this.find(bdf);
    if (found !== undefined) return found;
    throw new UapiError("ENODEV", "the device is in no isolation group: no IOMMU covers it", {
      evidence: [{ kind: "no-group", at: bdf }],
      cite: "Linux vfio_group_find_or_alloc()",
    });
  }
}
