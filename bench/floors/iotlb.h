/* The IOTLB of the floors: geometry, hash, keys and replacement of the product's. */
#ifndef IOTLB_H
#define IOTLB_H
#include <stdint.h>
#include <stdlib.h>

#define T_STAGE1 (1u << 24)
#define T_VALID (1u << 27)

typedef struct { uint32_t frame_lo, frame_hi, tag, target_lo, target_hi, unused[3]; } slot_t;

static slot_t *slots;
static uint8_t *oldest;
static int set_shift;
static int live[3], stage1_live, has_large;
static struct { uint32_t lo, hi, rights; int page_shift; } found;
/* What iotlb_find looked for last without success among 4 KiB pages, and its set. */
static struct { slot_t *first; uint32_t lo, hi, tag; } missed;

static void iotlb_make(int entries)
{
  int sets = entries / 4;
  slots = calloc(entries, sizeof(slot_t));
  oldest = calloc(sets, 1);
  set_shift = 32 - __builtin_ctz(sets);
}

static inline uint32_t set_of(uint32_t frame_lo, uint32_t frame_hi, uint32_t tag)
{
  uint32_t mixed = frame_lo ^ (frame_hi * 0x85ebca6bu) ^ (tag * 0xc2b2ae35u);
  return (mixed * 0x9e3779b1u) >> set_shift;
}

static inline slot_t *iotlb_probe_set(slot_t *first, uint32_t frame_lo, uint32_t frame_hi,
                                      uint32_t tag)
{
  for (slot_t *slot = first; slot < first + 4; slot++)
    if (slot->frame_lo == frame_lo && slot->tag == tag && slot->frame_hi == frame_hi) return slot;
  return NULL;
}

static inline slot_t *iotlb_probe(uint32_t frame_lo, uint32_t frame_hi, uint32_t tag)
{
  return iotlb_probe_set(slots + set_of(frame_lo, frame_hi, tag) * 4, frame_lo, frame_hi, tag);
}

static inline int iotlb_take(slot_t *slot, uint32_t lo, int page_shift)
{
  uint32_t mask = (1u << page_shift) - 1;
  found.lo = (slot->target_lo & ~mask) | (lo & mask);
  found.hi = slot->target_hi;
  found.rights = slot->target_lo & 0xfff;
  found.page_shift = page_shift;
  return 1;
}

static inline int iotlb_find(uint32_t domain, uint32_t pasid, int stage1, uint32_t lo, uint32_t hi)
{
  uint32_t frame_lo = (lo >> 12) | (hi << 20);
  uint32_t frame_hi = (hi >> 12) | (domain << 20);
  uint32_t tag = T_VALID | pasid | ((domain >> 12) << 20) | (stage1 ? T_STAGE1 : 0);
  slot_t *first = slots + set_of(frame_lo, frame_hi, tag) * 4;
  slot_t *slot = iotlb_probe_set(first, frame_lo, frame_hi, tag);
  if (slot) return iotlb_take(slot, lo, 12);
  missed.first = first;
  missed.lo = frame_lo;
  missed.hi = frame_hi;
  missed.tag = tag;
  if (!has_large) return 0;
  if (live[1] && (slot = iotlb_probe(frame_lo & ~0x1ffu, frame_hi, tag | (1u << 25))))
    return iotlb_take(slot, lo, 21);
  if (live[2] && (slot = iotlb_probe(frame_lo & ~0x3ffffu, frame_hi, tag | (2u << 25))))
    return iotlb_take(slot, lo, 30);
  return 0;
}

/* Makes room in a full set, whose ways go in turn. */
static inline slot_t *iotlb_evict(slot_t *first)
{
  int set = (int)(first - slots) >> 2;
  slot_t *slot = first + oldest[set];
  oldest[set] = (oldest[set] + 1) & 3;
  live[(slot->tag >> 25) & 3]--;
  if (slot->tag & T_STAGE1) stage1_live--;
  return slot;
}

/* As iotlb_insert, for the 4 KiB page that iotlb_find has just not found. */
static inline void iotlb_insert_missed(uint32_t target_lo, uint32_t target_hi, uint32_t rights)
{
  slot_t *slot = missed.first + 3;
  while (slot->tag != 0)
    if (--slot < missed.first) { slot = iotlb_evict(missed.first); break; }
  live[0]++;
  if (missed.tag & T_STAGE1) stage1_live++;
  slot->frame_lo = missed.lo;
  slot->frame_hi = missed.hi;
  slot->tag = missed.tag;
  slot->target_lo = (target_lo & ~0xfffu) | rights;
  slot->target_hi = target_hi;
}

static void iotlb_insert(uint32_t domain, uint32_t pasid, int stage1, uint32_t lo, uint32_t hi,
                         uint32_t target_lo, uint32_t target_hi, int page_shift, uint32_t rights)
{
  int size = page_shift == 12 ? 0 : page_shift == 21 ? 1 : 2;
  uint32_t frame_mask = size == 0 ? ~0u : size == 1 ? ~0x1ffu : ~0x3ffffu;
  uint32_t frame_lo = ((lo >> 12) | (hi << 20)) & frame_mask;
  uint32_t frame_hi = (hi >> 12) | (domain << 20);
  uint32_t tag = T_VALID | pasid | ((domain >> 12) << 20) | (stage1 ? T_STAGE1 : 0)
    | ((uint32_t)size << 25);
  slot_t *first = slots + set_of(frame_lo, frame_hi, tag) * 4, *slot = NULL, *unused = NULL;
  for (slot_t *at = first; at < first + 4; at++) {
    if (at->tag == 0) unused = at;
    else if (at->tag == tag && at->frame_lo == frame_lo && at->frame_hi == frame_hi) slot = at;
  }
  if (!slot) {
    slot = unused;
    if (!slot) slot = iotlb_evict(first);
    live[size]++;
    if (stage1) stage1_live++;
    if (size) has_large = 1;
  }
  slot->frame_lo = frame_lo;
  slot->frame_hi = frame_hi;
  slot->tag = tag;
  slot->target_lo = (target_lo & ~((1u << page_shift) - 1)) | rights;
  slot->target_hi = target_hi;
}
#endif
