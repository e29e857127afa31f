/**
 * Titles under which lspci prints capabilities, and their ids.
 * PCI Code and ID Assignment 1.15, § 2 (standard) and § 3 (extended).
 */

/**
 * Beginnings of titles; the longest that fits wins, so a table may hold a title and its extension.
 */
const STANDARD: readonly (readonly [string, number])[] = [
  ["Null", 0x00],
  ["Power Management", 0x01],
  ["AGP version", 0x02],
  ["AGP3", 0x0e],
  ["Vital Product Data", 0x03],
  ["Slot ID", 0x04],
  ["MSI:", 0x05],
  ["Message Signalled Interrupts", 0x05],
  ["CompactPCI hot-swap", 0x06],
  ["PCI-X", 0x07],
  ["HyperTransport", 0x08],
  ["Vendor Specific Information", 0x09],
  ["Debug port", 0x0a],
  ["CompactPCI central resource control", 0x0b],
  ["Hot-plug capable", 0x0c],
  ["Subsystem", 0x0d],
  ["Secure device", 0x0f],
  ["Express", 0x10],
  ["MSI-X:", 0x11],
  ["SATA HBA", 0x12],
  ["SATA", 0x12],
  ["PCI Advanced Features", 0x13],
  ["Enhanced Allocation", 0x14],
  ["Flattening Portal Bridge", 0x15],
];

const EXTENDED: readonly (readonly [string, number])[] = [
  ["Null", 0x00],
  ["Advanced Error Reporting", 0x01],
  ["Virtual Channel", 0x02],
  ["Device Serial Number", 0x03],
  ["Power Budgeting", 0x04],
  ["Root Complex Link", 0x05],
  ["Root Complex Internal Link", 0x06],
  ["Root Complex Event Collector", 0x07],
  ["Multi-Function Virtual Channel", 0x08],
  ["Root Complex Register Block", 0x0a],
  ["Root Bridge Control Block", 0x0a],
  ["Vendor Specific Information", 0x0b],
  ["Configuration Access Correlation", 0x0c],
  ["Access Control Services", 0x0d],
  ["Alternative Routing-ID Interpretation", 0x0e],
  ["Address Translation Service", 0x0f],
  ["Single Root I/O Virtualization", 0x10],
  ["Multi-Root I/O Virtualization", 0x11],
  ["Multicast", 0x12],
  ["Page Request Interface", 0x13],
  ["Resizable BAR", 0x15],
  ["Physical Resizable BAR", 0x15],
  ["Dynamic Power Allocation", 0x16],
  ["Transaction Processing Hints", 0x17],
  ["Latency Tolerance Reporting", 0x18],
  ["Secondary PCI Express", 0x19],
  ["Protocol Multiplexing", 0x1a],
  ["Process Address Space ID", 0x1b],
  ["LN Requester", 0x1c],
  ["Downstream Port Containment", 0x1d],
  ["L1 PM Substates", 0x1e],
  ["Precision Time Measurement", 0x1f],
  ["PCI Express over M_PHY", 0x20],
  ["FRS Queueing", 0x21],
  ["Readiness Time Reporting", 0x22],
  ["Designated Vendor-Specific", 0x23],
  ["Virtual Resizable BAR", 0x24],
  ["VF Resizable BAR", 0x24],
  ["Data Link Feature", 0x25],
  ["Physical Layer 16.0 GT/s", 0x26],
  ["Lane Margining at the Receiver", 0x27],
  ["Hierarchy ID", 0x28],
  ["Native PCIe Enclosure Management", 0x29],
  ["Physical Layer 32.0 GT/s", 0x2a],
  ["Alternate Protocol", 0x2b],
  ["System Firmware Intermediary", 0x2c],
  ["Shadow Functions", 0x2d],
  ["Data Object Exchange", 0x2e],
  ["Device 3", 0x2f],
  ["Integrity & Data Encryption", 0x30],
  ["Physical Layer 64.0 GT/s", 0x31],
  ["Flit Logging", 0x32],
  ["Flit Performance Measurement", 0x33],
  ["Flit Error Injection", 0x34],
];

/** Stands for a capability whose title is not known; it keeps the chain whole. */
export const UNKNOWN_STANDARD = 0xfe;
export const UNKNOWN_EXTENDED = 0xfffe;

const NUMBERED = /^(?:#|(?:Extended )?Capability ID (?:0x)?)([0-9a-f]{1,4})/i;

/** The id of a title; undefined when it is none that lspci is known to print. */
export function capabilityId(title: string, extended: boolean): number | undefined {
  const numbered = NUMBERED.exec(title);
  if (numbered !== null) return Number.parseInt(numbered[1] as string, 16);
  let best: number | undefined;
  let length = 0;
  for (const [name, id] of extended ? EXTENDED : STANDARD) {
    if (name.length > length && title.startsWith(name)) {
      best = id;
      length = name.length;
    }
  }
  return best;
}
