/** What would change a fact: advice per kind of evidence, honest about what cannot be changed. */
import type { Evidence, EvidenceKind } from "../isolation/index.js";
import { formatBdf } from "../units/index.js";
import { bitList, type CallDevice, capital } from "./evidence-text.js";

type Advice = (e: Evidence, call: CallDevice) => string;

const MORE = "A capture made as root shows it: sudo lspci -vvvnnxxxx, or sudo ioasis capture.";

const ADVICE: Partial<Record<EvidenceKind, Advice>> = {
  "acs-capability-missing": (e, call) =>
    `Only other hardware or firmware gives ${call(e.at)} an ACS capability; some boards have a ` +
    "firmware " +
    "setting for it. The ACS override patch makes Linux ignore the fact, it does not stop the " +
    "traffic.",
  "acs-bits-off": (e, call) =>
    `Switching ${bitList(e.bits)} on at ${call(e.at)}: take it out of disable_acs_redir and ` +
    "config_acs where the kernel command line has them; else " +
    `pci=config_acs=xx111x1@${formatBdf(e.at)} (6.12 and later).`,
  "acs-unknown": () => MORE,
  "topology-unknown": () => MORE,
  "not-pci-express": () => "Nothing can separate conventional PCI devices of one bus or slot.",
  "bridge-never-isolates": () => "Moving the device to a PCI Express slot of its own.",
  "quirk-denies": () => "A kernel with another rule for this device; compare with --rules all.",
  "quirk-not-tested": () => "A capture with numeric ids: lspci -nn, or a hex dump.",
  "same-slot-not-isolated": () =>
    "Functions of one device are separated only by ACS in the device, or by a quirk in the kernel.",
  "all-behind-bridge": () => "Moving one of the devices to a slot that is not behind this bridge.",
  "alias-bridge": () => "Moving one of the devices to a slot that is not behind this bridge.",
  "alias-quirk": () => "Only another device: this one sends so, whatever software does.",
  "alias-firmware": () => "Firmware decides what its table says: a firmware update or setting.",
  "alias-vmd": () => "Switching volume management (VMD, RST) off in the firmware setup.",
  "switch-routes-peer": (e, call) =>
    "Moving one of the devices to a slot that is not below this switch, or a switch whose " +
    "ports have ACS with " +
    `P2P Request Redirect. As long as one owner has both sides of ${call(e.at)}, the path is ` +
    "harmless to others.",
  "root-complex-routes-peer": () =>
    "The platform vendor knows whether this root complex routes between its ports; ACS at the " +
    "port settles it.",
  "path-acs-off": (e, call) =>
    `Switching ${bitList(e.bits)} on at ${call(e.at)}, or a slot whose path has them.`,
  "iommu-inactive": (e) =>
    e.detail?.includes("=") === true
      ? `Removing ${e.detail} from the kernel command line.`
      : "Switching the IOMMU on: VT-d or AMD-Vi in the firmware setup, and intel_iommu=on for " +
        "Intel.",
  "outside-iommu-scope": () =>
    "Firmware decides which devices an IOMMU covers: a firmware update or setting.",
  "scope-unknown": () =>
    "A capture that includes the firmware table (DMAR, IVRS, IORT): ioasis capture as root.",
  "driver-blocks": (e, call) => `Binding ${call(e.at)} to vfio-pci, or to no driver.`,
  "prefix-not-supported": () => "Only other hardware supports TLP prefixes.",
  "prefix-support-unknown": () => "A capture made as root shows it (DevCap2: EETLPPrefix).",
  "capability-unknown": () => "A capture made as root shows it.",
  "iommu-capability-unknown": () =>
    "The kernel log's IOMMU lines or /sys/class/iommu show it; ioasis capture takes both.",
  "function-routes-peer": () =>
    "Only the device's vendor can say; ACS in the device, or a quirk, settles it.",
};

/** Advice for the kinds that somebody can act on; undefined for the rest. */
export function changeText(evidence: Evidence, call: CallDevice): string | undefined {
  const advice = ADVICE[evidence.kind];
  return advice === undefined ? undefined : capital(advice(evidence, call));
}
