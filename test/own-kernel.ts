/** For mocha, before any test: those that change mounts, devices and control groups run in a guest and nowhere else. */
import { readFileSync } from "node:fs";

const MARK = ".uml.test.ts";

export const mochaHooks = {
  beforeAll(this: Mocha.Context): void {
    const file = this.test?.parent?.suites.find((suite) => suite.file?.endsWith(MARK))?.file;
    if (file === undefined || readFileSync("/proc/cpuinfo", "latin1").includes("User Mode Linux")) return;
    throw new Error(
      `${file} would change this machine's mounts, devices and control groups. Run: node test/uml/run.ts ${file}`,
    );
  },
};
