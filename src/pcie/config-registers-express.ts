/** Access rules of the PCI Express capability: PCIe 6 § 7.5.3; of a VF: § 9.3.5. */
import { PortType } from "./capability/express.js";
import type { RegisterContext, RegisterRule } from "./config-registers-rule.js";

const DEVCTL_RESET = 0x2810;
const COMMAND_COMPLETED = 0x10;
const SLTCAP_NO_COMMAND_COMPLETED = 1 << 18;

/** Rules of the PCI Express capability at `at`. */
export function expressRules(context: RegisterContext, at: number): RegisterRule[] {
  const { config, portType } = context;
  const flags = config.u16(at + 2);
  const version = flags & 0xf;
  const ports = portsOf(portType);
  const rules = [deviceControl(context, at), { offset: at + 0x0a, width: 2, w1c: 0x4f } as const];
  if (context.virtual) return rules;
  if (!ports.integrated) rules.push(...linkRules(context, at, ports));
  const slot = ports.downstream && (flags & 0x100) !== 0;
  if (slot) rules.push(...slotRules(context, at));
  if (portType === PortType.RootPort || portType === PortType.RcEventCollector) {
    rules.push({ offset: at + 0x1c, width: 2, rw: 0x000f | ((config.u8(at + 0x1e) & 1) << 4) });
    rules.push({ offset: at + 0x20, width: 4, w1c: 0x1_0000 });
  }
  if (version >= 2) {
    rules.push({ offset: at + 0x28, width: 2, rw: deviceControl2(context, at, ports) });
    if (!ports.integrated) {
      // The target speed and its companions survive resets (RWS).
      rules.push({ offset: at + 0x30, width: 2, rw: 0xffbf, sticky: 0xffbf });
      rules.push({ offset: at + 0x32, width: 2, w1c: 0x8020 });
    }
  }
  return rules;
}

interface Ports {
  /** Leads downstream: root port, switch downstream port, PCI-to-PCIe bridge. */
  readonly downstream: boolean;
  readonly integrated: boolean;
  /** Forwards TLPs between links. */
  readonly routing: boolean;
}

function portsOf(type: number | undefined): Ports {
  const downstream =
    type === PortType.RootPort ||
    type === PortType.DownstreamPort ||
    type === PortType.PciToPcieBridge;
  return {
    downstream,
    integrated: type === PortType.RcIntegratedEndpoint || type === PortType.RcEventCollector,
    routing: downstream || type === PortType.UpstreamPort,
  };
}

/** § 7.5.3.4. Bit 15 starts a function-level reset in endpoints and always reads zero there. */
function deviceControl(context: RegisterContext, at: number): RegisterRule {
  const capability = context.config.u32(at + 4);
  const bridge = context.portType === PortType.PcieToPciBridge;
  const flr = context.headerType === 0 && (capability & (1 << 28)) !== 0;
  let rw = 0;
  if (!context.virtual) {
    rw = 0x78ff | 0x0400;
    if (capability & 0x20) rw |= 0x0100;
    if (capability & 0x18) rw |= 0x0200;
    if (bridge) rw |= 0x8000;
  }
  if (flr) rw |= 0x8000;
  return {
    offset: at + 8,
    width: 2,
    rw,
    initial: DEVCTL_RESET & rw,
    sticky: 0x0400,
    // Max payload size survives a function-level reset (§ 6.6.2).
    keptByFlr: 0x00e0,
    ...(flr
      ? {
          settle: (_old: number, next: number) => next & 0x7fff,
          effect: (_old: number, next: number) =>
            (next & 0x8000) !== 0 ? ("function-level-reset" as const) : undefined,
        }
      : {}),
  };
}

function deviceControl2(context: RegisterContext, at: number, ports: Ports): number {
  const capability = context.config.u32(at + 0x24);
  const has = (bit: number) => (capability & (1 << bit)) !== 0;
  let rw = 0x0300;
  if ((capability & 0xf) !== 0) rw |= 0x000f;
  if (has(4)) rw |= 0x0010;
  if (has(5) && ports.downstream) rw |= 0x0020;
  if (!ports.routing || context.portType === PortType.RootPort) rw |= 0x0040;
  if (has(6) && ports.routing) rw |= 0x0080;
  if (has(11)) rw |= 0x0400;
  if (has(24)) rw |= 0x0800;
  if (has(17)) rw |= 0x1000;
  if ((capability >>> 18) & 3) rw |= 0x6000;
  if (has(21) && ports.routing) rw |= 0x8000;
  return rw;
}

/** § 7.5.3.7, § 7.5.3.8. Link registers survive a function-level reset. */
function linkRules(context: RegisterContext, at: number, ports: Ports): RegisterRule[] {
  const capability = context.config.u32(at + 0x0c);
  let rw = 0x02c3;
  if (!ports.routing) rw |= 0x0008;
  if ((capability >>> 18) & 1) rw |= 0x0100;
  if (ports.downstream) {
    rw |= 0x0030;
    if ((capability >>> 21) & 1) rw |= 0x0c00;
  }
  const control: RegisterRule = {
    offset: at + 0x10,
    width: 2,
    rw,
    keptByFlr: rw,
    // Retrain Link always reads zero.
    settle: (_old, next) => next & ~0x0020,
    effect: (_old, next) => ((next & 0x0020) !== 0 ? "retrain-link" : undefined),
  };
  const status: RegisterRule = {
    offset: at + 0x12,
    width: 2,
    w1c: ports.downstream ? 0xc000 : 0,
    keptByFlr: 0xc000,
  };
  return [control, status];
}

/**
 * § 7.5.3.10, § 7.5.3.11. A write of Slot Control is a command; its completion shows in Slot
 * Status.
 */
function slotRules(context: RegisterContext, at: number): RegisterRule[] {
  const capability = context.config.u32(at + 0x14);
  const has = (bit: number) => ((capability >>> bit) & 1) !== 0;
  const completes = (capability & SLTCAP_NO_COMMAND_COMPLETED) === 0;
  let rw = 0x1038;
  if (has(0)) rw |= 0x0001;
  if (has(1)) rw |= 0x0402;
  if (has(2)) rw |= 0x0004;
  if (has(3)) rw |= 0x00c0;
  if (has(4)) rw |= 0x0300;
  if (has(17)) rw |= 0x0800;
  if (!completes) rw &= ~0x0010;
  return [
    {
      offset: at + 0x18,
      width: 2,
      rw,
      settle: (_old, next, registers) => {
        if (completes) {
          const status = registers.read(at + 0x1a, 2);
          registers.poke(at + 0x1a, 2, status | COMMAND_COMPLETED);
        }
        // The interlock's toggle bit always reads zero.
        return next & ~0x0800;
      },
    },
    { offset: at + 0x1a, width: 2, w1c: 0x011f },
  ];
}
