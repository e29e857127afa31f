import assert from "node:assert/strict";
import { test } from "node:test";
import { PciFunction, PortType } from "../../../pcie/index.js";
import { formatBdf } from "../../../units/index.js";
import type { CapturedFunction, CapturePart } from "../../capture.js";
import { linesOf } from "../text.js";
import { parseLspci } from "./parse.js";

const partOf = (text: string): CapturePart => {
  const [part] = parseLspci(linesOf(text, "f"));
  assert.ok(part !== undefined);
  return part;
};
const firstOf = (text: string): CapturedFunction => {
  const [first] = partOf(text).functions ?? [];
  assert.ok(first !== undefined);
  return first;
};
const readFirst = (text: string): PciFunction => new PciFunction(firstOf(text));

const PORT = `00:1c.0 PCI bridge: Intel Device [8086:8d10] (rev d5) (prog-if 00 [Normal decode])
\tSubsystem: Intel Corporation Device 7270
\tPhysical Slot: 7
\tControl: I/O+ Mem+ BusMaster+ MemWINV- ParErr- Stepping- SERR+ FastB2B- DisINTx+
\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- INTx-
\tLatency: 0, Cache Line Size: 64 bytes
\tInterrupt: pin A routed to IRQ 25
\tIOMMU group: 11
\tBus: primary=00, secondary=04, subordinate=06, sec-latency=0
\tI/O behind bridge: 0000f000-00000fff [disabled] [32-bit]
\tMemory behind bridge: f7000000-f71fffff [size=2M] [32-bit]
\tPrefetchable memory behind bridge: 0000000900000000-00000009006fffff [size=7M] [64-bit]
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
\t\tDevCap:\tMaxPayload 128 bytes, PhantFunc 3
\t\t\tExtTag- RBE+
\t\tDevCtl:\tCorrErr+ NonFatalErr+ FatalErr+ UnsupReq+
\t\t\tRlxdOrd- ExtTag- PhantFunc+ AuxPwr- NoSnoop-
\t\tLnkCap:\tPort #5, Speed 8GT/s, Width x4, ASPM L1
\t\tSltCap:\tAttnBtn- PwrCtrl- MRL- AttnInd- PwrInd- HotPlug+ Surprise-
\t\t\tSlot #12, PowerLimit 10W; Interlock- NoCompl+
\t\tDevCap2: Completion Timeout: Range ABC, TimeoutDis+ NROPrPrP- LTR+
\t\t\t 10BitTagComp- 10BitTagReq- OBFF Not Supported, ExtFmt+ EETLPPrefix+, MaxEETLPPrefixes 4
\t\t\t FRS- ARIFwd+
\t\tDevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis-
\t\t\t AtomicOpsCtl: ReqEn- EgressBlck-
\t\t\t IDOReq- IDOCompl- LTR+ EmergencyPowerReductionReq-
\t\t\t 10BitTagReq- OBFF Disabled, EETLPPrefixBlk+ ARIFwd-
\tCapabilities: [80] MSI: Enable+ Count=1/2 Maskable- 64bit-
\tCapabilities: [100 v0] Null
\tCapabilities: [140 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir- UpstreamFwd+ EgressCtrl- DirectTrans-
\tKernel driver in use: pcieport
`;

test("a root port: header, windows, express words, ACS, chains", () => {
  const port = readFirst(PORT);
  assert.equal(formatBdf(port.bdf), "0000:00:1c.0");
  assert.equal(port.headerType, 1);
  assert.equal(port.multifunctionBit, undefined);
  assert.deepEqual(
    [port.ids.vendor, port.ids.device, port.ids.revision, port.ids.classCode],
    [0x8086, 0x8d10, 0xd5, 0x060400],
  );
  assert.deepEqual([port.secondaryBusNumber, port.subordinateBusNumber], [4, 6]);
  assert.equal(port.windows?.io.state, "closed");
  assert.deepEqual(port.windows?.memory, {
    state: "open",
    span: { first: 0xf7000000n, last: 0xf71fffffn },
  });
  assert.deepEqual(port.windows?.prefetchable, {
    state: "open",
    span: { first: 0x900000000n, last: 0x9006fffffn },
  });
  assert.deepEqual(port.express, {
    offset: 0x40,
    version: 2,
    portType: PortType.RootPort,
    slot: true,
    hotPlug: true,
    slotNumber: 12,
    portNumber: 5,
    phantomBits: 2,
    phantomEnabled: true,
    endEndPrefix: true,
    maxEndEndPrefixes: 4,
    endEndPrefixBlocking: true,
    ariForwardingSupported: true,
    ariForwarding: false,
    flr: undefined,
  });
  assert.equal(port.acs?.capability, 0x1f);
  assert.equal(port.acs?.control, 0x15);
  assert.deepEqual(
    [port.capabilities.standard?.get(0x10), port.capabilities.standard?.get(0x05)],
    [0x40, 0x80],
  );
  assert.equal(port.capabilities.standard?.size, 2);
  assert.deepEqual(
    [port.capabilities.extended?.get(0x0d), port.capabilities.extended?.size],
    [0x140, 1],
  );
  assert.equal(port.ats, null);
  assert.equal(port.description.driver, "pcieport");
  assert.equal(port.description.slot, "7");
});

