/** The twin's socket for tests: one JSON object a line in, one out. */
import { rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";
import { machineChangeSchema } from "./config.ts";
import { faultSchema, type Fault } from "./faults.ts";

export const orderSchema = z.discriminatedUnion("order", [
  z.strictObject({ order: z.literal("fault"), fault: faultSchema, times: z.number().int().positive() }),
  /** Forgets faults, and starts as after a reboot. */
  z.strictObject({ order: z.literal("reboot"), machine: machineChangeSchema.exactOptional() }),
  z.strictObject({ order: z.literal("state") }),
]);
type Order = z.output<typeof orderSchema>;

export interface TwinState {
  /** Requests that reached the firmware. */
  readonly requests: number;
  /** SNP: whether the driver has wiped its key. */
  readonly wiped?: boolean;
  readonly waitingFaults: number;
  /** SHA-256 of the root certificate, hex, for a policy. */
  readonly rootSha256: string;
}

/** Serves until it is closed. */
export async function serveControl(path: string, obey: (order: Order) => TwinState): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    createInterface(socket).on("line", (line) => {
      try {
        socket.write(`${JSON.stringify(obey(orderSchema.parse(JSON.parse(line))))}\n`);
      } catch (error) {
        socket.write(`${JSON.stringify({ error: String(error) })}\n`);
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(path, resolve);
  });
  return server;
}

/** The other end. */
export class TwinControl {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async fault(fault: Fault, times = 1): Promise<TwinState> {
    return this.#send({ order: "fault", fault, times });
  }

  async reboot(machine?: z.input<typeof machineChangeSchema>): Promise<TwinState> {
    return this.#send({ order: "reboot", ...(machine === undefined ? {} : { machine }) });
  }

  async state(): Promise<TwinState> {
    return this.#send({ order: "state" });
  }

  async #send(order: z.input<typeof orderSchema>): Promise<TwinState> {
    const socket = connect(this.#path);
    try {
      socket.write(`${JSON.stringify(order)}\n`);
      const line = await new Promise<string>((resolve, reject) => {
        socket.once("error", reject).once("close", () => {
          reject(new Error("the twin closed its socket"));
        });
        createInterface(socket).once("line", resolve);
      });
      const state: unknown = JSON.parse(line);
      return z
        .strictObject({
          requests: z.number(),
          wiped: z.boolean().exactOptional(),
          waitingFaults: z.number(),
          rootSha256: z.string(),
        })
        .parse(state);
    } finally {
      socket.destroy();
    }
  }
}
