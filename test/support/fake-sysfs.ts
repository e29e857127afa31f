/**
 * A small /sys and /proc in a temporary folder: a root port, a NIC with a VF, a VMD with a child
 * domain.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export class FakeSysfs {
  readonly root = mkdtempSync(join(tmpdir(), "ioasis-sysfs-"));

  file(path: string, content: string | Uint8Array): this {
    const full = join(this.root, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    return this;
  }

  link(path: string, target: string): this {
    const full = join(this.root, path);
    mkdirSync(dirname(full), { recursive: true });
    symlinkSync(target, full);
    return this;
  }

  directory(path: string): this {
    mkdirSync(join(this.root, path), { recursive: true });
    return this;
  }

  /** A function at a path below /sys/devices, with its link in /sys/bus/pci/devices. */
  device(path: string, attributes: Readonly<Record<string, string | Uint8Array>>): this {
    const name = path.slice(path.lastIndexOf("/") + 1);
    for (const [attribute, value] of Object.entries(attributes))
      this.file(`sys/devices/${path}/${attribute}`, value);
    return this.link(`sys/bus/pci/devices/${name}`, `../../../devices/${path}`);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Bytes of a type 0 or 1 header and zeros behind. */
export function headerBytes(
  size: number,
  vendor: number,
  device: number,
  buses?: number[],
): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set([vendor & 0xff, vendor >> 8, device & 0xff, device >> 8]);
  if (buses !== undefined) {
    bytes[0x0b] = 6;
    bytes[0x0a] = 4;
    bytes[0x0e] = 1;
    bytes.set(buses, 0x18);
  }
  return bytes;
}

export function exampleSysfs(): FakeSysfs {
  const port = "pci0000:00/0000:00:01.0";
  const nic = `${port}/0000:01:00.0`;
  const vf = `${port}/0000:01:10.0`;
  const vmd = "pci0000:00/0000:00:0e.0";
  const child = `${vmd}/pci10000:e0/10000:e0:06.0`;
  const resource = [
    "0x00000000fe400000 0x00000000fe41ffff 0x0000000000040200",
    "0x000000000000e000 0x000000000000e01f 0x0000000000040101",
    ...new Array<string>(11).fill("0x0000000000000000 0x0000000000000000 0x0000000000000000"),
  ].join("\n");
  return new FakeSysfs()
    .device(port, {
      config: headerBytes(4096, 0x8086, 0x1901, [0, 1, 1]),
      vendor: "0x8086\n",
      device: "0x1901\n",
      class: "0x060400\n",
    })
    .device(nic, {
      config: headerBytes(4096, 0x8086, 0x10c9),
      vendor: "0x8086\n",
      device: "0x10c9\n",
      class: "0x020000\n",
      subsystem_vendor: "0x8086\n",
      subsystem_device: "0xa03c\n",
      revision: "0x01\n",
      resource: `${resource}\n`,
      numa_node: "0\n",
      reset_method: "flr bus\n",
      label: "Onboard LAN\n",
    })
    .device(vf, {
      config: headerBytes(256, 0xffff, 0xffff),
      vendor: "0x8086\n",
      device: "0x10ca\n",
    })
    .device(vmd, {
      config: headerBytes(64, 0x8086, 0x9a0b),
      vendor: "0x8086\n",
      device: "0x9a0b\n",
    })
    .device(child, { vendor: "0x8086\n", device: "0x09ab\n", removable: "removable\n" })
    .link(`sys/devices/${port}/driver`, "../../../bus/pci/drivers/pcieport")
    .link(`sys/devices/${nic}/driver`, "../../../../bus/pci/drivers/igb")
    .link(`sys/devices/${vf}/physfn`, "../0000:01:00.0")
    .link(`sys/devices/${nic}/iommu_group`, "../../../../kernel/iommu_groups/7")
    .link(`sys/devices/${port}/iommu_group`, "../../../kernel/iommu_groups/6")
    .link("sys/kernel/iommu_groups/7/devices/0000:01:00.0", `../../../../devices/${nic}`)
    .link("sys/kernel/iommu_groups/6/devices/0000:00:01.0", `../../../../devices/${port}`)
    .file("sys/kernel/iommu_groups/7/type", "DMA-FQ\n")
    .file(
      "sys/kernel/iommu_groups/7/reserved_regions",
      "0x00000000fee00000 0x00000000feefffff msi\n",
    )
    .link("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0")
    .file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "d2008c222f0606\n")
    .file("sys/devices/virtual/iommu/dmar0/intel-iommu/ecap", "f00f4a\n")
    .file("sys/devices/virtual/iommu/dmar0/intel-iommu/address", "fed90000\n")
    .link("sys/devices/virtual/iommu/dmar0/devices/0000:01:00.0", `../../../../${nic}`)
    .file("sys/bus/pci/slots/3/address", "0000:01:00\n")
    .file("sys/firmware/acpi/tables/FACP", "")
    .file("sys/firmware/acpi/tables/APIC", "")
    .file("proc/cmdline", "root=UUID=0a1b2c3d-0000-1111-2222-333344445555 intel_iommu=on\n")
    .file("proc/version", "Linux version 6.12.90+deb12-amd64 (x86_64-linux-gnu-gcc-12)\n");
}
