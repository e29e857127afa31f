/*
 * The floor of a translation: the product's steps, checks and cache geometry in plain C.
 *
 * usage: translate IMAGE WHAT ORDER COUNT
 *   WHAT   walk (stage 2 alone), iotlb, translate
 *   ORDER  dependent (the next address comes from the last result) or independent
 * prints: nanoseconds of one operation (the median over slices, so that a slice that another
 * process interrupted does not count), a checksum of the results, memory reads. One pass over all
 * pages and COUNT / 4 operations go before.
 */
#include <time.h>
#include "iotlb.h"
#include "walk.h"

#define SLICE 4096

typedef struct {
  uint32_t requester, access, address_type, pasid, lo, hi, length;
  uint8_t has_pasid, privileged, execute, no_snoop;
} request_t;

typedef struct {
  uint32_t status, lo, hi, page_shift, reason, completion, source;
  uint32_t rights;
  uint8_t recorded;
  int32_t domain;
} answer_t;

/* A process line: what `PASID table entry` and `context entry` are decoded into. */
typedef struct { uint32_t key0, key1, w[14]; } line_t;
enum { P_FLAGS, P_DOMAIN, P_S1_LO, P_S1_HI, P_S2_LO, P_S2_HI, P_RULES, P_S2_HIGH };
enum { C_FLAGS, C_DIR_LO, C_DIR_HI, C_RID_PASID, C_PASID_HIGH };

static line_t contexts[1024], pasids[1024];
static int is_enabled = 1, mode = 1;
static int pasid_bits = 20;
static uint32_t input_high;
static uint32_t need;
static line_t *process;
static uint32_t the_pasid;
static int silent;
/* The requester, PASID (-1 without) and further needs of the last request that found a line. */
static uint32_t last_requester = ~0u, last_need;
static int32_t last_pasid = -1;

static inline line_t *line_of(line_t *cache, uint32_t key0, uint32_t key1)
{
  return cache + (((key0 ^ (key1 * 0x85ebca6bu)) * 0x9e3779b1u) >> 22);
}

static uint32_t read_words(uint32_t lo, uint32_t hi, int count, uint32_t *out)
{
  memory_reads++;
  for (int i = 0; i < count; i += 2) {
    int32_t word = word_at(lo + 4 * i, hi);
    if (word < 0) return 1;
    out[i] = words[word];
    out[i + 1] = words[word + 1];
  }
  return 0;
}

/* Only images without faults are measured, so a refusal ends the program. */
static void fail(const char *what) { fprintf(stderr, "floor: %s\n", what); exit(3); }

static line_t *load_context(uint32_t requester)
{
  uint32_t w[8];
  if (read_words(header[H_ROOT_LO] + (requester >> 8) * 16, header[H_ROOT_HI], 4, w)) fail("root");
  int half = requester & 0x80 ? 2 : 0;
  if (!(w[half] & 1) || (w[half] & 0xffe) || (w[half + 1] >> 20)) fail("root entry");
  if (read_words((w[half] & ~0xfffu) + (requester & 127) * 32, w[half + 1], 8, w)) fail("context");
  if (!(w[0] & 1) || (w[0] & 0x1e0) || (w[1] >> 20)) fail("context entry");
  line_t *line = line_of(contexts, requester, 0);
  last_requester = ~0u;
  memset(line, 0, sizeof *line);
  line->key0 = requester | (1u << 31);
  line->w[C_FLAGS] = ((w[0] >> 2) & 7) | ((w[2] >> 20 & 1) << 3) | ((w[0] >> 1 & 1) << 4);
  line->w[C_DIR_LO] = w[0] & ~0xfffu;
  line->w[C_DIR_HI] = w[1];
  line->w[C_RID_PASID] = w[2] & 0xfffff;
  int bits = (int)(w[0] >> 9 & 7) + 13;
  line->w[C_PASID_HIGH] = ~0u << (bits < pasid_bits ? bits : pasid_bits);
  return line;
}

