/** Addresses that a device cannot use, reserved in the space it is attached to. */
import { UapiError } from "../abi/index.js";
import type { ContextState } from "./context-state.js";
import type { Ioas } from "./ioas.js";
import type { SlotDevice } from "./slot.js";

const CITE = "Linux iopt_table_enforce_dev_resv_regions()";

/**
 * Reserves every span of the device but relaxable ones; the device owns them.
 * @throws UapiError EADDRINUSE (a mapping or allowed range is there), EINVAL (two kinds of MSI
 * window): then nothing is reserved.
 */
export function reserveForDevice(ctx: ContextState, device: SlotDevice, ioas: Ioas): void {
  const spans = ctx.system.driver.reservedSpans(device.function);
  const software = spans.filter((r) => r.kind === "sw-msi").length;
  const hardware = spans.filter((r) => r.kind === "msi").length;
  if (software > 1 || (software > 0 && hardware > 0)) {
    throw new UapiError("EINVAL", "the device has more than one kind of MSI window", {
      evidence: spans.map((r) => ({ kind: "reserved-range", windows: [r.span], type: r.kind })),
      cite: CITE,
    });
  }
  try {
    for (const { span, kind } of spans) {
      if (kind !== "direct-relaxable") ioas.space.reserve(span, device);
    }
  } catch (error) {
    ioas.space.unreserve(device);
    throw error;
  }
}
