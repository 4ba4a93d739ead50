import assert from "node:assert/strict";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { GRPC_STATUS, fromStatus, isOurs, toStatus } from "../../agent/api/status.ts";
import { REMEDY, SealetError, isCode } from "../../agent/error.ts";

const failure = (code: status, details: string, metadata: Metadata): ServiceError =>
  Object.assign(new Error(details), { code, details, metadata });

const bare = (code: status) => fromStatus(failure(code, "x", new Metadata()), "KMS_UNREACHABLE").code;

describe("Errors on the wire", () => {
  it("every code has a status that is a failure, and comes back whole", () => {
    for (const code of Object.keys(REMEDY)) {
      assert.ok(isCode(code));
      const sent = new SealetError(code, "what, why", { predicate: "p", expected: "größer", found: "\n\0" });
      const reply = toStatus(sent);
      assert.equal(reply.code, GRPC_STATUS[code]);
      assert.notEqual(reply.code, status.OK);
      const got = fromStatus(failure(reply.code, reply.details, reply.metadata), "KMS_UNREACHABLE");
      assert.deepEqual(
        [got.code, got.message, got.predicate, got.expected, got.found],
        [code, "what, why", "p", "größer", "\n\0"],
      );
    }
  });

  it("what is no SealetError crosses without its words", () => {
    const reply = toStatus(new Error("secret path"));
    assert.equal(reply.code, status.INTERNAL);
    assert.ok(!JSON.stringify([reply.details, reply.metadata.getMap()]).includes("secret"));
  });

  it("a status that is not ours keeps its sense", () => {
    assert.equal(bare(status.UNAUTHENTICATED), "UNAUTHENTICATED");
    assert.equal(bare(status.PERMISSION_DENIED), "PERMISSION_DENIED");
    assert.equal(bare(status.UNIMPLEMENTED), "PROTOCOL_VERSION");
    assert.equal(bare(status.INVALID_ARGUMENT), "REQUEST_INVALID");
    // Ours would say KMS_BUSY in its trailer: what is exhausted is a limit of gRPC's, and asking again does not help.
    assert.equal(bare(status.RESOURCE_EXHAUSTED), "REQUEST_INVALID");
    assert.equal(bare(status.NOT_FOUND), "INTERNAL");
    assert.equal(isOurs(failure(status.UNAVAILABLE, "x", new Metadata())), false);
  });

  it("what may be the transport's own is nobody's answer: a node does not lock for a reset stream", () => {
    const { UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, CANCELLED, DATA_LOSS } = status;
    for (const code of [UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, CANCELLED, DATA_LOSS])
      assert.equal(bare(code), "KMS_UNREACHABLE");
  });

  it("a code of a newer sealet is an answer, whose status alone is understood", () => {
    const metadata = new Metadata();
    metadata.set("sealet-code", "NEWER_CODE");
    for (const [code, sense] of [
      [status.DATA_LOSS, "INTERNAL"],
      [status.RESOURCE_EXHAUSTED, "KMS_BUSY"],
      [status.UNAVAILABLE, "KMS_UNREACHABLE"],
    ] as const)
      assert.equal(fromStatus(failure(code, "x", metadata), "KMS_UNREACHABLE").code, sense);
  });

  it("a code that is unknown here, or no code, does not pass for one", () => {
    for (const name of ["NEWER_CODE", "toString", "__proto__", ""]) {
      const metadata = new Metadata();
      metadata.set("sealet-code", name);
      assert.equal(fromStatus(failure(status.NOT_FOUND, "x", metadata), "KMS_UNREACHABLE").code, "INTERNAL");
    }
  });

  it("long words are cut on both sides", () => {
    const reply = toStatus(new SealetError("INTERNAL", "x".repeat(9999), { found: "y".repeat(9999) }));
    assert.equal(reply.details.length, 1024);
    const metadata = new Metadata();
    metadata.set("sealet-code", "INTERNAL");
    metadata.set("sealet-found-bin", Buffer.alloc(5000, "z"));
    assert.equal(fromStatus(failure(status.INTERNAL, "", metadata), "INTERNAL").found?.length, 1024);
  });
});
