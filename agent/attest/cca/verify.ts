/**
 * Appraises the attestation token of an Arm CCA realm: the platform's key, which the policy names, signs the platform token;
 * that one names the realm's key by digest; the realm's key signs the realm token over this request's challenge.
 *
 * @see Arm RMM specification, §A7; draft-ffm-rats-cca-token §6
 */
import { concat, equalBytes, fromHex, hex } from "../bytes.ts";
import type { Crypto } from "../crypto.ts";
import { attempt } from "../malformed.ts";
import type { Unchecked } from "../policy-fields.ts";
import { checkAnyOf, checkRule, oneOf } from "../rule.ts";
import { Checks, type Claims, type Verdict } from "../verdict.ts";
import type { CcaPolicy } from "./policy.ts";
import { p384Spki, parseCcaToken, type CcaToken } from "./token.ts";

export const CCA_PREDICATES = {
  "cca.token.format": "The token is a well-formed CCA token of platform and realm, signed with ES384",
  "cca.token.profile": "Platform and realm token are of profiles that are known here",
  "cca.platform.known": "The platform's instance is one whose key the policy names",
  "cca.platform.signature": "The platform's key signed the platform token",
  "cca.platform.lifecycle": "The platform is secured",
  "cca.platform.implementation": "The platform's implementation is one of those allowed",
  "cca.platform.config": "The platform's configuration is one of those allowed",
  "cca.platform.software": "Each software component of the platform is one of those allowed",
  "cca.realm.binding": "The platform token names the realm's key",
  "cca.realm.signature": "The realm's key signed the realm token",
  "cca.realm.challenge": "The realm's challenge is what this request binds",
  "cca.realm.initial-measurement": "The realm's initial measurement is one of those allowed",
  "cca.realm.rem0": "Extensible measurement 0 is one of those allowed",
  "cca.realm.rem1": "Extensible measurement 1 is one of those allowed",
  "cca.realm.rem2": "Extensible measurement 2 is one of those allowed",
  "cca.realm.rem3": "Extensible measurement 3 is one of those allowed",
  "cca.realm.personalization":
    "The realm's personalization value is what the policy asks for (digest of the initdata)",
} as const satisfies Record<string, string>;

export type CcaCode = keyof typeof CCA_PREDICATES;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a constant
export const CCA_DEMANDED = Object.keys(CCA_PREDICATES) as readonly CcaCode[];

export interface CcaInput {
  readonly token: Uint8Array;
  readonly policy: CcaPolicy;
  readonly expect: {
    /** 64 bytes. */
    readonly reportData: Uint8Array | Unchecked;
    /** SHA-384 of the node's initdata; needed where the policy binds the personalization value to it, zeros after it. */
    readonly initdataDigest?: Uint8Array | undefined;
  };
  readonly crypto: Crypto;
  /** Stop before the first signature where a cheaper predicate failed already: for services that are flooded. */
  readonly brief?: boolean | undefined;
}

const PLATFORM_PROFILES: readonly string[] = [
  "tag:arm.com,2023:cca_platform#1.0.0",
  "http://arm.com/CCA-SSD/1.0.0",
];
const REALM_PROFILES: readonly (string | undefined)[] = ["tag:arm.com,2023:realm#1.0.0", undefined];
/** draft-ffm-rats-cca-token §4.4.4: 0x3000 to 0x30ff. */
const SECURED = 0x3000;

export async function verifyCca(input: CcaInput): Promise<Verdict> {
  const checks = new Checks<CcaCode>();
  // copied: the caller's buffers may change while signatures are verified
  const bytes = new Uint8Array(input.token);
  const token = checks.parsed(
    "cca.token.format",
    "a CCA token",
    attempt(() => parseCcaToken(bytes)),
  );
  if (token !== undefined) await verifyToken(checks, token, input);
  return checks.verdict("arm-cca", CCA_DEMANDED, () => (token === undefined ? {} : ccaClaims(token)));
}

