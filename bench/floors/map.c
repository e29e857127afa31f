/*
 * The floor of mapping: the product's page-table algorithm in plain C, on the same directory of
 * frames: walk from the root (or the lowest table used last), check that entries are free, write
 * entries of two 32-bit words, count entries in use, free tables that fall empty.
 *
 * usage: map WHAT ORDER PAGES_LOG2 ROUNDS
 *   WHAT   one (a page at a time) or run (512 at a time); ORDER  sequential or random
 * prints: nanoseconds per page of mapping, a checksum of the entries, tables used; then nanoseconds
 * per page of unmapping.
 */
#include <time.h>
#include "image.h"

enum { LEVELS = 4, ENTRIES = 512, POOL_FIRST = 0x100000, FRAMES = 4096 };

static uint16_t counts[FRAMES];
static uint32_t free_frames[FRAMES];
static int free_count, next_frame;
static uint32_t root;
static int64_t last_key = -1;
static int32_t last_word;
static uint32_t unlinked[FRAMES];
static int unlinked_count, table_count;

static int32_t frame_word(uint32_t pfn)
{
  return word_at(pfn << 12, pfn >> 20);
}

static uint32_t allocate(void)
{
  uint32_t index = free_count ? free_frames[--free_count] : (uint32_t)next_frame++;
  if (index >= FRAMES) exit(2);
  uint32_t pfn = POOL_FIRST + index;
  int32_t chunk = (int32_t)(pfn >> 9), value = directory_find(chunk);
  if (value == INT32_MIN) value = directory_add(chunk);
  frame_maps[(value << 9) | (pfn & 511)] = (int32_t)index;
  memset(words + index * 1024, 0, 4096);
  counts[index] = 0;
  table_count++;
  return pfn;
}

static void release(uint32_t pfn)
{
  frame_maps[(directory_find((int32_t)(pfn >> 9)) << 9) | (pfn & 511)] = -1;
  free_frames[free_count++] = pfn - POOL_FIRST;
  table_count--;
}

static inline uint32_t index_at(uint64_t iova, int level)
{
  return (iova >> (9 * (level - 1))) & (ENTRIES - 1);
}

static inline uint32_t frame_at(int32_t word)
{
  return (words[word + 1] & 0xfffff) << 20 | words[word] >> 12;
}

static int32_t reach(uint64_t iova, int level)
{
  int32_t table = frame_word(root);
  for (int at = LEVELS; at > level; at--) {
    if (table < 0) exit(3);
    int32_t word = table + 2 * (int32_t)index_at(iova, at);
    uint32_t low = words[word];
    if (!(low & 3)) {
      uint32_t pfn = allocate();
      words[word + 1] = pfn >> 20;
      words[word] = pfn << 12 | 3;
      counts[word >> 10]++;
      table = frame_word(pfn);
    } else if (!(low & 0x80)) table = frame_word(frame_at(word));
    else exit(3);
  }
  if (level == 1) {
    last_key = (int64_t)(iova >> 9);
    last_word = table;
  }
  return table;
}

static uint64_t fill(int32_t table, uint64_t iova, uint64_t pfn, uint64_t count, uint32_t low)
{
  uint32_t index = iova & (ENTRIES - 1);
  uint64_t entries = count < ENTRIES - index ? count : ENTRIES - index;
  uint32_t frame = (uint32_t)(pfn << 12), high = (uint32_t)(pfn >> 20);
  int32_t word = table + 2 * (int32_t)index, end = word + 2 * (int32_t)entries;
  for (; word < end; word += 2) {
    if (words[word] & 3) exit(3);
    words[word + 1] = high;
    words[word] = frame | low;
    frame += 4096;
    if (!frame) high++;
  }
  counts[table >> 10] += entries;
  return entries;
}

__attribute__((noinline)) static void map(uint64_t iova, uint64_t pfn, uint64_t count, uint32_t low)
{
  for (uint64_t done = 0; done < count;) {
    uint64_t at = iova + done;
    int32_t word = (int64_t)(at >> 9) == last_key ? last_word : reach(at, 1);
    done += fill(word, at, pfn + done, count - done, low);
  }
}

