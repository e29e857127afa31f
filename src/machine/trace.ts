/**
 * What a machine tells about a transaction, record by record, in the order it happens. Data only;
 * words are made in `view`.
 */
import type { PageRequestMessage } from "../devices/index.js";
import type { WalkedStructure } from "../iommu/index.js";
import type { AddressType, MemoryAccess, PasidPrefix, RouteHop } from "../pcie/index.js";
import type { Bdf, Pasid, Rid } from "../units/index.js";
import type { Delivery } from "./delivery.js";

export type TraceRecord =
  /** A device puts a request on its link. */
  | {
      readonly kind: "request";
      readonly from: Bdf;
      readonly requester: Rid;
      readonly access: MemoryAccess;
      readonly addressType: AddressType;
      readonly address: bigint;
      readonly length: number;
      readonly prefix: PasidPrefix | undefined;
    }
  | { readonly kind: "hop"; readonly hop: RouteHop }
  /** It reaches a translation agent. */
  | { readonly kind: "unit"; readonly unit: string; readonly requester: Rid }
  /** The unit reads one entry of a table. */
  | {
      readonly kind: "entry";
      readonly unit: string;
      readonly structure: WalkedStructure;
      readonly level: number;
      readonly address: bigint;
      readonly value: bigint;
    }
  | {
      readonly kind: "translated";
      readonly unit: string;
      readonly address: bigint;
      readonly source: "bypass" | "cache" | "walk";
      readonly domainId: number | undefined;
    }
  | { readonly kind: "delivered"; readonly delivery: Delivery }
  | { readonly kind: "page-request"; readonly from: Bdf; readonly message: PageRequestMessage }
  | {
      readonly kind: "page-answer";
      readonly to: Bdf;
      readonly group: number;
      readonly code: number;
    }
  | {
      readonly kind: "device-tlb-invalidation";
      readonly to: Rid;
      readonly pasid: Pasid | undefined;
      readonly answered: boolean;
    };

export interface MachineObserver {
  record(record: TraceRecord): void;
}
