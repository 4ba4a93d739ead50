import assert from "node:assert/strict";
import { isSignedBy, isValidAt, issuerProblem } from "../../../agent/attest/chain.ts";
import { hex, utf8 } from "../../../agent/attest/bytes.ts";
import { parseQeIdentity, parseTcbInfo } from "../../../agent/attest/tdx/documents.ts";
import { examineCrl, examineDocument } from "../../../agent/attest/tdx/facts.ts";
import { parseSgxExtension, SGX_EXTENSION } from "../../../agent/attest/tdx/pck.ts";
import { parseQuote } from "../../../agent/attest/tdx/quote.ts";
import { cutSignedJson } from "../../../agent/attest/tdx/signed-json.ts";
import { parseCertificate, parsePemCertificates } from "../../../agent/attest/x509.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { INTEL_ROOT } from "../../../agent/attest/tdx/policy.ts";
import { OLD_SIGNER_CHAIN, SIGNER_CHAIN, vector } from "./genuine.ts";

const crypto = nodeCrypto();
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** "sgx": signed by Intel, and not for TDX. */
type Document = readonly [
  file: string,
  kind: "tcbInfo" | "enclaveIdentity" | "tcbEvaluationDataNumbers",
  purpose: "tdx" | "sgx" | "neither",
  from: string,
  to: string,
];

const documents: readonly Document[] = [
  [
    "go-tdx-guest/testdata/sample_qeIdentity_response",
    "enclaveIdentity",
    "tdx",
    "2023-06-08T07:24:59Z",
    "2023-07-08T07:24:59Z",
  ],
  [
    "go-tdx-guest/testdata/sample_tcbInfo_response",
    "tcbInfo",
    "tdx",
    "2023-06-18T08:42:58Z",
    "2023-07-18T08:42:58Z",
  ],
  [
    "go-tdx-guest/testdata/sample_tcbinfo_response_v5",
    "tcbInfo",
    "tdx",
    "2026-02-01T14:49:26Z",
    "2026-03-03T14:49:26Z",
  ],
  [
    "trustee/tdx/enclaveIdentity.json",
    "enclaveIdentity",
    "tdx",
    "2025-10-28T06:45:09Z",
    "2025-11-27T06:45:09Z",
  ],
  ["trustee/tdx/tcbInfo.json", "tcbInfo", "tdx", "2025-10-27T13:07:17Z", "2025-11-26T13:07:17Z"],
  [
    "x-automata-dcap/0625/identity.json",
    "enclaveIdentity",
    "sgx",
    "2025-06-04T09:19:32Z",
    "2025-07-04T09:19:32Z",
  ],
  [
    "x-automata-dcap/0625/qe_td.json",
    "enclaveIdentity",
    "tdx",
    "2025-06-04T09:40:18Z",
    "2025-07-04T09:40:18Z",
  ],
  ["x-automata-dcap/0625/sgxtcbeval.json", "tcbEvaluationDataNumbers", "neither", "", ""],
  ["x-automata-dcap/0625/tcbinfo.json", "tcbInfo", "sgx", "", ""],
  [
    "x-automata-dcap/0625/tcbinfov3_00806f050000.json",
    "tcbInfo",
    "tdx",
    "2025-06-04T09:51:38Z",
    "2025-07-04T09:51:38Z",
  ],
  [
    "x-automata-dcap/0625/tcbinfov3_90C06F000000.json",
    "tcbInfo",
    "tdx",
    "2025-06-05T03:43:45Z",
    "2025-07-05T03:43:45Z",
  ],
  ["x-automata-dcap/0625/tdxtcbeval.json", "tcbEvaluationDataNumbers", "neither", "", ""],
  ["x-automata-dcap/0825/sgx_qeidentity_v4.json", "enclaveIdentity", "sgx", "", ""],
  ["x-automata-dcap/0825/sgx_tcbinfov3_00606a000000.json", "tcbInfo", "sgx", "", ""],
  ["x-automata-dcap/0825/sgxtcbeval.json", "tcbEvaluationDataNumbers", "neither", "", ""],
  [
    "x-automata-dcap/1025/identity.json",
    "enclaveIdentity",
    "tdx",
    "2025-10-13T10:46:47Z",
    "2025-11-12T10:46:47Z",
  ],
  ["x-automata-dcap/1025/tcb_info.json", "tcbInfo", "tdx", "2025-10-19T17:48:50Z", "2025-11-18T17:48:50Z"],
  ["x-automata-dcap/1025/tdxtcbeval.json", "tcbEvaluationDataNumbers", "neither", "", ""],
  [
    "x-automata-dcap/solana/qe_identity.json",
    "enclaveIdentity",
    "tdx",
    "2025-07-07T09:20:26Z",
    "2025-08-06T09:20:26Z",
  ],
  ["x-automata-dcap/solana/tcb_info_v3_sgx.json", "tcbInfo", "sgx", "", ""],
  [
    "x-automata-dcap/solana/tcb_info_v3_with_tdx_module.json",
    "tcbInfo",
    "tdx",
    "2025-07-07T09:06:43Z",
    "2025-08-06T09:06:43Z",
  ],
];

