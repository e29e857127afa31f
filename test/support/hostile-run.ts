/**
 * The hostile endpoint at work: random requests of one attacker, each compared with the oracle.
 *
 * What a request did is measured (bytes, interrupts, completions), never taken from what the
 * machine reports; the report (delivery and trace) is compared with the measurement afterwards.
 * Writes outside of what was predicted show at the next scan of all bytes; a case that fails there
 * is run again with a scan after every request, so that the message names the one.
 */
import { AddressMode, Opcode, readLocal, startCommand } from "../../src/devices/index.js";
import type { TraceRecord, Transaction } from "../../src/machine/index.js";
import type { AddressType, MemoryAccess, MemoryRequest } from "../../src/pcie/index.js";
import { makePasid, makeRid } from "../../src/units/index.js";
import { HostileChooser } from "./hostile-chooser.js";
import { EXPOSURES, type ExposureName } from "./hostile-fates.js";
import { isOwned, makeHostileHost, ridOfNode } from "./hostile-host.js";
import { type NamedExposures, nameExposures } from "./hostile-named.js";
import { Access, type HostileRequest, Place, Type } from "./hostile-oracle.js";
import { describeHost } from "./hostile-platform.js";
import { HostileWorld, MEMORY_FIRST } from "./hostile-world.js";
import { Random } from "./random.js";

export interface HostileCounts {
  transactions: number;
  /** Requests that reached something. */
  reached: number;
  /** Reached, by exposure. */
  readonly by: Record<ExposureName, number>;
  /** Of these, how many were traced and the trace named them. */
  readonly traced: Record<ExposureName, number>;
  /** Configurations without any exposure. */
  strict: number;
  readonly special: Record<Special, number>;
}

/** What each campaign must have met. */
export const SPECIALS = [
  /** Reached by way of a guest's table; after the device has written there. */
  "guest",
  "guest-rewritten",
  /** Reached by a VF, and from behind a VMD. */
  "virtual",
  "vmd",
  /** Refused, because the one named is behind another unit, where it is mapped. */
  "other-unit",
] as const;
export type Special = (typeof SPECIALS)[number];

export interface CaseOptions {
  readonly transactions: number;
  /** Requests between two scans of all bytes. */
  readonly scanEvery?: number;
  readonly mutateEvery?: number;
}

const zero = (): Record<ExposureName, number> =>
  Object.fromEntries(EXPOSURES.map((name) => [name, 0])) as Record<ExposureName, number>;

export const noCounts = (): HostileCounts => ({
  transactions: 0,
  reached: 0,
  by: zero(),
  traced: zero(),
  strict: 0,
  special: Object.fromEntries(SPECIALS.map((name) => [name, 0])) as Record<Special, number>,
});

/** One configuration. @throws Error that names seed, configuration and transaction. */
export function runHostileCase(seed: number, options: CaseOptions, counts: HostileCounts): void {
  try {
    new HostileCase(seed, options, counts).run();
  } catch (error) {
    if ((options.scanEvery ?? SCAN_EVERY) > 1 && error instanceof ScanFailure) {
      new HostileCase(seed, { ...options, scanEvery: 1 }, noCounts()).run();
    }
    throw error;
  }
}

class ScanFailure extends Error {}

const SCAN_EVERY = 250;
const MUTATE_EVERY = 200;
const ENGINE_EVERY = 16;
/** Traced requests of each exposure and case. */
const TRACES = 2;
const ACCESS_NAMES: readonly MemoryAccess[] = ["read", "read", "write", "atomic"];
const TYPE_NAMES: readonly AddressType[] = ["untranslated", "translation-request", "translated"];

