/**
 * systemd's readiness protocol (sd_notify(3)): datagrams to the socket that the service manager names in NOTIFY_SOCKET.
 * A manager that is gone is no reason to fail: a message that can't be sent is dropped.
 */
import { closeSync } from "node:fs";
import { libc, must } from "./libc.ts";
import { SOCKADDR_UN, Struct } from "./layout.ts";

// include/uapi/linux/un.h, include/linux/net.h, include/linux/socket.h
const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC_NONBLOCK = 2 | 0o2000000 | 0o4000;
const MSG_NOSIGNAL = 0x4000;

const socket = libc("int socket(int family, int type, int protocol)");
const sendto = libc(
  "long sendto(int fd, const void *data, size_t length, int flags, const void *address, unsigned int size)",
);

export interface Notifier extends Disposable {
  /** Milliseconds within which the manager wants to hear `watchdog`, if it does. */
  readonly watchdogInterval: number | undefined;
  /** Start-up is complete. */
  ready(): void;
  /** One line for `systemctl status`. */
  status(text: string): void;
  /** The service is alive. */
  watchdog(): void;
  /** Start-up takes longer: counts from now. */
  extendTimeout(milliseconds: number): void;
  stopping(): void;
}

interface Environment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

/** Without NOTIFY_SOCKET (started by hand) every call does nothing. */
export function createNotifier(environment: Environment): Notifier {
  const path = environment.NOTIFY_SOCKET;
  const address = path === undefined ? undefined : socketAddress(path);
  const fd =
    address === undefined ? -1 : must("socket(AF_UNIX)", socket(AF_UNIX, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0));
  let open = fd >= 0;
  const send = (message: string): void => {
    if (!open || address === undefined) return;
    const data = Buffer.from(message);
    sendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length);
  };
  return {
    watchdogInterval: watchdogInterval(environment),
    ready: () => {
      send("READY=1");
    },
    status: (text) => {
      send(`STATUS=${text.replaceAll(/[\r\n]+/gu, " ")}`);
    },
    watchdog: () => {
      // READY again: without it the manager ends the service, and a datagram may get lost
      send("READY=1\nWATCHDOG=1");
    },
    extendTimeout: (milliseconds) => {
      send(`EXTEND_TIMEOUT_USEC=${Math.round(milliseconds * 1000)}`);
    },
    stopping: () => {
      send("STOPPING=1");
    },
    [Symbol.dispose]() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** A path, or with `@` in front a name of the abstract namespace; undefined for what is neither (vsock). */
function socketAddress(path: string): Buffer | undefined {
  const name = Buffer.from(path);
  const address = new Struct(SOCKADDR_UN);
  if (!/^[/@]/u.test(path) || name.length >= address.slice("sun_path").length) return undefined;
  address.set("sun_family", AF_UNIX);
  name.copy(address.slice("sun_path"));
  const abstract = path.startsWith("@");
  if (abstract) address.slice("sun_path").fill(0, 0, 1);
  // an abstract name ends where the length says, a path with its NUL
  return address.bytes.subarray(0, 2 + name.length + (abstract ? 0 : 1));
}

function watchdogInterval({ WATCHDOG_USEC, WATCHDOG_PID }: Environment): number | undefined {
  if (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid) return undefined;
  const microseconds = Number(WATCHDOG_USEC ?? 0);
  return Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 1000 : undefined;
}
