/** Platforms from captures of hosts whose IOMMUs have no model here. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { InputError } from "../../units/index.js";
import { openPlatform } from "./open-platform.io.js";

const CAPTURE = fileURLToPath(
  new URL("../../../../examples/captured-machine/lspci.txt", import.meta.url),
);

async function opened(iommu: string): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), "ioasis-"));
  try {
    const platform = join(folder, "host.yaml");
    writeFileSync(platform, `schema: ioasis/platform/1\nname: A\nfrom: ${CAPTURE}\n${iommu}`);
    return await openPlatform({ platform, strict: false } as never, () => {});
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a capture without the table of its IOMMU is refused with what can be said", async () => {
  await assert.rejects(opened(""), (error) => {
    assert.ok(InputError.is(error));
    assert.match(error.message, /does not show which IOMMU.*expected iommu: \{ kind: intel \}/);
    return true;
  });
});

test("the file may name Intel's IOMMU in its place, or none", async () => {
  assert.equal(typeof (await opened("iommu: { kind: intel }\n")), "function");
  assert.equal(typeof (await opened("iommu: { kind: none }\n")), "function");
});
