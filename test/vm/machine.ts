/**
 * A virtual machine with the node image: QEMU of the tools tree, UEFI firmware, disks by serial, user networking, the
 * console captured with the time of each line. It ends with the process that started it, at the latest.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  type WriteStream,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { SetupError } from "../../image/command.ts";
import { inTools } from "../../image/tools.ts";
import { accelerator } from "./accelerator.ts";
import { Console } from "./console.ts";
import { type Beside, openPort, type Port } from "./port.ts";
import { startTpm } from "./tpm.ts";

interface Disk {
  /** By which the guest knows it. */
  readonly serial: string;
  readonly file: string;
  readonly readonly?: boolean;
}

export interface MachineOptions {
  readonly tools: string;
  /** For firmware variables, sockets and `console.log`; made if it is not there. */
  readonly folder: string;
  readonly name: string;
  /** The image's disk; never written. */
  readonly boot: string;
  readonly disks: readonly Disk[];
  /** Ports of the host's loopback address, and the guest's ports that they lead to. */
  readonly forwards?: readonly { readonly host: string; readonly guest: number }[];
  readonly ports?: readonly Port[];
  /** With it QEMU passes the unified kernel image to the firmware, as SEV-SNP's measured direct boot does. */
  readonly kernel?: string;
  readonly tpm?: boolean;
  /** What a host adds to QEMU's arguments. */
  readonly host?: readonly string[];
  /** The lab image writes its journal to a virtio console, captured in `journal.log`. */
  readonly journal?: boolean;
  readonly memoryMegabytes?: number;
  readonly cpus?: number;
  readonly timeoutSeconds: number;
}

export interface Machine {
  readonly name: string;
  readonly console: Console;
  /** When QEMU started, on the clock of performance.now(). */
  readonly poweredOn: number;
  /** Ends when QEMU ends. */
  readonly off: Promise<void>;
  /** The power fails: nothing more is written to any disk. */
  readonly cut: () => Promise<void>;
  /** The ACPI power button. */
  readonly press: () => void;
}

/** Powers a machine on; it is past its initrd then, or went off. */
export async function powerOn(options: MachineOptions): Promise<Machine> {
  for (let attempt = 1; ; attempt++) {
    const machine = await switchOn(options);
    if (attempt === ATTEMPTS || !(await lostItsTimer(machine.console))) return machine;
    await machine.cut();
    console.log(
      `${options.name}: the emulator lost a processor's timer in the kernel's start; switched on again`,
    );
  }
}

const ATTEMPTS = 3;
/** Each takes some two seconds without acceleration. */
const STEPS = ["Loaded initrd", "initrd: up at", "initrd: root \\w+ verified", "initrd: handing over"];
const SILENCE_SECONDS = 60;

/**
 * QEMU 10.0 without acceleration: in one boot of some 70 the second processor gets no timer interrupts from its start on,
 * so that the kernel waits for ever, before it runs anything of the image but the initrd. It is known by its silence.
 */
export async function lostItsTimer(
  output: Pick<Console, "waitFor" | "ended">,
  seconds = SILENCE_SECONDS,
): Promise<boolean> {
  for (const [index, step] of STEPS.entries())
    try {
      await output.waitFor(new RegExp(`${step}|Kernel panic|initrd: FATAL`, "u"), seconds);
    } catch {
      return index > 0 && !output.ended;
    }
  return false;
}

/**
 * Without SVM, for which the guest would load kvm_amd, and without fast string instructions: the kernel clears pages with
 * them where there are any, and emulated byte by byte they take thirty times as long as moves of 8 bytes.
 */
const EMULATED = "max,svm=off,erms=off,fsrm=off";

