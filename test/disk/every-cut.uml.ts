/** Run by `cuts.ts`: too long for every day. */
import { type Crash, crashes } from "./crash.ts";

describe("I10 power cut, every one", function () {
  this.timeout(0);
  for (const name of ["format", "epoch", "initialisation"] as const satisfies Crash[]) {
    it(`in ${name}: the next boot ends right`, async () => {
      const { cuts, tried, states } = await crashes[name]({});
      console.log(`      ${cuts} cuts, ${tried} booted: ${states}`);
    });
  }
});
