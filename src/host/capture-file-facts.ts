/** Shapes of the host's facts in a capture file; names as in {@link HostFacts}. */
import type {
  AcpiTableList,
  AtsrScope,
  ChildDomain,
  DeviceScope,
  DmarTable,
  DmarUnit,
  HostFacts,
  IortReserved,
  IortRootComplex,
  IortTable,
  IvmdRegion,
  IvrsTable,
  IvrsUnit,
  RmrrRegion,
  SeenIommu,
  ViotTable,
} from "../isolation/index.js";
import {
  address,
  flag,
  integer,
  list,
  may,
  need,
  object,
  oneOf,
  type Shape,
  span,
  text,
  wide,
} from "./json-shape.js";

const u8 = integer(0xff);
const u16 = integer(0xffff);
const u32 = integer(0xffffffff);

const scope = object<DeviceScope>({
  kind: need(oneOf("endpoint", "sub-hierarchy", "ioapic", "hpet", "namespace")),
  bus: need(u8),
  path: need(
    list(object<DeviceScope["path"][number]>({ device: need(integer(31)), fn: need(integer(7)) })),
  ),
});

const dmarUnit = object<DmarUnit>({
  segment: need(u16),
  includeAll: need(flag),
  registerBase: need(wide),
  scopes: need(list(scope)),
  cap: may(wide),
  ecap: may(wide),
});

const rmrr = object<RmrrRegion>({
  segment: need(u16),
  span: need(span),
  scopes: need(list(scope)),
});

const atsr = object<AtsrScope>({
  segment: need(u16),
  allPorts: need(flag),
  scopes: need(list(scope)),
});

const dmar = object<DmarTable>({
  addressWidth: need(integer(256)),
  interruptRemapping: need(flag),
  platformOptIn: need(flag),
  units: need(list(dmarUnit)),
  reserved: need(list(rmrr)),
  ats: need(list(atsr)),
  integratedAts: may(list(atsr)),
  namespaceDevices: may(
    list(object<{ id: number; name: string }>({ id: need(u8), name: need(text) })),
  ),
});

type Range = { readonly first: number; readonly last: number };
const range = object<Range>({ first: need(u16), last: need(u16) });

const ivrsUnit = object<IvrsUnit>({
  segment: need(u16),
  iommu: need(address),
  base: need(wide),
  covered: need(list(range)),
  aliases: need(
    list(
      object<Range & { alias: number }>({ first: need(u16), last: need(u16), alias: need(u16) }),
    ),
  ),
  efr: may(wide),
  efr2: may(wide),
  hostTablesDisabled: may(flag),
});

const ivmd = object<IvmdRegion>({
  segment: need(u16),
  kind: need(oneOf("all", "one", "range")),
  first: need(u16),
  last: need(u16),
  span: need(span),
  unity: need(flag),
  exclusion: need(flag),
});

const ivrs = object<IvrsTable>({ units: need(list(ivrsUnit)), memory: need(list(ivmd)) });

const rootComplex = object<IortRootComplex>({
  segment: need(u32),
  ats: need(flag),
  pasidBits: need(integer(31)),
  pri: may(flag),
  mappings: need(
    list(
      object<IortRootComplex["mappings"][number]>({
        firstRid: need(u16),
        lastRid: need(u16),
        to: need(oneOf("smmu", "smmuv3", "its", "other")),
        single: need(flag),
        outputBase: need(u32),
        target: may(u32),
      }),
    ),
  ),
});

const iortReserved = object<IortReserved>({
  spans: need(list(span)),
  streams: need(
    list(
      object<IortReserved["streams"][number]>({
        first: need(u32),
        last: need(integer(2 ** 33)),
        smmu: need(u32),
      }),
    ),
  ),
});

const iort = object<IortTable>({
  rootComplexes: need(list(rootComplex)),
  reserved: may(list(iortReserved)),
});

const viot = object<ViotTable>({
  ranges: need(
    list(
      object<ViotTable["ranges"][number]>({
        firstSegment: need(u16),
        lastSegment: need(u16),
        firstBdf: need(u16),
        lastBdf: need(u16),
      }),
    ),
  ),
  iommus: need(list(address)),
  hasMmioUnit: may(flag),
});

const seenIommu = object<SeenIommu>({
  kind: need(oneOf("vt-d", "amd-vi", "smmu", "smmuv3", "virtio", "riscv", "other")),
  name: may(text),
  at: may(address),
  registerBase: may(wide),
  includeAll: may(flag),
  cap: may(wide),
  ecap: may(wide),
  efr: may(wide),
  efr2: may(wide),
  devices: may(list(address)),
});

export const factsShape: Shape<HostFacts> = object<HostFacts>({
  kernel: may(text),
  architecture: may(oneOf("x86", "arm64", "riscv64", "other")),
  commandLine: may(text),
  firmware: may(oneOf("acpi", "device-tree")),
  iommuInUse: may(flag),
  requesterMatching: may(flag),
  absentAcs: may(oneOf("shares", "isolates")),
  dmar: may(dmar),
  ivrs: may(ivrs),
  iort: may(iort),
  viot: may(viot),
  acpiTables: may(object<AcpiTableList>({ present: need(list(text)), complete: need(flag) })),
  iommus: may(list(seenIommu)),
  loggedReserved: may(list(span)),
  childDomains: may(list(object<ChildDomain>({ segment: need(u32), owner: need(address) }))),
});
