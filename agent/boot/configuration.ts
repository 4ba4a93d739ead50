/** `configure`: what the image says (measured with it) and what this machine's initdata says (bound by its launch). */
import { open, readFile } from "node:fs/promises";
import { MAX_IMAGE_BYTES, unframeInitdata } from "../config/initdata-disk.ts";
import { type Initdata, type InitdataDigests, initdataDigests, parseInitdata } from "../config/initdata.ts";
import { MEASURED_PATH, type MeasuredConfiguration, parseMeasured } from "../config/measured.ts";
import { findBySerial } from "../disk/device.ts";
import { SealetError } from "../error.ts";

const SERIAL = "initdata";

export interface Configuration {
  readonly measured: MeasuredConfiguration;
  readonly initdata: Initdata;
  /** Of the document. */
  readonly digests: InitdataDigests;
}

/** @throws CONFIG_INVALID, INITDATA_MISSING, INITDATA_INVALID */
export async function readConfiguration(): Promise<Configuration> {
  const measured = await readMeasured();
  const document = unframeInitdata(await readInitdata());
  return { measured, initdata: parseInitdata(document), digests: initdataDigests(document) };
}

async function readMeasured(): Promise<MeasuredConfiguration> {
  try {
    return parseMeasured(await readFile(MEASURED_PATH));
  } catch (cause) {
    if (cause instanceof SealetError) throw cause;
    throw new SealetError("CONFIG_INVALID", `${MEASURED_PATH} cannot be read`, { cause });
  }
}

async function readInitdata(): Promise<Buffer> {
  let path: string;
  try {
    path = await findBySerial(SERIAL);
  } catch (cause) {
    throw new SealetError("INITDATA_MISSING", "No disk carries initdata", { cause });
  }
  const image = Buffer.alloc(MAX_IMAGE_BYTES);
  try {
    await using disk = await open(path, "r");
    // A disk may be shorter than the longest frame.
    const { bytesRead } = await disk.read(image, 0, image.length, 0);
    return image.subarray(0, bytesRead);
  } catch (cause) {
    throw new SealetError("INITDATA_MISSING", `${path} cannot be read`, { cause });
  }
}