async function switchOn(options: MachineOptions): Promise<Machine> {
  const { folder, tools } = options;
  mkdirSync(folder, { recursive: true });
  const firmware = join(tools, "usr/share/OVMF");
  const variables = join(folder, "firmware-variables.fd");
  if (!existsSync(variables)) copyFileSync(join(firmware, "OVMF_VARS_4M.fd"), variables);
  const accel = await accelerator(tools);
  const beside = await Promise.all([
    ...(options.tpm === true ? [startTpm(tools, folder)] : []),
    ...(options.ports ?? []).map((port) => openPort(port, folder)),
  ]);
  const binds = [
    folder,
    ...[options.boot, ...options.disks.map(({ file }) => file)].map((file) => join(file, "..")),
  ];
  const qemu = inTools(tools, { cwd: folder, binds }, "qemu-system-x86_64", [
    ...["-name", options.name, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-machine", "q35,smm=off", "-accel", accel === "kvm" ? "kvm" : "tcg,thread=multi,tb-size=512"],
    ...["-cpu", accel === "kvm" ? "host" : EMULATED, "-smp", String(options.cpus ?? 2)],
    ...["-m", String(options.memoryMegabytes ?? 2048)],
    ...["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
    ...["-drive", `if=pflash,format=raw,unit=1,file=${variables}`],
    ...(options.kernel === undefined ? [] : ["-kernel", options.kernel]),
    ...drive(
      { serial: "image", file: options.boot, readonly: true },
      options.kernel === undefined ? 1 : undefined,
    ),
    ...options.disks.flatMap((disk) => drive(disk)),
    ...["-netdev", ["user", "id=net", ...(options.forwards ?? []).map(forward)].join(",")],
    // no option ROM: the firmware must not try to boot from the network
    ...["-device", "virtio-net-pci,netdev=net,romfile="],
    ...["-device", "virtio-rng-pci"],
    ...(options.host ?? []),
    ...["-device", "virtio-serial-pci"],
    ...beside.flatMap(({ args }) => args),
    ...(options.journal === true ? journal(join(folder, "journal.log")) : []),
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-monitor", `unix:${join(folder, "monitor")},server,nowait`],
  ]);
  const [program, args] = qemu;
  const log = createWriteStream(join(folder, "console.log"), { flags: "a" });
  const poweredOn = performance.now();
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  return watch(child, options, poweredOn, log, beside);
}

function watch(
  child: ChildProcess,
  options: MachineOptions,
  poweredOn: number,
  log: WriteStream,
  beside: readonly Beside[],
): Machine {
  const output = new Console(poweredOn, () => processorTime(child.pid));
  let complaint = "";
  child.stdout?.on("data", (bytes: Buffer) => {
    log.write(bytes);
    output.feed(bytes);
  });
  child.stderr?.on("data", (bytes: Buffer) => {
    complaint += bytes.toString();
  });
  const limit = setTimeout(() => {
    output.fail(new Error(`${options.name}: still on after ${options.timeoutSeconds} s; switched off`));
    child.kill("SIGKILL");
  }, options.timeoutSeconds * 1000);
  limit.unref();
  const ended = async (): Promise<void> => {
    await once(child, "exit");
    clearTimeout(limit);
    for (const { stop } of beside) stop();
    log.end();
    output.end(complaint === "" ? `${options.name} is off` : `QEMU: ${complaint.trim()}`);
  };
  const off = ended();
  child.once("error", (error) => {
    output.fail(new SetupError(`QEMU could not be started: ${error.message}`));
  });
  return {
    name: options.name,
    console: output,
    poweredOn,
    off,
    cut: async () => {
      child.kill("SIGKILL");
      await off;
    },
    press: () => {
      const monitor = connect(join(options.folder, "monitor"));
      monitor.once("error", () => undefined);
      monitor.end("system_powerdown\n");
    },
  };
}

const TICKS_PER_SECOND = 100;

/** Seconds that a process has computed. @see proc_pid_stat(5) fields 14 and 15 */
function processorTime(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid ?? 0}/stat`, "utf8")
      .replace(/^.*\) /u, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

let drives = 0;

function drive({ serial, file, readonly }: Disk, bootIndex?: number): string[] {
  const id = `disk${(drives += 1)}`;
  const cache = readonly === true ? "readonly=on" : "discard=unmap,cache=writeback";
  const boot = bootIndex === undefined ? "" : `,bootindex=${bootIndex}`;
  return [
    ...["-drive", `if=none,id=${id},format=raw,file=${file},${cache}`],
    ...["-device", `virtio-blk-pci,drive=${id},serial=${serial}${boot}`],
  ];
}

function journal(file: string): string[] {
  return [
    ...["-chardev", `file,id=journal,path=${file},append=on`],
    ...["-device", "virtconsole,chardev=journal"],
  ];
}

function forward({ host, guest }: { readonly host: string; readonly guest: number }): string {
  return `hostfwd=tcp:${host}-:${guest}`;
}
