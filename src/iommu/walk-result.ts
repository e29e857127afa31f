/** How a walk ended, for stage 1 and stage 2 alike; each IOMMU turns it into codes of its own. */
export const WalkFault = {
  none: 0,
  /** The table cannot be read. */
  access: 1,
  notPresent: 2,
  reserved: 3,
  /** A right that the request needs is missing; which one is in the walk's `denial`. */
  denied: 4,
  /** Accessed or dirty bits cannot be written. */
  update: 5,
  /** Nested: a stage-1 table's address lies beyond stage 2. */
  tableBeyondStage2: 6,
  /** Nested: stage 2 does not let the unit read a stage-1 table, or that is not there. */
  tableReadDenied: 7,
  tableWriteDenied: 8,
  /** Nested: the page's address lies beyond stage 2. */
  pageBeyondStage2: 9,
  /** Nested: stage 2 faulted by itself; which way is in the stage-2 walk's own result. */
  stage2: 10,
} as const;
