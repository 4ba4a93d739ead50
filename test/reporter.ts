/** mocha's spec reporter, and a closing line that a program can read: `unit: 12 passed, 0 failed`. */
import Mocha from "mocha";

// eslint-disable-next-line import/no-default-export -- mocha takes a reporter only as a module's default export
export default class CountingReporter extends Mocha.reporters.Spec {
  override epilogue(): void {
    super.epilogue();
    const { passes, failures } = this.stats ?? { passes: 0, failures: 0 };
    console.log(`${process.env["LAYER"] ?? "tests"}: ${passes} passed, ${failures} failed`);
  }
}
