/** PEM without a string between, so that a private key can be wiped. */

const BASE64 = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");
const PAD = "=".charCodeAt(0);
const NEWLINE = "\n".charCodeAt(0);

/** @see RFC 7468 */
export function pem(label: string, der: Uint8Array): Buffer {
  const head = Buffer.from(`-----BEGIN ${label}-----\n`);
  const tail = Buffer.from(`-----END ${label}-----\n`);
  const digits = Math.ceil(der.length / 3) * 4;
  const out = Buffer.alloc(head.length + digits + Math.ceil(digits / 64) + tail.length);
  let at = head.copy(out);
  const put = (value: number | undefined) => {
    out[at++] = value ?? PAD;
  };
  for (let i = 0; i < der.length; i += 3) {
    const [a = 0, b, c] = [der[i], der[i + 1], der[i + 2]];
    put(BASE64[a >> 2]);
    put(BASE64[((a & 3) << 4) | ((b ?? 0) >> 4)]);
    put(b === undefined ? PAD : BASE64[((b & 15) << 2) | ((c ?? 0) >> 6)]);
    put(c === undefined ? PAD : BASE64[c & 63]);
    if ((i / 3) % 16 === 15 || i + 3 >= der.length) put(NEWLINE);
  }
  at += tail.copy(out, at);
  return out.subarray(0, at);
}