test("group numbers are recorded and never become part of a function", () => {
  const part = partOf(PORT);
  assert.deepEqual(
    part.recorded?.groups.map((g) => [g.id, g.devices.map(formatBdf)]),
    [[11, ["0000:00:1c.0"]]],
  );
  const without = partOf(PORT.replace(/\tIOMMU group.*\n/, ""));
  assert.equal(without.recorded, undefined);
  const strip = (f: CapturedFunction | undefined): unknown => ({ ...f, place: 0 });
  assert.deepEqual(strip(part.functions?.[0]), strip(without.functions?.[0]));
  const flags =
    "00:02.0 VGA compatible controller: x\n\tFlags: fast devsel, IRQ 16, IOMMU group 7\n";
  assert.equal(partOf(flags).recorded?.groups[0]?.id, 7);
});

test("all port types as their versions spell them", () => {
  const titles: readonly (readonly [string, number, boolean])[] = [
    ["Express (v2) Endpoint, MSI 00", 0, false],
    ["Express (v2) Endpoint, IntMsgNum 0", 0, false],
    ["Express (v1) Legacy Endpoint, MSI 01", 1, false],
    ["Express (v2) Root Port (Slot+), MSI 00", 4, true],
    ["Express Root Port (Slot-), MSI 00", 4, false],
    ["Express (v2) Upstream Port, MSI 00", 5, false],
    ["Express (v2) Downstream Port (Slot+), MSI 00", 6, true],
    ["Express (v1) PCI-Express to PCI/PCI-X Bridge, MSI 00", 7, false],
    ["Express (v2) PCI/PCI-X Bridge, MSI 00", 7, false],
    ["Express (v1) PCI/PCI-X to PCI-Express Bridge (Slot+), MSI 00", 8, true],
    ["Express (v2) Root Complex Integrated Endpoint, MSI 00", 9, false],
    ["Express (v2) Root Complex Event Collector, MSI 00", 10, false],
  ];
  for (const [title, type, slot] of titles) {
    const fn = readFirst(`${HEAD}\tCapabilities: [40] ${title}\n`);
    assert.equal(fn.express?.portType, type, title);
    assert.equal(fn.express?.slot, slot, title);
  }
});

const HEAD = `01:00.0 Ethernet controller: Intel Corporation Device 10c9
\tControl: I/O- Mem+ BusMaster+ MemWINV- ParErr- Stepping- SERR- FastB2B- DisINTx+
\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- INTx-
`;