static line_t *load_pasid(uint32_t requester, uint32_t pasid, line_t *context)
{
  uint32_t w[16];
  uint32_t lo = context->w[C_DIR_LO] + (pasid >> 6) * 8;
  uint32_t hi = context->w[C_DIR_HI] + (lo < context->w[C_DIR_LO]);
  if (read_words(lo, hi, 2, w)) fail("directory");
  if (!(w[0] & 1) || (w[0] & 0xffc) || (w[1] >> 20)) fail("directory entry");
  if (read_words((w[0] & ~0xfffu) + (pasid & 63) * 64, w[1], 16, w)) fail("pasid");
  if (!(w[0] & 1)) fail("pasid entry");
  line_t *line = line_of(pasids, requester, pasid);
  last_requester = ~0u;
  memset(line, 0, sizeof *line);
  line->key0 = requester | (1u << 31);
  line->key1 = pasid;
  line->w[P_FLAGS] = (w[0] >> 6 & 7) | ((w[4] >> 2 & 3 ? 5u : 4u) << 3)
    | (((w[0] >> 2 & 7) + 2) << 6) | ((w[0] >> 1 & 1) << 9) | ((w[0] >> 9 & 1) << 10)
    | ((w[2] >> 24 & 1) << 11) | ((w[4] & 1) << 12) | ((w[4] >> 1 & 1) << 13);
  line->w[P_DOMAIN] = w[2] & 0xffff;
  line->w[P_S1_LO] = w[4] & ~0xfffu;
  line->w[P_S1_HI] = w[5];
  line->w[P_S2_LO] = w[0] & ~0xfffu;
  line->w[P_S2_HI] = w[1];
  line->w[P_S2_HIGH] = high_bits_from(12 + 9 * ((w[0] >> 2 & 7) + 2));
  line->w[P_RULES] = (w[4] >> 4 & 1) | ((w[4] >> 5 & 1) << 1) | ((w[4] >> 6 & 1) << 2)
    | ((w[4] >> 7 & 1) << 3);
  return line;
}

static uint32_t find_process(const request_t *r)
{
  if (mode > 1) { silent = 1; return 0x30; }
  line_t *context = line_of(contexts, r->requester, 0);
  if (context->key0 != (r->requester | (1u << 31)) || context->key1 != 0)
    context = load_context(r->requester);
  uint32_t flags = context->w[C_FLAGS];
  silent = (flags & 16) != 0;
  if (r->address_type != 0 && !(flags & 1)) return 0x44;
  if (r->address_type == 2) return 0;
  uint32_t pasid = r->pasid;
  need = r->access;
  if (r->has_pasid) {
    if (!(flags & 2)) return 0x45;
    if (r->privileged) need |= N_PRIVILEGED;
    if (r->execute) need |= N_EXECUTE;
  } else {
    pasid = context->w[C_RID_PASID];
    if (flags & 8) need |= N_PRIVILEGED;
  }
  if (pasid & context->w[C_PASID_HIGH]) return r->has_pasid ? 0x46 : 0x48;
  process = line_of(pasids, r->requester, pasid);
  if (process->key0 != (r->requester | (1u << 31)) || process->key1 != pasid)
    process = load_pasid(r->requester, pasid, context);
  the_pasid = pasid;
  flags = process->w[P_FLAGS];
  silent |= (flags >> 9) & 1;
  if (!(need & (N_PRIVILEGED | N_EXECUTE))) return 0;
  uint32_t translation = flags & 7;
  if (translation != 1 && translation != 3) return 0;
  if ((need & N_PRIVILEGED) && !(flags >> 12 & 1)) return 0x5d;
  if ((need & N_EXECUTE) && !(flags >> 13 & 1)) return 0x5c;
  return 0;
}