describe("Intel's signed documents", () => {
  for (const [file, kind, purpose, from, to] of documents)
    it(`${file}: signed by Intel, for ${purpose}`, async () => {
      const parse = (body: Uint8Array): unknown =>
        kind === "tcbInfo"
          ? parseTcbInfo(body)
          : kind === "enclaveIdentity"
            ? parseQeIdentity(body)
            : JSON.parse(utf8(body, kind));
      const facts = await examineDocument(
        crypto,
        { body: vector(file), issuerChain: SIGNER_CHAIN },
        kind,
        parse,
      );
      assert.ok(facts.ok);
      assert.equal(facts.value.signerProblem, undefined);
      assert.equal(facts.value.signed, true);
      const { document } = facts.value;
      assert.equal(document?.ok, purpose !== "sgx");
      if (purpose !== "tdx" || !document?.ok) return;
      const { value } = document;
      assert.ok(typeof value === "object" && value !== null && "issueDate" in value && "nextUpdate" in value);
      assert.deepEqual([value.issueDate, value.nextUpdate], [Date.parse(from), Date.parse(to)]);
    });

  it("a byte changed anywhere in the signed body breaks the signature, white space included", async () => {
    const body = vector("x-automata-dcap/1025/tcb_info.json");
    for (const [from, to] of [
      ['"UpToDate"', '"Uptodate"'],
      ['"version":3', '"version": 3'],
    ]) {
      const changed = encode(utf8(body, "body").replace(from ?? "", to ?? ""));
      const facts = await examineDocument(
        crypto,
        { body: changed, issuerChain: SIGNER_CHAIN },
        "tcbInfo",
        parseTcbInfo,
      );
      assert.ok(facts.ok);
      assert.equal(facts.value.signed, false);
      assert.equal(facts.value.document, undefined);
    }
  });

  it("white space around the body is no part of it", () => {
    const { body, signature } = cutSignedJson(
      encode(` {\n"tcbInfo" : {"a":"}\\"{"} ,"signature":"${"0f".repeat(64)}"}\n`),
      "tcbInfo",
    );
    assert.equal(utf8(body, "body"), '{"a":"}\\"{"}');
    assert.equal(hex(signature), "0f".repeat(64));
  });

  it("an envelope has one form", () => {
    const sig = `"signature":"${"00".repeat(64)}"`;
    const bad: readonly (readonly [text: string, code: string])[] = [
      [`{"tcbInfo":{},${sig}} x`, "TRAILING"],
      [`{"tcbInfo":{},${sig},"tcbInfo":{}}`, "UNEXPECTED"],
      [`{${sig},"tcbInfo":{}}`, "UNEXPECTED"],
      [`{"tcbInfo":[],${sig}}`, "UNEXPECTED"],
      [`{"tcbInfo":{"a":{},${sig}}`, "TRUNCATED"],
      [`{"tcbInfo":{},"signature":"${"00".repeat(63)}"}`, "TRUNCATED"],
      [`{"tcbInfo":{},"signature":"${"0x".repeat(64)}"}`, "ENCODING"],
      [`{"tcbInfo":{}`, "TRUNCATED"],
      [``, "TRUNCATED"],
      [" ".repeat(300_000), "TOO_LARGE"],
    ];
    for (const [text, code] of bad)
      assert.throws(() => cutSignedJson(encode(text), "tcbInfo"), { code }, text.slice(0, 80));
  });
});

const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

