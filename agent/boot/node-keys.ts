/**
 * The KMS as the boot sequence sees it: one unseal in two halves, and times by which the lease can be kept. Enrolment is
 * got once a boot and kept on /run, so that an agent that is restarted needs no KMS to go on.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DiskFacts, EnrolResponse, type Evidence } from "../api/gen/sealet.ts";
import type { Initdata, InitdataDigests } from "../config/initdata.ts";
import type { DiskKeys } from "../disk/state-disk.ts";
import { SealetError, asSealetError } from "../error.ts";
import {
  certificateRequests,
  checkEnrolment,
  isFresh,
  openKeys,
  ownAddresses,
  validity,
} from "../kubelet/credentials.ts";
import { writeAtomically } from "../atomic-file.ts";
import { type HeldLease as KmsLease, KmsConnection } from "../kms/client.ts";
import type { TlsIdentity } from "../kms/identity.ts";
import type { EvidenceSource } from "../tee/evidence-source.ts";
import { VERSION } from "../version.ts";
import type { Clock } from "./clock.ts";
import { demandBound } from "./launch-binding.ts";
import type { Attested, Exchange, HeldLease, KeyService, Unsealed } from "./machine.ts";

export type NodeUnsealed = Unsealed & DiskKeys;

export interface NodeKeysOptions {
  readonly initdata: Initdata;
  readonly digests: InitdataDigests;
  readonly source: EvidenceSource;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  /** A folder on a tmpfs. */
  readonly runtime: string;
}

export class NodeKeys implements KeyService<NodeUnsealed> {
  readonly #options: NodeKeysOptions;
  readonly #kms: KmsConnection;
  readonly #enrolmentPath: string;
  #onEvidence: ((evidence: Evidence) => void) | undefined;
  /** The last that was given to the KMS. */
  evidence: Evidence | undefined;
  enrolment: EnrolResponse | undefined;

  constructor(options: NodeKeysOptions) {
    const { initdata, digests, source, identity, runtime } = options;
    this.#options = options;
    this.#enrolmentPath = join(runtime, "enrolment");
    this.#kms = new KmsConnection({
      endpoints: initdata.kms.endpoints,
      spkiSha256: initdata.kms.spkiSha256,
      identity,
      tee: source.tee,
      agentVersion: VERSION,
      evidence: async (reportData, signal) => {
        const evidence = await source.getEvidence(reportData, { signal });
        demandBound(evidence, digests);
        this.evidence = evidence;
        this.#onEvidence?.(evidence);
        return evidence;
      },
    });
  }

  requestUnseal(disk: DiskFacts, signal: AbortSignal): Exchange<NodeUnsealed> {
    const attested = Promise.withResolvers<Attested>();
    this.#onEvidence = (evidence) => attested.resolve({ evidenceSha256: sha256(evidence.report) });
    const ask = async (): Promise<NodeUnsealed> => {
      try {
        const keys = await this.#kms.unseal({ enrolment: this.#options.initdata.enrolment, disk }, signal);
        return {
          format: keys.format,
          uuid: keys.uuid,
          generation: keys.generation,
          nextEpoch: keys.nextEpoch,
          diskKey: keys.diskKey,
          headerMacKey: keys.headerMacKey,
          evidenceSha256: this.#evidenceSha256(),
          lease: heldLease(keys.lease),
          [Symbol.dispose]: () => keys[Symbol.dispose](),
        };
      } catch (error) {
        attested.reject(error);
        throw error;
      }
    };
    return { attested: attested.promise, unsealed: ask() };
  }

  commit(uuid: string, epoch: bigint, signal: AbortSignal): Promise<void> {
    return this.#kms.commit(uuid, epoch, signal);
  }

  async enrol(signal: AbortSignal): Promise<string> {
    const { initdata, clock } = this.#options;
    const keys = openKeys();
    const take = (answer: EnrolResponse) => {
      checkEnrolment(answer, keys, initdata.node);
      this.enrolment = answer;
      // Also one that is known: the write may have failed before.
      writeAtomically(this.#enrolmentPath, EnrolResponse.encode(answer).finish());
      return new Date(validity(answer.clientCertificate).to).toISOString();
    };
    const stored = this.enrolment ?? this.#storedEnrolment();
    // An agent that starts takes what it finds, for its KMS may be away; a new address can wait until it looks again.
    const addresses = this.enrolment === undefined ? [] : ownAddresses();
    if (stored !== undefined && isFresh(stored, clock.wall(), addresses)) {
      try {
        return `certificates of this boot, until ${take(stored)}`;
      } catch (thrown) {
        // Not for the keys that are there now: asked for anew.
        if (asSealetError(thrown).code !== "ENROL_REFUSED") throw thrown;
      }
    }
    const answer = await this.#kms.enrol(certificateRequests(keys, initdata.node), signal);
    return `certificates until ${take(answer)}`;
  }

  async renew(leaseId: string, signal: AbortSignal): Promise<HeldLease & Attested> {
    const lease = heldLease(await this.#kms.renew(leaseId, signal));
    const { id, durationMs, remainingMs } = lease;
    return { id, durationMs, remainingMs, evidenceSha256: this.#evidenceSha256() };
  }

  release(leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#kms.release(leaseId, signal);
  }

  close(): void {
    this.#kms.close();
  }

  #evidenceSha256(): string {
    if (this.evidence === undefined) throw new SealetError("INTERNAL", "The KMS answered without evidence");
    return sha256(this.evidence.report);
  }

  #storedEnrolment(): EnrolResponse | undefined {
    try {
      return EnrolResponse.decode(readFileSync(this.#enrolmentPath));
    } catch {
      return undefined;
    }
  }
}

/** The client's times are this process's; what remains holds for everybody. */
function heldLease({ id, durationMs, heldUntil }: KmsLease): HeldLease {
  return { id, durationMs, remainingMs: Math.max(0, heldUntil - performance.now()) };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