static uint64_t clear_pages(int32_t table, uint32_t from, uint32_t to)
{
  int32_t end = table + 2 * (int32_t)to;
  uint64_t removed = 0;
  for (int32_t word = table + 2 * (int32_t)from; word <= end; word += 2) {
    if (!(words[word] & 3)) continue;
    words[word] = 0;
    words[word + 1] = 0;
    removed++;
  }
  counts[table >> 10] -= removed;
  return removed;
}

static uint64_t clear(uint32_t pfn, int level, uint64_t base, uint64_t first, uint64_t last)
{
  int32_t table = frame_word(pfn);
  uint64_t size = 1ull << (9 * (level - 1)), removed = 0;
  uint64_t from = first <= base ? 0 : (first - base) / size, to = (last - base) / size;
  if (to > ENTRIES - 1) to = ENTRIES - 1;
  if (level == 1) {
    last_key = (int64_t)(base >> 9);
    last_word = table;
    return clear_pages(table, from, to);
  }
  for (uint64_t index = from; index <= to; index++) {
    int32_t word = table + 2 * (int32_t)index;
    if (!(words[word] & 3)) continue;
    uint32_t child = frame_at(word);
    removed += clear(child, level - 1, base + index * size, first, last);
    int32_t child_word = frame_word(child);
    if (child_word >= 0 && counts[child_word >> 10]) continue;
    last_key = -1;
    unlinked[unlinked_count++] = child;
    words[word] = 0;
    words[word + 1] = 0;
    counts[word >> 10]--;
  }
  return removed;
}

__attribute__((noinline)) static uint64_t unmap(uint64_t iova, uint64_t count)
{
  uint64_t last = iova + count - 1;
  if ((int64_t)(iova >> 9) == last_key && (int64_t)(last >> 9) == last_key
      && counts[last_word >> 10] > count)
    return clear_pages(last_word, iova & 511, last & 511);
  last_key = -1;
  return clear(root, LEVELS, 0, iova, last);
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* The round that other processes disturbed least. */
static double least(const double *values, int count)
{
  double found = values[0];
  for (int i = 1; i < count; i++) if (values[i] < found) found = values[i];
  return found;
}

int main(int argc, char **argv)
{
  if (argc != 5) return 2;
  uint64_t step = argv[1][0] == 'r' ? 512 : 1, base = 1ull << 26, to = 1ull << 24;
  int is_random = argv[2][0] == 'r', log2 = atoi(argv[3]), rounds = atoi(argv[4]);
  uint64_t pages = 1ull << log2, calls = pages / step;
  words = malloc(4096ul * FRAMES);
  memset(words, 0, 4096ul * FRAMES);
  directory_length = 32;
  directory_shift = 28;
  directory = malloc(4 * directory_length);
  memset(directory, -1, 4 * directory_length);
  root = allocate();
  double map_ns[64], unmap_ns[64];
  uint32_t sum = 0;
  int tables = 0;
  for (int round = 0; round < rounds; round++) {
    double began = now();
    for (uint64_t i = 0; i < calls; i++) {
      uint64_t page = (is_random ? (i * 40503 + 12345) & (calls - 1) : i) * step;
      map(base + page, to + page + 1, step, 3);
    }
    map_ns[round] = (now() - began) / pages;
    tables = table_count;
    sum = 0;
    for (int32_t word = 0; word < next_frame * 1024; word += 2)
      if (words[word + 1] >= to >> 20) sum += words[word] + words[word + 1];
    began = now();
    for (uint64_t i = 0; i < calls; i++) {
      uint64_t page = (is_random ? (i * 40503 + 12345) & (calls - 1) : i) * step;
      if (unmap(base + page, step) != step) return 3;
    }
    unmap_ns[round] = (now() - began) / pages;
    while (unlinked_count) release(unlinked[--unlinked_count]);
  }
  printf("%f %u %d %f\n", least(map_ns, rounds), sum, tables, least(unmap_ns, rounds));
  return 0;
}
