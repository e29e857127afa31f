/** Bit `n` of a register that may be unknown. */
export function bitOf(word: number | undefined, n: number): boolean | undefined {
  return word === undefined ? undefined : ((word >>> n) & 1) !== 0;
}
