/* The walks of the floors: steps, checks and order of the product's, features all on, 52 bits. */
#ifndef WALK_H
#define WALK_H
#include "image.h"

enum { R_S1_WRITE = 1, R_S1_USER = 2, R_S1_XD = 4, R_S2_READ = 8, R_S2_WRITE = 16, R_DIRTY = 32,
       R_SNOOP = 64 };
enum { N_READ = 1, N_WRITE = 2, N_EXECUTE = 4, N_PRIVILEGED = 8 };
enum { F_NONE, F_ACCESS, F_NOT_PRESENT, F_RESERVED, F_DENIED, F_UPDATE, F_TABLE_BEYOND, F_TABLE_READ,
       F_TABLE_WRITE, F_PAGE_BEYOND, F_STAGE2 };

typedef void (*observer_t)(int level, uint32_t at_lo, uint32_t at_hi, uint32_t lo, uint32_t hi);
static observer_t observer;
static struct { uint32_t lo, hi, rights; int page_shift; } s2, s1;
static struct { uint32_t lo, hi; int levels, tracks; } nested;
static uint32_t reserved_high2, reserved_high1, snoop_reserved;
static int has_2m = 1, has_1g = 1;
static struct { uint32_t at_lo, at_hi, lo, hi, guest_lo, guest_hi, table_rights; int level; } e;
static uint32_t denial;

static inline uint32_t entry_offset(uint32_t lo, uint32_t hi, int level)
{
  switch (level) {
  case 1: return (lo >> 9) & 0xff8;
  case 2: return (lo >> 18) & 0xff8;
  case 3: return ((hi << 5) | (lo >> 27)) & 0xff8;
  case 4: return (hi >> 4) & 0xff8;
  default: return (hi >> 13) & 0xff8;
  }
}

static inline uint32_t high_bits_from(int width)
{
  return width >= 64 ? 0 : width <= 32 ? ~0u : ~0u << (width - 32);
}

static inline uint32_t rights2(uint32_t granted, uint32_t leaf)
{
  return R_S1_WRITE | R_S1_USER | ((granted & 3) << 3) | ((leaf & (1 << 9)) >> 4)
    | ((leaf & (1 << 11)) >> 5);
}

static inline int reserved2(uint32_t lo, uint32_t hi, int level, int is_page)
{
  if (hi & reserved_high2) return 1;
  if (!is_page) return (lo & (1 << 11)) != 0;
  if (lo & snoop_reserved) return 1;
  if (level == 1) return 0;
  if (level == 2) return !has_2m || (lo & 0x1ff000);
  return level != 3 || !has_1g || (lo & 0x3ffff000);
}

static int walk2(uint32_t table_lo, uint32_t table_hi, int levels, uint32_t lo, uint32_t hi,
                 uint32_t need, int tracks)
{
  uint32_t entry_lo = table_lo, entry_hi = table_hi, granted = 3;
  int level = levels;
  int32_t last = -1, map = 0;
  for (;;) {
    uint32_t at_lo = (entry_lo & ~0xfffu) | entry_offset(lo, hi, level);
    uint32_t at_hi = entry_hi & 0xfffff;
    memory_reads++;
    int32_t word = word_at_last(at_lo, at_hi, &last, &map);
    if (word < 0) return F_ACCESS;
    entry_lo = words[word];
    entry_hi = words[word + 1];
    if (observer) observer(level, at_lo, at_hi, entry_lo, entry_hi);
    if (!(entry_lo & 3)) return F_NOT_PRESENT;
    int is_page = level == 1 || (entry_lo & 0x80);
    if (reserved2(entry_lo, entry_hi, level, is_page)) return F_RESERVED;
    granted &= entry_lo;
    if (need & ~granted) { s2.rights = rights2(granted, 0); return F_DENIED; }
    if (tracks) {
      uint32_t wanted = is_page && (need & 2) ? 0x300 : 0x100;
      if ((entry_lo & wanted) != wanted) words[word] = entry_lo |= wanted;
    }
    if (is_page) break;
    level--;
  }
  int shift = level == 1 ? 12 : level == 2 ? 21 : 30;
  uint32_t mask = (1u << shift) - 1;
  s2.lo = (entry_lo & ~mask) | (lo & mask);
  s2.hi = entry_hi & 0xfffff;
  s2.page_shift = shift;
  s2.rights = rights2(granted, tracks ? entry_lo : entry_lo | (1 << 9));
  return F_NONE;
}

/* What is allowed, by rules, privilege and rights: filled by `allowed_make`. */
static uint8_t allowed_table[512];

static inline uint32_t allowed_needs(uint32_t rights, uint32_t privileged, uint32_t rules)
{
  return allowed_table[((rules & 5) << 6) | (privileged << 2) | (rights & 31)];
}

/* Which right is missing: 0 none, 1 read, 2 write, 3 user, 4 execute. */
static inline uint32_t denial_of(uint32_t rights, uint32_t need, uint32_t rules)
{
  int privileged = (need & N_PRIVILEGED) != 0;
  if (!privileged && !(rights & R_S1_USER)) return 3;
  if ((need & N_READ) && !(rights & R_S2_READ)) return 1;
  if (need & N_WRITE) {
    if (!(rights & R_S2_WRITE)) return 2;
    if (!(rights & R_S1_WRITE) && !(privileged && !(rules & 1))) return 2;
  }
  if (need & N_EXECUTE) {
    if (rights & R_S1_XD) return 4;
    if (privileged && (rules & 4) && (rights & R_S1_USER)) return 4;
  }
  return 0;
}

