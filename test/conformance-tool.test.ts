import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JUDGES, type KernelJudge, needsHugePages } from "../tools/conformance/judges.js";
import { isGood, judge, missing, type ProgramOutcome } from "../tools/conformance/outcome.js";
import { conformancePage, summaryLine } from "../tools/conformance/page.js";
import { readTap } from "../tools/conformance/tap.js";

const [LATEST, OLDER] = JUDGES as unknown as readonly [KernelJudge, KernelJudge];

/** As the kernel's harness prints it. */
const OUTPUT = `TAP version 13
1..6
# Starting 6 tests from 9 test cases.
#  RUN           iommufd.simple_close ...
#            OK  iommufd.simple_close
ok 1 iommufd.simple_close
#  RUN           iommufd_ioas.mock_domain.area ...
# iommufd.c:688:area:Expected 0 (0) == _test_ioctl_ioas_unmap(self->fd, 1, 2, 3, NULL) (-1)
# area: Test terminated by assertion
#          FAIL  iommufd_ioas.mock_domain.area
not ok 2 iommufd_ioas.mock_domain.area
#  RUN           iommufd_viommu.no_viommu.hw_queue ...
#      SKIP      Skipping test for variant no_viommu
#            OK  iommufd_viommu.no_viommu.hw_queue
ok 3 iommufd_viommu.no_viommu.hw_queue # SKIP Skipping test for variant no_viommu
# iommufd.c:99:get_hw_info:Expected 0 (0) == -1 (-1)
not ok 4 iommufd_ioas.mock_domain.get_hw_info
# iommufd.c:1:huge_map:Expected MAP_FAILED != buf
not ok 5 vfio_compat_mock_domain.Ver1v2.huge_map
`;

function outcome(kernel: KernelJudge, hugePages: number): ProgramOutcome {
  const output = readTap(OUTPUT);
  const instances = judge(kernel, output, hugePages);
  return { program: "iommufd", suite: kernel.version, planned: output.planned, instances };
}

describe("conformance: what the kernel's test programs say", () => {
  it("reads results with the first thing that failed, and what was announced and never came", () => {
    const output = readTap(OUTPUT);
    assert.equal(output.planned, 6);
    assert.deepEqual(
      output.results.map((one) => one.verdict),
      ["passed", "failed", "skipped", "failed", "failed"],
    );
    assert.match(output.results[1]?.reason ?? "", /^iommufd\.c:688:area:Expected 0/);
    assert.equal(output.results[2]?.reason, "Skipping test for variant no_viommu");
    assert.equal(missing(outcome(LATEST, 0)), 1);
  });

  it("counts huge pages apart only without a pool, and what the kernel itself cannot pass", () => {
    const standings = (kernel: KernelJudge, hugePages: number) =>
      outcome(kernel, hugePages).instances.map((one) => one.standing);
    assert.deepEqual(standings(LATEST, 0), [
      ...["passed", "failed", "skipped", "failed", "needs huge pages"],
    ]);
    assert.deepEqual(standings(OLDER, 80), ["passed", "failed", "skipped", "impossible", "failed"]);
  });

  it("names exactly the instances of huge pages", () => {
    assert.ok(needsHugePages("iommufd_mock_domain.two_domains_hugepage.all_aligns"));
    assert.ok(needsHugePages("iommufd_dirty_tracking.domain_dirty64M_huge.set_dirty_tracking"));
    assert.ok(needsHugePages("iommufd_ioas.no_domain.access_domain_destory"));
    assert.ok(!needsHugePages("iommufd_mock_domain.one_domain_file_hugepage.basic"));
    assert.ok(!needsHugePages("iommufd_mock_domain.one_domain_hugepage.replace"));
    assert.ok(!needsHugePages("iommufd_ioas.no_domain.ioas_option_huge_pages"));
  });

  it("is good only when nothing failed and nothing is missing", () => {
    assert.ok(!isGood(outcome(LATEST, 0)));
    const good = readTap("1..1\nok 1 iommufd.simple_close\n");
    const instances = judge(LATEST, good, 0);
    assert.ok(isGood({ program: "iommufd", suite: "7.2", planned: 1, instances }));
    assert.ok(!isGood({ program: "iommufd", suite: "7.2", planned: undefined, instances: [] }));
  });

  it("writes a table with each that did not pass, and a line for a terminal", () => {
    const program = outcome(LATEST, 0);
    const kernel = { version: "7.2", package: "linux-source-7.2 7.2.13-1", reportOnly: false };
    const page = conformancePage([{ ...kernel, programs: [program] }]);
    assert.match(page, /\| `iommufd` \| 6 \| 1 \| 3 \| 1 \| 1 \| 0 \|/);
    assert.match(page, /1 instances without a result/);
    assert.match(page, /needs huge pages .*: `vfio_compat_mock_domain\.Ver1v2\.huge_map`/);
    assert.equal(
      summaryLine({ ...kernel, programs: [] }, program),
      "7.2 iommufd: NOT OK, 6 instances: 1 passed, 2 failed, 1 skipped, 1 needs huge pages, " +
        "1 without a result",
    );
  });
});
