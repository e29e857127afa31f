/** PasidPool: PASIDs of one number space, handed out lowest first. */
import { UapiError } from "../abi/index.js";
import { makePasid, type Pasid } from "../units/index.js";

/** PASIDs `first` to `end` - 1. */
export class PasidPool {
  readonly #end: number;
  /** Given back, not in order. */
  readonly #free: number[] = [];
  readonly #used = new Set<number>();
  #next: number;

  /** PASID 0 is never given. @throws RangeError an empty range, or beyond 20 bits. */
  constructor(first: number, end: number) {
    if (!(first >= 1 && first < end && end <= 2 ** 20)) {
      throw new RangeError(`no PASIDs from ${first} to ${end}`);
    }
    this.#next = first;
    this.#end = end;
  }

  /** PASIDs that are handed out. */
  get used(): number {
    return this.#used.size;
  }

  /** @throws UapiError ENOSPC all are in use. */
  take(): Pasid {
    const value = this.#free.pop() ?? this.#next;
    if (value >= this.#end) {
      throw new UapiError("ENOSPC", "every PASID of the number space is in use", {
        evidence: [{ kind: "pasids-exhausted", count: this.#used.size }],
      });
    }
    if (value === this.#next) this.#next++;
    this.#used.add(value);
    return makePasid(value);
  }

  /** Nothing happens when it is not handed out. */
  give(pasid: Pasid): void {
    if (this.#used.delete(pasid)) this.#free.push(pasid);
  }
}

/**
 * PASIDs that stand for a user's PASID on every device at once, as devices with shared work queues
 * need: the processor puts one number into the command, whichever device it goes to.
 */
export class SharedPasids {
  readonly #pool: PasidPool;
  readonly #owners = new Map<object, Map<Pasid, { readonly pasid: Pasid; holds: number }>>();

  constructor(pool: PasidPool) {
    this.#pool = pool;
  }

  /** The same answer for the same owner and PASID, until each was given back. @throws ENOSPC. */
  take(owner: object, user: Pasid): Pasid {
    const known = this.#owners.get(owner)?.get(user);
    if (known !== undefined) {
      known.holds++;
      return known.pasid;
    }
    const pasid = this.#pool.take();
    const list = this.#owners.get(owner) ?? new Map<Pasid, { pasid: Pasid; holds: number }>();
    list.set(user, { pasid, holds: 1 });
    this.#owners.set(owner, list);
    return pasid;
  }

  give(owner: object, user: Pasid): void {
    const list = this.#owners.get(owner);
    const known = list?.get(user);
    if (list === undefined || known === undefined || --known.holds > 0) return;
    list.delete(user);
    if (list.size === 0) this.#owners.delete(owner);
    this.#pool.give(known.pasid);
  }
}
