/**
 * PageRequestDesk: groups of page requests between queue and answer.
 *
 * A device may send several requests in a group and gets one answer, to the last of them. Groups
 * are told apart by requester, PASID and group index. A group that nobody takes is answered
 * "invalid"; one whose slot changes before the answer too, and an answer that comes after that goes
 * nowhere.
 */
import type { PageFault, PageRequestGroup } from "../driver-port.js";
import type { InvalidationQueue } from "./invalidation-queue.js";
import type { QueuedPageRequest } from "./page-request-queue.js";

/** Requests kept of one group; further ones add nothing that the first do not say. */
const GROUP_LIMIT = 512;
/** Groups of a unit that may be incomplete, and as many that may wait for an answer. */
const OPEN_LIMIT = 4096;
const INVALID = 1;
const FAILURE = 15;

interface OpenGroup {
  readonly rid: number;
  readonly pasid: number | undefined;
  readonly index: number;
  readonly faults: PageFault[];
}

export class PageRequestDesk {
  readonly #queue: InvalidationQueue;
  /** Not complete yet, by key. */
  readonly #open = new Map<number, OpenGroup>();
  /** Handed out and not answered. */
  readonly #waiting = new Map<number, OpenGroup>();

  constructor(queue: InvalidationQueue) {
    this.#queue = queue;
  }

  /** Groups that wait for an answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** @returns the group, when the request completes it. */
  add(request: QueuedPageRequest): PageRequestGroup | undefined {
    const { rid, pasid, group: index } = request;
    const key = keyOf(rid, pasid, index);
    const group = this.#open.get(key) ?? { rid, pasid, index, faults: [] };
    if (group.faults.length < GROUP_LIMIT) {
      group.faults.push({ perm: permOf(request), address: BigInt(request.frame) << 12n });
    }
    if (!request.last) {
      this.#keepOpen(key, group);
      return undefined;
    }
    this.#open.delete(key);
    if (this.#waiting.size >= OPEN_LIMIT && !this.#waiting.has(key)) {
      this.#answer(key, group, FAILURE);
      return undefined;
    }
    this.#waiting.set(key, group);
    return {
      groupId: index,
      faults: group.faults,
      respond: (code) => {
        if (this.#waiting.get(key) === group) this.#answer(key, group, code);
      },
    };
  }

  /** Answers every group of a requester and PASID "invalid"; with `all`, of every PASID. */
  cancel(rid: number, pasid: number | undefined, all: boolean): void {
    for (const [key, group] of this.#open) {
      if (group.rid === rid && (all || group.pasid === pasid)) this.#open.delete(key);
    }
    for (const [key, group] of this.#waiting) {
      if (group.rid === rid && (all || group.pasid === pasid)) this.#answer(key, group, INVALID);
    }
  }

  #keepOpen(key: number, group: OpenGroup): void {
    this.#open.set(key, group);
    if (this.#open.size <= OPEN_LIMIT) return;
    const [oldest] = this.#open.keys();
    if (oldest !== undefined) this.#open.delete(oldest);
  }

  #answer(key: number, group: OpenGroup, code: number): void {
    this.#waiting.delete(key);
    this.#queue.pageGroupResponse(group.rid, group.pasid, group.index, code);
    this.#queue.submit();
  }
}

/** 9 bits of group, 16 of requester, 21 of PASID with a mark for none. */
function keyOf(rid: number, pasid: number | undefined, index: number): number {
  return ((pasid === undefined ? 0 : pasid + 1) * 65536 + rid) * 512 + index;
}

function permOf(request: QueuedPageRequest): number {
  return (
    (request.read ? 1 : 0) |
    (request.write ? 2 : 0) |
    (request.execute ? 4 : 0) |
    (request.privileged ? 8 : 0)
  );
}
