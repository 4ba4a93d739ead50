/** grpc.health.v1: whether this program does its work, for whoever supervises it. */
import { type ServerWritableStream, status } from "@grpc/grpc-js";
import { type HealthCheckRequest, type HealthCheckResponse, type HealthServer } from "./gen/health.ts";

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

export class Health {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<Watcher>();
  #serving = false;

  /** @param services by full name; the empty name, which is always known, is the program as a whole */
  constructor(services: readonly string[]) {
    this.#services = new Set(["", ...services]);
  }

  setServing(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const watcher of this.#watchers) watcher.write({ status: this.#statusOf(watcher.request.service) });
  }

  readonly implementation: HealthServer = {
    check: ({ request }, callback) => {
      const found = this.#statusOf(request.service);
      if (found === SERVICE_UNKNOWN) callback({ code: status.NOT_FOUND, details: "No such service" });
      else callback(null, { status: found });
    },
    watch: (call: Watcher) => {
      this.#watchers.add(call);
      call.on("cancelled", () => this.#watchers.delete(call));
      call.write({ status: this.#statusOf(call.request.service) });
    },
  };

  #statusOf(service: string): 1 | 2 | 3 {
    if (!this.#services.has(service)) return SERVICE_UNKNOWN;
    return this.#serving ? SERVING : NOT_SERVING;
  }
}
