/** mocha's spec reporter inside a guest; leaves the counts in /guest/report for the host. */
import { writeFileSync } from "node:fs";
import Mocha from "mocha";

// eslint-disable-next-line import/no-default-export -- mocha takes a reporter only as a module's default export
export default class GuestReporter extends Mocha.reporters.Spec {
  override epilogue(): void {
    super.epilogue();
    if (this.stats === undefined) return;
    writeFileSync("/guest/report", `${this.stats.passes} passed, ${this.stats.failures} failed`);
  }
}
