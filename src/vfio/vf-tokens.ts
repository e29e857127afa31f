/**
 * VF tokens: a secret that the users of a PF and of its VFs share, when vfio-pci has the PF. Linux
 * vfio_pci_validate_vf_token().
 */
import { UapiError } from "../abi/index.js";
import type { Bdf } from "../units/index.js";
import type { VfioPlatform } from "./platform-ports.js";

export const TOKEN_BYTES = 16;

interface Token {
  readonly bytes: Uint8Array;
  /** VFs that are open. */
  users: number;
}

const CITE = { cite: "Linux vfio_pci_validate_vf_token()" };

/** The tokens of all PFs; see the head of the file. */
export class VfTokens {
  readonly #platform: VfioPlatform;
  readonly #tokens = new Map<Bdf, Token>();

  constructor(platform: VfioPlatform) {
    this.#platform = platform;
  }

  /**
   * Checks what comes with opening a device; a PF without users takes it as its new token.
   * @param given 16 bytes, or undefined for none.
   * @throws UapiError EACCES none or another one; EINVAL nobody has a token for this device.
   */
  check(device: Bdf, given: Uint8Array | undefined): void {
    const pf = this.#pfOf(device);
    if (pf !== undefined) this.#checkVirtual(pf, given);
    else if (this.#isPhysical(device)) this.#checkGiven(device, given);
    else if (given !== undefined) {
      throw new UapiError("EINVAL", "the device has no VFs and is none", CITE);
    }
  }

  /** VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, for a PF. */
  set(device: Bdf, token: Uint8Array): void {
    this.#tokenOf(device).bytes.set(token);
  }

  /** @throws UapiError ENOTTY the device is no PF. */
  checkPhysical(device: Bdf): void {
    if (this.#isPhysical(device)) return;
    throw new UapiError("ENOTTY", "the device has no VFs", {
      cite: "Linux vfio_pci_core_feature_token()",
    });
  }

  /** A VF is opened (1) or closed (-1). */
  count(device: Bdf, by: 1 | -1): void {
    const pf = this.#pfOf(device);
    if (pf !== undefined && this.#isOurs(pf)) this.#tokenOf(pf).users += by;
  }

  /** The PF leaves vfio-pci: its token is forgotten. */
  forget(device: Bdf): void {
    this.#tokens.delete(device);
  }

  #checkVirtual(pf: Bdf, given: Uint8Array | undefined): void {
    if (!this.#isOurs(pf)) {
      if (given === undefined) return;
      throw new UapiError("EINVAL", "vfio-pci does not have the PF: it has no token", CITE);
    }
    if (given === undefined || !isEqual(given, this.#tokenOf(pf).bytes)) {
      throw new UapiError("EACCES", "the token is not that of the PF", {
        evidence: [{ kind: "vf-token", at: pf, given: given !== undefined }],
        ...CITE,
      });
    }
  }

  #checkGiven(device: Bdf, given: Uint8Array | undefined): void {
    const token = this.#tokenOf(device);
    if (token.users === 0) {
      if (given !== undefined) token.bytes.set(given);
      return;
    }
    if (given !== undefined && isEqual(given, token.bytes)) return;
    throw new UapiError("EACCES", "VFs are in use: the token is needed", {
      evidence: [{ kind: "vf-token", at: device, given: given !== undefined }],
      ...CITE,
    });
  }

  #tokenOf(pf: Bdf): Token {
    const known = this.#tokens.get(pf);
    if (known !== undefined) return known;
    const made = { bytes: new Uint8Array(TOKEN_BYTES), users: 0 };
    this.#platform.fillRandom(made.bytes);
    this.#tokens.set(pf, made);
    return made;
  }

  #pfOf(device: Bdf): Bdf | undefined {
    return this.#platform.machine.fabric.function(device)?.physfn?.bdf;
  }

  #isPhysical(device: Bdf): boolean {
    const sriov = this.#platform.machine.fabric.function(device)?.sriov;
    return sriov !== undefined && sriov !== null;
  }

  #isOurs(pf: Bdf): boolean {
    return this.#platform.system.vfioDevice(pf) !== undefined;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` as 16 bytes in that order; undefined for anything else.
 */
export function parseUuid(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return undefined;
  const digits = text.replaceAll("-", "");
  return Uint8Array.from({ length: TOKEN_BYTES }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}
