import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { httpClient } from "../../agent/collateral/http.ts";

describe("collateral client behind a proxy", () => {
  it("asks the proxy, which it is given explicitly", async () => {
    const asked: string[] = [];
    const proxy = createServer((request, response) => {
      asked.push(request.url ?? "");
      response.end("through");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
      const { port } = proxy.address() as AddressInfo;
      const get = httpClient({ proxy: `http://127.0.0.1:${port}` });
      const answer = await get(new URL("http://pcs.example/x"), new AbortController().signal);
      assert.equal(new TextDecoder().decode(answer.body), "through");
      assert.deepEqual(asked, ["http://pcs.example/x"]);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });
});
