import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { createLogger } from "../agent/log.ts";

function written(stream: PassThrough): Record<string, unknown>[] {
  let text = "";
  for (let chunk: string | null = stream.setEncoding("utf8").read(); chunk !== null; chunk = stream.read())
    text += chunk;
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line): Record<string, unknown> => JSON.parse(line));
}

describe("log", () => {
  it("is a line of JSON each, from its level up", () => {
    const stream = new PassThrough();
    const { log, setLevel } = createLogger(stream);
    log("debug", "not yet");
    log("warn", "unseal retried", {
      code: "KMS_UNREACHABLE",
      phase: "unseal",
      durationMs: 12,
      found: undefined,
    });
    setLevel("debug");
    log("debug", "now");
    const [first, second] = written(stream);
    assert.ok(typeof first?.["timestamp"] === "string");
    assert.deepEqual(
      { ...first, timestamp: "" },
      {
        level: "warn",
        message: "unseal retried",
        code: "KMS_UNREACHABLE",
        phase: "unseal",
        durationMs: 12,
        timestamp: "",
      },
    );
    assert.equal(second?.["message"], "now");
  });

  it("I9 has no field for a secret, and drops bytes and objects that come without types", () => {
    const stream = new PassThrough();
    const { log } = createLogger(stream);
    // @ts-expect-error -- a Buffer is no field's type
    log("info", "opened", { phase: Buffer.from("c4nary") });
    // @ts-expect-error -- nor is there a field for it
    log("info", "opened", { key: { bytes: Buffer.from("c4nary") } });
    const lines = JSON.stringify(written(stream));
    for (const form of ["utf8", "hex", "base64"] as const) {
      assert.equal(lines.includes(Buffer.from("c4nary").toString(form)), false);
    }
    assert.equal(lines.includes('"data"'), false);
  });
});