describe("Intel's certificates and CRLs", () => {
  const root = parseCertificate(vector("dcap-qvl/trust/TrustedRootCA.der"));
  const platformCa = parseCertificate(vector("x-automata-dcap/solana/platform.der"));

  it("the root is the pinned one, in every file", async () => {
    const files = ["go-tdx-guest/trust/trusted_root.pem"];
    const roots = [root, parseCertificate(vector("x-automata-dcap/solana/root.der"))];
    for (const file of files) roots.push(...parsePemCertificates(utf8(vector(file), file)));
    for (const { der } of roots) assert.equal(hex(await crypto.digest("sha256", der)), INTEL_ROOT);
  });

  it("chains in quotes and in headers are signed all the way", async () => {
    const chains = [
      "dcap-qvl/near/quote.bin.pckchain.pem",
      "dcap-qvl/sample/quote-from-tappd.bin.pckchain.pem",
      "dcap-qvl/sample/sgx_quote.pckchain.pem",
      "dcap-qvl/sample/tdx-quote.bin.pckchain.pem",
      "dcap-qvl/sample/tdx_quote.pckchain.pem",
      "dcap-qvl/sample/tdx_quote_outdated.pckchain.pem",
      "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat.pckchain.pem",
      "go-tdx-guest/testdata/quote_v5_sample.dat.pckchain.pem",
      "go-tdx-guest/testdata/tdx_prod_quote_SPR_E4.dat.pckchain.pem",
      "trustee/tdx/tdx_quote_4.dat.pckchain.pem",
      "x-automata-dcap/quotes/alibaba_quote_5.dat.pckchain.pem",
      "x-automata-dcap/quotes/tdx_quote_5.dat.pckchain.pem",
      "x-automata-dcap/samples/quotev3.bin.pckchain.pem",
      "x-automata-dcap/samples/quotev4.bin.pckchain.pem",
      "x-automata-dcap/samples/quotev5.dat.pckchain.pem",
      "x-automata-dcap/solana/quote_sgx.bin.pckchain.pem",
      "x-automata-dcap/solana/quote_tdx.bin.pckchain.pem",
      "go-tdx-guest/testdata/pckCrlIssuerChain.pem",
      "go-tdx-guest/testdata/qeIdentityIssuerChain.pem",
      "go-tdx-guest/testdata/tcbInfoIssuerChain.pem",
    ];
    for (const file of chains) {
      const chain = parsePemCertificates(utf8(vector(file), file));
      assert.ok(chain.length >= 2, file);
      for (const [i, certificate] of chain.entries()) {
        const issuer = chain[i + 1] ?? certificate;
        assert.equal(issuerProblem(issuer, certificate, { casBelow: 0 }), undefined, file);
        assert.equal(await isSignedBy(crypto, certificate, issuer.publicKey), true, file);
      }
      const top = chain.at(-1);
      assert.equal(hex(await crypto.digest("sha256", top?.der ?? new Uint8Array())), INTEL_ROOT, file);
      const [leaf] = chain;
      const extension = leaf?.extensions.get(SGX_EXTENSION);
      if (extension !== undefined) assert.equal(parseSgxExtension(extension.value).components.length, 16);
    }
  });

  it("the TCB signer was certified twice with one key", () => {
    const [old] = parsePemCertificates(utf8(OLD_SIGNER_CHAIN, "chain"));
    const [signer] = parsePemCertificates(utf8(SIGNER_CHAIN, "chain"));
    assert.ok(old && signer);
    assert.deepEqual(old.publicKey.spki, signer.publicKey.spki);
    assert.equal(isValidAt(old, Date.parse("2025-06-01")), false);
    assert.equal(isValidAt(signer, Date.parse("2025-06-01")), true);
    assert.deepEqual(
      parseCertificate(vector("x-automata-dcap/solana/signing.der")).publicKey.spki,
      signer.publicKey.spki,
    );
  });

  it("the PCK certificate that stands alone is the Platform CA's", async () => {
    const pck = parseCertificate(vector("x-automata-dcap/solana/pck.der"));
    assert.equal(await isSignedBy(crypto, pck, platformCa.publicKey), true);
  });

  const crls: readonly (readonly [
    file: string,
    issuer: "root" | "ca",
    revoked: number,
    from: string,
    to: string,
  ])[] = [
    ["go-tdx-guest/testdata/pckcrl", "ca", 44, "2023-06-08", "2023-07-08"],
    ["go-tdx-guest/testdata/rootcrl.der", "root", 0, "2023-04-03", "2024-04-02"],
    ["x-automata-dcap/0825/platform_crl.der", "ca", 44, "2025-08-15", "2025-09-14"],
    ["x-automata-dcap/1025/pck_crl.der", "ca", 44, "2025-10-13", "2025-11-12"],
    ["x-automata-dcap/solana/intel_root_ca_crl.der", "root", 0, "2025-03-20", "2026-04-03"],
    ["x-automata-dcap/solana/pck_platform_crl.der", "ca", 44, "2025-07-07", "2025-08-06"],
  ];
  for (const [file, issuer, revoked, from, to] of crls)
    it(`${file}: signed by the ${issuer}, ${revoked} revoked`, async () => {
      const facts = await examineCrl(crypto, vector(file), issuer === "root" ? root : platformCa);
      assert.ok(facts.ok);
      const { crl, signatureProblem } = facts.value;
      assert.equal(signatureProblem, undefined);
      assert.equal(crl.revoked.length, revoked);
      assert.deepEqual([day(crl.thisUpdate), day(crl.nextUpdate)], [from, to]);
      const other = await examineCrl(crypto, vector(file), issuer === "root" ? platformCa : root);
      assert.ok(other.ok);
      assert.notEqual(other.value.signatureProblem, undefined);
    });

  it("hexadecimal siblings hold the same quotes", () => {
    const pairs = [
      ["dcap-qvl/near/quote_hex.txt", "dcap-qvl/near/quote.bin"],
      ["dcap-qvl/sample/quote-from-tappd.hex", "dcap-qvl/sample/quote-from-tappd.bin"],
      ["dcap-qvl/sample/tdx-quote.hex", "dcap-qvl/sample/tdx-quote.bin"],
      ["x-automata-dcap/samples/quotev4.hex", "x-automata-dcap/samples/quotev4.bin"],
      ["x-automata-dcap/quotes/alibaba_quote_5.hex", "x-automata-dcap/quotes/alibaba_quote_5.dat"],
    ] as const;
    for (const [text, binary] of pairs) {
      const digits = utf8(vector(text), text).trim().replace(/^0x/, "");
      assert.deepEqual(
        parseQuote(Uint8Array.from(Buffer.from(digits, "hex"))).signature,
        parseQuote(vector(binary)).signature,
      );
    }
  });
});