async function verifyToken(checks: Checks<CcaCode>, token: CcaToken, input: CcaInput): Promise<void> {
  const { policy, crypto } = input;
  const { platformClaims: platform, realmClaims: realm } = token;
  const known = PLATFORM_PROFILES.includes(platform.profile) && REALM_PROFILES.includes(realm.profile);
  checks.check(
    "cca.token.profile",
    known,
    "Arm's profiles",
    `${platform.profile}, ${realm.profile ?? "none"}`,
  );
  checkPlatform(checks, token, policy);
  checkRealm(checks, token, input);
  const digest = await crypto.digest(realm.publicKeyHash, realm.publicKeyBytes);
  checks.equal("cca.realm.binding", digest, platform.challenge);
  const instance = hex(platform.instanceId);
  const anchor = policy.platforms.find(({ instanceId }) => instanceId === instance);
  checks.check("cca.platform.known", anchor !== undefined, "an instance that the policy names", instance);
  if (anchor === undefined || (checks.failed && input.brief === true)) return;
  const [platformSigned, realmSigned] = await Promise.all([
    crypto.verify(
      "ecdsa-p384-sha384",
      p384Spki(fromHex(anchor.key)),
      token.platform.signature,
      token.platform.signed,
    ),
    crypto.verify("ecdsa-p384-sha384", p384Spki(realm.publicKey), token.realm.signature, token.realm.signed),
  ]);
  checks.check("cca.platform.signature", platformSigned, "right", said(platformSigned));
  checks.check("cca.realm.signature", realmSigned, "right", said(realmSigned));
}

const said = (right: boolean): string => (right ? "right" : "wrong");

function checkPlatform(checks: Checks<CcaCode>, { platformClaims }: CcaToken, policy: CcaPolicy): void {
  const { lifecycle, implementationId, config, softwareComponents } = platformClaims;
  checks.check(
    "cca.platform.lifecycle",
    lifecycle >= SECURED && lifecycle <= SECURED + 0xff,
    "0x3000 to 0x30ff",
    `0x${lifecycle.toString(16)}`,
  );
  checkAnyOf(checks, "cca.platform.implementation", policy.implementationId, implementationId);
  checkAnyOf(checks, "cca.platform.config", policy.config, config);
  const found = softwareComponents.map(({ measurement, signerId }) => ({
    measurement: hex(measurement),
    signerId: hex(signerId),
  }));
  checkRule(
    checks,
    "cca.platform.software",
    policy.softwareComponents,
    () => found.map(({ measurement }) => measurement).join(", "),
    (allowed) =>
      found.every((one) =>
        allowed.some(
          ({ measurement, signerId }) => measurement === one.measurement && signerId === one.signerId,
        ),
      ),
    (allowed) => oneOf(allowed.map(({ measurement }) => measurement)),
  );
}

function checkRealm(checks: Checks<CcaCode>, { realmClaims }: CcaToken, { policy, expect }: CcaInput): void {
  const { challenge, initialMeasurement, extensibleMeasurements, personalization } = realmClaims;
  if ("unchecked" in expect.reportData)
    checks.unchecked("cca.realm.challenge", expect.reportData.unchecked, () => hex(challenge));
  else checks.equal("cca.realm.challenge", expect.reportData, challenge);
  checkAnyOf(checks, "cca.realm.initial-measurement", policy.initialMeasurement, initialMeasurement);
  const codes = ["cca.realm.rem0", "cca.realm.rem1", "cca.realm.rem2", "cca.realm.rem3"] as const;
  for (const [i, code] of codes.entries()) {
    const [rule, value] = [policy.extensibleMeasurements[i], extensibleMeasurements[i]];
    if (rule !== undefined && value !== undefined) checkAnyOf(checks, code, rule, value);
  }
  if (policy.personalization !== "initdata") {
    checkAnyOf(checks, "cca.realm.personalization", policy.personalization, personalization);
    return;
  }
  const { initdataDigest } = expect;
  const padded =
    initdataDigest && concat(initdataDigest, new Uint8Array(Math.max(0, 64 - initdataDigest.length)));
  checks.check(
    "cca.realm.personalization",
    padded !== undefined && equalBytes(padded, personalization),
    () => (padded === undefined ? "the initdata's digest, which was not given" : hex(padded)),
    () => hex(personalization),
  );
}

function ccaClaims({ platformClaims: platform, realmClaims: realm }: CcaToken): Claims {
  return {
    platform: {
      profile: platform.profile,
      implementationId: hex(platform.implementationId),
      instanceId: hex(platform.instanceId),
      lifecycle: platform.lifecycle,
      config: hex(platform.config),
      softwareComponents: platform.softwareComponents.map(({ type, measurement, version, signerId }) => ({
        type: type ?? "",
        measurement: hex(measurement),
        version: version ?? "",
        signerId: hex(signerId),
      })),
    },
    realm: {
      profile: realm.profile ?? "",
      initialMeasurement: hex(realm.initialMeasurement),
      extensibleMeasurements: realm.extensibleMeasurements.map(hex),
      personalization: hex(realm.personalization),
      challenge: hex(realm.challenge),
    },
  };
}
