/** A node's state disk as a file of the host: to be looked at, copied, changed behind the node's back while it is off. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { z } from "zod";
import { LUKS2_COPY_BYTES } from "../../agent/disk/layout.ts";
import { repair } from "../disk/header.ts";

const MIB = 2 ** 20;
/** The whole disk is read for digests and copied for snapshots: no larger than Kubernetes needs here. */
const BYTES = 512 * MIB;
const JSON_OFFSET = 4096;

const luks2Json = z.looseObject({ segments: z.record(z.string(), z.looseObject({})) });

export class StateDisk {
  readonly file: string;

  private constructor(file: string) {
    this.file = file;
  }

  static blank(file: string, bytes = BYTES): StateDisk {
    const disk = new StateDisk(file);
    disk.wipe(bytes);
    return disk;
  }

  /** All zeros. */
  wipe(bytes = BYTES): void {
    writeFileSync(this.file, "");
    truncateSync(this.file, bytes);
  }

  copyTo(file: string): StateDisk {
    execFileSync("cp", ["--sparse=always", this.file, file]);
    return new StateDisk(file);
  }

  /** SHA-256 of all of it. */
  digest(): string {
    const hash = createHash("sha256");
    const fd = openSync(this.file, "r");
    const buffer = Buffer.alloc(4 * MIB);
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer))
      hash.update(buffer.subarray(0, read));
    closeSync(fd);
    return hash.digest("hex");
  }

  read(offset: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    const fd = openSync(this.file, "r");
    readSync(fd, buffer, 0, bytes, offset);
    closeSync(fd);
    return buffer;
  }

  write(offset: number, bytes: Uint8Array): void {
    const fd = openSync(this.file, "r+");
    writeSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
  }

  /** Both header copies say something else about the only segment, with right checksums: what CVE-2025-58356 is. */
  changeSegment(change: Readonly<Record<string, unknown>>): void {
    const header = this.read(0, 2 * LUKS2_COPY_BYTES);
    for (const index of [0, 1] as const) {
      const area = header.subarray(index * LUKS2_COPY_BYTES + JSON_OFFSET, (index + 1) * LUKS2_COPY_BYTES);
      const json = luks2Json.parse(JSON.parse(area.subarray(0, area.indexOf(0)).toString("latin1")));
      json.segments["0"] = { ...json.segments["0"], ...change };
      area.fill(0);
      area.write(JSON.stringify(json), "latin1");
      repair(header, index);
    }
    this.write(0, header);
  }
}
