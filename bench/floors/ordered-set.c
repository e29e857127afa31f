/*
 * Floor of an address space's bookkeeping: an ordered set of intervals as a red-black tree (nodes
 * in a pool, no allocation), insert with overlap check and remove.
 *
 * usage: ordered-set RESIDENT COUNT
 *
 * RESIDENT intervals of one page lie at odd page numbers. One operation inserts an interval at a
 * pseudo-random even page and removes it again. Prints nanoseconds of one operation (the median
 * over slices), a checksum of the pages used, and the intervals that are left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLICE 4096

struct node {
  uint64_t first, last, start;
  struct node *left, *right, *parent;
  int red;
};

static struct node nil = {0, 0, 0, &nil, &nil, &nil, 0};
static struct node *root = &nil, *pool_free;
static struct node *pool;
static uint64_t size;

static void rotate(struct node *x, int to_left) {
  struct node *y = to_left ? x->right : x->left;
  struct node *inner = to_left ? y->left : y->right;
  if (to_left) x->right = inner; else x->left = inner;
  if (inner != &nil) inner->parent = x;
  y->parent = x->parent;
  if (x->parent == &nil) root = y;
  else if (x == x->parent->left) x->parent->left = y;
  else x->parent->right = y;
  if (to_left) y->left = x; else y->right = x;
  x->parent = y;
}

static int insert(uint64_t first, uint64_t last, uint64_t start) {
  struct node *above = &nil, *at = root;
  while (at != &nil) {
    if (first <= at->last && at->first <= last) return -1;
    above = at;
    at = first < at->first ? at->left : at->right;
  }
  struct node *z = pool_free;
  pool_free = z->right;
  z->first = first; z->last = last; z->start = start;
  z->left = z->right = &nil;
  z->parent = above;
  z->red = 1;
  if (above == &nil) root = z;
  else if (first < above->first) above->left = z;
  else above->right = z;
  while (z->parent->red) {
    struct node *p = z->parent, *g = p->parent;
    int is_left = p == g->left;
    struct node *uncle = is_left ? g->right : g->left;
    if (uncle->red) {
      p->red = 0; uncle->red = 0; g->red = 1;
      z = g;
      continue;
    }
    if (z == (is_left ? p->right : p->left)) {
      rotate(p, is_left);
      z = p;
      p = z->parent;
    }
    p->red = 0;
    g->red = 1;
    rotate(g, !is_left);
  }
  root->red = 0;
  size++;
  return 0;
}

static struct node *find(uint64_t page) {
  struct node *at = root;
  while (at != &nil && !(at->first <= page && page <= at->last))
    at = page < at->first ? at->left : at->right;
  return at;
}

static void replace(struct node *u, struct node *v) {
  if (u->parent == &nil) root = v;
  else if (u == u->parent->left) u->parent->left = v;
  else u->parent->right = v;
  v->parent = u->parent;
}

static void removed_black(struct node *x) {
  while (x != root && !x->red) {
    int is_left = x == x->parent->left;
    struct node *w = is_left ? x->parent->right : x->parent->left;
    if (w->red) {
      w->red = 0; x->parent->red = 1;
      rotate(x->parent, is_left);
      w = is_left ? x->parent->right : x->parent->left;
    }
    struct node *near = is_left ? w->left : w->right, *far = is_left ? w->right : w->left;
    if (!near->red && !far->red) {
      w->red = 1;
      x = x->parent;
      continue;
    }
    if (!far->red) {
      near->red = 0; w->red = 1;
      rotate(w, !is_left);
      w = is_left ? x->parent->right : x->parent->left;
      far = is_left ? w->right : w->left;
    }
    w->red = x->parent->red;
    x->parent->red = 0; far->red = 0;
    rotate(x->parent, is_left);
    x = root;
  }
  x->red = 0;
}

static void take_out(struct node *z) {
  struct node *y = z, *x;
  int was_red = y->red;
  if (z->left == &nil) { x = z->right; replace(z, x); }
  else if (z->right == &nil) { x = z->left; replace(z, x); }
  else {
    for (y = z->right; y->left != &nil;) y = y->left;
    was_red = y->red;
    x = y->right;
    if (y->parent == z) x->parent = y;
    else { replace(y, x); y->right = z->right; y->right->parent = y; }
    replace(z, y);
    y->left = z->left; y->left->parent = y;
    y->red = z->red;
  }
  if (!was_red) removed_black(x);
  z->right = pool_free;
  pool_free = z;
  size--;
}

static uint32_t state = 12345;

static uint32_t next(uint32_t resident) {
  state = state * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)state * resident) >> 32);
}

static uint32_t run(int n, uint32_t resident) {
  uint32_t sum = 0;
  for (int i = 0; i < n; i++) {
    uint64_t page = 2 * (uint64_t)next(resident) + 2;
    if (insert(page * 4096, page * 4096 + 4095, 4096) != 0) abort();
    struct node *found = find(page * 4096);
    if (found == &nil) abort();
    take_out(found);
    sum += (uint32_t)page;
  }
  return sum;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint32_t resident = strtoul(argv[1], 0, 10);
  int slices = atoi(argv[2]) / SLICE;
  pool = malloc(sizeof *pool * (resident + 1));
  for (uint32_t i = 0; i <= resident; i++) {
    pool[i].right = pool_free;
    pool_free = &pool[i];
  }
  /* A fixed shuffle of the pages, so that nodes lie in memory as after a life of use. */
  uint32_t step = 0x9e3779b1u % resident | 1, at = 0;
  for (uint32_t i = 0; i < resident; i++) {
    do at = (at + step) % resident;
    while (insert((2 * (uint64_t)at + 1) * 4096, (2 * (uint64_t)at + 1) * 4096 + 4095, 4096) != 0);
  }
  run(SLICE, resident);
  uint32_t sum = 0;
  double *taken = malloc(sizeof *taken * slices);
  for (int slice = 0; slice < slices; slice++) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    sum += run(SLICE, resident);
    clock_gettime(CLOCK_MONOTONIC, &to);
    taken[slice] = (to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec);
  }
  qsort(taken, slices, sizeof *taken, by_size);
  printf("%.3f %u %llu\n", taken[(slices - 1) / 2] / SLICE, sum, (unsigned long long)size);
  return 0;
}
