/** Where one transaction ended. */
import type { Interrupt } from "../iommu/index.js";
import type { AcsBit } from "../pcie/index.js";
import type { Bdf, Rid } from "../units/index.js";

/**
 * `memory`       the bytes at that physical address were read or written
 * `peer`         behind a BAR of another function; `byAgent`: the IOMMU sent it there
 * `interrupt`    reached the processors
 * `translation`  a translation request was answered
 * `fault`        an IOMMU unit refused it
 * `lost`         the fabric stopped it, or nothing is at the address
 */
export type Delivery =
  | { readonly kind: "memory"; readonly address: bigint; readonly length: number }
  | {
      readonly kind: "peer";
      readonly device: Bdf;
      readonly bar: number;
      readonly offset: bigint;
      readonly byAgent: boolean;
    }
  | {
      readonly kind: "interrupt";
      readonly remapped: boolean;
      /** Undefined without an interrupt remapping unit: the message as it stands. */
      readonly interrupt: Interrupt | undefined;
      readonly data: number;
    }
  | { readonly kind: "translation"; readonly read: boolean; readonly write: boolean }
  | {
      readonly kind: "fault";
      readonly unit: string;
      /** The unit's own code. */
      readonly reason: number;
      readonly name: string;
      /** As it arrived. */
      readonly requester: Rid;
    }
  | {
      readonly kind: "lost";
      readonly why: LostReason;
      readonly at: Bdf | undefined;
      readonly bits: readonly AcsBit[];
    };

export type LostReason =
  | "acs-violation"
  | "unsupported-request"
  | "prefix-blocked"
  | "malformed"
  /** Nothing is at the translated address. */
  | "absent-memory"
  | "poisoned-memory"
  | "access-violation"
  /** The sender is not there any more. */
  | "unplugged"
  /** Translation requests need a translation agent. */
  | "no-translation-agent";
