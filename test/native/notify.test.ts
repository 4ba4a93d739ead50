import assert from "node:assert/strict";
import { closeSync, readSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOCKADDR_UN, Struct } from "../../native/layout.ts";
import { libc, must } from "../../native/libc.ts";
import { createNotifier } from "../../native/notify.ts";

const socket = libc("int socket(int family, int type, int protocol)");
const bind = libc("int bind(int fd, const void *address, unsigned int length)");

/** A service manager's socket: an AF_UNIX datagram socket, which Node has none of. */
class Manager implements Disposable {
  readonly fd = must("socket", socket(1, 2 | 0o2000000 | 0o4000, 0));

  constructor(path: string) {
    const address = new Struct(SOCKADDR_UN).set("sun_family", 1);
    Buffer.from(path.replace(/^@/u, "\0")).copy(address.slice("sun_path"));
    must("bind", bind(this.fd, address.bytes, 2 + path.length + (path.startsWith("@") ? 0 : 1)));
  }

  received(): string[] {
    const messages: string[] = [];
    for (const buffer = Buffer.alloc(4096); ;) {
      try {
        messages.push(buffer.toString("utf8", 0, readSync(this.fd, buffer)));
      } catch {
        return messages;
      }
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

function interval(environment: Parameters<typeof createNotifier>[0]): number | undefined {
  using notifier = createNotifier(environment);
  return notifier.watchdogInterval;
}

describe("sd_notify", () => {
  it("reaches the manager at a path", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sealet-"));
    const path = join(folder, "notify");
    using manager = new Manager(path);
    using notifier = createNotifier({ NOTIFY_SOCKET: path });
    notifier.status("unsealing\nthe disk");
    notifier.extendTimeout(1500.25);
    notifier.ready();
    notifier.watchdog();
    notifier.stopping();
    assert.deepEqual(manager.received(), [
      "STATUS=unsealing the disk",
      "EXTEND_TIMEOUT_USEC=1500250",
      "READY=1",
      "READY=1\nWATCHDOG=1",
      "STOPPING=1",
    ]);
    rmSync(folder, { recursive: true });
  });

  it("reaches the manager at an abstract name", () => {
    const path = `@sealet-test-${process.pid}`;
    using manager = new Manager(path);
    using notifier = createNotifier({ NOTIFY_SOCKET: path });
    notifier.ready();
    assert.deepEqual(manager.received(), ["READY=1"]);
  });

  it("does nothing without a manager, with a foreign kind of address, and with one that is gone", () => {
    for (const NOTIFY_SOCKET of [
      undefined,
      "vsock:2:1234",
      "relative",
      "/nonexistent/x",
      `/${"x".repeat(200)}`,
    ]) {
      using notifier = createNotifier({ NOTIFY_SOCKET });
      notifier.ready();
    }
  });

  it("knows whether and how often the manager wants to hear", () => {
    assert.equal(interval({}), undefined);
    assert.equal(interval({ WATCHDOG_USEC: "30000000" }), 30_000);
    assert.equal(interval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) }), 30_000);
    assert.equal(interval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" }), undefined);
    assert.equal(interval({ WATCHDOG_USEC: "nonsense" }), undefined);
  });
});
