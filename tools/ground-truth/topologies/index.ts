import type { Topology } from "../topology.js";
import { acsOptionTopologies } from "./acs-options.js";
import { armTopologies } from "./arm.js";
import { bridgeTopologies } from "./bridges.js";
import { demonstrationTopology } from "./demonstration.js";
import { iommuTopologies } from "./iommus.js";
import { portTopologies } from "./ports.js";
import { sriovTopologies } from "./sriov.js";
import { switchTopologies } from "./switches.js";

/** Every machine this tool knows, in the order they are booted; the demonstration is last. */
export const topologies: readonly Topology[] = [
  ...portTopologies,
  ...switchTopologies,
  ...bridgeTopologies,
  ...sriovTopologies,
  ...iommuTopologies,
  ...armTopologies,
  ...acsOptionTopologies,
  demonstrationTopology,
];

export { demonstrationTopology };