static void allowed_make(void)
{
  for (uint32_t i = 0; i < 512; i++)
    for (uint32_t need = 1; need <= 4; need *= 2)
      if (!denial_of(i & 31, need | ((i >> 2) & 8), (i >> 6) & 5)) allowed_table[i] |= need;
}

static inline int read1(uint32_t lo, uint32_t hi, int is_nested, int32_t *last, int32_t *map)
{
  uint32_t at_lo = lo, at_hi = hi;
  if (is_nested) {
    if (hi & high_bits_from(12 + 9 * nested.levels)) return F_TABLE_BEYOND;
    int fault = walk2(nested.lo, nested.hi, nested.levels, lo, hi, N_READ, nested.tracks);
    e.guest_lo = lo;
    e.guest_hi = hi;
    e.table_rights = s2.rights;
    if (fault) return fault == F_DENIED || fault == F_NOT_PRESENT ? F_TABLE_READ : F_STAGE2;
    at_lo = s2.lo;
    at_hi = s2.hi;
  }
  e.at_lo = at_lo;
  e.at_hi = at_hi;
  memory_reads++;
  int32_t word = is_nested ? word_at(at_lo, at_hi) : word_at_last(at_lo, at_hi, last, map);
  if (word < 0) return F_ACCESS;
  e.lo = words[word];
  e.hi = words[word + 1];
  if (observer) observer(e.level, at_lo, at_hi, e.lo, e.hi);
  return F_NONE;
}

static inline int reserved1(int level, int is_page, int no_execute, uint32_t reserved)
{
  if (e.hi & reserved) return 1;
  if (!no_execute && (e.hi >> 31)) return 1;
  if (!is_page || level == 1) return 0;
  if (level == 2) return (e.lo & 0x1fe000) != 0;
  return level != 3 || !has_1g || (e.lo & 0x3fffe000);
}

static inline int set_bits(uint32_t bits, int is_nested)
{
  if ((e.lo & bits) == bits) return F_NONE;
  if (is_nested && !(e.table_rights & R_S2_WRITE)) return F_TABLE_WRITE;
  if (is_nested && !(e.table_rights & R_DIRTY)) {
    uint32_t lo = s2.lo, hi = s2.hi, rights = s2.rights;
    int page_shift = s2.page_shift;
    walk2(nested.lo, nested.hi, nested.levels, e.guest_lo, e.guest_hi, N_WRITE, nested.tracks);
    s2.lo = lo, s2.hi = hi, s2.rights = rights, s2.page_shift = page_shift;
  }
  e.lo |= bits;
  int32_t word = word_at(e.at_lo, e.at_hi);
  if (word < 0) return F_UPDATE;
  words[word] = e.lo;
  words[word + 1] = e.hi;
  return F_NONE;
}

static int finish1(uint32_t lo, uint32_t need, uint32_t rules, int is_nested)
{
  uint32_t accessed = rules & 8 ? 0x420 : 0x20;
  uint32_t allowed = allowed_needs(s1.rights, need & 8, rules);
  if (!allowed || (need & ~allowed & 7)) {
    denial = denial_of(s1.rights, need, rules);
    return F_DENIED;
  }
  uint32_t mask = (1u << s1.page_shift) - 1;
  s1.lo = (e.lo & ~mask) | (lo & mask);
  s1.hi = e.hi & 0xfffff;
  if (is_nested) {
    if (s1.hi & high_bits_from(12 + 9 * nested.levels)) return F_PAGE_BEYOND;
    int fault = walk2(nested.lo, nested.hi, nested.levels, s1.lo, s1.hi, need & 3, nested.tracks);
    if (fault) return F_STAGE2;
    s1.lo = s2.lo;
    s1.hi = s2.hi;
    if (s2.page_shift < s1.page_shift) s1.page_shift = s2.page_shift;
    s1.rights = (s1.rights & ~(R_S2_READ | R_S2_WRITE) & ~R_DIRTY)
      | (s2.rights & ~(R_S1_WRITE | R_S1_USER));
  }
  int fault = set_bits(need & N_WRITE ? accessed | 0x40 : accessed, is_nested);
  if (fault) return fault;
  if (!(e.lo & 0x40)) s1.rights &= ~R_DIRTY;
  return F_NONE;
}

static int walk1(uint32_t table_lo, uint32_t table_hi, int levels, uint32_t lo, uint32_t hi,
                 uint32_t need, uint32_t rules, int is_nested)
{
  int no_execute = (rules & 2) != 0;
  uint32_t entry_lo = table_lo, entry_hi = table_hi, granted = 6, execute_disable = 0;
  uint32_t reserved = is_nested ? 0 : reserved_high1;
  int level = levels;
  int32_t last = -1, map = 0;
  for (;;) {
    e.level = level;
    int fault = read1((entry_lo & ~0xfffu) | entry_offset(lo, hi, level), entry_hi & 0xfffff,
                      is_nested, &last, &map);
    if (fault) return fault;
    entry_lo = e.lo;
    entry_hi = e.hi;
    if (!(entry_lo & 1)) return F_NOT_PRESENT;
    int is_page = level == 1 || (entry_lo & 0x80);
    if (reserved1(level, is_page, no_execute, reserved)) return F_RESERVED;
    granted &= entry_lo;
    execute_disable |= entry_hi >> 31;
    if (is_page) break;
    fault = set_bits(rules & 8 ? 0x420 : 0x20, is_nested);
    if (fault) return fault;
    level--;
  }
  s1.page_shift = level == 1 ? 12 : level == 2 ? 21 : 30;
  s1.rights = R_S2_READ | R_S2_WRITE | R_DIRTY | ((granted >> 1) & 3)
    | (execute_disable ? R_S1_XD : 0);
  return finish1(lo, need, rules, is_nested);
}
#endif
