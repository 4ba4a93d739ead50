import assert from "node:assert/strict";

import {
  decide,
  DISK_STATES,
  isDiskState,
  isHopeless,
  relate,
  RELATIONS,
  type DiskState,
  type Relation,
} from "../../agent/disk/decision.ts";

/** Written out once more, by hand: each cell is a decision of its own. */
const CELLS: Readonly<Record<DiskState, readonly [string, string, string, string, string]>> = {
  //            expects-blank      formatting-this  formatting-another  knows-this          knows-another
  blank: ["format", "format", "DISK_UNEXPECTED", "DISK_BLANKED", "DISK_BLANKED"],
  interrupted: ["DISK_UNEXPECTED", "format", "DISK_UNEXPECTED", "DISK_ROLLED_BACK", "DISK_UNEXPECTED"],
  sealed: ["DISK_UNEXPECTED", "open", "DISK_UNEXPECTED", "open", "DISK_UNEXPECTED"],
  foreign: ["DISK_FOREIGN", "DISK_FOREIGN", "DISK_FOREIGN", "DISK_FOREIGN", "DISK_FOREIGN"],
  damaged: ["DISK_DAMAGED", "DISK_DAMAGED", "DISK_DAMAGED", "DISK_DAMAGED", "DISK_DAMAGED"],
  tampered: ["HEADER_TAMPERED", "HEADER_TAMPERED", "HEADER_TAMPERED", "HEADER_TAMPERED", "HEADER_TAMPERED"],
  missing: ["DISK_MISSING", "DISK_MISSING", "DISK_MISSING", "DISK_MISSING", "DISK_MISSING"],
};

const word = (state: DiskState, relation: Relation): string => {
  const decision = decide(state, relation);
  return decision.action === "refuse" ? decision.code : decision.action;
};

describe("disk decision", () => {
  for (const state of DISK_STATES) {
    RELATIONS.forEach((relation, index) => {
      it(`${state} disk, record ${relation}: ${CELLS[state][index]}`, () => {
        assert.equal(word(state, relation), CELLS[state][index]);
      });
    });
  }

  it("I3 never formats anything but a blank disk, or one whose first format was cut", () => {
    const formatted = DISK_STATES.flatMap((state) =>
      RELATIONS.filter((relation) => word(state, relation) === "format").map((relation) => [state, relation]),
    );
    assert.deepEqual(formatted, [
      ["blank", "expects-blank"],
      ["blank", "formatting-this"],
      ["interrupted", "formatting-this"],
    ]);
  });

  it("asks no KMS about a disk that no record could help", () => {
    assert.deepEqual(
      DISK_STATES.filter((state) => isHopeless(state)),
      ["foreign", "damaged", "tampered", "missing"],
    );
  });

  it("relates the KMS's record to what the disk says of itself", () => {
    const relations = (["expects-blank", "formatting", "sealed"] as const).map((state) =>
      ["", "a", "b"].map((uuid) => relate({ state, uuid: "a" }, uuid)),
    );
    assert.deepEqual(relations, [
      ["expects-blank", "expects-blank", "expects-blank"],
      ["formatting-this", "formatting-this", "formatting-another"],
      ["knows-another", "knows-this", "knows-another"],
    ]);
  });

  it("knows its states by their names", () => {
    assert.ok(isDiskState("sealed") && !isDiskState("") && !isDiskState("toString"));
  });
});