class HostileCase {
  readonly #seed: number;
  readonly #options: CaseOptions;
  readonly #counts: HostileCounts;
  readonly #random: Random;
  readonly #world: HostileWorld;
  readonly #named: NamedExposures;
  readonly #pool: Uint8Array;
  readonly #traces = new Map<number, number>();
  readonly #chooser: HostileChooser;
  readonly #request: HostileRequest = {
    rid: 0,
    pasid: -1,
    type: 0,
    access: 1,
    pfn: 0,
    offset: 0,
    length: 1,
    word: 0,
    entry: -1,
    privileged: false,
    execute: false,
  };
  #index = 0;

  constructor(seed: number, options: CaseOptions, counts: HostileCounts) {
    this.#seed = seed;
    this.#options = options;
    this.#counts = counts;
    const host = makeHostileHost(seed);
    this.#random = new Random(seed ^ 0x5eed);
    this.#world = new HostileWorld(host, this.#random);
    this.#named = nameExposures(this.#world.machine, this.#world.attacker);
    this.#pool = new Uint8Array(0x1_0000);
    for (let i = 0; i < this.#pool.length; i++) this.#pool[i] = this.#random.next();
    this.#chooser = new HostileChooser(this.#world, this.#random);
    if (host.strict) counts.strict++;
  }

  run(): void {
    const { transactions, scanEvery = SCAN_EVERY, mutateEvery = MUTATE_EVERY } = this.#options;
    for (this.#index = 0; this.#index < transactions; this.#index++) {
      if (this.#index % mutateEvery === mutateEvery - 1) {
        this.#scan();
        this.#world.mutate();
      }
      this.#one();
      if (this.#index % scanEvery === scanEvery - 1) this.#scan();
    }
    this.#scan();
    this.#counts.transactions += transactions;
  }

  #scan(): void {
    const difference = this.#world.difference();
    if (difference !== undefined) throw new ScanFailure(this.#text(difference));
  }

  /** Hardware has marked entries as accessed: what is read there must be those bytes. */
  #scanTables(): void {
    this.#scan();
    this.#world.snapshot();
  }

  #one(): void {
    const { machine, oracle, attacker, interrupts } = this.#world;
    const q = this.#request;
    this.#chooser.choose(q);
    const byEngine = this.#isForEngine(q);
    // A translated request of the engine carries no PASID: it has done its work.
    if (byEngine && q.type === Type.translated) q.pasid = -1;
    if (byEngine) q.privileged = q.execute = false;
    this.#world.syncMarks();
    oracle.predict(q);
    // What the walk marks may be the very bytes: an addition to them is left out.
    const isMarked = this.#world.guest !== undefined && oracle.place === Place.memory;
    if (isMarked && q.access === Access.atomic) q.access = Access.read;
    const data = q.access === Access.read ? undefined : this.#data(q);
    this.#world.recorder.request(q);
    oracle.predict(q);
    const { place, exposure } = oracle;
    if (place === Place.table && this.#world.hasStage1) this.#scanTables();
    const counted = place !== Place.nothing && place !== Place.translation;
    const wanted = counted ? this.#wantsTrace(exposure) : undefined;
    const records = wanted ?? (byEngine ? [] : undefined);
    if (records !== undefined) machine.observer = { record: (record) => records.push(record) };
    interrupts.length = 0;
    const done = byEngine
      ? this.#byEngine(q, data, records)
      : machine.transact(attacker, { tlp: tlpOf(q), data });
    if (records !== undefined) machine.observer = undefined;
    this.#measure(q, data, done);
    this.#compareReport(done);
    this.#afterWrite(q);
    this.#countSpecial(counted);
    if (!counted) return;
    const name = EXPOSURES[exposure] as ExposureName;
    this.#counts.reached++;
    this.#counts.by[name]++;
    if (this.#world.host.strict && name !== "own") this.#fail(`${name} although all is on`);
    this.#checkNamed(name, q);
    if (wanted !== undefined && records !== undefined) {
      this.#checkTrace(name, records);
      this.#counts.traced[name]++;
    }
  }

  /** The guest invalidates after every change, see hostile-guest.ts. */
  #afterWrite(q: HostileRequest): void {
    const { guest, oracle } = this.#world;
    if (guest === undefined || oracle.place !== Place.memory || q.access === Access.read) return;
    if (guest.holds(oracle.frame)) guest.isRewritten = true;
    // Its commands are written into the unit's queue.
    this.#scan();
    guest.invalidate();
    this.#world.snapshot();
  }

  #countSpecial(reached: boolean): void {
    const { guest, host, oracle } = this.#world;
    const { special } = this.#counts;
    if (!reached) {
      if (oracle.isElsewhere && oracle.place === Place.nothing) special["other-unit"]++;
      return;
    }
    if (host.attacker.kind === "virtual") special.virtual++;
    if (isOwned(host.attacker)) special.vmd++;
    if (!oracle.byGuest) return;
    special.guest++;
    if (guest?.isRewritten === true) special["guest-rewritten"]++;
  }

  /** Every so often the engine sends what it is told by its registers. */
  #isForEngine(q: HostileRequest): boolean {
    return (
      this.#index % ENGINE_EVERY === 0 &&
      q.type !== Type.translationRequest &&
      q.access !== Access.atomic
    );
  }

  /** The same request by way of the engine's registers; the report is that of its trace. */
  #byEngine(
    q: HostileRequest,
    data: Uint8Array | undefined,
    records: readonly TraceRecord[] | undefined,
  ): Transaction {
    const { engine } = this.#world;
    const address = BigInt(q.pfn) * 4096n + BigInt(q.offset);
    let pattern = 0n;
    for (let i = Math.min(8, q.length) - 1; i >= 0; i--) {
      pattern = (pattern << 8n) | BigInt(data?.[i] ?? 0);
    }
    for (let i = 8; data !== undefined && i < q.length; i++) data[i] = data[i % 8] as number;
    const isRead = q.access === Access.read;
    const { error } = startCommand(engine, {
      opcode: isRead ? Opcode.Copy : Opcode.Fill,
      source: isRead ? address : 0n,
      destination: isRead ? 0n : address,
      destinationLocal: isRead,
      length: q.length,
      chunk: 4096,
      pattern,
      mode: q.type === Type.translated ? AddressMode.RawTranslated : AddressMode.Untranslated,
      pasid: q.pasid < 0 ? undefined : makePasid(q.pasid),
      hostile: true,
      requester: makeRid(q.rid),
    });
    const last = records?.at(-1);
    if (last?.kind !== "delivered") this.#fail("the engine sent nothing");
    const { delivery } = last;
    if (!isRead) return { completion: { kind: "posted" }, delivery };
    if (error !== "None") return { completion: { kind: "unsupported-request" }, delivery };
    return { completion: { kind: "data", data: readLocal(engine, 0, q.length) }, delivery };
  }

  #data(q: HostileRequest): Uint8Array {
    if (q.entry >= 0) return new Uint8Array(new BigUint64Array([BigInt(q.entry)]).buffer);
    const isInterrupt = q.pfn >= 0xfee00 && q.pfn <= 0xfeeff;
    const at = this.#random.below(this.#pool.length - 4096);
    const data = this.#pool.subarray(at, at + q.length);
    if (!isInterrupt) return this.#isForEngine(q) ? data.slice() : data;
    const own = data.slice();
    for (let i = 0; i < Math.min(4, own.length); i++) own[i] = q.word >>> (8 * i);
    return own;
  }

  /** Bytes, interrupts and completion are as predicted. */
  #measure(q: HostileRequest, data: Uint8Array | undefined, done: Transaction): void {
    const { oracle, interrupts } = this.#world;
    const { completion } = done;
    const { place } = oracle;
    if (place === Place.interrupt) {
      this.#measureInterrupt();
      return;
    }
    if (interrupts.length > 0) this.#fail("an interrupt reached the processors");
    if (place === Place.translation) {
      if (completion.kind !== "translation") this.#fail("no translation came back");
      const { pfn, pageCount, read, write } = completion.translation;
      const frame = pfn + (q.pfn % pageCount);
      const isRight = frame === oracle.frame && (!read || (oracle.perm & 1) !== 0);
      if (!isRight || (write && (oracle.perm & 2) === 0)) this.#fail("a wrong translation");
      return;
    }
    if (place === Place.nothing) {
      if (completion.kind === "data") this.#fail("data came back");
      if (completion.kind !== "translation") return;
      const { read, write } = completion.translation;
      if (read || write) this.#fail("a translation came back");
      return;
    }
    this.#measureBytes(q, data, done);
  }

  #measureBytes(q: HostileRequest, data: Uint8Array | undefined, done: Transaction): void {
    const { is, should } = this.#regions(q);
    const { completion } = done;
    this.#world.syncMarks();
    if (q.access !== Access.write) {
      if (completion.kind !== "data") this.#fail("no data came back");
      else if (Buffer.compare(completion.data, should) !== 0) this.#fail("other data came back");
    }
    if (data === undefined) return;
    const restore = this.#world.oracle.place === Place.table ? should.slice() : undefined;
    if (q.access === Access.write) should.set(data);
    else addTo(should, data);
    if (Buffer.compare(is, should) !== 0) this.#fail("the bytes were not written");
    if (restore === undefined) return;
    // Tables go back to what software wrote, or no later request could be predicted.
    should.set(restore);
    is.set(restore);
  }

  /** The bytes reached, as they are and as they should be. */
  #regions(q: HostileRequest): { readonly is: Uint8Array; readonly should: Uint8Array } {
    const world = this.#world;
    const { place, frame } = world.oracle;
    const { offset, length } = q;
    if (place === Place.table) {
      return {
        is: world.tableBytes(frame).subarray(offset, offset + length),
        should: world.tableShadow(frame).subarray(offset, offset + length),
      };
    }
    const isMemory = place === Place.memory;
    const base = isMemory ? (frame - MEMORY_FIRST) * 4096 : world.barAt(frame);
    const from = base + offset;
    const actual = isMemory ? world.memory.bytes : world.bars;
    const shadow = isMemory ? world.memoryShadow : world.barShadow;
    return {
      is: actual.subarray(from, from + length),
      should: shadow.subarray(from, from + length),
    };
  }

  #measureInterrupt(): void {
    const { host, oracle, interrupts, attacker } = this.#world;
    const [first] = interrupts;
    if (interrupts.length !== 1 || first === undefined) this.#fail("no interrupt came");
    if (!host.covered) {
      // Without a unit nobody takes the message apart.
      if (first.from !== attacker || first.data !== this.#request.word) this.#fail("another came");
      return;
    }
    if (
      first.from !== attacker ||
      first.remapped !== oracle.remapped ||
      first.interrupt?.vector !== oracle.vector ||
      first.interrupt.destination !== oracle.destination
    ) {
      this.#fail(`another interrupt came: ${JSON.stringify(first)}`);
    }
  }

  /** What the machine says it did is what was measured. */
  #compareReport({ delivery }: Transaction): void {
    const { oracle } = this.#world;
    const isPeer = oracle.place === Place.bar;
    const isDirect = oracle.arrives < 0;
    const ok =
      oracle.place === Place.memory || oracle.place === Place.table
        ? delivery.kind === "memory" && Number(delivery.address >> 12n) === oracle.frame
        : isPeer
          ? delivery.kind === "peer" && delivery.byAgent === !isDirect
          : oracle.place === Place.interrupt
            ? delivery.kind === "interrupt"
            : delivery.kind === "lost" ||
              delivery.kind === "fault" ||
              delivery.kind === "translation";
    if (!ok) this.#fail(`the report says ${delivery.kind}`);
  }

  #wantsTrace(exposure: number): TraceRecord[] | undefined {
    const seen = this.#traces.get(exposure) ?? 0;
    if (seen >= TRACES) return undefined;
    this.#traces.set(exposure, seen + 1);
    return [];
  }

  /** Who reads the trace alone sees the exposure. */
  #checkTrace(name: ExposureName, records: readonly TraceRecord[]): void {
    const request = records.find((r) => r.kind === "request");
    const unit = records.find((r) => r.kind === "unit");
    const last = records.at(-1);
    const delivery = last?.kind === "delivered" ? last.delivery : undefined;
    const own = ridOfNode(this.#world.host.attacker);
    const isPeer = delivery?.kind === "peer" && !delivery.byAgent && unit === undefined;
    const shows: Record<ExposureName, () => boolean> = {
      own: () => unit?.requester === this.#world.oracle.arrives,
      shared: () => unit !== undefined,
      peer: () => isPeer,
      "peer-optional": () => isPeer,
      "peer-translated": () => isPeer && request?.addressType === "translated",
      "forged-bus": () => unit !== undefined && unit.requester !== own,
      "forged-range": () => unit !== undefined && unit.requester !== own,
      "forged-any": () => unit !== undefined && unit.requester !== own,
      outside: () => unit === undefined && delivery !== undefined && !isPeer,
      translated: () => request?.addressType === "translated" && unit !== undefined,
      "interrupt-any": () => delivery?.kind === "interrupt" && !delivery.remapped,
      "interrupt-forged": () => delivery?.kind === "interrupt" && unit?.requester !== own,
    };
    if (!records.some((r) => r.kind === "hop")) this.#fail("the trace shows no hops");
    if (!shows[name]()) this.#fail(`the trace does not show ${name}`);
  }

  /** It had been named before the first request. */
  #checkNamed(name: ExposureName, q: HostileRequest): void {
    const { oracle } = this.#world;
    const said = this.#named;
    const forged = () => said.claims(oracle.arrives) && said.impersonates(oracle.arrives);
    const named: Record<ExposureName, () => boolean> = {
      own: () => true,
      shared: () => said.shared,
      peer: () => said.peers.has(q.pfn),
      "peer-optional": () => said.optionalPeers.has(q.pfn),
      "peer-translated": () => said.translatedPeers.has(q.pfn),
      "forged-bus": forged,
      "forged-range": forged,
      "forged-any": forged,
      outside: () => said.outside,
      translated: () => said.translated,
      "interrupt-any": () => said.interrupts,
      // Who is behind a bridge may use the interrupts of its bus, whatever its number there.
      "interrupt-forged": () => said.claims(oracle.arrives),
    };
    if (!named[name]()) this.#fail(`${name} had not been named`);
  }

  #fail(what: string): never {
    throw new Error(this.#text(what));
  }

  #text(what: string): string {
    const { host, oracle } = this.#world;
    const place = Object.entries(Place).find(([, value]) => value === oracle.place)?.[0];
    const { transactions } = this.#options;
    const why = `${what}: seed ${this.#seed}, transaction ${this.#index} of ${transactions}`;
    const { scenario } = this.#world.recorder.keep(why, oracle);
    return [
      `${why}, kept in ${scenario}`,
      JSON.stringify(this.#request),
      `predicted: ${place} frame ${oracle.frame.toString(16)}h by ${EXPOSURES[oracle.exposure]}`,
      describeHost(host),
    ].join("\n");
  }
}

/** Fetch-and-add on little-endian bytes. */
function addTo(bytes: Uint8Array, more: Uint8Array): void {
  let value = 0n;
  let addend = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) {
    value = (value << 8n) | BigInt(bytes[i] as number);
    addend = (addend << 8n) | BigInt(more[i] as number);
  }
  const sum = value + addend;
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number((sum >> BigInt(8 * i)) & 0xffn);
}

function tlpOf(q: HostileRequest): MemoryRequest {
  return {
    requester: makeRid(q.rid),
    access: ACCESS_NAMES[q.access] as MemoryAccess,
    addressType: TYPE_NAMES[q.type] as AddressType,
    pfn: q.pfn,
    offset: q.offset,
    length: q.length,
    relaxedOrdering: (q.word & 1) !== 0,
    noSnoop: (q.word & 2) !== 0,
    idOrdering: false,
    prefix:
      q.pasid < 0
        ? undefined
        : {
            pasid: makePasid(q.pasid),
            privileged: q.privileged,
            execute: q.execute,
          },
  };
}
