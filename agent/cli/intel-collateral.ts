/**
 * Intel's collateral in the JSON that quote verification libraries exchange. Strings are taken byte for byte, for they are
 * what Intel signed; nothing here is believed before the verifier has checked it.
 */
import { z } from "zod";
import { fromHex } from "../attest/bytes.ts";
import { attempt } from "../attest/malformed.ts";
import type { TdxCollateral } from "../attest/tdx/verify.ts";
import { SealetError } from "../error.ts";

const hexText = z.string().regex(/^(?:[0-9a-fA-F]{2})+$/, "hex");

const schema = z.object({
  tcb_info: z.string(),
  tcb_info_signature: hexText,
  tcb_info_issuer_chain: z.string(),
  qe_identity: z.string(),
  qe_identity_signature: hexText,
  qe_identity_issuer_chain: z.string(),
  root_ca_crl: hexText,
  pck_crl: hexText,
  pck_crl_issuer_chain: z.string(),
});

/** @throws CONFIG_INVALID */
export function parseIntelCollateral(bytes: Uint8Array, name: string): TdxCollateral {
  const invalid = (why: string): never => {
    throw new SealetError("CONFIG_INVALID", `${name} is no collateral of Intel's: ${why}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return invalid("no JSON");
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) return invalid(z.prettifyError(parsed.error));
  const { data } = parsed;
  // only to find the document: the verifier reads it again once its signature held
  const fmspc = /"fmspc"\s*:\s*"([0-9a-fA-F]{12})"/.exec(data.tcb_info)?.[1];
  if (fmspc === undefined) return invalid("its TCB info names no FMSPC");
  const text = new TextEncoder();
  const crl = attempt(() => ({ root: fromHex(data.root_ca_crl), pck: fromHex(data.pck_crl) }));
  if (!crl.ok) return invalid(crl.refusal.why);
  const processor = data.pck_crl_issuer_chain.length > 0 && isProcessor(crl.value.pck);
  return {
    tcbInfo: new Map([
      [
        fmspc.toLowerCase(),
        {
          body: text.encode(`{"tcbInfo":${data.tcb_info},"signature":"${data.tcb_info_signature}"}`),
          issuerChain: text.encode(data.tcb_info_issuer_chain),
        },
      ],
    ]),
    qeIdentity: {
      body: text.encode(
        `{"enclaveIdentity":${data.qe_identity},"signature":"${data.qe_identity_signature}"}`,
      ),
      issuerChain: text.encode(data.qe_identity_issuer_chain),
    },
    rootCrl: crl.value.root,
    pckCrl: processor ? { processor: crl.value.pck } : { platform: crl.value.pck },
  };
}

/** The CRL's issuer by its name, again only to file it. */
function isProcessor(crl: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(crl).includes("PCK Processor CA");
}
