/**
 * The engine in a worker thread, called by a C program through the client library: what a program
 * sees, and what the open files are told.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { makeEventFd, signalEventFd } from "../ffi/descriptors.io.js";
import { clientLibrary, guardLibrary } from "../run/client-library.io.js";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
const skip = hasCompiler ? false : "no C compiler";

const folder = mkdtempSync(join(tmpdir(), "ioasis-engine-"));
const tell = new SharedArrayBuffer(64);
const words = new Int32Array(tell);
const socket = join(folder, "socket");
const end = makeEventFd();
let worker: Worker | undefined;

before(() => {
  if (!hasCompiler) return;
  mkdirSync(join(folder, "root", "dev"), { recursive: true });
  writeFileSync(join(folder, "root", "dev", "iommu"), "", { mode: 0o600 });
  execFileSync("chmod", ["1600", join(folder, "root", "dev", "iommu")]);
  const entry = new URL("../../../test/support/door-engine.io.js", import.meta.url);
  worker = new Worker(entry, { workerData: { socket, tell, end, guard: guardLibrary(ROOT) } });
  assert.notEqual(Atomics.wait(words, 15, 0, 10_000), "timed-out");
});

after(async () => {
  signalEventFd(end);
  if (worker !== undefined) await once(worker, "exit");
  rmSync(folder, { recursive: true });
});

const HEAD = `
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#define CHECK(x) do { if (!(x)) { printf("line %d: %s, errno %d\\n", __LINE__, #x, errno); exit(1); } } while (0)
`;

let programs = 0;

/** Compiles and runs a program; resolves to its output. */
async function program(body: string): Promise<string> {
  const name = join(folder, `program${++programs}`);
  writeFileSync(`${name}.c`, `${HEAD}int main(void) {\n${body}\nreturn 0; }\n`);
  execFileSync("cc", ["-O1", "-o", name, `${name}.c`]);
  const env = {
    ...process.env,
    LD_PRELOAD: clientLibrary(ROOT),
    IOASIS_SOCKET: socket,
    IOASIS_ROOT: join(folder, "root"),
  };
  return await new Promise((resolve, reject) => {
    execFile(name, [], { env, timeout: 20_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${stdout}${stderr}${error.message}`));
    });
  });
}

const told = (index: number): number => Atomics.load(words, index);

test("a call reads and writes the caller's memory, and a wild pointer is EFAULT", {
  skip,
}, async () => {
  const out = await program(`
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    unsigned char bytes[16];
    for (int i = 0; i < 16; i++) bytes[i] = i;
    CHECK(ioctl(fd, 0x3b80, bytes) == 7);
    for (int i = 0; i < 16; i++) CHECK(bytes[i] == i + 1);
    CHECK(ioctl(fd, 0x3b80, (void *)16) == -1 && errno == EFAULT);
    CHECK(ioctl(fd, 0x1234, 0) == -1 && errno == ENOTTY);
    unsigned char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(ioctl(fd, 0x3b80, page) == -1 && errno == EFAULT);
    CHECK(open("/dev/vfio/none", O_RDWR) == -1 && errno == ENOENT);
    CHECK(close(fd) == 0);
    puts("done");
  `);
  assert.equal(out, "done\n");
  assert.equal(told(0), told(1), "every file that was opened is released");
});

test("the last close counts, over duplicates and processes", { skip }, async () => {
  const before = told(1);
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    CHECK(fd >= 0);
    int copy = dup(fd);
    CHECK(close(fd) == 0);
    pid_t child = fork();
    if (child == 0) {
      unsigned char bytes[16] = { 1 };
      CHECK(ioctl(copy, 0x3b80, bytes) == 7 && bytes[0] == 2);
      _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    unsigned char bytes[16] = { 3 };
    CHECK(ioctl(copy, 0x3b80, bytes) == 7 && bytes[0] == 4);
    CHECK(close(copy) == 0);
  `);
  assert.equal(told(1), before + 1);
});

test("eventfds are signalled, new descriptors arrive where they should", { skip }, async () => {
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    int words[4] = { eventfd(0, 0), -1, 0, 0 };
    CHECK(ioctl(fd, 0x3b82, words) == 0);
    CHECK(words[1] > 2);
    unsigned char bytes[16] = { 8 };
    CHECK(ioctl(words[1], 0x3b80, bytes) == 7 && bytes[0] == 9);
    CHECK(fcntl(words[1], F_GETFD) == FD_CLOEXEC);
  `);
});

test("a file is readable by poll while it says so", { skip }, async () => {
  await program(`
    int words[4] = { 0, -1, 0, 0 };
    CHECK(ioctl(open("/dev/iommu", O_RDWR), 0x3b82, words) == 0);
    int fd = words[1];
    struct pollfd look = { fd, POLLIN, 0 };
    CHECK(poll(&look, 1, 0) == 0);
    CHECK(write(fd, "ready", 5) == 5);
    CHECK(poll(&look, 1, 1000) == 1 && (look.revents & POLLIN));
    char text[11] = "";
    CHECK(read(fd, text, 10) == 10 && strcmp(text, "/dev/iommu") == 0);
    CHECK(poll(&look, 1, 0) == 0);
  `);
});

test("memory of a device is shared with who maps it", { skip }, async () => {
  const before = told(2);
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    unsigned char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(page != MAP_FAILED);
    CHECK(page[0] == 0x5a);
    CHECK(munmap(page, 4096) == 0);
    CHECK(close(fd) == 0);
  `);
  assert.equal(told(2), before);
});

test("one page has one frame from wherever it is mapped", { skip }, async () => {
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    int file = memfd_create("pages", 0);
    CHECK(ftruncate(file, 1 << 20) == 0);
    char *a = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *b = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 4096);
    CHECK(ioctl(fd, 0x3b83, b) == 0);
    CHECK(ioctl(fd, 0x3b83, a + 4096) == 0);
    CHECK(munmap(b, 4096) == 0);
    CHECK(ioctl(fd, 0x3b83, b) == -1 && errno == EFAULT);
    char *stack = malloc(8192);
    memset(stack, 1, 8192);
    CHECK(ioctl(fd, 0x3b83, stack) == 0);
    CHECK(ioctl(fd, 0x3b83, "text") == -1 && errno == EFAULT);
  `);
  assert.equal(told(4), 1, "pinned once when it was looked at");
});

test("a program that cuts a file short hurts nobody but itself", { skip }, async () => {
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    int file = memfd_create("pages", 0);
    CHECK(ftruncate(file, 8192) == 0);
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memset(page, 7, 8192);
    CHECK(ioctl(fd, 0x3b84, page + 4096) == 7);
    CHECK(ftruncate(file, 4096) == 0);
    CHECK(ioctl(fd, 0x3b84, page + 4096) == 0);
    CHECK(ioctl(fd, 0x3b84, page) == 7);
  `);
});

test("memory that the program may only read is not written", { skip }, async () => {
  await program(`
    int fd = open("/dev/iommu", O_RDWR);
    char name[] = "/tmp/ioasis-read-only-XXXXXX";
    int file = mkstemp(name);
    CHECK(ftruncate(file, 4096) == 0);
    int reader = open(name, O_RDONLY);
    CHECK(unlink(name) == 0);
    close(file);
    char *page = mmap(0, 4096, PROT_READ, MAP_SHARED, reader, 0);
    CHECK(page != MAP_FAILED);
    CHECK(ioctl(fd, 0x3b84, page) == 0);
    CHECK(ioctl(fd, 0x3b85, page) == -1 && errno == EFAULT);
    CHECK(ioctl(fd, 0x3b83, page) == -1 && errno == EFAULT);
    CHECK(ioctl(fd, 0x3b84, page) == 0);
  `);
});
