/**
 * Addresses that never reach the IOMMU in an untranslated request of a device.
 *
 * Where requests turn, every window of a peer port takes its addresses, used or not. Where a switch
 * must route so, two more kinds are lost on the way: those in the port's own windows (nothing sends
 * them up), and those in the window of the upstream port that no port below claims.
 */
import type { PeerWindow } from "../iommufd/index.js";
import type { Analysis } from "../isolation/index.js";
import { memoryWindows, type PciFunction } from "../pcie/index.js";
import type { Bdf, Span } from "../units/index.js";

/** By bus address; windows of different ports may overlap. */
export function misroutedWindows(analysis: Analysis, device: Bdf): readonly PeerWindow[] {
  const { fabric, p2p } = analysis;
  const out: PeerWindow[] = [];
  const push = (port: PciFunction, spans: readonly Span[]): void => {
    for (const span of spans) out.push({ device: port.bdf, span });
  };
  let here = fabric.function(device);
  // A tree of 256 buses is at most 256 deep.
  for (let n = 0; here !== undefined && n <= 256; n++, here = here.upstreamBridge) {
    for (const { turn, source } of p2p.sourcesAt.get(here) ?? []) {
      for (const target of turn.targets) {
        if (turn.allows(source, target)) push(target.port, target.windows);
      }
      if (turn.certainty !== "certain") continue;
      if (here.isBridge) push(here, memoryWindows(here));
      if (turn.bridge !== undefined) push(turn.bridge, memoryWindows(turn.bridge));
    }
  }
  return out;
}
