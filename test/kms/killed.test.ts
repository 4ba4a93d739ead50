/** I10 for the KMS: it is killed between any two of its steps, restarted, and the node goes on. */
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import type { AuditEntry, DiskFacts, NodeRecord } from "../../agent/api/gen/sealet.ts";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { asSealetError } from "../../agent/error.ts";
import { GENESIS, followChain } from "../../agent/kms/audit.ts";
import { createIdentity } from "../../agent/kms/identity.ts";
import { KmsConnection } from "../../agent/kms/client.ts";
import { Cluster, blank, never, sealed, twinEvidence } from "./cluster.ts";
import { parseInitdata } from "../../agent/config/initdata.ts";

/** The process, and a conversation with it in lines. */
class Running {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly address: string;

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, null>,
    lines: AsyncIterator<string>,
    address: string,
  ) {
    this.#child = child;
    this.#lines = lines;
    this.address = address;
  }

  static async start(directory: string): Promise<Running> {
    const script = join(import.meta.dirname, "killed-kms.ts");
    const args = ["--disable-warning=ExperimentalWarning", script, directory];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value, done } = await lines.next();
    assert.ok(done !== true, "the KMS did not start");
    return new Running(child, lines, value);
  }

  async killAt(step: number): Promise<void> {
    this.#child.stdin.write(`${step}\n`);
    assert.equal((await this.#lines.next()).value, "armed");
  }

  async ended(): Promise<NodeJS.Signals | null> {
    if (this.#child.signalCode === null && this.#child.exitCode === null) await once(this.#child, "exit");
    return this.#child.signalCode;
  }

  async end(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended();
  }
}

describe("KMS killed at any step", function () {
  this.timeout(120_000);

  it("I10 unseal and commit end right after the restart, whatever step it was", async () => {
    await using cluster = await Cluster.start({ leaseSeconds: 3600 });
    const document = await cluster.addNode("w1");
    const initdata = parseInitdata(document);
    // Its keys, socket and database go on in processes of their own.
    const { spkiSha256, socket } = cluster.kms;
    await cluster.kms.close();
    const identity = await createIdentity("node");
    const connect = (address: string) =>
      new KmsConnection({
        endpoints: [address],
        spkiSha256,
        identity,
        tee: "sev-snp",
        agentVersion: "test",
        evidence: twinEvidence(document),
      });

    let disk: DiskFacts = blank();
    let key: Buffer | undefined;
    let boots = 0;
    /** One boot of the node: throws where the KMS dies under it. */
    const boot = async (address: string) => {
      using connection = connect(address);
      using unsealed = await connection.unseal({ enrolment: initdata.enrolment, disk }, never);
      key ??= Buffer.from(unsealed.diskKey);
      assert.deepEqual(unsealed.diskKey, key, "another key for the same disk");
      assert.equal(unsealed.format, disk.state === "blank");
      assert.ok(unsealed.nextEpoch === disk.epoch || unsealed.nextEpoch === disk.epoch + 1n);
      disk = sealed(unsealed.uuid, unsealed.nextEpoch);
      await connection.commit(unsealed.uuid, unsealed.nextEpoch, never);
      boots++;
    };

    let killed = 0;
    let kms = await Running.start(cluster.directory);
    for (let step = 1; ; step++) {
      assert.ok(step < 40, "the KMS does not come through");
      await kms.killAt(step);
      const survived = await boot(kms.address).then(
        () => true,
        (error: unknown) => {
          assert.equal(asSealetError(error).code, "KMS_UNREACHABLE");
          return false;
        },
      );
      if (survived) break;
      assert.equal(await kms.ended(), "SIGKILL");
      killed++;
      kms = await Running.start(cluster.directory);
      await boot(kms.address);
      await consistent(socket, disk);
    }
    await kms.end();
    assert.ok(killed >= 8, `only ${killed} steps`);
    assert.ok(boots > killed);
    await cluster.open();
  });
});

async function consistent(socket: string, disk: DiskFacts): Promise<void> {
  const { nodes } = await withOperator(socket, (ask) => ask(METHOD.listNodes, {}));
  const [record]: (NodeRecord | undefined)[] = nodes;
  assert.deepEqual([record?.diskState, record?.diskUuid, record?.epoch], ["sealed", disk.uuid, disk.epoch]);
  const all = { afterSequence: 0n, limit: 1000 };
  const { entries }: { entries: AuditEntry[] } = await withOperator(socket, (ask) =>
    ask(METHOD.listAudit, all),
  );
  assert.ok(!("broken" in followChain({ sequence: 0n, hash: GENESIS }, entries)));
}
