/** Why nobody answered, for a person: gRPC's own words for it speak of resolution. */
import { isOurs, isServiceError } from "../api/status.ts";
import { SealetError } from "../error.ts";

/** How grpc-js tells of connect(2)'s error: as text alone. */
const CONNECT = / connect (E[A-Z]+) /;

/**
 * @param error a call's; what the other side said itself stays as it is
 * @param where the call went
 * @param why nobody may be there
 */
export function unanswered(error: SealetError, where: string, why: string): SealetError {
  const { code, cause } = error;
  if (!isServiceError(cause) || isOurs(cause)) return error;
  const errno = CONNECT.exec(cause.details)?.[1];
  if (errno === "EACCES")
    return new SealetError("PERMISSION_DENIED", `This user may not use ${where}: try it with sudo`, {
      cause,
    });
  const said =
    errno === "ENOENT" || errno === "ECONNREFUSED"
      ? `Nobody answers at ${where}: ${why}`
      : `No answer from ${where}: ${cause.details}`;
  return new SealetError(code, said, { cause });
}
