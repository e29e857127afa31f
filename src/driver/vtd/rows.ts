/**
 * Rows: which domain each row of a unit holds, and the steps that change it.
 *
 * Three steps, so that only the first can fail: `prepare` gets everything that a new row needs (its
 * place, the domain's tag), `install` switches the row from its old domain to the new one by way of
 * not present, `withdraw` empties it.
 */
import {
  type Attachment,
  type DomainTag,
  forgetInDevice,
  forgetRow,
  type VtdDomain,
} from "./attachment.js";
import type { DeviceTlbTarget } from "./invalidation-queue.js";
import type { Requester } from "./requester.js";
import { PASS_THROUGH_ID, type VtdUnit } from "./unit.js";

/** A row that has been made ready; hand it to `install` or `abandon`. */
export interface PreparedRow {
  readonly requester: Requester;
  readonly pasid: number;
  readonly domain: VtdDomain;
  readonly tag: DomainTag;
  /** The row already holds the domain: nothing to do. */
  readonly kept: boolean;
}

export class Rows {
  readonly #unit: VtdUnit;
  readonly #held = new Map<Requester, Map<number, Attachment>>();

  constructor(unit: VtdUnit) {
    this.#unit = unit;
  }

  /** What the row holds. */
  at(requester: Requester, pasid: number): VtdDomain | undefined {
    return this.#held.get(requester)?.get(pasid)?.domain;
  }

  /** PASIDs, 0 for requests without one, whose rows hold a domain. */
  pasidsOf(requester: Requester): readonly number[] {
    return [...(this.#held.get(requester)?.keys() ?? [])];
  }

  /** @throws UapiError ENOMEM, ENOSPC, EINVAL; nothing has changed then. */
  prepare(requester: Requester, pasid: number, domain: VtdDomain): PreparedRow {
    const present = this.#held.get(requester)?.get(pasid);
    if (present?.domain === domain) {
      return { requester, pasid, domain, tag: present.tag, kept: true };
    }
    if (!requester.covers(pasid)) {
      const freeOld = requester.grow(pasid);
      this.rewrite(requester);
      freeOld();
    }
    requester.reserve(pasid);
    try {
      const tag = domain.tags.get(this.#unit) ?? this.#makeTag(domain);
      return { requester, pasid, domain, tag, kept: false };
    } catch (error) {
      requester.release(pasid);
      throw error;
    }
  }

  /** Gives back what `prepare` got. */
  abandon({ requester, pasid, domain, tag, kept }: PreparedRow): void {
    if (kept) return;
    requester.release(pasid);
    this.#dropTag(domain, tag);
  }

  install(row: PreparedRow, target: DeviceTlbTarget): void {
    if (row.kept) return;
    const { requester, pasid, domain, tag } = row;
    const unit = this.#unit;
    this.withdraw(requester, pasid);
    const attachment = { unit, requester, pasid, domain, tag, target };
    tag.attachments.add(attachment);
    this.#rowsOf(requester).set(pasid, attachment);
    requester.fill(pasid, domain.row(unit, tag.domainId, requester.switches.deviceTlb));
    if (unit.capabilities.cachingMode) {
      if (unit.scalable) unit.queue.pasidEntry(tag.domainId, pasid);
      else unit.queue.contextDevice(requester.rid, 0);
      unit.queue.iotlbDomain(tag.domainId);
      unit.queue.submit();
    }
  }

  /** Makes the row not present; no cache knows the old one when this returns. */
  withdraw(requester: Requester, pasid: number): void {
    const attachment = this.#held.get(requester)?.get(pasid);
    if (attachment === undefined) return;
    requester.clear(pasid);
    forgetRow(attachment);
    this.#unit.queue.submit();
    attachment.tag.attachments.delete(attachment);
    this.#dropTag(attachment.domain, attachment.tag);
    const rows = this.#rowsOf(requester);
    rows.delete(pasid);
    if (rows.size === 0) this.#held.delete(requester);
    requester.release(pasid);
  }

  /** Writes all rows of a requester anew after its switches changed. */
  rewrite(requester: Requester): void {
    const { queue, scalable } = this.#unit;
    if (scalable) {
      requester.retire();
      queue.contextDevice(requester.rid, 0);
      queue.submit();
      requester.writeContext();
      queue.contextDevice(requester.rid, 0);
      queue.submit();
      return;
    }
    for (const [pasid, attachment] of this.#held.get(requester) ?? []) {
      requester.clear(pasid);
      forgetRow(attachment);
      queue.submit();
      const { domain, tag } = attachment;
      requester.fill(pasid, domain.row(this.#unit, tag.domainId, requester.switches.deviceTlb));
      queue.contextDevice(requester.rid, 0);
      queue.submit();
    }
  }

  /** Everything that the device behind a requester may have cached, forgotten. */
  forgetDevice(requester: Requester): void {
    for (const attachment of this.#held.get(requester)?.values() ?? []) {
      forgetInDevice(attachment, undefined);
    }
    this.#unit.queue.submit();
  }

  #rowsOf(requester: Requester): Map<number, Attachment> {
    const found = this.#held.get(requester);
    if (found !== undefined) return found;
    const made = new Map<number, Attachment>();
    this.#held.set(requester, made);
    return made;
  }

  #makeTag(domain: VtdDomain): DomainTag {
    const domainId =
      domain.translation === "pass-through" ? PASS_THROUGH_ID : this.#unit.allocateId();
    const tag = { domainId, attachments: new Set<Attachment>() };
    domain.tags.set(this.#unit, tag);
    return tag;
  }

  /** A tag without attachments goes; unless another prepared row counts on it. */
  #dropTag(domain: VtdDomain, tag: DomainTag): void {
    if (tag.attachments.size > 0 || domain.tags.get(this.#unit) !== tag) return;
    domain.tags.delete(this.#unit);
    this.#unit.releaseId(tag.domainId);
  }
}