test("ATS, PRI, PASID (width in hex), ARI and SR-IOV with its own BARs", () => {
  const fn = readFirst(`${HEAD}\tCapabilities: [40] Express (v2) Endpoint, MSI 00
\tCapabilities: [100 v1] Process Address Space ID (PASID)
\t\tPASIDCap: Exec+ Priv-, Max PASID Width: 14
\t\tPASIDCtl: Enable+ Exec- Priv-
\tCapabilities: [110 v1] Address Translation Service (ATS)
\t\tATSCap:\tInvalidate Queue Depth: 10
\t\tATSCtl:\tEnable+, Smallest Translation Unit: 00
\tCapabilities: [120 v1] Page Request Interface (PRI)
\t\tPRICtl: Enable- Reset-
\t\tPRISta: RF- UPRGI- Stopped+
\t\tPage Request Capacity: 00008000, Page Request Allocation: 00000000
\tCapabilities: [130 v1] Alternative Routing-ID Interpretation (ARI)
\t\tARICap:\tMFVC- ACS-, Next Function: 1
\t\tARICtl:\tMFVC- ACS-, Function Group: 0
\tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)
\t\tIOVCap:\tMigration-, Interrupt Message Number: 000
\t\tIOVCtl:\tEnable+ Migration- Interrupt- MSE+ ARIHierarchy-
\t\tIOVSta:\tMigration-
\t\tInitial VFs: 7, Total VFs: 7, Number of VFs: 4, Function Dependency Link: 00
\t\tVF offset: 16, stride: 2, Device ID: 10ca
\t\tSupported Page Size: 00000553, System Page Size: 00000001
\t\tRegion 0: Memory at 0000000091e80000 (64-bit, non-prefetchable)
\t\tVF Migration: offset: 00000000, BIR: 0
\tKernel driver in use: igb
`);
  assert.deepEqual([fn.pasid?.width, fn.pasid?.execute, fn.pasid?.privileged], [20, true, false]);
  assert.deepEqual([fn.pasid?.enabled, fn.ats?.enabled, fn.pri?.stopped], [true, true, true]);
  assert.equal(fn.ats?.pageAligned, undefined);
  const { sriov } = fn;
  assert.deepEqual(
    [sriov?.enabled, sriov?.totalVfs, sriov?.numVfs, sriov?.firstVfOffset, sriov?.vfStride],
    [true, 7, 4, 16, 2],
  );
  assert.equal(sriov?.vfDeviceId, 0x10ca);
  assert.equal(fn.config.knownU32(0x160 + 0x24), 0x91e80004);
  assert.deepEqual(fn.bars, []);
});

test("regions: kinds, sizes, virtual, unassigned, ignored, ROM", () => {
  const fn = firstOf(`${HEAD}\tRegion 0: Memory at 6000000000 (64-bit, prefetchable) [size=256M]
\tRegion 2: Memory at <unassigned> (32-bit, non-prefetchable) [disabled]
\tRegion 3: [virtual] Memory at f7f00000 (32-bit, non-prefetchable) [size=16K]
\tRegion 4: I/O ports at e000 [disabled] [size=128]
\tRegion 5: Memory at <ignored> (32-bit, non-prefetchable)
\tExpansion ROM at f7e00000 [virtual] [disabled] [size=512K]
\tCapabilities: <access denied>
`);
  assert.deepEqual(
    fn.bars?.map((b) => [b.index, b.kind, b.prefetchable, b.base, b.size, b.unassigned]),
    [
      [0, "memory64", true, 0x6000000000n, 0x10000000n, undefined],
      [2, "memory32", false, undefined, undefined, true],
      [3, "memory32", false, 0xf7f00000n, 0x4000n, undefined],
      [4, "io", false, 0xe000n, 0x80n, undefined],
      [5, "memory32", false, undefined, undefined, true],
      [6, "memory32", false, 0xf7e00000n, 0x80000n, undefined],
    ],
  );
  assert.equal(fn.config.extent, 64);
  assert.equal(fn.config.knownU32(0x10), 0x0000000c);
  assert.equal(fn.config.knownU32(0x14), 0x60);
  assert.equal(fn.config.knownU32(0x1c), undefined);
  assert.equal(fn.config.knownU32(0x24), undefined);
});

test("bridge windows of old and new versions", () => {
  const bridge = (windows: string): PciFunction =>
    readFirst(
      `00:01.0 PCI bridge: x
\tControl: I/O+ Mem+
\tStatus: Cap-
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
${windows}`,
    );
  const old = bridge("\tI/O behind bridge: None\n\tMemory behind bridge: fff00000-000fffff\n");
  assert.deepEqual(
    [old.windows?.io.state, old.windows?.memory.state, old.windows?.prefetchable.state],
    ["closed", "closed", "closed"],
  );
  const fresh = bridge(`\tI/O behind bridge: 3000-3fff [size=4K] [16-bit]
\tMemory behind bridge: [disabled] [32-bit]
\tPrefetchable memory behind bridge: a0000000-b01fffff [size=258M] [32-bit]
`);
  assert.deepEqual(fresh.windows?.io, { state: "open", span: { first: 0x3000n, last: 0x3fffn } });
  assert.equal(fresh.windows?.memory.state, "closed");
  assert.deepEqual(fresh.windows?.prefetchable, {
    state: "open",
    span: { first: 0xa0000000n, last: 0xb01fffffn },
  });
});

