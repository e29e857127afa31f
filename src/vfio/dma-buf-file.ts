/**
 * DmaBufFile: a part of a BAR as a file that other drivers import. Linux vfio_pci_dmabuf.c.
 *
 * It is revoked while the device does not decode memory, while it is reset, and for good when the
 * device is closed.
 */
import { type DmaBuf, FileKind } from "../files/index.js";
import type { BarPages } from "./bar-pages.js";
import type { PciDevice, Revocable } from "./pci-device.js";

/** See the head of the file. */
export class DmaBufFile implements DmaBuf, Revocable {
  readonly kind = FileKind.dmaBuf;
  readonly label = "anon_inode:dmabuf";
  readonly exporter = "vfio-pci";
  readonly size: bigint;
  readonly pages: BarPages;
  readonly #device: PciDevice;
  readonly #listeners = new Set<() => void>();

  constructor(device: PciDevice, pages: BarPages, size: bigint) {
    this.#device = device;
    this.pages = pages;
    this.size = size;
    pages.isRevoked = !device.memoryEnabled;
    device.shared.add(this);
  }

  get isRevoked(): boolean {
    return this.pages.isRevoked;
  }

  get isOneRun(): boolean {
    return this.pages.isOneRun;
  }

  onRevoke(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setRevoked(revoked: boolean): void {
    if (revoked === this.pages.isRevoked) return;
    this.pages.isRevoked = revoked;
    if (!revoked) return;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Importers keep what they have until the device takes it back. */
  release(): void {
    if (this.#listeners.size === 0) this.#device.shared.delete(this);
  }
}
