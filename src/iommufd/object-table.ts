/**
 * The objects of one context by id.
 *
 * Creation has two phases: an id is reserved (invisible: looking it up says ENOENT), then the
 * object is published; whatever fails in between gives the id back. The lowest free id is handed
 * out, from 1. An object with users other than the table cannot be destroyed. A tombstone keeps an
 * id unusable.
 */
import { UapiError } from "../abi/index.js";
import { IdHeap } from "./id-heap.js";
import { OBJECT_ID_MAX } from "./limits.js";
import { noMemory } from "./no-memory.js";
import type { AllocationPermit } from "./ports.js";

export type ObjectKind =
  | "device"
  | "hwpt-paging"
  | "hwpt-nested"
  | "ioas"
  | "access"
  | "fault"
  | "viommu"
  | "vdevice"
  | "veventq"
  | "hw-queue"
  | "selftest";

/** Common part of all objects. */
export interface IommufdObject {
  readonly id: number;
  readonly kind: ObjectKind;
  /** Holders other than the table. */
  users: number;
  /** Lets go of everything; called once, without users. Never fails. */
  destroy(): void;
}

const TOMBSTONE = Symbol("tombstone");
const RESERVED = Symbol("reserved");

export class ObjectTable {
  readonly #objects = new Map<number, IommufdObject | typeof TOMBSTONE | typeof RESERVED>();
  readonly #free = new IdHeap();
  readonly #allocations: AllocationPermit;
  readonly #limit: number;
  #next = 1;

  constructor(allocations: AllocationPermit, limit = OBJECT_ID_MAX) {
    this.#allocations = allocations;
    this.#limit = limit;
  }

  /** Objects, half-built ones and tombstones included. */
  get size(): number {
    return this.#objects.size;
  }

  /** Published objects. */
  *all(): IterableIterator<IommufdObject> {
    for (const object of this.#objects.values()) if (typeof object !== "symbol") yield object;
  }

  /** @throws UapiError ENOMEM, or EBUSY when all ids are in use. */
  reserve(): number {
    if (!this.#allocations.permit("object")) throw noMemory("object");
    const id = this.#free.pop() ?? this.#next;
    if (id > this.#limit) {
      throw new UapiError("EBUSY", `all ${this.#limit} object ids of the context are in use`);
    }
    if (id === this.#next) this.#next++;
    this.#objects.set(id, RESERVED);
    return id;
  }

  /** Gives a reserved id back. */
  abort(id: number): void {
    this.#objects.delete(id);
    this.#free.push(id);
  }

  publish(object: IommufdObject): void {
    this.#objects.set(object.id, object);
  }

  /** Reserves an id, builds the object, publishes it. What `build` throws undoes the id. */
  create<T extends IommufdObject>(build: (id: number) => T): T {
    const id = this.reserve();
    try {
      const made = build(id);
      this.publish(made);
      return made;
    } catch (error) {
      this.abort(id);
      throw error;
    }
  }

  /** Undefined for an id that is free, half-built or a tombstone. */
  find(id: number): IommufdObject | undefined {
    const found = this.#objects.get(id);
    return typeof found === "symbol" ? undefined : found;
  }

  /** @throws UapiError ENOENT for any other id. */
  get<K extends ObjectKind, T extends IommufdObject & { readonly kind: K }>(
    id: number,
    kind: K,
  ): T {
    const found = this.find(id);
    if (found?.kind === kind) return found as T;
    throw notFound(id, kind, found?.kind);
  }

  /** IOMMU_DESTROY. @throws UapiError ENOENT, EBUSY. */
  destroy(id: number): void {
    const found = this.find(id);
    if (found === undefined) throw notFound(id, "object", undefined);
    if (found.users > 0) {
      throw new UapiError("EBUSY", "the object is in use", {
        evidence: [{ kind: "object-in-use", id, object: found.kind, users: found.users }],
        cite: "Linux iommufd_object_remove()",
      });
    }
    this.remove(found);
  }

  /** Destroys an object that has no users and frees its id. */
  remove(object: IommufdObject): void {
    object.destroy();
    if (this.#objects.get(object.id) === object) this.abort(object.id);
  }

  /** Destroys an object; its id stays unusable. */
  entomb(object: IommufdObject): void {
    this.#objects.set(object.id, TOMBSTONE);
    object.destroy();
  }

  /** The context closes: objects without users go first, until none is left. */
  clear(): void {
    for (let more = true; more; ) {
      more = false;
      for (const object of [...this.all()]) {
        if (object.users > 0 || this.find(object.id) !== object) continue;
        this.remove(object);
        more = true;
      }
    }
  }
}

function notFound(id: number, wanted: string, found: string | undefined): UapiError {
  const rule = found === undefined ? `no ${wanted} has this id` : `the object is not a ${wanted}`;
  return new UapiError("ENOENT", rule, {
    evidence: [{ kind: "object-not-found", id, wanted, found }],
    cite: "Linux iommufd_get_object()",
  });
}
