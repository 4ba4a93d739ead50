/** Where a KMS has its directory and its operators' socket, for every command that needs either. */
import { Option } from "commander";

const DIRECTORY = "/var/lib/sealet-kms";

export interface SocketOption {
  readonly socket: string;
}

export const directoryOption = () =>
  new Option("--dir <path>", "the KMS's directory").default(DIRECTORY).env("SEALET_KMS_DIR");

export const socketOption = () =>
  new Option("--socket <path>", "the KMS's operator socket")
    .default(`${DIRECTORY}/operator.sock`)
    .env("SEALET_KMS_SOCKET");

export const keyOption = () =>
  new Option("--key <file>", "the operator's private key").makeOptionMandatory().env("SEALET_OPERATOR_KEY");