static uint32_t finish(const request_t *r, answer_t *a, uint32_t flags, uint32_t lo, uint32_t hi,
                       uint32_t rights, int page_shift)
{
  int is_ats = r->address_type == 1;
  uint32_t allowed = allowed_needs(rights, need & N_PRIVILEGED, process->w[P_RULES]);
  if (!is_ats && (need & ~allowed & 7)) return 0x86;
  if (hi == 0 && lo >> 20 == 0xfee) return 0x87;
  a->status = is_ats ? 3 : 0;
  a->lo = is_ats ? lo & ~((1u << page_shift) - 1) : lo;
  a->hi = hi;
  a->page_shift = page_shift;
  if (!(need & N_EXECUTE)) allowed &= ~N_EXECUTE;
  if (is_ats && !(rights & R_DIRTY)) allowed &= ~N_WRITE;
  if (!(rights & R_S1_USER)) allowed |= 8;
  if ((rights & R_SNOOP) || (flags >> 11 & 1) || !r->no_snoop) allowed |= 16;
  a->rights = allowed;
  return 0;
}

static uint32_t translate_through(const request_t *r, answer_t *a)
{
  uint32_t flags = process->w[P_FLAGS], translation = flags & 7;
  if (translation == 4) fail("pass-through");
  int has_stage1 = translation != 2;
  if (has_stage1) {
    int32_t sign = (int32_t)r->hi >> ((flags >> 3 & 7) == 5 ? 24 : 15);
    if (sign != 0 && sign != -1) return 0x80;
  } else {
    if (r->hi & (input_high | process->w[P_S2_HIGH])) return 0x84;
  }
  uint32_t domain = process->w[P_DOMAIN], pasid = has_stage1 ? the_pasid : 0;
  a->domain = (int32_t)domain;
  int is_held = iotlb_find(domain, pasid, has_stage1, r->lo, r->hi);
  if (is_held && (!(r->access & N_WRITE) || (found.rights & R_DIRTY))) {
    a->source = 1;
    return finish(r, a, flags, found.lo, found.hi, found.rights, found.page_shift);
  }
  a->source = 2;
  int fault;
  if (has_stage1) {
    int is_nested = translation == 3;
    if (is_nested) {
      nested.lo = process->w[P_S2_LO];
      nested.hi = process->w[P_S2_HI];
      nested.levels = flags >> 6 & 7;
      nested.tracks = flags >> 10 & 1;
    }
    fault = walk1(process->w[P_S1_LO], process->w[P_S1_HI], flags >> 3 & 7, r->lo, r->hi, need,
                  process->w[P_RULES], is_nested);
    if (fault) return 0x71;
    if (is_held || s1.page_shift != 12)
      iotlb_insert(domain, the_pasid, 1, r->lo, r->hi, s1.lo, s1.hi, s1.page_shift, s1.rights);
    else iotlb_insert_missed(s1.lo, s1.hi, s1.rights);
    return finish(r, a, flags, s1.lo, s1.hi, s1.rights, s1.page_shift);
  }
  fault = walk2(process->w[P_S2_LO], process->w[P_S2_HI], flags >> 6 & 7, r->lo, r->hi,
                need & 3, flags >> 10 & 1);
  if (fault) return 0x79;
  if (is_held || s2.page_shift != 12)
    iotlb_insert(domain, 0, 0, r->lo, r->hi, s2.lo, s2.hi, s2.page_shift, s2.rights);
  else iotlb_insert_missed(s2.lo, s2.hi, s2.rights);
  return finish(r, a, flags, s2.lo, s2.hi, s2.rights, s2.page_shift);
}

static inline int is_as_last(const request_t *r)
{
  if (r->requester != last_requester || r->address_type != 0) return 0;
  if (!r->has_pasid) return last_pasid < 0 && (r->hi != 0 || r->lo >> 20 != 0xfee);
  return (int32_t)r->pasid == last_pasid && !r->privileged && !r->execute;
}

static uint32_t find_anew(const request_t *r)
{
  last_requester = ~0u;
  if (!is_enabled) fail("off");
  if (r->hi == 0 && r->lo >> 20 == 0xfee && !r->has_pasid) fail("interrupt");
  uint32_t fault = find_process(r);
  if (fault || r->address_type == 2) return fault;
  if (r->has_pasid && (r->privileged || r->execute)) return 0;
  last_requester = r->requester;
  last_pasid = r->has_pasid ? (int32_t)r->pasid : -1;
  last_need = need & N_PRIVILEGED;
  return 0;
}

