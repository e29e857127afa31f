/** /dev/iommu on a platform for the kernel's own tests: all its files share one mock machine. */
import type { UserProcess } from "../../files/index.js";
import type { IoctlRow } from "../ioctl-row.js";
import { IommufdFile, type IommufdFileOptions } from "../iommufd-file.js";
import type { IommufdPorts } from "../open-context.js";
import { selftestRows } from "./selftest-rows.js";
import { type SelftestOptions, SelftestSystem } from "./selftest-system.js";

/** See the head of the file. */
export class SelftestFiles {
  readonly system: SelftestSystem;
  readonly rows: readonly IoctlRow[];
  readonly #ports: IommufdPorts;

  constructor(options: SelftestOptions = {}, ports: IommufdPorts = {}) {
    this.system = new SelftestSystem(options);
    this.rows = selftestRows(this.system);
    this.#ports = ports;
  }

  open(opener: UserProcess, options: IommufdFileOptions = {}): IommufdFile {
    return new IommufdFile(this.system, this.#ports, opener, { ...options, rows: this.rows });
  }
}