test("how far the capture reached decides between absent and unknown", () => {
  const denied = readFirst(`${HEAD}\tCapabilities: <access denied>\n`);
  assert.deepEqual([denied.acs, denied.express], [undefined, undefined]);
  const none = readFirst("00:00.0 Host bridge: x\n\tControl: I/O- Mem+\n\tStatus: Cap- 66MHz-\n");
  assert.deepEqual([none.acs, none.express], [null, null]);
  const cut = readFirst(HEAD);
  assert.deepEqual([cut.acs, cut.express], [undefined, undefined]);
  const inside = readFirst(`${HEAD}\n${PORT}`);
  assert.deepEqual([inside.acs, inside.express], [null, null]);
  const plain = firstOf(
    "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:09a2] (rev 04)",
  );
  assert.equal(plain.config.extent, 0);
  assert.deepEqual(plain.ids, { vendor: 0x8086, device: 0x09a2, revision: 4, classCode: 0x060000 });
  assert.equal(plain.driver, undefined);
});

test("no driver line is knowledge where driver lines are shown", () => {
  const two = partOf(`${PORT}\n${HEAD}\tCapabilities: <access denied>\n`);
  assert.deepEqual(
    two.functions?.map((f) => f.driver),
    ["pcieport", null],
  );
  assert.equal(firstOf(HEAD).driver, undefined);
  assert.equal(firstOf(`${HEAD}\tKernel modules: igb\n`).driver, null);
});

test("numeric ids, machine-readable output, bridge paths, large segments", () => {
  const ids = (text: string): unknown => {
    const { bdf, ids } = firstOf(text);
    return [formatBdf(bdf), ids?.vendor, ids?.device, ids?.classCode];
  };
  assert.deepEqual(ids("00:1f.2 0106: 8086:2922 (rev 02)"), [
    "0000:00:1f.2",
    0x8086,
    0x2922,
    0x010600,
  ]);
  assert.deepEqual(ids("00:1f.2 Class 0106: 8086:2922"), [
    "0000:00:1f.2",
    0x8086,
    0x2922,
    0x010600,
  ]);
  assert.deepEqual(
    ids(
      '0000:00:1f.2 "SATA controller [0106]" "Intel [8086]" "AHCI [2922]" -r02 -p01 ' +
        '"Red Hat [1af4]" "VM [1100]"',
    ),
    ["0000:00:1f.2", 0x8086, 0x2922, 0x010601],
  );
  const mm = `Slot:\t10000:e1:00.0
Class:\tNon-Volatile memory controller [0108]
Vendor:\tIntel Corporation [8086]
Device:\tNVMe [0a54]
ProgIf:\t02
Driver:\tnvme
IOMMUGroup:\t9
`;
  assert.deepEqual(ids(mm), ["10000:e1:00.0", 0x8086, 0x0a54, 0x010802]);
  assert.equal(partOf(mm).recorded?.groups[0]?.id, 9);
  assert.deepEqual(
    ids("00:01.0/01:00.0 VGA compatible controller [0300]: NVIDIA [10de:1b81] (rev a1)"),
    ["0000:01:00.0", 0x10de, 0x1b81, 0x030000],
  );
});

test("lines a mailer broke are put together, prose ends a function", () => {
  const text = linesOf(
    `> 00:01.0 PCI bridge: Intel Corporation Xeon E7 v3/Xeon E5 v3/Core i7 PCI 
> Express Root Port 1 (rev 02) (prog-if 00 [Normal decode])
>          Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- 
> ParErr- Stepping- SERR+ FastB2B- DisINTx+
>          Bus: primary=00, secondary=04, subordinate=04, sec-latency=0
>          Prefetchable memory behind bridge: 
> 00000000fff00000-00000000000fffff [disabled]
>          Capabilities: [40] Express (v2) Root Port (Slot+), MSI 00
>          Capabilities: [110 v1] Access Control Services
>                  ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ 
> UpstreamFwd+ EgressCtrl- DirectTrans-

That is all, thanks. SrcValid- and so on.
`,
    "f",
  );
  const [part] = parseLspci(text);
  const [fn] = part?.functions ?? [];
  assert.ok(fn !== undefined);
  assert.match(fn.name ?? "", /Core i7 PCI Express Root Port 1$/);
  const port = new PciFunction(fn);
  assert.equal(port.config.u16(0x04) & 0x100, 0x100);
  assert.equal(port.acs?.capability, 0x1f);
  assert.equal(port.acs?.control, undefined);
  assert.equal(port.windows?.prefetchable.state, "closed");
  assert.equal(fn.place.line, 1);
});