static __attribute__((noinline)) void translate(const request_t *r, answer_t *a)
{
  a->reason = 0;
  a->completion = 0;
  a->recorded = 0;
  a->domain = -1;
  uint32_t fault = 0;
  if (is_as_last(r)) need = r->access | last_need;
  else fault = find_anew(r);
  if (fault == 0) fault = translate_through(r, a);
  if (fault) fail("refused");
}

static uint32_t one(int what, request_t *r, answer_t *a)
{
  if (what == 0) {
    if (walk2(header[H_TABLE_LO], header[H_TABLE_HI], 4, r->lo, r->hi, 1, 0)) fail("walk");
    return s2.lo;
  }
  if (what == 1) {
    if (!iotlb_find(header[H_DOMAIN], 0, 0, r->lo, r->hi)) fail("miss");
    return found.lo;
  }
  translate(r, a);
  return a->lo;
}

static uint32_t x = 12345;

static inline __attribute__((always_inline)) uint32_t
run(int what, int dependent, uint32_t count, request_t *r, answer_t *a)
{
  int shift = 32 - (int)header[H_PAGES_LOG2];
  uint32_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    r->lo = (x >> shift) << 12;
    uint32_t lo = one(what, r, a);
    sum += lo;
    x = x * 1664525u + 1013904223u + (dependent ? lo >> 12 : 0);
  }
  return sum;
}

static uint32_t run_any(int what, int dependent, uint32_t count, request_t *r, answer_t *a)
{
  if (what == 0) return dependent ? run(0, 1, count, r, a) : run(0, 0, count, r, a);
  if (what == 1) return dependent ? run(1, 1, count, r, a) : run(1, 0, count, r, a);
  return dependent ? run(2, 1, count, r, a) : run(2, 0, count, r, a);
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
  if (argc != 5) return 2;
  image_load(argv[1]);
  allowed_make();
  int what = argv[2][0] == 'w' ? 0 : argv[2][0] == 'i' ? 1 : 2;
  int dependent = argv[3][0] == 'd';
  uint32_t count = (uint32_t)atoi(argv[4]);
  iotlb_make((int)header[H_IOTLB_ENTRIES]);
  reserved_high1 = reserved_high2 = 0;
  input_high = high_bits_from(57);
  request_t r = { .requester = header[H_REQUESTER], .access = 1, .pasid = header[H_PASID],
                  .hi = header[H_IOVA_HI], .length = 4, .has_pasid = (uint8_t)header[H_HAS_PASID] };
  answer_t a = { 0 };
  for (uint32_t page = 0; page >> header[H_PAGES_LOG2] == 0; page++) {
    r.lo = page << 12;
    if (what == 1) {
      if (walk2(header[H_TABLE_LO], header[H_TABLE_HI], 4, r.lo, r.hi, 1, 0)) fail("walk");
      iotlb_insert(header[H_DOMAIN], 0, 0, r.lo, r.hi, s2.lo, s2.hi, 12, s2.rights);
    } else one(what, &r, &a);
  }
  run_any(what, dependent, count / 4, &r, &a);
  uint64_t reads = memory_reads;
  uint32_t sum = 0;
  int slices = (int)(count / SLICE);
  double *taken = malloc(sizeof(double) * slices);
  for (int slice = 0; slice < slices; slice++) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    sum += run_any(what, dependent, SLICE, &r, &a);
    clock_gettime(CLOCK_MONOTONIC, &to);
    taken[slice] = (to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec);
  }
  qsort(taken, slices, sizeof(double), by_size);
  printf("%.3f %u %llu\n", taken[(slices - 1) / 2] / SLICE, sum,
         (unsigned long long)(memory_reads - reads));
  return 0;
}
