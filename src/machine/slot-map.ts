/**
 * Which functions stand in the machine now: descriptions with the present state of their registers.
 *
 * The fabric and its router are snapshots. A write that may change routing, an unplugged or a
 * plugged function makes them stale; they are built anew when they are next asked for.
 */
import { type Endpoint, StubEndpoint } from "../devices/index.js";
import {
  type AccessLength,
  buildFabric,
  type ConfigEffect,
  ConfigRegisters,
  type Fabric,
  type FunctionDescription,
  type PciFunction,
  type RouteOptions,
  Router,
} from "../pcie/index.js";
import type { Bdf } from "../units/index.js";

export interface Slot {
  readonly description: FunctionDescription;
  readonly registers: ConfigRegisters;
  endpoint: Endpoint;
  present: boolean;
}

/** Told of every write to a function's registers, after it happened. */
export type WrittenTo = (
  bdf: Bdf,
  effects: readonly ConfigEffect[],
  changed: boolean,
  offset: number,
  length: AccessLength,
) => void;

/** Registers that tell their machine of every write, whoever makes it. */
class WatchedRegisters extends ConfigRegisters {
  readonly #bdf: Bdf;
  readonly #written: WrittenTo;

  constructor(fn: PciFunction, written: WrittenTo) {
    const { bars, vfBars } = fn.description;
    super(fn.config, { bars, vfBars, virtual: fn.isVirtual });
    this.#bdf = fn.bdf;
    this.#written = written;
  }

  override write(offset: number, length: AccessLength, value: number): readonly ConfigEffect[] {
    const before = this.read(offset, length);
    const effects = super.write(offset, length, value);
    this.#written(this.#bdf, effects, this.read(offset, length) !== before, offset, length);
    return effects;
  }
}

/** Options of the router that depend on the fabric. */
export type RouteOptionsOf = (fabric: Fabric) => RouteOptions;

/** The functions of one machine, present and absent. */
export class SlotMap {
  readonly #slots = new Map<Bdf, Slot>();
  readonly #options: RouteOptionsOf;
  readonly #written: WrittenTo;
  #fabric: Fabric | undefined;
  #router: Router | undefined;
  /** Counts topology changes: what was computed from an older fabric is out of date. */
  generation = 0;

  /** @param descriptions in enumeration order; a function described twice counts once. */
  constructor(
    descriptions: readonly FunctionDescription[],
    options: RouteOptionsOf,
    written: WrittenTo,
  ) {
    this.#options = options;
    this.#written = written;
    const fabric = buildFabric({ functions: descriptions });
    this.#fabric = fabric;
    for (const fn of fabric.functions) this.#place(fn);
  }

  get fabric(): Fabric {
    this.#fabric ??= this.#build();
    return this.#fabric;
  }

  get router(): Router {
    const { fabric } = this;
    this.#router ??= new Router(fabric, { honourCommand: true, ...this.#options(fabric) });
    return this.#router;
  }

  /** Undefined for a function that never was there. */
  find(bdf: Bdf): Slot | undefined {
    return this.#slots.get(bdf);
  }

  present(bdf: Bdf): Slot | undefined {
    const slot = this.#slots.get(bdf);
    return slot?.present === true ? slot : undefined;
  }

  all(): Iterable<[Bdf, Slot]> {
    return this.#slots;
  }

  /** Puts functions in that never were there; they come after all others. */
  add(descriptions: readonly FunctionDescription[]): void {
    const added = descriptions.filter(({ bdf }) => !this.#slots.has(bdf));
    if (added.length === 0) return;
    const fabric = buildFabric({ functions: [...this.#descriptions(), ...added] });
    for (const { bdf } of added) {
      const fn = fabric.function(bdf);
      if (fn !== undefined) this.#place(fn);
    }
    this.stale();
  }

  /** Functions that are or were there. */
  get size(): number {
    return this.#slots.size;
  }

  function(bdf: Bdf): PciFunction | undefined {
    return this.fabric.function(bdf);
  }

  setPresent(bdf: Bdf, present: boolean): void {
    const slot = this.#slots.get(bdf);
    if (slot === undefined || slot.present === present) return;
    slot.present = present;
    this.stale();
  }

  stale(): void {
    this.#fabric = undefined;
    this.#router = undefined;
    this.generation++;
  }

  #place(fn: PciFunction): void {
    const registers = new WatchedRegisters(fn, this.#written);
    const endpoint = new StubEndpoint(fn, registers);
    const description = fn.description;
    this.#slots.set(fn.bdf, { description, registers, endpoint, present: true });
  }

  #build(): Fabric {
    return buildFabric({ functions: this.#descriptions() });
  }

  #descriptions(): FunctionDescription[] {
    const functions: FunctionDescription[] = [];
    for (const { description, registers, present } of this.#slots.values()) {
      if (present) functions.push({ ...description, config: registers.snapshot() });
    }
    return functions;
  }
}
