/**
 * What happens on a hostile host as steps of a scenario: spaces, maps, attachments, and the
 * attacker's requests, sent by its engine. What no step can say is listed.
 */
import { formatBdf, makeBdf } from "../../src/units/index.js";
import { type FailureFile, keepFailure } from "./failure-scenario.js";
import { type HostileHost, type HostileNode, stepNameOf } from "./hostile-host.js";
import { Access, type HostileOracle, type HostileRequest, Place, Type } from "./hostile-oracle.js";
import { platformOf } from "./hostile-platform.js";

const VIA = ["untranslated", "ats", "translated"] as const;
/** Of a scenario's steps; begun anew from the middle of a run nothing would be the same. */
const STEPS_MAX = 10_000;

export class HostileRecorder {
  readonly #host: HostileHost;
  readonly #memoryFirst: number;
  readonly #steps: object[];
  readonly #without = new Set<string>();

  /** @param memoryFirst first frame of the user's memory, which has `memoryPages`. */
  constructor(host: HostileHost, memoryFirst: number, memoryPages: number) {
    this.#host = host;
    this.#memoryFirst = memoryFirst;
    this.#steps = [
      { unsafeInterrupts: true },
      { context: "u" },
      { policy: { of: "u", pasid: "raw" } },
      { memory: { name: "m", pages: memoryPages } },
      ...host.functions.map((node) => ({
        bind: { device: stepNameOf(node), to: "u", ats: node.ats },
      })),
    ];
    if (host.functionPeers || host.rootPeers) this.leaveOut("optional paths between peers");
  }

  leaveOut(what: string): void {
    this.#without.add(what);
  }

  space(slot: number): void {
    this.#add({ space: { name: `s${slot}`, in: "u" } });
  }

  /** @param pasid -1: requests without one. @param on undefined: detached. */
  attach(slot: number, members: readonly HostileNode[], pasid: number, on: boolean): void {
    for (const node of members) {
      const at = { device: stepNameOf(node), ...(pasid < 0 ? {} : { pasid }) };
      this.#add(on ? { attach: { ...at, to: `s${slot}` } } : { detach: at });
    }
  }

  map(slot: number, iova: number, frame: number, pages: number, access: string): void {
    const page = frame - this.#memoryFirst;
    if (page < 0) {
      this.leaveOut("maps of BARs");
      return;
    }
    this.#add({ map: { space: `s${slot}`, memory: "m", page, pages, at: hex(iova, 0), access } });
  }

  unmap(slot: number, iova: number, pages: number): void {
    this.#add({ unmap: { space: `s${slot}`, at: hex(iova, 0), pages } });
  }

  /** One request of the attacker. */
  request(q: HostileRequest): void {
    this.#add(this.#stepOf(q));
  }

  /** @param oracle which has predicted the last request that was recorded. */
  keep(why: string, oracle: HostileOracle): FailureFile {
    const steps = [...this.#steps];
    const last = steps.pop();
    if (last !== undefined) steps.push({ ...last, expect: this.#expected(oracle) });
    return keepFailure({
      name: "hostile",
      why,
      rules: "device-centric",
      platform: platformOf(this.#host),
      steps,
      without: [...this.#without],
    });
  }

  #add(step: object): void {
    if (this.#steps.length < STEPS_MAX) this.#steps.push(step);
    else this.leaveOut(`what followed the first ${STEPS_MAX} steps`);
  }

  #stepOf(q: HostileRequest): object {
    const as = formatBdf(makeBdf(0, q.rid >>> 8, (q.rid >>> 3) & 31, q.rid & 7));
    const at = hex(q.pfn, q.offset);
    const isMessage = q.pfn >= 0xfee00 && q.pfn <= 0xfeeff && q.length === 4;
    if (isMessage && q.access === Access.write && q.type === Type.untranslated && q.pasid < 0) {
      return { interrupt: { device: stepNameOf(this.#host.attacker), as, at, data: q.word } };
    }
    if (q.access === Access.atomic) this.leaveOut("atomic operations, which are writes here");
    const what =
      q.type === Type.translationRequest
        ? { translate: true }
        : q.access === Access.read
          ? { read: q.length }
          : { write: "x".repeat(q.length) };
    const prefix = q.pasid < 0 ? {} : { pasid: Math.max(1, q.pasid) };
    if (q.pasid === 0) this.leaveOut("PASID 0, which is 1 here");
    const marks = { ...(q.privileged ? { privileged: true } : {}), ...executes(q) };
    const via = VIA[q.type] ?? "untranslated";
    return {
      dma: {
        device: stepNameOf(this.#host.attacker),
        at,
        ...what,
        ...prefix,
        via,
        as,
        hostile: true,
        ...marks,
      },
    };
  }

  #expected(oracle: HostileOracle): object {
    const { place, frame } = oracle;
    if (place === Place.memory) return { lands: { memory: "m", page: frame - this.#memoryFirst } };
    if (place === Place.bar) return { peer: this.#ownerOf(frame) };
    if (place === Place.interrupt) return { interrupt: true };
    return { reaches: place === Place.table };
  }

  #ownerOf(frame: number): string {
    const owner = this.#host.functions.find(
      ({ bar }) => bar !== undefined && frame >= bar.first && frame <= bar.last,
    );
    return owner === undefined ? "nobody" : stepNameOf(owner);
  }
}

const executes = (q: HostileRequest): object => (q.execute ? { execute: true } : {});

const hex = (pfn: number, offset: number): string =>
  `0x${(BigInt(pfn) * 4096n + BigInt(offset)).toString(16)}`;
