import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failures } from "../../agent/attest/verdict.ts";
import { type ClientOptions, CollateralClient } from "../../agent/collateral/client.ts";
import { readDirectory } from "../../agent/collateral/directory.ts";
import { httpClient } from "../../agent/collateral/http.ts";
import { patient, systemTime } from "../../agent/collateral/patient.ts";
import type { SealetError } from "../../agent/error.ts";
import { CollateralServices } from "../twin/collateral-services.ts";
import { defaultQeIdentity, defaultTcbInfo, FMSPC, TWIN_TIME } from "../twin/intel-ca.ts";
import { appraise, ca } from "../attest/tdx/twin.ts";
import { vector } from "../attest/tdx/genuine.ts";

const TCB = `/tdx/certification/v4/tcb?fmspc=${FMSPC}`;
const QE = "/tdx/certification/v4/qe/identity";
const PCK_CRL = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
const ROOT_CRL = "/IntelSGXRootCA.der";
const platform = { fmspc: FMSPC, ca: "platform" } as const;
const never = new AbortController().signal;
const HOUR_MS = 3600 * 1000;

describe("collateral client", () => {
  let services: CollateralServices;
  let directory: string;
  let problems: SealetError[];
  let now: number;

  beforeEach(async () => {
    services = await CollateralServices.start();
    directory = mkdtempSync(join(tmpdir(), "sealet-collateral-"));
    problems = [];
    now = TWIN_TIME;
    serveIntel();
  });
  afterEach(async () => {
    await services.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const keptFiles = (): string[] =>
    readdirSync(directory, { withFileTypes: true, recursive: true }).flatMap((entry) =>
      entry.isFile() ? [entry.name] : [],
    );

  function serveIntel(change: Parameters<typeof ca.collateral>[0] = {}): void {
    services.serveIntel(FMSPC, ca.collateral(change));
  }

  function client(more: Partial<ClientOptions> = {}): CollateralClient {
    const quick = { firstDelayMs: 1, longestDelayMs: 5 };
    return new CollateralClient({
      directory,
      get: patient(httpClient({ timeoutMs: 5000 }), quick),
      now: () => now,
      amd: services.url,
      intel: services.url,
      intelCertificates: services.url,
      onProblem: (problem) => problems.push(problem),
      ...more,
    });
  }

  it("what it gets from Intel's service verifies a quote, online and from the directory", async () => {
    const collateral = await client().tdx(platform, never);
    assert.deepEqual(services.asked.toSorted(), [ROOT_CRL, PCK_CRL, QE, TCB].toSorted());
    assert.equal((await appraise(ca.quote(), { collateral })).accepted, true);
    const { tdx } = readDirectory(directory);
    assert.ok(tdx);
    assert.equal((await appraise(ca.quote(), { collateral: tdx })).accepted, true);
    assert.equal(
      readdirSync(directory, { recursive: true }).filter((name) => String(name).includes("draft")).length,
      0,
    );
  });

  it("what is fresh is not asked for again; what is a day old is", async () => {
    await client().tdx(platform, never);
    await client().tdx(platform, never);
    assert.equal(services.asked.length, 4);
    now += 25 * 3600 * 1000;
    await client().tdx(platform, never);
    assert.equal(services.asked.length, 8);
  });

  it("what has expired is asked for again, however new its file", async () => {
    serveIntel({ pckCrl: { nextUpdate: new Date(TWIN_TIME + 1000) } });
    await client().tdx(platform, never);
    now += 1000;
    await client().tdx(platform, never);
    assert.deepEqual(services.asked.slice(4), [PCK_CRL]);
  });

  it("what was written ahead of a clock that was set back is asked for again", async () => {
    await client().tdx(platform, never);
    now -= HOUR_MS;
    await client().tdx(platform, never);
    assert.equal(services.asked.length, 8);
  });

  it("one client asks again for what is a day old, and for what lost its signer's chain", async () => {
    const one = client();
    await one.tdx(platform, never);
    now += 25 * HOUR_MS;
    await one.tdx(platform, never);
    assert.equal(services.asked.length, 8);
    for (const name of keptFiles().filter((file) => file === `${FMSPC}.json.issuer.pem`))
      rmSync(join(directory, "tdx/certification/v4/tcb", name));
    await one.tdx(platform, never);
    assert.deepEqual(services.asked.slice(8), [TCB]);
  });

  it("equal requests at the same time are one, and who gives up leaves the others alone", async () => {
    const one = client();
    const controller = new AbortController();
    const impatient = one.tdx(platform, controller.signal);
    const patientOnes = Array.from({ length: 8 }, () => one.tdx(platform, never));
    controller.abort();
    await assert.rejects(impatient, { code: "CANCELLED" });
    await Promise.all(patientOnes);
    assert.equal(services.asked.length, 4);
  });

  it("I5 never replaces a part by an older one", async () => {
    const { tdx: before } = { tdx: await client().tdx(platform, never) };
    serveIntel({ tcbInfo: { ...defaultTcbInfo(), issueDate: "2026-05-01T00:00:00Z" } });
    now += 48 * 3600 * 1000;
    const after = await client().tdx(platform, never);
    assert.deepEqual(after.tcbInfo.get(FMSPC)?.body, before.tcbInfo.get(FMSPC)?.body);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["COLLATERAL_ROLLED_BACK"],
    );
  });

  it("I5 a part dated ahead of the clock is refused and not kept: the next good one is", async () => {
    const year = new Date("2099-01-01T00:00:00Z");
    serveIntel({
      pckCrl: { thisUpdate: year, nextUpdate: new Date("2100-01-01T00:00:00Z") },
      tcbInfo: { ...defaultTcbInfo(), issueDate: "2099-01-01T00:00:00Z", nextUpdate: "2099-02-01T00:00:00Z" },
    });
    await assert.rejects(client().tdx(platform, never), {
      code: "COLLATERAL_INVALID",
      message: /2099-01-01/,
    });
    assert.deepEqual(
      keptFiles().filter((name) => /tcb|platform/.test(name)),
      [],
    );
    serveIntel();
    const good = await client().tdx(platform, never);
    assert.equal((await appraise(ca.quote(), { collateral: good })).accepted, true);
    // with a good one kept, it stays
    serveIntel({ pckCrl: { thisUpdate: new Date(TWIN_TIME + 25 * HOUR_MS + 11 * 60_000) } });
    now += 25 * HOUR_MS;
    const { pckCrl } = await client().tdx(platform, never);
    assert.deepEqual(pckCrl.platform, good.pckCrl.platform);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["COLLATERAL_INVALID"],
    );
    // clocks differ a little
    serveIntel({ pckCrl: { thisUpdate: new Date(now + 9 * 60_000) } });
    assert.notDeepEqual((await client().tdx(platform, never)).pckCrl.platform, good.pckCrl.platform);
  });

  it("a newer part replaces the older one", async () => {
    await client().tdx(platform, never);
    serveIntel({ qeIdentity: { ...defaultQeIdentity(), issueDate: "2026-05-30T00:00:00Z" } });
    now += 48 * 3600 * 1000;
    const { qeIdentity } = await client().tdx(platform, never);
    assert.ok(Buffer.from(qeIdentity?.body ?? []).includes("2026-05-30"));
  });

  it("a service that is overloaded is asked again, after what it says; one that says no is not", async () => {
    services.fault = (path, nth) =>
      path === TCB && nth === 1
        ? { status: 503, retryAfter: 0 }
        : path === QE && nth < 3
          ? "reset"
          : undefined;
    await client().tdx(platform, never);
    assert.equal(services.asked.filter((path) => path === TCB).length, 2);
    assert.equal(services.asked.filter((path) => path === QE).length, 3);
    services.fault = () => ({ status: 400 });
    now += 48 * 3600 * 1000;
    services.asked.length = 0;
    await client().tdx(platform, never);
    assert.equal(services.asked.length, 4);
    assert.deepEqual([...new Set(problems.map(({ code }) => code))], ["COLLATERAL_UNAVAILABLE"]);
  });

  it("a service that is away leaves what is kept; with nothing kept it is COLLATERAL_UNAVAILABLE, after a bounded number of tries", async () => {
    services.fault = () => ({ status: 503 });
    await assert.rejects(client().tdx(platform, never), { code: "COLLATERAL_UNAVAILABLE" });
    assert.ok(services.asked.length <= 20);
    services.fault = () => undefined;
    await client().tdx(platform, never);
    const asking = client();
    await services.stop();
    now += 48 * 3600 * 1000;
    const kept = await asking.tdx(platform, never);
    assert.equal((await appraise(ca.quote(), { collateral: kept })).accepted, true);
    assert.ok(problems.length > 0);
    services = await CollateralServices.start();
  });

  it("what is to be had is kept where a part is not, before it says so", async () => {
    services.fault = (path, nth) =>
      path === TCB ? { status: 404 } : nth === 1 ? { status: 503, retryAfter: 0 } : undefined;
    await assert.rejects(client().tdx(platform, never), { code: "COLLATERAL_UNAVAILABLE" });
    assert.deepEqual(keptFiles().toSorted(), [
      "identity.json",
      "identity.json.issuer.pem",
      "platform.der",
      "rootcacrl.der",
    ]);
  });

  it("a service that hangs ends in TIMEOUT", async () => {
    services.fault = () => "hang";
    const impatient = patient(httpClient({ timeoutMs: 20 }), { attempts: 2, firstDelayMs: 1 });
    await assert.rejects(client({ get: impatient }).tdx(platform, never), { code: "TIMEOUT" });
  });

  it("offline, only the directory serves", async () => {
    await client().tdx(platform, never);
    services.asked.length = 0;
    now += 365 * 24 * 3600 * 1000;
    const offline = client({ get: undefined });
    const collateral = await offline.tdx(platform, never);
    assert.equal(services.asked.length, 0);
    // old collateral is given out, and the verifier refuses it
    const verdict = await appraise(ca.quote(), { collateral, at: now });
    assert.ok(failures(verdict).includes("tdx.tcb-info.current"));
    await assert.rejects(offline.tdx({ fmspc: "000000000000", ca: "platform" }, never), {
      code: "COLLATERAL_UNAVAILABLE",
    });
    await assert.rejects(offline.tdx({ fmspc: "../../etc/", ca: "platform" }, never), {
      code: "COLLATERAL_INVALID",
    });
  });

  it("what is no collateral is COLLATERAL_INVALID, and is not kept", async () => {
    services.served.set(ROOT_CRL, { body: new TextEncoder().encode("<html>") });
    await assert.rejects(client().tdx(platform, never), { code: "COLLATERAL_INVALID" });
    assert.equal(readDirectory(directory).tdx?.rootCrl, undefined);
    rmSync(directory, { recursive: true });
    serveIntel();
    const info = services.served.get(TCB);
    services.served.set(TCB, { body: info?.body ?? new Uint8Array() });
    await assert.rejects(client().tdx(platform, never), { code: "COLLATERAL_INVALID" });
    services.served.set(TCB, {
      body: info?.body ?? new Uint8Array(),
      headers: { "TCB-Info-Issuer-Chain": "%zz" },
    });
    await assert.rejects(client().tdx(platform, never), { code: "COLLATERAL_INVALID" });
  });

  it("more than the size limit is not read", async () => {
    services.served.set(ROOT_CRL, { body: new Uint8Array(4001) });
    const small = patient(httpClient({ maxBytes: 4000 }), { attempts: 1 });
    await assert.rejects(client({ get: small }).tdx(platform, never), {
      code: "COLLATERAL_INVALID",
      message: /more than 4000 bytes/,
    });
  });

  it("AMD's: chains, CRL and a chip's certificate; VLEK's chain may be absent", async () => {
    const chain = vector("go-sev-guest/trust/ask_ark_milan.pem");
    services.served.set("/vcek/v1/Milan/cert_chain", { body: chain });
    // no genuine CRL of AMD's is at hand; any well-formed one does for the client
    services.served.set("/vcek/v1/Milan/crl", { body: ca.crl("root") });
    const collateral = await client().snp("Milan", never);
    assert.ok(collateral.ask && collateral.crl);
    assert.equal(collateral.asvk, undefined);
    assert.equal(problems[0]?.code, "COLLATERAL_UNAVAILABLE");
    const hwid = "ab".repeat(64);
    const tcb = "blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115";
    const chip = { product: "Milan", hwid, tcb } as const;
    const vcek = vector("virtee-sev/certs_data/vcek_milan.der");
    services.served.set(`/vcek/v1/Milan/${hwid}?${tcb}`, { body: vcek });
    assert.deepEqual(await client().vcek(chip, never), vcek);
    services.asked.length = 0;
    now += 1000 * 24 * 3600 * 1000;
    assert.deepEqual(await client().vcek(chip, never), vcek);
    assert.deepEqual(services.asked, []);
    await assert.rejects(client().vcek({ ...chip, hwid: "../x" }, never), { code: "COLLATERAL_INVALID" });
    await assert.rejects(client().vcek({ ...chip, tcb: "x" }, never), { code: "COLLATERAL_INVALID" });
  });

  it("a service that names its time is not asked before", async () => {
    const slept: number[] = [];
    const time = {
      now: () => 0,
      random: () => 0,
      sleep: (ms: number) => Promise.resolve(void slept.push(ms)),
    };
    const answers = [
      { status: 429, headers: { "retry-after": "7" }, body: new Uint8Array() },
      { status: 200, headers: {}, body: new Uint8Array() },
    ];
    const get = patient(() => Promise.resolve(answers.shift() ?? assert.fail("asked too often")), {}, time);
    await get(new URL("http://kds.example"), never);
    assert.deepEqual(slept, [7000]);
  });

  it("requests to one host keep their distance", async () => {
    let at = 0;
    const slept: number[] = [];
    const time = {
      ...systemTime,
      now: () => at,
      sleep: (ms: number) => (slept.push(ms), (at += ms), Promise.resolve()),
    };
    const get = patient(
      () => Promise.resolve({ status: 200, headers: {}, body: new Uint8Array() }),
      { spacingMs: 10_000 },
      time,
    );
    for (const path of ["/a", "/b", "/c"]) await get(new URL(path, "http://kds.example"), never);
    await get(new URL("/a", "http://other.example"), never);
    assert.deepEqual(slept, [10_000, 10_000]);
  });

  it("waiting ends at once when it is told to", async () => {
    services.fault = () => ({ status: 503, retryAfter: 60 });
    const controller = new AbortController();
    const waiting = client({ get: patient(httpClient()) }).tdx(platform, controller.signal);
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(waiting, { code: "CANCELLED" });
  });
});
