/** mount(2) and umount2(2), on a thread of the pool: a file system with a journal to replay takes its time. */
import { libc, type Outcome } from "./libc.ts";

/** include/uapi/linux/mount.h */
const MS = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  REMOUNT: 0x20,
  NOATIME: 0x400,
  BIND: 0x1000,
  MOVE: 0x2000,
  REC: 0x4000,
  PRIVATE: 0x40000,
  SHARED: 0x100000,
} as const;

/** include/linux/fs.h */
export const UMOUNT = { NOW: 0, FORCE: 1, DETACH: 2, NOFOLLOW: 8 } as const;

const nativeMount = libc(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const nativeUmount = libc("int umount2(const char *target, int flags)");

export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: readonly (keyof typeof MS)[];
  /** Options of the file system, comma-separated. */
  readonly data?: string;
}

/** The errno is the caller's to judge. */
export function mount({ source, target, type, flags, data }: Mount): Promise<Outcome> {
  const bits = flags.reduce((sum, flag) => sum | MS[flag], 0);
  return nativeMount.async(source, target, type, bits, data ?? null);
}

/** A busy target gives EBUSY, unless it is only detached. */
export function unmount(target: string, how: keyof typeof UMOUNT = "NOW"): Promise<Outcome> {
  return nativeUmount.async(target, UMOUNT[how] | UMOUNT.NOFOLLOW);
}
