/*
 * Physical memory of the floors: the frames of an image file, found as the product finds them.
 *
 * Chunks of 512 frames in a hash table with open addressing, then one index per frame, then the
 * frame's words in one array. Image: 16 header words, the frame numbers (low, high), the frames.
 */
#ifndef IMAGE_H
#define IMAGE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H_FRAMES, H_ROOT_LO, H_ROOT_HI, H_TABLE_LO, H_TABLE_HI, H_REQUESTER, H_HAS_PASID, H_PASID,
       H_IOVA_HI, H_PAGES_LOG2, H_IOTLB_ENTRIES, H_DOMAIN, H_WORDS = 16 };

static uint32_t header[H_WORDS];
static int32_t *directory;
static int directory_length, directory_shift, directory_count;
static int32_t *frame_maps;
static int map_count;
static uint32_t *words;
static uint32_t word_count;
static uint64_t memory_reads;

static inline int32_t directory_find(int32_t chunk)
{
  int mask = directory_length - 1;
  int at = (int)(((uint32_t)chunk * 0x9e3779b1u) >> directory_shift) << 1;
  for (;;) {
    int32_t key = directory[at];
    if (key == chunk) return directory[at + 1];
    if (key == -1) return INT32_MIN;
    at = (at + 2) & mask;
  }
}

static void directory_insert(int32_t chunk, int32_t value)
{
  int at = (int)(((uint32_t)chunk * 0x9e3779b1u) >> directory_shift) << 1;
  while (directory[at] != -1) at = (at + 2) & (directory_length - 1);
  directory[at] = chunk;
  directory[at + 1] = value;
}

static int32_t directory_add(int32_t chunk)
{
  if ((directory_count + 1) * 4 > directory_length) {
    int32_t *old = directory;
    int length = directory_length;
    directory_length *= 2;
    directory_shift--;
    directory = malloc(sizeof(int32_t) * directory_length);
    memset(directory, -1, sizeof(int32_t) * directory_length);
    for (int at = 0; at < length; at += 2)
      if (old[at] != -1) directory_insert(old[at], old[at + 1]);
    free(old);
  }
  frame_maps = realloc(frame_maps, sizeof(int32_t) * 512 * (map_count + 1));
  memset(frame_maps + 512 * map_count, -1, sizeof(int32_t) * 512);
  directory_insert(chunk, map_count);
  directory_count++;
  return map_count++;
}

/* Index in `words` of the entry at an address, or -1: the product's slow path, which faults here. */
static inline int32_t word_at(uint32_t lo, uint32_t hi)
{
  if (hi >> 20) return -1;
  int32_t value = directory_find((int32_t)((hi << 11) | (lo >> 21)));
  if (value < 0) return -1;
  int32_t frame = frame_maps[(value << 9) | ((lo >> 12) & 511)];
  return frame < 0 ? -1 : (int32_t)((frame << 10) | ((lo & 0xff8) >> 2));
}

/* The same, trying the chunk used last first: its number and where its map begins. */
static inline int32_t word_at_last(uint32_t lo, uint32_t hi, int32_t *last, int32_t *map)
{
  int32_t chunk = (int32_t)((hi << 11) | (lo >> 21));
  if (chunk != *last) {
    int32_t value = directory_find(chunk);
    if (value < 0) return -1;
    *map = value << 9;
    *last = chunk;
  }
  int32_t frame = frame_maps[*map | ((lo >> 12) & 511)];
  return frame < 0 ? -1 : (int32_t)((frame << 10) | ((lo & 0xff8) >> 2));
}

static void image_load(const char *path)
{
  FILE *file = fopen(path, "rb");
  if (!file || fread(header, 4, H_WORDS, file) != H_WORDS) exit(2);
  uint32_t frames = header[H_FRAMES];
  uint32_t *pfns = malloc(8 * frames);
  word_count = frames * 1024;
  words = malloc(4ul * word_count);
  if (fread(pfns, 8, frames, file) != frames) exit(2);
  if (fread(words, 4096, frames, file) != frames) exit(2);
  fclose(file);
  directory_length = 32;
  directory_shift = 28;
  directory = malloc(sizeof(int32_t) * directory_length);
  memset(directory, -1, sizeof(int32_t) * directory_length);
  for (uint32_t i = 0; i < frames; i++) {
    uint64_t pfn = ((uint64_t)pfns[2 * i + 1] << 32) | pfns[2 * i];
    int32_t chunk = (int32_t)(pfn >> 9);
    int32_t value = directory_find(chunk);
    if (value == INT32_MIN) value = directory_add(chunk);
    frame_maps[(value << 9) | (pfn & 511)] = (int32_t)i;
  }
  free(pfns);
}
#endif
