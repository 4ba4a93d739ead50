/**
 * Who may call what, as a table. A method that is not in it is nobody's.
 *
 * INVARIANT: a caller is known before a method's code runs, by the kernel's word (unix socket) or by a certificate of
 * the cluster's CA; nothing in a request says who its sender is.
 */
import {
  type ServerInterceptor,
  ServerInterceptingCall,
  ServerListenerBuilder,
  ResponderBuilder,
} from "@grpc/grpc-js";
import { SealetError } from "../error.ts";
import { toStatus } from "./status.ts";

/** "root": on the machine itself. "control-plane": a certificate that says so. */
export type Caller = "root" | "control-plane";

const BOTH: readonly Caller[] = ["root", "control-plane"];

export const ALLOWED: Readonly<Record<string, readonly Caller[]>> = {
  "/sealet.v1.Node/GetStatus": BOTH,
  "/sealet.v1.Node/WatchEvents": BOTH,
  "/sealet.v1.Node/GetEvidence": BOTH,
  "/sealet.v1.Node/GetDisk": BOTH,
  "/grpc.health.v1.Health/Check": BOTH,
  "/grpc.health.v1.Health/Watch": BOTH,
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": BOTH,
};

/** Organisations (X.509 O) that the cluster's CA gives to the control plane alone. */
const CONTROL_PLANE = ["sealet:control-plane", "system:masters"];

/** @throws PERMISSION_DENIED */
export function authorise(path: string, caller: Caller): void {
  if (!Object.hasOwn(ALLOWED, path) || ALLOWED[path]?.includes(caller) !== true) {
    throw new SealetError("PERMISSION_DENIED", `${caller} may not call ${path}`);
  }
}

/**
 * @param subject of a certificate whose chain TLS has verified
 * @throws UNAUTHENTICATED, PERMISSION_DENIED
 */
export function callerOf(subject: { O?: string | string[]; CN?: string | string[] } | undefined): Caller {
  if (subject === undefined) throw new SealetError("UNAUTHENTICATED", "No client certificate was presented");
  const organisations = [subject.O ?? []].flat();
  if (organisations.some((name) => CONTROL_PLANE.includes(name))) return "control-plane";
  throw new SealetError("PERMISSION_DENIED", "The certificate is not one of the control plane", {
    expected: `O=${CONTROL_PLANE.join(" or O=")}`,
    found: organisations.length === 0 ? "no O" : organisations.map((name) => `O=${name}`).join(", "),
  });
}

/** @param local whether the server has only connections that the unix socket let in */
export function authorisation(local: boolean): ServerInterceptor {
  return (method, call) => {
    try {
      authorise(method.path, local ? "root" : callerOf(call.getAuthContext().sslPeerCertificate?.subject));
      return new ServerInterceptingCall(call);
    } catch (error) {
      const refusal = toStatus(error);
      const refuse = new ServerListenerBuilder()
        .withOnReceiveMetadata(() => call.sendStatus(refusal))
        .build();
      return new ServerInterceptingCall(
        call,
        new ResponderBuilder().withStart((next) => next(refuse)).build(),
      );
    }
  };
}
