/** Structs of VFIO, which begin with the room that the caller has. */
import { UapiError } from "../abi/index.js";
import type { Call } from "../files/index.js";

/** The first bytes of a struct. @throws UapiError EFAULT, EINVAL (argsz). */
export function readArgsz(call: Call, address: bigint, least: number): DataView {
  const bytes = new Uint8Array(least);
  call.copyIn(address, bytes);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) >= least) return view;
  throw new UapiError("EINVAL", "argsz is smaller than the struct", {
    evidence: [{ kind: "struct-size", bytes: view.getUint32(0, true), least }],
    cite: "Linux iommufd_vfio_ioctl()",
  });
}
