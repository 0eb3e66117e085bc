/**
 * Who is in a channel, kept by the hub's pushes. Pure: messages in, what changed out.
 *
 * `version` counts the pushes of this join on this socket; a hole means that something was missed.
 */

/**
 * @typedef {object} Member
 * @property {"user" | "device"} kind
 * @property {string} rec
 * @property {string | null} name
 * @property {string} status
 * @property {string} since
 * @property {{session: string, state: any, status: string, since: string}[]} sessions
 */
/** @typedef {{joined: Member[], updated: Member[], left: Member[]}} RosterChange */

/** @param {{kind: string, rec: string}} member */
const keyOf = ({ kind, rec }) => `${kind}:${rec}`;

/** Whether a member who was known is as before. @param {Member | undefined} known @param {Member} member */
const same = (known, member) => known === undefined || JSON.stringify(known) === JSON.stringify(member);

export class Roster {
  constructor() {
    /** @type {Map<string, Member>} by kind and record */
    this.members = new Map();
    /** number of the last push applied; null without a join on the present socket */
    this.version = /** @type {number | null} */ (null);
  }

  /**
   * Take the answer of `channel.join`; what the former socket did not know any more is in the change.
   * @param {{members: Member[], version: number}} answer
   * @returns {RosterChange}
   */
  open({ members, version }) {
    const old = this.members;
    this.version = version;
    this.members = new Map(members.map((member) => [keyOf(member), member]));
    return {
      joined: members.filter((member) => !old.has(keyOf(member))),
      updated: members.filter((member) => !same(old.get(keyOf(member)), member)),
      left: [...old.values()].filter((member) => !this.members.has(keyOf(member))),
    };
  }

  /**
   * Take a `presence` push.
   * @param {{version: number, events: {kind: string, member: Member}[]}} push
   * @returns {RosterChange | "hole"} `hole`: join again
   */
  push({ version, events }) {
    /** @type {RosterChange} */
    const change = { joined: [], updated: [], left: [] };
    if (this.version === null || version <= this.version) return change;
    if (version !== this.version + 1) return "hole";
    this.version = version;
    for (const { kind, member } of events) {
      const known = this.members.get(keyOf(member));
      if (kind === "leave") {
        this.members.delete(keyOf(member));
        change.left.push(known ?? member);
      } else {
        this.members.set(keyOf(member), member);
        (known === undefined ? change.joined : change.updated).push(member);
      }
    }
    return change;
  }

  /** The socket is gone; the members stay as last seen. */
  lost() {
    this.version = null;
  }
}