test("lists of IOMMU groups are not taken for an lspci listing", () => {
  const list = "IOMMU Group 40:\n\t08:01.0 PCI bridge [0604]: ASMedia Device [1b21:118f]\n";
  assert.deepEqual(parseLspci(linesOf(list, "f")), []);
  assert.deepEqual(parseLspci(linesOf("no lspci here", "f")), []);
});

test("hex beside text: agreement is silent, disagreement names line and offset", () => {
  const row = (at: number, bytes: string): string =>
    `${at.toString(16).padStart(2, "0")}: ${bytes}\n`;
  const zero = "00 ".repeat(16).trim();
  const hex =
    row(0, "86 80 c9 10 06 04 10 00 00 00 00 02 00 00 80 00") +
    row(16, zero) +
    row(32, zero) +
    row(48, zero);
  const good = partOf(`${HEAD}\tCapabilities: <access denied>\n${hex}`);
  assert.equal(good.notes, undefined);
  assert.equal(new PciFunction(good.functions?.[0] as CapturedFunction).multifunctionBit, true);
  const bad = partOf(
    `${HEAD}\tCapabilities: <access denied>\n${hex.replace("06 04 10", "06 04 00")}`,
  );
  assert.equal(bad.notes?.[0]?.severity, "conflict");
  assert.deepEqual(bad.notes?.[0]?.place, { file: "f", line: 5, field: "0x06" });
});

test("`lspci -v`: flags, unnumbered regions, capabilities without registers", () => {
  const fn = readFirst(`00:02.0 VGA compatible controller: Intel Corporation Device 591d (rev 04)
\tFlags: bus master, fast devsel, latency 0, IRQ 130, IOMMU group 2
\tMemory at de000000 (64-bit, non-prefetchable) [size=16M]
\tMemory at c0000000 (64-bit, prefetchable) [size=256M]
\tI/O ports at f000 [size=64]
\tCapabilities: [70] Express Root Complex Integrated Endpoint, MSI 00
\tCapabilities: [100] Access Control Services
\tKernel driver in use: i915
`);
  assert.equal(fn.express?.portType, PortType.RcIntegratedEndpoint);
  assert.deepEqual([fn.acs?.offset, fn.acs?.capability, fn.ats], [0x100, undefined, null]);
  assert.deepEqual(
    fn.bars?.map((b) => [b.index, b.kind, b.base, b.size]),
    [
      [0, "memory64", 0xde000000n, 0x1000000n],
      [2, "memory64", 0xc0000000n, 0x10000000n],
      [4, "io", 0xf000n, 64n],
    ],
  );
});

test("no extended capability on any of several functions: not known rather than absent", () => {
  const one = (bus: number): string =>
    `${HEAD.replace("01:", `0${bus}:`)}\tCapabilities: [40] Express (v2) Endpoint, MSI 00\n`;
  const acs = (text: string): unknown => partOf(text).functions?.map((f) => new PciFunction(f).acs);
  assert.deepEqual(acs(one(1) + one(2)), [null, null]);
  assert.deepEqual(acs(one(1) + one(2) + one(3)), [undefined, undefined, undefined]);
  const aer = "\tCapabilities: [100 v1] Advanced Error Reporting\n";
  assert.deepEqual(acs(one(1) + aer + one(2) + one(3)), [null, null, null]);
});

test("`lspci -nnk`: ids and drivers, no register", () => {
  const part = partOf(`00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3ec2] (rev 07)
\tSubsystem: Gigabyte Technology Co., Ltd Device [1458:5000]
00:1f.6 Ethernet controller [0200]: Intel Corporation Ethernet [8086:15bc]
\tDeviceName: Onboard - Ethernet
\tSubsystem: Gigabyte Technology Co., Ltd Device [1458:e000]
\tKernel driver in use: e1000e
\tKernel modules: e1000e
`);
  const [bridge, nic] = part.functions ?? [];
  assert.deepEqual([bridge?.driver, nic?.driver], [null, "e1000e"]);
  assert.deepEqual([nic?.config.extent, nic?.label], [0, "Onboard - Ethernet"]);
  assert.deepEqual(nic?.ids, {
    vendor: 0x8086,
    device: 0x15bc,
    subVendor: 0x1458,
    subDevice: 0xe000,
    revision: 0,
    classCode: 0x020000,
  });
});
