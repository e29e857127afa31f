/**
 * Rights of a page, as two stages grant them, and whether an access may use them.
 *
 * Tables are walked once and their rights kept as they stand, since who asks changes from request
 * to request: stage 1 distinguishes user and privileged requests (x86 paging), stage 2 does not. A
 * translation of one stage has the other's rights set.
 */

/**
 * Bits of the rights of a translation; they fit below bit 12. The order is that of the table
 * entries' bits (x86 W and U; VT-d R and W), which the walks move here as they are.
 */
export const Rights = {
  stage1Write: 1 << 0,
  stage1User: 1 << 1,
  stage1ExecuteDisable: 1 << 2,
  stage2Read: 1 << 3,
  stage2Write: 1 << 4,
  /** Every dirty bit that a write must set is set. */
  dirty: 1 << 5,
  /** Snooped whatever the request says. */
  snoop: 1 << 6,
} as const;

/** The stage-1 rights of a translation without stage 1. */
export const NO_STAGE1 = Rights.stage1Write | Rights.stage1User;
/** The stage-2 rights of a translation without stage 2. */
export const NO_STAGE2 = Rights.stage2Read | Rights.stage2Write;

/** Rules of stage 1 that a PASID's entry chooses. */
export const Stage1Rules = {
  /** Privileged requests, too, may not write read-only pages. */
  writeProtect: 1 << 0,
  noExecute: 1 << 1,
  /** Privileged requests may not execute user pages. */
  supervisorExecutePrevention: 1 << 2,
  extendedAccessed: 1 << 3,
} as const;

/** Why an access is denied; 0 is not denied. */
export const Denial = { none: 0, read: 1, write: 2, user: 3, execute: 4 } as const;

/** What a request needs: bits of its access, and of who asks. */
export const Need = { read: 1, write: 2, execute: 4, privileged: 8 } as const;

/** @param rules bits of {@link Stage1Rules}. @returns one of {@link Denial}. */
export function denialOf(rights: number, need: number, rules: number): number {
  const privileged = (need & Need.privileged) !== 0;
  if (!privileged && (rights & Rights.stage1User) === 0) return Denial.user;
  if ((need & Need.read) !== 0 && (rights & Rights.stage2Read) === 0) return Denial.read;
  if ((need & Need.write) !== 0) {
    if ((rights & Rights.stage2Write) === 0) return Denial.write;
    const ignoresReadOnly = privileged && (rules & Stage1Rules.writeProtect) === 0;
    if ((rights & Rights.stage1Write) === 0 && !ignoresReadOnly) return Denial.write;
  }
  if ((need & Need.execute) !== 0) {
    if ((rights & Rights.stage1ExecuteDisable) !== 0) return Denial.execute;
    const prevented = privileged && (rules & Stage1Rules.supervisorExecutePrevention) !== 0;
    if (prevented && (rights & Rights.stage1User) !== 0) return Denial.execute;
  }
  return Denial.none;
}

/** Bits of {@link Stage1Rules} that {@link allowedNeeds} looks at, and the table's index. */
const TABLE_RULES = Stage1Rules.writeProtect | Stage1Rules.supervisorExecutePrevention;
const ALLOWED = allowedTable();

/**
 * Everything that requests may do with a page: bits read, write and execute of {@link Need}.
 * Without the user right of stage 1 a request that is not privileged may do nothing.
 * @param privileged `Need.privileged`, or 0.
 */
export const allowedNeeds = (rights: number, privileged: number, rules: number): number =>
  ALLOWED[((rules & TABLE_RULES) << 6) | (privileged << 2) | (rights & 31)] as number;

function allowedTable(): Uint8Array {
  const table = new Uint8Array(512);
  for (let index = 0; index < table.length; index++) {
    const rules = (index >>> 6) & TABLE_RULES;
    const privileged = (index >>> 2) & Need.privileged;
    for (const need of [Need.read, Need.write, Need.execute]) {
      const denial = denialOf(index & 31, need | privileged, rules);
      if (denial === Denial.none) table[index] = (table[index] as number) | need;
    }
  }
  return table;
}
